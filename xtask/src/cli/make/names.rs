//! The old Makefile's targets: what each is called now.

use crate::cli::verbs;

/// Targets with a name of their own that are spelled otherwise now: old name, present words, and a word more for `--help`.
const RENAMED: &[(&str, &[&str], &str)] = &[
    ("all", &["--help"], ""),
    ("help", &["--help"], ""),
    ("run-live", &["run"], ""),
    ("rootfs.tar", &["rootfstar"], ""),
    ("rootfs.img", &["rootfs"], ""),
    ("config.img", &["config"], ""),
    ("live.raw", &["live-raw"], ""),
    ("live.qcow2", &["live-qcow2"], ""),
    ("live.vdi", &["live-vdi"], ""),
    ("live.parallels", &["live-parallels"], ""),
    ("live.img.tar.gz", &["live-gcp"], ""),
    ("installer.raw", &["installer-raw"], ""),
    ("installer.iso", &["installer-iso"], ""),
    ("installer.net", &["installer-net"], ""),
    ("installer.img", &["installer-img"], ""),
    ("installer.tar", &["installertar"], ""),
    ("initrd.img", &["initrd"], ""),
    ("verification.raw", &["verification-raw"], ""),
    ("linuxkit", &["build-tools", "linuxkit"], ""),
];

/// Families: what an old name begins and ends with, the verb that takes the middle, and the argument's name for help.
const FAMILIES: &[(&str, &str, &str, &str)] = &[
    ("pkg/", "", "pkg", "NAME"),
    ("build-tools/bin/", "", "build-tools", "TOOL"),
    ("", "-cache-export-docker-load", "cache-export-docker-load", "NAME"),
    ("", "-show-tag", "show-tag", "NAME"),
    ("eve-", "", "pkg", "NAME"),
    ("pillar-", "", "pillar", "TARGET"),
    ("proto-api-", "", "proto", "LANGUAGE"),
    ("proto-", "", "proto", "LANGUAGE"),
    ("rootfs-", "", "rootfs", "HV"),
];

/// The present words for one old target, or the target itself. `foreign` is true for a tree that is not this repository: there
/// `test` is the tree's own.
#[must_use]
pub fn modern(goal: &str, foreign: bool) -> Vec<String> {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    if foreign && goal == "test" {
        return owned(&["test-pillar"]);
    }
    if let Some((_, words, _)) = RENAMED.iter().find(|(old, ..)| *old == goal) {
        return owned(words);
    }
    if verbs().any(|verb| verb.name == goal) {
        return owned(&[goal]);
    }
    for (before, after, verb, _) in FAMILIES {
        let middle = goal.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).filter(|middle| !middle.is_empty());
        let Some(middle) = middle.filter(|_| verbs().any(|known| known.name == *verb)) else { continue };
        return match *verb {
            "rootfs" => owned(&["rootfs", "--hv", middle]),
            // `pkg/pillar` was its ordered form.
            "pkg" if *before == "eve-" => owned(&["pkg", middle, "--alone"]),
            verb => owned(&[verb, middle]),
        };
    }
    owned(&[goal])
}

/// Old names that a near miss may have meant, besides the verbs.
pub fn old_names() -> impl Iterator<Item = &'static str> {
    RENAMED.iter().map(|(old, ..)| *old).chain(["pkg/", "build-tools/bin/", "eve-", "-show-tag"])
}

/// What an old target is now, for `make --help TARGET`.
#[must_use]
pub fn describe(goal: &str) -> Option<String> {
    let words = modern(goal, false);
    let verb = words.first().map(String::as_str).unwrap_or_default();
    if verb == "--help" {
        return Some(format!("{goal}: `cargo xtask --help`"));
    }
    let verb = verbs().find(|known| known.name == verb)?;
    Some(format!("{goal}: `cargo xtask {}`\n    {}", words.join(" "), verb.about))
}

/// A page of all old names.
#[must_use]
pub fn all() -> String {
    let mut text = String::new();
    for verb in verbs() {
        text.push_str(&format!("  {:<38} {}\n", verb.name, verb.about));
    }
    for (old, words, _) in RENAMED {
        text.push_str(&format!("  {old:<38} cargo xtask {}\n", words.join(" ")));
    }
    for (before, after, verb, what) in FAMILIES {
        text.push_str(&format!("  {:<38} cargo xtask {verb} {what}\n", format!("{before}{what}{after}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_names_have_present_ones() {
        for (old, new) in [
            ("pkg/grub", "pkg grub"),
            ("eve-grub", "pkg grub --alone"),
            ("eve", "eve"),
            ("grub-show-tag", "show-tag grub"),
            ("rootfs.tar", "rootfstar"),
            ("show-tag", "show-tag"),
            ("linuxkit", "build-tools linuxkit"),
            ("build-tools", "build-tools"),
            ("build-tools/bin/manifest-tool", "build-tools manifest-tool"),
            ("live-raw", "live-raw"),
            ("rootfs-acrn", "rootfs-acrn"),
            ("rootfs-tools-kvm", "rootfs --hv tools-kvm"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(modern(old, false).join(" "), new);
        }
        assert_eq!(modern("test", true), ["test-pillar"]);
    }

    #[test]
    fn every_word_that_the_makefile_lists_means_something() {
        let makefile = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Makefile")).expect("the Makefile");
        let list = makefile.split(".PHONY:").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a list");
        let words: Vec<&str> = list.split_whitespace().filter(|word| *word != "\\").collect();
        assert!(words.len() > 50, "{words:?}");
        for word in words {
            assert!(describe(word).is_some(), "make {word}");
        }
    }

    #[test]
    fn what_a_name_is_now_can_be_asked() {
        assert!(describe("pkg/grub").expect("known").contains("cargo xtask pkg grub"));
        assert_eq!(describe("nonsense"), None);
        assert!(all().contains("run-live"));
    }
}
