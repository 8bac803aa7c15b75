//! The variables of the old Makefile: those that are knobs now, and those that have no effect any more.

/// Variables without effect, and why.
const RETIRED: &[(&str, &str)] = &[
    ("RESCAN_DEPS", "templates are read whenever a target needs them"),
    ("CROSS", "ZARCH alone decides whether a build is for another architecture"),
    ("HOSTARCH", "xtask detects this machine's architecture"),
    ("EVE_TREE_TAG", "the version comes from git; ROOTFS_VERSION overrides it"),
    ("DIST", "artifacts are in dist/ of the tree"),
    ("CURDIR", "--root DIR names another tree"),
    ("VERIFICATION_IMG_FORMAT", "verification-raw makes a disk, which was its only value"),
    ("QUIET", "-v shows the tools' output"),
    ("DASH_V", "V=1 shows the tools' output"),
];

/// Why the variable `name` has no effect; none for a knob or an unknown name.
#[must_use]
pub fn retired(name: &str) -> Option<&'static str> {
    RETIRED.iter().find(|(known, _)| *known == name).map(|(_, why)| *why)
}

/// The text of `make --help VARIABLE`; none for an unknown name.
#[must_use]
pub fn describe(name: &str) -> Option<String> {
    if let Some(why) = retired(name) {
        return Some(format!("{name}: has no effect any more: {why}"));
    }
    if name == "NCORES" {
        return Some("NCORES: the number of steps that run at once, as `-jN`".to_owned());
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
        assert!(describe("RESCAN_DEPS").expect("retired").contains("has no effect"));
        assert!(describe("NCORES").expect("known").contains("-jN"));
        assert_eq!(describe("NOSUCH"), None);
    }
}
