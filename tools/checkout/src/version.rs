//! Computes the version of an image from the facts of git.

use anyhow::{Context as _, Result};
use common::error::usage;
use diskimage::recipes::date;

/// The facts of git about the checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitFacts {
    /// The branch, or `HEAD` if none is checked out.
    pub branch: String,
    /// The commit's id, shortened to at least eight digits.
    pub short_id: String,
    /// The commit's Unix timestamp.
    pub commit_time: i64,
    /// `git describe --always --tags`.
    pub describe: String,
    /// The newest modification time of the changed tracked files; none if no tracked file is changed. A deleted file counts with the
    /// commit's time.
    pub dirty_since: Option<i64>,
}

/// The version: a release's tag or `FIRST-BRANCH-SHA8` (`first` is EVE_SNAPSHOT_VERSION), then `-dirty-DATE` and `-dev` if they apply. The
/// date is that of the newest change, not of the build, so an unchanged tree keeps its version.
#[must_use]
pub fn version(git: &GitFacts, first: &str, dev: bool, exact: bool) -> String {
    let mut version = if is_release(&git.describe, exact) {
        git.describe.clone()
    } else {
        format!("{first}-{}-{}", git.branch.replace('/', "_"), git.short_id)
    };
    if let Some(time) = git.dirty_since {
        let (day, hour, minute) = (date(time), time.rem_euclid(86400) / 3600, time.rem_euclid(3600) / 60);
        version.push_str(&format!("-dirty-{day}.{hour:02}.{minute:02}"));
    }
    if dev {
        version.push_str("-dev");
    }
    version
}

/// Fails if a version is too long for file names, which contain it between other words: the limit of file systems is 255 bytes.
pub fn check_length(version: &str) -> Result<()> {
    const LONGEST: usize = 200;
    if version.len() > LONGEST {
        return Err(usage(format!(
            "the version has {} bytes, too many for file names (at most {LONGEST}): {version}\n\
             hint: ROOTFS_VERSION=NAME chooses another; by default it contains the name of the branch",
            version.len()
        )));
    }
    Ok(())
}

/// Appends the image of a kernel that is not the tree's own (without the `prefix` of all such images) and the platform to a version.
#[must_use]
pub fn with_platform(version: String, kernel: Option<(&str, &str)>, platform: Option<&str>) -> String {
    let kernel =
        kernel.map(|(tag, prefix)| tag.strip_prefix(prefix).map_or_else(|| tag.replace(['/', ':'], "-"), |rest| format!("k-{rest}")));
    [kernel.as_deref(), platform].into_iter().flatten().fold(version, |version, more| format!("{version}-{more}"))
}

/// Whether the output of `git describe` is a release: for the Makefile of 2023 if it has two dots; if `exact`, only three numbers, optionally
/// with `-lts` or `-rc1`.
pub fn is_release(describe: &str, exact: bool) -> bool {
    if !exact {
        return describe.matches('.').count() >= 2;
    }
    let (numbers, rest) = describe.split_once('-').unwrap_or((describe, "lts"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbers: Vec<&str> = numbers.split('.').collect();
    numbers.len() == 3 && numbers.into_iter().all(is_number) && (rest == "lts" || rest.strip_prefix("rc").is_some_and(is_number))
}

/// Parses the output of `git log -1 --abbrev=8 --format=%h%n%ct`: short id and time.
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
        assert_eq!(version(&facts(), "0.0.0", false, false), "0.0.0-feature_x-1234abcd");
        let dirty = GitFacts { dirty_since: Some(1_700_000_000), ..facts() };
        assert_eq!(version(&dirty, "0.0.0", true, false), "0.0.0-feature_x-1234abcd-dirty-2023-11-14.22.13-dev");
        assert_eq!(version(&facts(), "1.5.0", false, false), "1.5.0-feature_x-1234abcd");
        let release = GitFacts { describe: "10.1.0".into(), dirty_since: Some(1_700_000_000), ..facts() };
        assert_eq!(version(&release, "0.0.0", false, false), "10.1.0-dirty-2023-11-14.22.13");
    }

    #[test]
    fn an_exact_release_has_nothing_after_it() {
        for (text, exact) in [
            ("12.6.0", true),
            ("14.5.1-lts", true),
            ("14.5.1-rc12", true),
            ("12.6.0-2452-geeaf01034", false),
            ("12.6.0-rc", false),
            ("1.2", false),
            ("a.b.c", false),
        ] {
            assert_eq!(is_release(text, true), exact, "{text}");
        }
        assert!(is_release("12.6.0-2452-geeaf01034", false));
    }

    #[test]
    fn a_kernel_and_a_platform_are_told() {
        let version = |kernel, platform| with_platform("1.2.3".to_owned(), kernel, platform);
        assert_eq!(version(None, None), "1.2.3");
        assert_eq!(version(None, Some("rt")), "1.2.3-rt");
        assert_eq!(version(Some(("docker.io/o/k:eve-arm64-x", "docker.io/o/k:eve-")), Some("rt")), "1.2.3-k-arm64-x-rt");
        assert_eq!(version(Some(("mine/k:1", "docker.io/o/k:eve-")), None), "1.2.3-mine-k-1");
    }

    #[test]
    fn dates_are_right_around_leap_days() {
        for (time, text) in [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (951_868_800, "2000-03-01"), (1_795_305_600, "2026-11-22")] {
            assert_eq!(date(time), text);
        }
    }
}
