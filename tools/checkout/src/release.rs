//! Computes the tags of a push from the branch, the output of `git describe`, and the existing releases.

use super::version::is_release;
use plan::Release;

/// The tags of a push: at the newest release, every package gets its tag, and `latest`; at another release, the release's tag; on master
/// `snapshot`; on another branch its name with `_` for `/`. If releases are `exact`, the newest one is treated as any other.
#[must_use]
pub fn of_push(branch: &str, describe: &str, tags: &str, exact: bool) -> Release {
    if !is_release(describe, exact) {
        let name = if branch == "master" { "snapshot".to_owned() } else { branch.replace('/', "_") };
        return Release { hash: None, release: Some(name) };
    }
    let newest = tags.lines().filter(|tag| !exact && is_release(tag, exact)).max_by_key(|tag| order(tag));
    if newest == Some(describe) {
        return Release { hash: Some(describe.to_owned()), release: Some("latest".to_owned()) };
    }
    Release { hash: None, release: Some(describe.to_owned()) }
}

/// The order of releases: by their three numbers, then as text, so that 1.2.3-lts comes after 1.2.3.
fn order(tag: &str) -> (Vec<u64>, &str) {
    let number = |part: &str| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    };
    (tag.splitn(3, '.').map(number).collect(), tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_named_after_where_it_comes_from() {
        let tags = "9.4.0\n10.1.0\n10.1.0-lts\nsnapshot\n";
        for (branch, describe, hash, release) in [
            ("master", "bcf06185", None, "snapshot"),
            ("feature/foo", "bcf06185", None, "feature_foo"),
            ("master", "9.4.0", None, "9.4.0"),
            ("10.1", "10.1.0-lts", Some("10.1.0-lts"), "latest"),
            ("10.1", "10.1.0", None, "10.1.0"),
        ] {
            let want = Release { hash: hash.map(str::to_owned), release: Some(release.to_owned()) };
            assert_eq!(of_push(branch, describe, tags, false), want, "{branch} {describe}");
        }
        for (describe, release) in [("10.1.0-lts", "10.1.0-lts"), ("10.1.0-3-g1234567", "snapshot")] {
            assert_eq!(of_push("master", describe, tags, true), Release { hash: None, release: Some(release.to_owned()) });
        }
    }
}
