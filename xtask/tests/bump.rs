//! `bump` on this repository's tree and on trees like lf-edge/eve: what it prints, writes, commits and refuses. git is the referee of tags.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Xtask, clone_tree, git, init, shell, texts};
use std::path::Path;
use xshell::cmd;

/// The program with the fixed identity of a committer.
fn xtask(root: &Path) -> Xtask {
    [("GIT_AUTHOR_NAME", "n"), ("GIT_AUTHOR_EMAIL", "e@x"), ("GIT_COMMITTER_NAME", "n"), ("GIT_COMMITTER_EMAIL", "e@x")]
        .iter()
        .fold(Xtask::new(root), |xtask, (name, value)| xtask.env(name, value))
}

fn git_says(root: &Path, words: &[&str]) -> String {
    let sh = shell(root);
    cmd!(sh, "git {words...}").read().unwrap()
}

/// Every tag of a package in the Dockerfiles is `show-tag`'s.
fn tags_are_shown(root: &Path) {
    let shown = Xtask::new(root).args(["show-tag"]).ok();
    let mut count = 0;
    for package in std::fs::read_dir(root.join("pkg")).unwrap() {
        let Ok(text) = std::fs::read_to_string(package.unwrap().path().join("Dockerfile")) else { continue };
        for word in text.split_whitespace().filter(|word| word.starts_with("lfedge/eve-") && word.contains(':')) {
            assert!(shown.lines().any(|line| line == word), "{word} is not in\n{shown}");
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}

#[test]
fn a_changed_archive_moves_everything_that_follows_in_one_commit() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    clone_tree(root);
    let file = root.join("pkg/debian/applets");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text + "\n").unwrap();

    // A commit of the new tags alone would name an archive that nobody committed.
    let (code, error) = xtask(root).args(["bump", "--commit"]).fails();
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("uncommitted changes would be mixed with the new tags: pkg/debian\nhint: commit them first"), "{error}");
    assert_eq!(git_says(root, &["status", "--porcelain"]), " M pkg/debian/applets");

    git(root, &["commit", "-qam", "the archive"]);
    let (code, error) = xtask(root).args(["bump", "--check"]).fails();
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("places have an old tag\nhint: cargo xtask bump, or cargo xtask bump --commit"), "{error}");
    // Something that is staged stays staged, and out of the commit.
    std::fs::write(root.join("NOTES"), "mine").unwrap();
    git(root, &["add", "NOTES"]);
    let dry = xtask(root).args(["-n", "bump"]).ok();
    assert_eq!(git_says(root, &["status", "--porcelain"]), "A  NOTES");
    let said = xtask(root).args(["bump", "--commit", "--signoff"]).ok();
    assert!(said.starts_with(dry.as_str()), "{said}");
    assert!(
        said.contains("--- a/pkg/containerd/Dockerfile\n+++ b/pkg/containerd/Dockerfile\n@@ ") && said.contains("\n3 new tags in "),
        "{said}"
    );
    assert_eq!(git_says(root, &["status", "--porcelain"]), "A  NOTES");
    let message = git_says(root, &["log", "-1", "--format=%B"]);
    let new = git_says(root, &["rev-parse", "HEAD:pkg/debian"]);
    assert!(message.starts_with("bump: ") && message.contains(&format!(" -> {new}\n")), "{message}");
    assert!(message.contains("\nlfedge/eve-debian: ") && message.contains("Signed-off-by: n <e@x>"), "{message}");
    assert!(
        git_says(root, &["show", "--stat", "--format=", "HEAD"])
            .lines()
            .all(|line| line.contains("Dockerfile") || line.contains("changed"))
    );

    assert_eq!(xtask(root).args(["bump", "--check"]).ok(), "");
    assert_eq!(xtask(root).args(["make", "check-docker-hashes-consistency"]).ok(), "");
    tags_are_shown(root);
    assert_eq!(xtask(root).args(["bump", "--commit"]).ok(), "every tag is the present one: nothing to change\n");
}

/// A tree like lf-edge/eve: a base, what starts from it, a variant, a Dockerfile.in, and folders that keep old tags.
fn eve(root: &Path) {
    let old = "0123456789abcdef0123456789abcdef01234567";
    let files = [
        ("images/rootfs.yml.in", format!("init:\n  - lfedge/eve-dom0:{old}\n")),
        ("images/installer.yml.in", "init: []\n".to_owned()),
        ("images/modifiers/hv/kvm.yq", ".".to_owned()),
        ("kernel-version.mk", "KERNEL_TAG=k\n".to_owned()),
        ("pkg/alpine/Dockerfile", format!("FROM lfedge/eve-alpine:{old} AS cache\nFROM alpine:3.16\n")),
        (
            "pkg/pillar/Dockerfile",
            format!(
                "ARG EVE_ALPINE_IMAGE=lfedge/eve-alpine:{old}\nFROM lfedge/eve-dom0:{old}  AS zfs\nFROM ${{EVE_ALPINE_IMAGE}} AS build\nFROM lfedge/eve-rust:1.93.1-1 AS rust\nFROM scratch\nCOPY --from=build / /\nCOPY --from=zfs / /\n"
            ),
        ),
        ("pkg/pillar/build-dev.yml", "org: lfedge\nimage: eve-pillar\ntag: \"{{.Hash}}-dev\"\n".to_owned()),
        ("pkg/dom0/Dockerfile", format!("FROM lfedge/eve-alpine:{old} AS zfs\nFROM lfedge/eve-rust:1.93.1-1\n")),
        ("pkg/eve/Dockerfile.in", format!("FROM lfedge/eve-alpine:{old} AS tools\nFROM XENTOOLS_TAG\n")),
        ("pkg/kube/Dockerfile", format!("FROM lfedge/eve-pillar:{old}-dev-arm64\n")),
        ("evetest/Dockerfile", format!("FROM lfedge/eve-alpine:{old}\n")),
    ];
    for (name, text) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    for package in ["alpine", "pillar", "dom0", "eve", "kube"] {
        std::fs::write(root.join(format!("pkg/{package}/build.yml")), format!("org: lfedge\nimage: eve-{package}\n")).unwrap();
    }
    init(root, "master", "eve");
}

#[test]
fn a_tree_like_lf_edge_eve_is_bumped_to_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    eve(root);
    let output = xtask(root).args(["bump", "--check"]).output();
    let (said, error) = texts(&output);
    let alpine = git_says(root, &["rev-parse", "HEAD:pkg/alpine"]);
    let old = "0123456789abcdef0123456789abcdef01234567";
    assert!(said.contains(&format!("pkg/pillar/Dockerfile uses lfedge/eve-alpine:{old} but {alpine} is built in this repo\n")), "{said}");
    assert!(!said.contains("evetest") && !said.contains("pkg/alpine/"), "{said}");
    assert_eq!(said.lines().count(), 6, "{said}");
    assert!(error.contains("6 places have an old tag"), "{error}");

    xtask(root).args(["bump", "--commit"]).ok();
    let id = |package: &str| git_says(root, &["rev-parse", &format!("HEAD:pkg/{package}")]);
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    assert!(read("pkg/pillar/Dockerfile").starts_with(&format!(
        "ARG EVE_ALPINE_IMAGE=lfedge/eve-alpine:{}\nFROM lfedge/eve-dom0:{}  AS zfs\n",
        id("alpine"),
        id("dom0")
    )));
    assert_eq!(read("pkg/kube/Dockerfile"), format!("FROM lfedge/eve-pillar:{}-dev-arm64\n", id("pillar")));
    assert!(read("pkg/eve/Dockerfile.in").starts_with(&format!("FROM lfedge/eve-alpine:{} AS tools", id("alpine"))));
    assert_eq!(read("images/rootfs.yml.in"), format!("init:\n  - lfedge/eve-dom0:{}\n", id("dom0")));
    assert_eq!(git_says(root, &["status", "--porcelain"]), "");
    assert_eq!(xtask(root).args(["bump", "--check"]).ok(), "");

    // An external image, in update-component-sha's words and as NAME=TAG; what follows moves too.
    xtask(root).args(["bump", "--image", "lfedge/eve-rust", "1.94.0", "--commit"]).ok();
    assert!(git_says(root, &["log", "-1", "--format=%s"]).starts_with("bump: lfedge/eve-rust and "));
    assert!(read("pkg/pillar/Dockerfile").contains("lfedge/eve-rust:1.94.0 AS rust"));
    assert_eq!(xtask(root).args(["bump", "--check"]).ok(), "");
    std::fs::write(root.join("pkg/dom0/Dockerfile"), read("pkg/dom0/Dockerfile").replace("1.94.0", "1.93.1-1")).unwrap();
    git(root, &["commit", "-qam", "back"]);
    xtask(root).args(["bump", "--commit"]).ok();
    let (code, error) = xtask(root).args(["bump", "--check"]).fails();
    assert!(code == 1 && error.contains("hint: cargo xtask bump lfedge/eve-rust=1.93.1-1"), "{error}");
    let json = xtask(root).args(["-n", "--json", "bump", "lfedge/eve-rust=1.95"]).ok();
    let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
    let rust: Vec<&serde_json::Value> = rows.as_array().unwrap().iter().filter(|row| row["image"] == "lfedge/eve-rust").collect();
    assert!(rust.iter().any(|row| row["file"] == "pkg/dom0/Dockerfile" && row["old"] == "1.93.1-1" && row["new"] == "1.95"), "{json}");
    xtask(root).args(["bump", "lfedge/eve-rust=1.95"]).ok();
    git(root, &["commit", "-qam", "rust"]);
    assert_eq!(xtask(root).args(["bump", "--check"]).ok(), "");
    for (words, hint) in [
        (&["bump", "nothing"][..], "there is no package `nothing`"),
        (&["bump", "lfedge/eve-nothing=1"], "no yml, Dockerfile or Makefile of the tree names the image `lfedge/eve-nothing`"),
        (&["bump", "a=1", "b=2"], "NAME=TAG stands alone"),
        (&["bump", "alpine=a/b"], "is no tag"),
        (&["bump", "--check", "lfedge/eve-rust=2"], "--check compares the tags of packages and sets none: `lfedge/eve-rust=2`"),
    ] {
        let (_, error) = xtask(root).args(words).fails();
        assert!(error.contains(hint), "{words:?}: {error}");
    }
}

#[test]
fn a_commit_that_git_refuses_leaves_the_files_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    eve(root);
    child::fake::executable(&root.join(".git/hooks/pre-commit"), "#!/bin/sh\necho no >&2\nexit 1\n");
    let (code, error) = xtask(root).env("GIT_CONFIG_GLOBAL", "/dev/null").args(["bump", "--commit"]).fails();
    assert!(code != 0 && error.contains("git did not commit; the files are as they were"), "{error}");
    assert_eq!(git_says(root, &["status", "--porcelain"]), "");
}
