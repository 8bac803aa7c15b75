//! The version of an image, from git's facts.

use anyhow::{Context as _, Result};
use diskimage::recipes::date;

/// What git says of the checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitFacts {
    /// The branch, or `HEAD` when none is checked out.
    pub branch: String,
    /// The commit's id, shortened to at least eight digits.
    pub short_id: String,
    /// The commit's time, seconds since the epoch.
    pub commit_time: i64,
    /// `git describe --always --tags`.
    pub describe: String,
    /// The newest modification time of a tracked file that is changed, when there is one; a deleted file counts with the
    /// commit's time. Untracked files do not make a version dirty.
    pub dirty_since: Option<i64>,
}

/// The version: a release's tag, or `0.0.0-BRANCH-SHA8`, then `-dirty-DATE` and `-dev` where they are due. The date is that of
/// the newest change, not of the build, so the version stands still while the tree does.
#[must_use]
pub fn version(git: &GitFacts, dev: bool) -> String {
    let mut version =
        if is_release(&git.describe) { git.describe.clone() } else { format!("0.0.0-{}-{}", git.branch.replace('/', "_"), git.short_id) };
    if let Some(time) = git.dirty_since {
        let (day, hour, minute) = (date(time), time.rem_euclid(86400) / 3600, time.rem_euclid(3600) / 60);
        version.push_str(&format!("-dirty-{day}.{hour:02}.{minute:02}"));
    }
    if dev {
        version.push_str("-dev");
    }
    version
}

/// The Makefile takes a description for a release when it has two dots.
pub fn is_release(describe: &str) -> bool {
    describe.matches('.').count() >= 2
}

/// What `git log -1 --abbrev=8 --format=%h%n%ct` prints: short id and time.
pub fn parse_log(text: &str) -> Result<(String, i64)> {
    let mut lines = text.lines();
    let short = lines.next().context("git log printed nothing")?.to_owned();
    let time = lines.next().and_then(|line| line.parse().ok()).context("git log printed no time")?;
    Ok((short, time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> GitFacts {
        GitFacts { branch: "feature/x".into(), short_id: "1234abcd".into(), commit_time: 0, describe: "1234abcd".into(), dirty_since: None }
    }

    #[test]
    fn a_branch_a_release_and_what_is_added_to_both() {
        assert_eq!(version(&facts(), false), "0.0.0-feature_x-1234abcd");
        let dirty = GitFacts { dirty_since: Some(1_700_000_000), ..facts() };
        assert_eq!(version(&dirty, true), "0.0.0-feature_x-1234abcd-dirty-2023-11-14.22.13-dev");
        let release = GitFacts { describe: "10.1.0".into(), dirty_since: Some(1_700_000_000), ..facts() };
        assert_eq!(version(&release, false), "10.1.0-dirty-2023-11-14.22.13");
    }

    #[test]
    fn dates_are_right_around_leap_days() {
        for (time, text) in [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (951_868_800, "2000-03-01"), (1_795_305_600, "2026-11-22")] {
            assert_eq!(date(time), text);
        }
    }
}
