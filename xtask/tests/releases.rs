//! What changes git or installs tools, on real repositories made for the test: releases, patches, the pinned linuxkit.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, git};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A clone on master with an origin, of a tree that pins a linuxkit.
struct Clone {
    folder: tempfile::TempDir,
}

impl Clone {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Self { folder };
        let root = made.root();
        made.write(
            "xtask.toml",
            "[tree]\nname = \"small\"\nengine = \"linuxkit\"\n[packages]\nfolder = \"pkg\"\n[templates]\nrootfs = \"images/rootfs.yml.in\"\n[rootfs]\nlimit = 1\n\
             [live]\nparts = [\"efi\"]\n[firmware]\npackage = \"uefi\"\nfiles = []\n[tools.linuxkit]\nversion = \"0\"\nsource = \"nowhere\"\n",
        );
        made.write("conf/server", "example.org\n");
        made.write("conf/authorized_keys", "");
        made.write(".gitignore", "/dist\n/build-tools\n");
        for words in [&["init", "-q", "-b", "master"][..], &["add", "-A"], &["commit", "-q", "-m", "one"]] {
            git(&root, words);
        }
        for (name, value) in [("user.name", "test"), ("user.email", "test@example.org")] {
            git(&root, &["config", name, value]);
        }
        let origin = made.folder.path().join("origin.git");
        git(made.folder.path(), &["clone", "-q", "--bare", root.to_str().unwrap(), origin.to_str().unwrap()]);
        git(&root, &["remote", "add", "origin", origin.to_str().unwrap()]);
        git(&root, &["fetch", "-q", "origin"]);
        made
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn xtask(&self) -> Xtask {
        Xtask::new(&self.root()).env("HOME", self.folder.path())
    }

    /// What git says of branches, tags, the commit and the state.
    fn state(&self) -> String {
        ["show-ref", "status --porcelain", "log --format=%s -1", "rev-parse --abbrev-ref HEAD"]
            .map(|words| git_says(&self.root(), words))
            .join("\n")
    }
}

fn git_says(folder: &Path, words: &str) -> String {
    let output = Command::new("git").args(words.split(' ')).current_dir(folder).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_release_is_a_branch_with_the_server_and_a_tag_or_nothing_at_all() {
    let clone = Clone::new();
    let before = clone.state();
    for (words, why) in [(&["release"][..], "VERSION"), (&["release", "VERSION=1.2"], "x.y.z")] {
        let (code, error) = clone.xtask().args(words).fails();
        assert!(code == 2 && error.contains(why), "{error}");
    }
    clone.write("conf/server", "mine\n");
    let (code, error) = clone.xtask().args(["release", "VERSION=1.2.3"]).fails();
    assert!(code == 2 && error.contains("conf/server"), "{error}");
    git(&clone.root(), &["checkout", "-q", "conf/server"]);
    assert_eq!(clone.state(), before, "refusals change nothing");

    clone.xtask().args(["release", "VERSION=1.2.3"]).ok();
    assert_eq!(git_says(&clone.root(), "rev-parse --abbrev-ref HEAD"), "1.2");
    assert_eq!(git_says(&clone.root(), "describe --tags"), "1.2.3");
    assert_eq!(fs::read_to_string(clone.root().join("conf/server")).unwrap(), "zedcloud.zededa.net\n");

    // At the tag there is nothing to patch; a commit later there is.
    assert_eq!(clone.xtask().args(["patch"]).fails().0, 2);
    git(&clone.root(), &["commit", "-q", "--allow-empty", "-m", "fix"]);
    clone.xtask().args(["patch"]).ok();
    assert_eq!(git_says(&clone.root(), "describe --tags"), "1.2.4");

    git(&clone.root(), &["checkout", "-q", "master"]);
    let before = clone.state();
    let (code, error) = clone.xtask().args(["release", "VERSION=1.2.4"]).fails();
    assert!(code == 2 && error.contains("the tag 1.2.4 exists already"), "{error}");
    assert_eq!(clone.state(), before);
    git(&clone.root(), &["checkout", "-q", "1.2"]);
    let (code, error) = clone.xtask().args(["release", "VERSION=1.3.0"]).fails();
    assert!(code == 2 && error.contains("starts from master"), "{error}");
}

#[test]
fn a_key_for_ssh_changes_nothing_that_is_tracked() {
    let clone = Clone::new();
    if !common::has("ssh-keygen") {
        return common::skipped("a_key_for_ssh_changes_nothing_that_is_tracked", "ssh-keygen is not on this machine");
    }
    clone.xtask().args(["ssh-key"]).ok();
    assert_eq!(git_says(&clone.root(), "status --porcelain"), "");
    let conf = clone.root().join("dist/conf");
    assert!(fs::read_to_string(conf.join("authorized_keys")).unwrap().starts_with("ssh-"));
    assert!(conf.join("server").is_file() && !conf.join("ssh.key").exists() && clone.root().join("dist/ssh.key").is_file());
}

#[test]
fn linuxkit_is_built_from_exactly_the_pinned_commit() {
    let clone = Clone::new();
    let source = clone.folder.path().join("linuxkit.git");
    fs::create_dir_all(source.join("src/cmd/linuxkit")).unwrap();
    fs::write(source.join("src/cmd/linuxkit/main.go"), "package main\n").unwrap();
    for words in [&["init", "-q", "-b", "main"][..], &["add", "-A"], &["commit", "-q", "-m", "one"]] {
        git(&source, words);
    }
    let commit = git_says(&source, "rev-parse HEAD");
    // A stand-in for Go: the program that it builds is its source.
    let bin = clone.folder.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let go = "#!/bin/sh\n[ \"$1\" = version ] && { echo go version go1.22.0; exit; }\necho $* > \"$HOME/go-calls\"\n[ -n \"$GOFLAGS\" ] && exit 9\ncp main.go \"$4\"\n";
    common::script(&bin.join("go"), go);
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display());
    let source_knob = format!("LINUXKIT_SOURCE={}", source.display());
    let build = |version: &str| {
        clone.xtask().env("PATH", &path).env("GOFLAGS", "-x").args(["build-tools", &source_knob, &format!("LINUXKIT_VERSION={version}")])
    };

    let (_, error) = build("0123456789012345678901234567890123456789").fails();
    assert!(error.contains("fetching 0123456789"), "{error}");
    let tools = clone.root().join("build-tools/bin");
    assert!(!tools.join("linuxkit").exists());

    assert!(build(&commit).ok().contains("made: build-tools/bin/linuxkit"));
    assert_eq!(fs::read_to_string(tools.join("linuxkit")).unwrap(), "package main\n");
    assert!(tools.join(format!("linuxkit.{commit}")).is_file());
    fs::remove_file(clone.folder.path().join("go-calls")).unwrap();
    assert!(build(&commit).ok().contains("up to date"));
    assert!(!clone.folder.path().join("go-calls").exists(), "nothing is built twice");

    // Another pin takes the place of the first, and of its marker.
    git(&source, &["commit", "-q", "--allow-empty", "-m", "two"]);
    let next = git_says(&source, "rev-parse HEAD");
    build(&next).ok();
    assert!(tools.join(format!("linuxkit.{next}")).is_file() && !tools.join(format!("linuxkit.{commit}")).exists());
}
