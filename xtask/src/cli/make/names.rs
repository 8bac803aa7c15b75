//! The targets of the old Makefile, and the verb for each.

use crate::cli::verbs;

/// Renamed targets: the old name, and the words of the verb.
const RENAMED: &[(&str, &[&str])] = &[
    ("all", &["--help"]),
    ("help", &["--help"]),
    ("run-live", &["run"]),
    ("run-live-gui", &["run", "--gui"]),
    ("rootfs.tar", &["rootfstar"]),
    ("rootfs.img", &["rootfs"]),
    ("config.img", &["config"]),
    ("live.raw", &["live-raw"]),
    ("live.qcow2", &["live-qcow2"]),
    ("live.vdi", &["live-vdi"]),
    ("live.parallels", &["live-parallels"]),
    ("live.img.tar.gz", &["live-gcp"]),
    ("installer.raw", &["installer-raw"]),
    ("installer.iso", &["installer-iso"]),
    ("installer.net", &["installer-net"]),
    ("installer.img", &["installer-img"]),
    ("installer.tar", &["installertar"]),
    ("initrd.img", &["initrd"]),
    ("verification.raw", &["verification-raw"]),
    ("linuxkit", &["build-tools", "linuxkit"]),
    ("check-docker-hashes-consistency", &["bump", "--check"]),
];

/// Families of targets: the start and the end of the old name, the verb that takes the middle, and the argument's name for the help.
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
    ("run-rootfs-", "", "run-rootfs", "PLATFORM"),
];

/// The words of the verb for a file that the old Makefile made for itself, and that a person may name.
fn of_file(goal: &str) -> Option<Vec<String>> {
    let owned = |words: &[&str]| Some(words.iter().filter(|word| !word.is_empty()).map(|word| (*word).to_owned()).collect());
    if goal == "pkg-deps.mk" {
        return owned(&["pkg-deps", "--write"]);
    }
    if let Some((name, file)) = goal.strip_prefix("pkg/").and_then(|rest| rest.split_once('/')) {
        return match file {
            "Dockerfile" => owned(&["dockerfile", name]),
            _ if file.ends_with(".tar") => owned(&["pkg-archive", name, file]),
            _ => None,
        };
    }
    let (what, rest) = goal.strip_prefix("images/out/")?.strip_suffix(".yml")?.split_once('-')?;
    let verb = [("rootfs", "rootfs-yml"), ("installer", "installer-yml")].into_iter().find(|(name, _)| *name == what)?.1;
    // No hypervisor has a `-` in its name, platforms have.
    match rest.split_once('-') {
        Some((hv, platform)) => owned(&[verb, "--hv", hv, "--platform", platform]),
        None => owned(&[verb, "--hv", rest]),
    }
}

/// The words of the verb for a target. `foreign` is true for a tree other than this repository, where `test` runs the tree's tests.
#[must_use]
pub fn modern(goal: &str, foreign: bool) -> Vec<String> {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    if foreign && goal == "test" {
        return owned(&["test-pillar"]);
    }
    if let Some((_, words)) = RENAMED.iter().find(|(old, ..)| *old == goal) {
        return owned(words);
    }
    if verbs().any(|verb| verb.name == goal) {
        return owned(&[goal]);
    }
    if let Some(words) = of_file(goal) {
        return words;
    }
    for (before, after, verb, _) in FAMILIES {
        let middle = goal.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).filter(|middle| !middle.is_empty());
        let Some(middle) = middle.filter(|_| verbs().any(|known| known.name == *verb)) else { continue };
        return match *verb {
            "rootfs" => owned(&["rootfs", "--hv", middle]),
            "run-rootfs" => owned(&["run-rootfs", "--platform", middle]),
            // Unlike `pkg/NAME`, `eve-NAME` did not build other packages first.
            "pkg" if *before == "eve-" => owned(&["pkg", middle, "--alone"]),
            // `NAME-show-tag` printed the registry too.
            "show-tag" => owned(&["show-tag", "--canonical", middle]),
            verb => owned(&[verb, middle]),
        };
    }
    owned(&[goal])
}

/// The words of the verb for a family's name, such as `pkg/NAME`.
#[must_use]
pub fn family_command(shown: &str) -> String {
    let of = |(before, after, verb, what): &(&str, &str, &str, &str)| {
        let middle = shown.strip_prefix(before)?.strip_suffix(after)?;
        (middle == *what).then(|| match (*verb, *before) {
            ("pkg", "eve-") => format!("pkg {what} --alone"),
            ("rootfs", _) => format!("rootfs --hv {what}"),
            ("run-rootfs", _) => format!("run-rootfs --platform {what}"),
            ("show-tag", _) => format!("show-tag --canonical {what}"),
            _ => format!("{verb} {what}"),
        })
    };
    FAMILIES.iter().find_map(of).unwrap_or_else(|| shown.to_owned())
}

/// Old names for a "did you mean", besides the verbs.
pub fn old_names() -> impl Iterator<Item = &'static str> {
    RENAMED.iter().map(|(old, ..)| *old).chain(["pkg/", "build-tools/bin/", "eve-", "-show-tag"])
}

/// The verb for an old target and its help, for `make --help TARGET`.
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

/// A page of all targets.
#[must_use]
pub fn all() -> String {
    let mut text = String::new();
    for verb in verbs() {
        text.push_str(&format!("  {:<38} {}\n", verb.name, verb.about));
    }
    for (old, words) in RENAMED {
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
    fn old_names_become_verbs() {
        for (old, new) in [
            ("pkg/grub", "pkg grub"),
            ("eve-grub", "pkg grub --alone"),
            ("eve", "eve"),
            ("grub-show-tag", "show-tag --canonical grub"),
            ("rootfs.tar", "rootfstar"),
            ("show-tag", "show-tag"),
            ("linuxkit", "build-tools linuxkit"),
            ("build-tools", "build-tools"),
            ("build-tools/bin/manifest-tool", "build-tools manifest-tool"),
            ("live-raw", "live-raw"),
            ("rootfs-acrn", "rootfs-acrn"),
            ("rootfs-tools-kvm", "rootfs --hv tools-kvm"),
            ("run-rootfs", "run-rootfs"),
            ("run-rootfs-generic", "run-rootfs --platform generic"),
            ("pkg-deps.mk", "pkg-deps --write"),
            ("pkg/eve/Dockerfile", "dockerfile eve"),
            ("pkg/kube/external-boot-image.tar", "pkg-archive kube external-boot-image.tar"),
            ("images/out/rootfs-kvm-nvidia-jp5.yml", "rootfs-yml --hv kvm --platform nvidia-jp5"),
            ("images/out/installer-k.yml", "installer-yml --hv k"),
            ("images/out/other-k.yml", "images/out/other-k.yml"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(modern(old, false).join(" "), new);
        }
        assert_eq!(modern("test", true), ["test-pillar"]);
    }

    #[test]
    fn every_target_of_the_makefile_is_known() {
        let makefile = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Makefile")).expect("the Makefile");
        let list = makefile.split(".PHONY:").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a list");
        let words: Vec<&str> = list.split_whitespace().filter(|word| *word != "\\").collect();
        assert!(words.len() > 50, "{words:?}");
        for word in words {
            assert!(describe(word).is_some(), "make {word}");
        }
    }

    #[test]
    fn help_explains_an_old_name() {
        assert!(describe("pkg/grub").expect("known").contains("cargo xtask pkg grub"));
        assert_eq!(describe("nonsense"), None);
        assert!(all().contains("run-live"));
    }
}
