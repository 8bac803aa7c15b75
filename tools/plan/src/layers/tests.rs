//! Tests of profiles that extend others, ask the tree, and read values from it.

use super::*;
use crate::Profile;

/// A tree as pairs of path and text.
struct Texts(&'static [(&'static str, &'static str)]);

impl TreeFiles for Texts {
    fn has(&self, path: &str) -> bool {
        self.text(path).is_some()
    }

    fn text(&self, path: &str) -> Option<Rc<str>> {
        self.0.iter().find(|(known, _)| *known == path).map(|(_, text)| Rc::from(*text))
    }
}

#[test]
fn all_shipped_profiles_are_valid() {
    for (name, text) in SHIPPED.iter().filter(|(_, text)| detect(text).is_some()) {
        assert_eq!(
            assemble::<Profile>(text, &NoTree).map(|profile| profile.tree.name).map_err(|error| format!("{error:#}")).as_deref(),
            Ok(*name)
        );
    }
}

#[test]
fn the_lines_of_detect_are_found_in_each_shipped_profile() {
    for (name, text) in SHIPPED {
        let table: Table = toml::from_str(text).expect("valid");
        assert_eq!(detect(text), table.get("detect").map(|table| table.clone().try_into().expect("a table of paths")), "{name}");
    }
}

#[test]
fn a_profile_takes_over_what_it_does_not_set() {
    let profile =
        assemble::<Profile>("extends = \"eve\"\nwithout = [\"firmware.only.arm64\"]\n[tree]\nname = \"fork\"\n", &NoTree).expect("valid");
    assert_eq!((profile.tree.name.as_str(), profile.packages.first.as_slice()), ("fork", &["alpine".to_owned()][..]));
    assert!(!profile.firmware.only.contains_key("arm64"));
    for (text, message) in [
        ("extends = \"evee\"", "there is no such profile"),
        ("extends = 1", "takes the name of a profile"),
        ("extends = \"eve\"\nwithout = [\"parts.none\"]", "there is no `parts.none`"),
        ("extends = \"eve\"\n[rootfs]\nlimt = 1", "limt"),
        ("extends = \"eve\"\n[[when]]\nhave = []", "have"),
    ] {
        let error = format!("{:#}", assemble::<Profile>(text, &NoTree).expect_err(text));
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn conditions_are_asked_of_the_tree_and_values_read_from_it() {
    const TEXT: &str = "extends = \"eve\"\n[read.Makefile]\n\"knobs.GOVER\" = \"GOVER\"\n[tree]\nname = \"x\"\n\
        [[when]]\nhas = [\"a\"]\nlacks = [\"b\"]\nset = { rootfs = { limit = 1 } }\n\
        [[when]]\ntext = { Makefile = \"-smp 8\" }\nno_text = { Makefile = \"-smp 4\" }\nset = { rootfs = { limit = 2 } }\n";
    let limit = |files| assemble::<Profile>(TEXT, &Texts(files)).expect("valid");
    assert_eq!(limit(&[("a", "")]).rootfs.limit, 1);
    assert_ne!(limit(&[("a", ""), ("b", "")]).rootfs.limit, 1);
    assert_eq!(limit(&[("Makefile", "x -smp 8")]).rootfs.limit, 2);
    let profile = limit(&[("Makefile", "GOVER ?= 1.2.3 # the newest\nGOVER = $(X)\nGOVERS = 4\n-smp 8 -smp 4")]);
    assert_eq!(profile.knobs["GOVER"].to_text("kvm").as_deref(), Some("1.2.3"));
    assert_ne!(profile.rootfs.limit, 2, "both conditions must hold");
}
