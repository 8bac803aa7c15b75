//! `report`: the page has the data that `why`, `size` and `diff` print. `tools/report/tests/browser.rs` uses the page in a browser.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Xtask, clone_tree, tool, wants};
use serde_json::Value;
use std::path::Path;

/// The data in the page.
fn data(page: &Path) -> Value {
    let text = std::fs::read_to_string(page).unwrap();
    serde_json::from_str(text.split_once("id=\"data\">").unwrap().1.split_once("</script>").unwrap().0).unwrap()
}

/// A root file system as that of `version`.
fn image(tree: &Path, version: &str, release: &str) {
    let (root, parts) = (tree.join("../root"), tree.join("dist/amd64").join(version).join("installer"));
    for folder in [&parts, &root.join("etc"), &root.join("var/lib/dpkg/status.d")] {
        std::fs::create_dir_all(folder).unwrap();
    }
    std::fs::write(root.join("etc/eve-release"), release).unwrap();
    std::fs::write(root.join("etc/<b>&"), [7; 5000]).unwrap();
    std::fs::write(root.join("var/lib/dpkg/status.d/libc6"), format!("Package: libc6\nVersion: {release}\nArchitecture: amd64\n")).unwrap();
    tool("mksquashfs", &[root.to_str().unwrap(), parts.join("rootfs.img").to_str().unwrap(), "-quiet", "-no-progress", "-all-root"]);
}

#[test]
fn the_page_has_what_other_verbs_print() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    clone_tree(&tree);
    let xtask = |words: &str| Xtask::new(&tree).args(words.split(' ')).args(["ZARCH=amd64", "ROOTFS_VERSION=new"]);
    let page = tree.join("dist/amd64/new/report.html");
    assert_eq!(xtask("report rootfs -n").ok(), "write dist/amd64/new/report.html\n");
    assert!(!page.exists(), "a dry run writes nothing");
    let (code, said) = xtask("report rootfs --against there").fails();
    assert_eq!((code, said.as_str()), (2, "error: `there` is no file and no version with a root file system (none is built)\n"));
    let (code, said) = xtask("report lvie").fails();
    assert_eq!((code, said.as_str()), (2, "error: `lvie` has no plan\nhint: did you mean live?\n"));
    // A verb whose plan needs more words than its own is not proposed.
    let (code, said) = xtask("report pkg").fails();
    assert_eq!((code, said.as_str()), (2, "error: `pkg` has no plan\nhint: did you mean pkgs?\n"));

    assert!(xtask("report rootfs").ok().starts_with("dist/amd64/new/report.html, "));
    let found = data(&page);
    assert!(found["image"].is_null() && found["changes"].is_null(), "nothing has been built");
    let due: Value = serde_json::from_str(&xtask("why rootfs --json").ok()).unwrap();
    let ids =
        |list: &Value, key: &str| list.as_array().unwrap().iter().map(|step| (step["id"].clone(), step[key].clone())).collect::<Vec<_>>();
    assert_eq!(ids(&found["steps"], "due"), ids(&due, "due"));
    assert_eq!(ids(&found["steps"], "goal"), ids(&due, "goal"));

    if !wants("mksquashfs", "squashfs-tools") {
        return;
    }
    image(&tree, "old", "1.0");
    image(&tree, "new", "1.1");
    let file = tree.join("dist/amd64/old/installer/rootfs.img");
    tool("touch", &["-d", "2026-01-01", file.to_str().unwrap()]);
    xtask("report rootfs").ok();
    let found = data(&page);
    let sizes: Value = serde_json::from_str(&xtask("size dist/amd64/new/installer/rootfs.img --json").ok()).unwrap();
    assert_eq!(found["image"]["sizes"], sizes);
    assert_eq!(found["changes"]["old"], "dist/amd64/old/installer/rootfs.img");
    let changed: Value = serde_json::from_slice(&xtask("diff old new --json").output().stdout).unwrap();
    assert_eq!(found["changes"]["found"]["debian"], changed["debian"]);
    assert_eq!((&found["packages"][0]["name"], &found["packages"][0]["version"]), (&"libc6".into(), &"1.1".into()));
    xtask(&format!("report rootfs --against new --out {}", folder.path().join("page.html").display())).ok();
    let same = data(&folder.path().join("page.html"));
    assert_eq!(same["changes"]["found"]["files"], Value::Array(vec![]));
    // Another version that is not built shows the last build, in a page of its own; the oldest build has none before it.
    let before = std::fs::read(&page).unwrap();
    let next = |version: &str| Xtask::new(&tree).args(["report", "rootfs", "ZARCH=amd64", &format!("ROOTFS_VERSION={version}")]).ok();
    std::os::unix::fs::symlink("new", tree.join("dist/amd64/current")).unwrap();
    assert!(next("next").starts_with("dist/amd64/next/report.html, "));
    assert!(std::fs::read(&page).unwrap() == before, "the page of the last build stays");
    let found = data(&tree.join("dist/amd64/next/report.html"));
    let row = serde_json::json!(["image and times of", "new, the last that was built: next has no root file system"]);
    assert_eq!((&found["facts"][0], &found["image"]["sizes"]), (&row, &sizes));
    assert_eq!(found["changes"]["old"], "dist/amd64/old/installer/rootfs.img");
    next("old");
    let found = data(&tree.join("dist/amd64/old/report.html"));
    assert!(found["changes"].is_null() && found["facts"][0][0] == "engine", "nothing was built before: {}", found["facts"]);
}
