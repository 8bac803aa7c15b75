//! `pins --release` looks for the lists of all archives before it writes or asks a mirror.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Xtask, clone_tree, tool};
use std::fs;

#[test]
fn an_archive_without_a_list_of_the_release_keeps_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    clone_tree(root);
    let pins = |words: &[&str]| Xtask::new(root).args(["pins"]).args(words);
    let planned = |words: &[&str]| {
        let (out, err) = common::texts(&pins(words).args(["--dry-run"]).output());
        let locks = out.lines().filter_map(|line| line.strip_prefix("renew the lock of pkg/")).map(str::to_owned).collect::<Vec<_>>();
        (locks, err)
    };
    let (locks, said) = planned(&["--release", "trixie", "--arch", "arm64"]);
    assert_eq!(locks, ["debian for arm64 from Debian's trixie"], "{said}");
    for name in ["cross-compilers", "gcc", "golang", "rustc"] {
        let note = format!("note: pkg/{name} keeps its release: there is no list of packages pkg/{name}/mirrors/trixie/packages\n");
        assert!(said.contains(&note), "{said}");
    }
    fs::create_dir(root.join("pkg/gcc/mirrors/trixie")).unwrap();
    fs::write(root.join("pkg/gcc/mirrors/trixie/packages"), "gcc\n").unwrap();
    let (locks, _) = planned(&["--release", "trixie", "--arch", "arm64"]);
    assert_eq!(locks, ["debian for arm64 from Debian's trixie", "gcc for arm64 from Debian's trixie"]);
    // A release that no archive has, one that the named archive has not, and an archive without the list of its own release.
    let refused = |words: &[&str], list: &str| {
        let (code, error) = pins(words).fails();
        assert_eq!(code, 2, "{error}");
        assert!(
            error.contains("there is no list of packages ") && error.contains(list) && error.contains("\nhint: copy the list"),
            "{error}"
        );
    };
    refused(&["--release", "trixi"], "pkg/debian/mirrors/trixi/packages, pkg/cross-compilers/mirrors/trixi/packages");
    refused(&["--release", "trixie", "--archive", "rustc"], "pkg/rustc/mirrors/trixie/packages");
    fs::remove_file(root.join("pkg/rustc/mirrors/bookworm/packages")).unwrap();
    refused(&[], "pkg/rustc/mirrors/bookworm/packages");
    let changed = tool("git", &["-C", root.to_str().unwrap(), "status", "--porcelain"]);
    assert_eq!(changed, " D pkg/rustc/mirrors/bookworm/packages\n?? pkg/gcc/mirrors/trixie/\n");
}
