//! What changes git or installs tools, on real repositories made for the test: releases, patches, the pinned linuxkit.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, init, shell};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use xshell::{Shell, cmd};

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
             [live]\nparts = [\"efi\"]\n[firmware]\npackage = \"uefi\"\nfiles = []\n[tools.linuxkit]\ncommit = \"0\"\nrepository = \"nowhere\"\npackage = \"src/cmd/linuxkit\"\n",
        );
        made.write("conf/server", "example.org\n");
        made.write("conf/authorized_keys", "");
        made.write(".gitignore", "/dist\n/build-tools\n");
        init(&root, "master", "one");
        let (sh, origin) = (made.shell(), made.origin());
        cmd!(sh, "git config user.name test").run().unwrap();
        cmd!(sh, "git config user.email test@example.org").run().unwrap();
        cmd!(sh, "git clone -q --bare . {origin}").run().unwrap();
        cmd!(sh, "git remote add origin {origin}").run().unwrap();
        cmd!(sh, "git fetch -q origin").run().unwrap();
        made
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    fn origin(&self) -> PathBuf {
        self.folder.path().join("origin.git")
    }

    /// A shell in the tree.
    fn shell(&self) -> Shell {
        shell(&self.root())
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

trait Version {
    fn arg_version(self) -> String;
}

impl Version for Xtask {
    /// What `version` prints.
    fn arg_version(self) -> String {
        self.args(["version"]).ok().trim().to_owned()
    }
}

fn git_says(folder: &Path, words: &str) -> String {
    let sh = shell(folder);
    cmd!(sh, "git").args(words.split(' ')).read().unwrap()
}

#[test]
fn a_release_is_a_branch_with_the_server_and_a_tag_or_nothing_at_all() {
    let clone = Clone::new();
    let (sh, before) = (clone.shell(), clone.state());
    for (words, why) in [(&["release"][..], "VERSION"), (&["release", "VERSION=1.2"], "x.y.z")] {
        let (code, error) = clone.xtask().args(words).fails();
        assert!(code == 2 && error.contains(why), "{error}");
    }
    clone.write("conf/server", "mine\n");
    let (code, error) = clone.xtask().args(["release", "VERSION=1.2.3"]).fails();
    assert!(code == 2 && error.contains("conf/server"), "{error}");
    cmd!(sh, "git checkout -q conf/server").run().unwrap();
    assert_eq!(clone.state(), before, "refusals change nothing");

    clone.xtask().args(["release", "VERSION=1.2.3"]).ok();
    assert_eq!(git_says(&clone.root(), "rev-parse --abbrev-ref HEAD"), "1.2");
    assert_eq!(git_says(&clone.root(), "describe --tags"), "1.2.3");
    assert_eq!(fs::read_to_string(clone.root().join("conf/server")).unwrap(), "zedcloud.zededa.net\n");

    // At the tag there is nothing to patch; a commit later there is.
    assert_eq!(clone.xtask().args(["patch"]).fails().0, 2);
    cmd!(sh, "git commit -q --allow-empty -m fix").run().unwrap();
    clone.xtask().args(["patch"]).ok();
    assert_eq!(git_says(&clone.root(), "describe --tags"), "1.2.4");

    cmd!(sh, "git checkout -q master").run().unwrap();
    let before = clone.state();
    let (code, error) = clone.xtask().args(["release", "VERSION=1.2.4"]).fails();
    assert!(code == 2 && error.contains("the tag 1.2.4 exists already"), "{error}");
    assert_eq!(clone.state(), before);
    cmd!(sh, "git checkout -q 1.2").run().unwrap();
    let (code, error) = clone.xtask().args(["release", "VERSION=1.3.0"]).fails();
    assert!(code == 2 && error.contains("starts from master"), "{error}");
}

#[test]
fn a_tag_that_only_origin_has_stops_a_release_before_it_begins() {
    let clone = Clone::new();
    let (sh, origin) = (clone.shell(), clone.origin());
    cmd!(sh, "git -C {origin} tag -a -m x 1.2.3 master").run().unwrap();
    cmd!(sh, "git commit -q --allow-empty -m two").run().unwrap();
    cmd!(sh, "git push -q origin master").run().unwrap();
    cmd!(sh, "git -C {origin} tag -f -a -m x 1.2.3 master").run().unwrap();
    let (code, error) = clone.xtask().args(["release", "VERSION=1.2.3"]).fails();
    assert!(code == 2 && error.contains("the tag 1.2.3 exists already"), "{error}");
    assert_eq!(git_says(&clone.root(), "branch --format=%(refname:short)"), "master");
}

/// What git said is remembered; whatever its words depend on makes it be asked again.
#[test]
fn the_version_is_always_gits() {
    let clone = Clone::new();
    let (sh, root) = (clone.shell(), clone.root());
    let version = || clone.xtask().arg_version();
    let commit = |name: &str| cmd!(sh, "git commit -q --allow-empty -m {name}").run().unwrap();
    let short = || git_says(&root, "rev-parse --short=8 HEAD");
    for _ in 0..2 {
        assert_eq!(version(), format!("0.0.0-master-{}", short()));
    }
    commit("two");
    assert_eq!(version(), format!("0.0.0-master-{}", short()));
    cmd!(sh, "git tag -a -m x v9.9.1").run().unwrap();
    assert_eq!(version(), "v9.9.1");
    cmd!(sh, "git tag -d v9.9.1").run().unwrap();
    assert_eq!(version(), format!("0.0.0-master-{}", short()));

    // A branch that is another name of one.
    cmd!(sh, "git symbolic-ref refs/heads/main refs/heads/master").run().unwrap();
    cmd!(sh, "git symbolic-ref HEAD refs/heads/main").run().unwrap();
    let before = version();
    commit("three");
    assert!(before != version() && version().ends_with(&short()), "{}", version());
    cmd!(sh, "git symbolic-ref HEAD refs/heads/master").run().unwrap();

    // The history's end moves.
    cmd!(sh, "git tag -a -m x v9.9.2").run().unwrap();
    commit("four");
    let (full, shallow) = (version(), clone.folder.path().join("shallow"));
    let url = format!("file://{}", root.display());
    cmd!(sh, "git clone -q --depth=1 --no-tags {url} {shallow}").run().unwrap();
    let of_shallow = || Xtask::new(&shallow).env("HOME", clone.folder.path()).arg_version();
    cmd!(sh, "git -C {shallow} fetch -q --depth=1 origin tag v9.9.2").run().unwrap();
    assert_eq!(of_shallow(), format!("0.0.0-master-{}", short()));
    cmd!(sh, "git -C {shallow} fetch -q --unshallow").run().unwrap();
    assert_eq!(of_shallow(), full);
    assert!(full.starts_with("v9.9.2-1-g"), "{full}");

    // Somebody commits while git is asked: what it says then is not kept for the commit that was looked at.
    commit("five");
    let bin = clone.folder.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    child::fake::executable(
        &bin.join("git"),
        "#!/bin/sh\ncase \" $* \" in *\" log \"*) /usr/bin/env PATH=/usr/local/bin:/usr/bin:/bin git commit -q --allow-empty -m race;; esac\nPATH=/usr/local/bin:/usr/bin:/bin exec git \"$@\"\n",
    );
    clone.xtask().env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display())).args(["version"]).output();
    assert_eq!(git_says(&root, "log -1 --format=%s"), "race");
    cmd!(sh, "git checkout -q HEAD~1").run().unwrap();
    assert_eq!(version(), format!("v9.9.2-2-g{}", git_says(&root, "rev-parse --short HEAD")));
}

#[test]
fn a_key_for_ssh_changes_nothing_that_is_tracked() {
    let clone = Clone::new();
    if !common::wants("ssh-keygen", "openssh-client") {
        return;
    }
    clone.xtask().args(["ssh-key"]).ok();
    assert_eq!(git_says(&clone.root(), "status --porcelain"), "");
    let conf = clone.root().join("dist/conf");
    assert!(fs::read_to_string(conf.join("authorized_keys")).unwrap().starts_with("ssh-"));
    assert!(conf.join("server").is_file() && !conf.join("ssh.key").exists() && clone.root().join("dist/ssh.key").is_file());

    // A second time nothing is lost: neither the key nor what was changed in the copy.
    let key = fs::read(clone.root().join("dist/ssh.key")).unwrap();
    fs::write(conf.join("server"), "mine").unwrap();
    fs::write(conf.join("authorized_keys"), "ssh-ed25519 AAAA me").unwrap();
    let (said, notes) = common::texts(&clone.xtask().args(["ssh-key"]).output());
    assert!(said.starts_with("kept: dist/ssh.key and dist/conf"), "{said}");
    let note = "note: dist/conf is not what conf is now: server (other content)\nhint: rm -r dist/conf && cargo xtask";
    assert!(notes.contains(note), "{notes}");
    assert_eq!(fs::read(clone.root().join("dist/ssh.key")).unwrap(), key);
    assert_eq!(fs::read_to_string(conf.join("server")).unwrap(), "mine");
    let keys = fs::read_to_string(conf.join("authorized_keys")).unwrap();
    assert!(keys.starts_with("ssh-ed25519 AAAA me\nssh-") && keys.lines().count() == 2, "{keys}");
}

#[test]
fn linuxkit_is_built_from_exactly_the_pinned_commit() {
    let clone = Clone::new();
    let source = clone.folder.path().join("linuxkit.git");
    fs::create_dir_all(source.join("src/cmd/linuxkit")).unwrap();
    fs::write(source.join("src/cmd/linuxkit/main.go"), "package main\n").unwrap();
    init(&source, "main", "one");
    let sh = clone.shell();
    let commit = git_says(&source, "rev-parse HEAD");
    // A stand-in for Go: the program that it builds is its source.
    let bin = clone.folder.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let go = "#!/bin/sh\n[ \"$1\" = version ] && { echo go version go1.22.0; exit; }\necho $* > \"$HOME/go-calls\"\n[ -n \"$GOFLAGS\" ] && exit 9\ncp main.go \"$5\"\n";
    child::fake::executable(&bin.join("go"), go);
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
    cmd!(sh, "git -C {source} commit -q --allow-empty -m two").run().unwrap();
    let next = git_says(&source, "rev-parse HEAD");
    build(&next).ok();
    assert!(tools.join(format!("linuxkit.{next}")).is_file() && !tools.join(format!("linuxkit.{commit}")).exists());
}

/// The Makefile with the real make: goals, variables with spaces, and options that make keeps to itself.
#[test]
fn make_forwards_what_it_is_told() {
    if !common::wants("make", "make") {
        return;
    }
    let clone = Clone::new();
    fs::copy(common::repository().join("Makefile"), clone.root().join("Makefile")).unwrap();
    let bin = clone.folder.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    child::fake::executable(&bin.join("cargo"), format!("#!/bin/sh\nshift\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_xtask")));
    let make = |words: &[&str]| {
        let mut command = Command::new("make");
        command.args(words).current_dir(clone.root()).env_clear().env("HOME", clone.folder.path());
        let output = command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display())).output().unwrap();
        let (out, err) = common::texts(&output);
        (output.status.code().unwrap(), out, err)
    };
    let version = format!("0.0.0-master-{}", git_says(&clone.root(), "rev-parse --short=8 HEAD"));
    assert_eq!(make(&["version"]).1.trim(), version);
    let twice = make(&["version", "version", "ROOTFS_VERSION=1.2.3", "SSH_PROXY=-L 1:a:1"]);
    assert!(twice.0 == 0 && twice.1.starts_with("1.2.3\nmake: "), "{twice:?}");
    let (code, out, err) = make(&["-k", "nonsense", "version"]);
    assert!(code == 2 && out.contains(&version) && err.contains("there is no target or command `nonsense`"), "{out}{err}");
    let (code, out, err) = make(&["nonsense", "version"]);
    assert!(code == 2 && !out.contains(&version), "{out}{err}");
    let (code, _, err) = make(&["-B", "version"]);
    assert!(code == 2 && err.contains("`-B` is not a supported option of make"), "{err}");
}
