//! Generates the build.yml of a kernel from its template: the user, host and time of the build that the kernel reports. They are constant
//! for a package without changes, so that its build is reproducible; with changes they are those of the newest change.

use diskimage::recipes::date;
use pkgbuild::build_yml::TEMPLATE_IMAGE;

/// The facts of git and of the machine about a kernel's package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelFacts {
    /// The Unix timestamp of the package's last commit.
    pub epoch: i64,
    /// The same as git prints it, `Fri May 5 19:54:39 2023 +0200`.
    pub commit_date: String,
    /// The uncommitted changes, if there are any.
    pub changes: Option<Changes>,
}

/// Uncommitted changes, including untracked files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The Unix timestamp of the newest change.
    pub epoch: i64,
    /// The user that builds.
    pub user: String,
    /// The build machine's name.
    pub host: String,
}

/// Fills the facts into the template. Lines of other arguments stay unchanged.
#[must_use]
pub fn kernel_build_yml(template: &str, facts: &KernelFacts) -> String {
    let values = match &facts.changes {
        None => [facts.commit_date_alone(), "eve".to_owned(), "eve".to_owned(), "true".to_owned(), facts.epoch.to_string()],
        Some(changes) => [clock(changes.epoch), word(&changes.user), word(&changes.host), "false".to_owned(), changes.epoch.to_string()],
    };
    let names = ["KBUILD_BUILD_TIMESTAMP", "KBUILD_BUILD_USER", "KBUILD_BUILD_HOST", "KCONFIG_NOTIMESTAMP", "SOURCE_DATE_EPOCH"];
    let mut out = String::with_capacity(template.len() + 64);
    for line in template.replace(TEMPLATE_IMAGE.0, TEMPLATE_IMAGE.1).lines() {
        let name = line.trim_start().strip_prefix("- ").and_then(|argument| argument.trim_start().split('=').next()).map(str::trim);
        match names.iter().position(|known| Some(*known) == name) {
            Some(at) => out.push_str(&format!("  - {}={}", names[at], values[at])),
            None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

impl KernelFacts {
    /// The commit's date without the time zone: it becomes the time of files, which have none.
    fn commit_date_alone(&self) -> String {
        let date = self.commit_date.trim();
        match date.rsplit_once(' ') {
            Some((alone, zone)) if zone.starts_with(['+', '-']) => alone.trim_end().to_owned(),
            _ => date.to_owned(),
        }
    }
}

/// Replaces characters that would end the name in its line.
fn word(name: &str) -> String {
    let word: String = name.chars().map(|c| if c.is_whitespace() || c.is_control() || c == '#' { '_' } else { c }).collect();
    if word.is_empty() { "unknown".to_owned() } else { word }
}

/// A time as `date` prints it: `Tue Nov 14 22:13:20 UTC 2023`.
fn clock(epoch: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let iso = date(epoch);
    let mut parts = iso.rsplitn(3, '-');
    let (day, month, year) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let name = |names: &[&'static str], at: i64| usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or_default();
    let month = name(&MONTHS, month.parse::<i64>().unwrap_or(1) - 1);
    let second = epoch.rem_euclid(86400);
    let day_name = name(&DAYS, epoch.div_euclid(86400).rem_euclid(7));
    let time = format!("{:02}:{:02}:{:02}", second / 3600, second % 3600 / 60, second % 60);
    format!("{day_name} {month} {:>2} {time} UTC {year}", day.trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "image: eve-kernel\norg: lfedge\nbuildArgs:\n  - KBUILD_BUILD_TIMESTAMP=\n  - KBUILD_BUILD_USER=x\n  - KBUILD_BUILD_HOST=x\n  - KCONFIG_NOTIMESTAMP=true\n  - SOURCE_DATE_EPOCH=\n  - OTHER=KBUILD_BUILD_USER\n";

    fn facts(commit_date: &str, changes: Option<Changes>) -> KernelFacts {
        KernelFacts { epoch: 1_683_309_279, commit_date: commit_date.to_owned(), changes }
    }

    #[test]
    fn a_clean_package_says_nothing_of_the_machine() {
        for zone in ["+0200", "-0700", "+0000"] {
            let text = kernel_build_yml(TEMPLATE, &facts(&format!("Fri May 5 19:54:39 2023 {zone}"), None));
            assert_eq!(
                text,
                "image: eve-kernel\norg: lfedge\nbuildArgs:\n  - KBUILD_BUILD_TIMESTAMP=Fri May 5 19:54:39 2023\n  - KBUILD_BUILD_USER=eve\n  - KBUILD_BUILD_HOST=eve\n  - KCONFIG_NOTIMESTAMP=true\n  - SOURCE_DATE_EPOCH=1683309279\n  - OTHER=KBUILD_BUILD_USER\n"
            );
        }
    }

    #[test]
    fn changes_are_told_and_the_time_is_theirs() {
        let changes = Changes { epoch: 1_700_000_000, user: "DOM\\some one".into(), host: "build-1".into() };
        let text = kernel_build_yml(TEMPLATE, &facts("Fri May 5 19:54:39 2023 +0200", Some(changes)));
        assert_eq!(
            text,
            "image: eve-kernel\norg: lfedge\nbuildArgs:\n  - KBUILD_BUILD_TIMESTAMP=Tue Nov 14 22:13:20 UTC 2023\n  - KBUILD_BUILD_USER=DOM\\some_one\n  - KBUILD_BUILD_HOST=build-1\n  - KCONFIG_NOTIMESTAMP=false\n  - SOURCE_DATE_EPOCH=1700000000\n  - OTHER=KBUILD_BUILD_USER\n"
        );
        assert_eq!(clock(0), "Thu Jan  1 00:00:00 UTC 1970");
        assert_eq!(clock(951_782_399), "Mon Feb 28 23:59:59 UTC 2000");
    }
}
