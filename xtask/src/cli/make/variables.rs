//! The old Makefile's variables: which are knobs now, and which nobody needs to set any more.

/// Variables that did something once: name, and why there is nothing to set.
const RETIRED: &[(&str, &str)] = &[
    ("RESCAN_DEPS", "templates are looked at whenever a target needs them"),
    ("CROSS", "whether a build is for another machine follows from ZARCH"),
    ("HOSTARCH", "this machine's architecture is asked of the machine"),
    ("EVE_TREE_TAG", "the version comes from git; ROOTFS_VERSION sets another"),
    ("DIST", "artifacts are below dist/ of the tree"),
    ("CURDIR", "--root DIR names another tree"),
    ("QUIET", "-v shows the tools' output"),
    ("DASH_V", "V=1 shows the tools' output"),
];

/// Why setting `name` does nothing now; none for a knob or an unknown name.
#[must_use]
pub fn retired(name: &str) -> Option<&'static str> {
    RETIRED.iter().find(|(known, _)| *known == name).map(|(_, why)| *why)
}

/// What an old variable is now, for `make --help VARIABLE`.
#[must_use]
pub fn describe(name: &str) -> Option<String> {
    if let Some(why) = retired(name) {
        return Some(format!("{name}: not needed any more: {why}"));
    }
    let knob = knobs::find(name)?;
    let default = if knob.default.is_empty() { String::new() } else { format!(" [default: {}]", knob.default) };
    Some(format!("{name}: `--{}`, or {}=… in the environment or after a target\n    {}{default}", knob.flag, knob.name, knob.help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_a_knob_or_retired_never_both() {
        for (name, _) in RETIRED {
            assert!(knobs::find(name).is_none(), "{name} is a knob");
        }
        assert!(describe("IMG_FORMAT").expect("a knob").contains("--image-format"));
        assert!(describe("RESCAN_DEPS").expect("retired").contains("not needed"));
        assert_eq!(describe("NOSUCH"), None);
    }
}
