//! `build-tools` on a small tree and a local repository: stand-ins for git and Go write down what they are told; a real Go builds too.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, git, repository, wants};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// git as it is, and a line for each call but the question for its version.
const GIT: &str = "#!/bin/sh\n[ \"$1\" = --version ] || echo \"git $*\" >> @/calls\nexec git \"$@\"\n";

/// Go: it tells a version and writes down its call, its folder below the temporary one, and how many commits are there.
const GO: &str = "#!/bin/sh\n[ \"$1\" = version ] && { echo \"go version go1.19.8 linux/amd64\"; exit; }\n\
    echo \"go $* | ${PWD#@/tmp/*/} | $(git rev-list --all | wc -l) | $GOTOOLCHAIN $CGO_ENABLED$GOFLAGS\" >> @/calls\n";

/// The rest of a Go that builds: the program is its source.
const BUILDS: &str = "while [ \"$1\" != -o ]; do shift; done; cp main.go \"$2\"\n";

/// A tree with this repository's settings and pins of its own, a repository with a tool's sources, and the stand-ins.
struct Place {
    folder: tempfile::TempDir,
    commit: String,
}

impl Place {
    /// With a Go that does `go` when it is to build.
    fn new(go: &str) -> Self {
        let mut place = Self { folder: tempfile::tempdir().unwrap(), commit: String::new() };
        for name in ["tree", "tmp", "home", "bin"] {
            fs::create_dir_all(place.path(name)).unwrap();
        }
        fs::copy(repository().join("xtask.toml"), place.path("tree/xtask.toml")).unwrap();
        place.write("source/cmd/hello/main.go", "package main\n\nfunc main() { println(\"hello\") }\n");
        place.write("source/go.mod", "module example.org/hello\n\ngo 1.16\n");
        let here = place.path("").display().to_string();
        let here = here.trim_end_matches('/');
        child::fake::executable(&place.path("bin/git-told"), GIT.replace('@', here).replace(&format!("\"${here}\""), "\"$@\""));
        child::fake::executable(&place.path("bin/go-told"), format!("{GO}{go}").replace('@', here));
        git(&place.path("source"), &["init", "-q", "-b", "main"]);
        place.commit("before");
        place.commit = place.commit("pinned");
        place.commit("after");
        place.pin("hello", &place.commit);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Commits what the tool's repository has now; its id.
    fn commit(&self, message: &str) -> String {
        let source = self.path("source");
        git(&source, &["add", "-A"]);
        git(&source, &["commit", "-q", "--allow-empty", "-m", message]);
        common::tool("git", &["-C", source.to_str().unwrap(), "rev-parse", "HEAD"]).trim().to_owned()
    }

    fn pin(&self, name: &str, commit: &str) {
        let source = self.path("source").display().to_string();
        self.write(
            "tree/build-tools/tools.toml",
            &format!("[{name}]\nrepository = \"{source}\"\ncommit = \"{commit}\"\npackage = \"cmd/hello\"\n"),
        );
    }

    /// The program with a temporary folder of its own and the stand-ins.
    fn xtask(&self, words: &[&str]) -> Xtask {
        let xtask = Xtask::new(&self.path("tree")).env("HOME", self.path("home")).env("TMPDIR", self.path("tmp"));
        xtask.env("XTASK_TOOL_GIT", self.path("bin/git-told")).env("XTASK_TOOL_GO", self.path("bin/go-told")).args(words)
    }

    fn calls(&self) -> Vec<String> {
        fs::read_to_string(self.path("calls")).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn installed(&self) -> Vec<String> {
        names_in(&self.path("tree/build-tools/bin"))
    }

    fn leftovers(&self) -> Vec<String> {
        names_in(&self.path("tmp"))
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_tool_is_built_in_five_steps_from_its_commit_alone() {
    let place = Place::new(BUILDS);
    let (commit, source) = (&place.commit, place.path("source").display().to_string());
    let plan = place.xtask(&["--dry-run", "build-tools"]).ok();
    assert_eq!(
        plan,
        format!("hello: fetch {commit} of {source} into a temporary folder, build cmd/hello, install it as build-tools/bin/hello\n")
    );
    assert!(place.calls().is_empty() && place.installed().is_empty());

    let made = place.xtask(&["build-tools"]).env("GOFLAGS", "-x").ok();
    assert_eq!(made, format!("made: build-tools/bin/hello at {commit}\n"));
    let calls = place.calls();
    let [init, fetch, checkout, go] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!([init, checkout], ["git init -q", "git checkout -q FETCH_HEAD"]);
    assert_eq!(*fetch, format!("git fetch -q --depth 1 {source} {commit}"));
    let (before, after) = go.split_once(&place.path("tmp").display().to_string()).unwrap();
    assert_eq!(before, "go build -trimpath -mod=readonly -o ");
    // In the program's folder, with one commit, and without a person's flags.
    assert!(after.ends_with("/hello . | cmd/hello | 1 | local 0"), "{go}");
    assert_eq!(place.installed(), ["hello".to_owned(), format!("hello.{commit}")]);
    let program = fs::metadata(place.path("tree/build-tools/bin/hello")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&program.permissions()) & 0o777, 0o755);
    assert!(place.leftovers().is_empty(), "{:?}", place.leftovers());

    // make's name for it; nothing is done twice.
    let again = place.xtask(&["make", "build-tools/bin/hello"]).ok();
    assert_eq!(again, format!("up to date: build-tools/bin/hello at {commit}\n"));
    assert_eq!(place.calls().len(), 4);

    // Another pin, of a repository that brings the modules it needs.
    place.write("source/vendor/modules.txt", "");
    let next = place.commit("vendored");
    place.pin("hello", &next);
    place.xtask(&["build-tools", "hello"]).ok();
    assert!(place.calls().last().unwrap().starts_with("go build -trimpath -mod=vendor -o "), "{:?}", place.calls());
    assert_eq!(place.installed(), ["hello".to_owned(), format!("hello.{next}")]);
}

#[test]
fn a_failure_leaves_nothing() {
    let missing = "0123456789012345678901234567890123456789";
    let place = Place::new(&format!("{BUILDS}echo no such thing >&2; exit 1\n"));
    let (code, error) = place.xtask(&["build-tools"]).fails();
    assert!(code == 1 && error.contains("`go` failed while building hello: exit status 1\n  | no such thing"), "{error}");
    assert!(place.installed().is_empty() && place.leftovers().is_empty());

    place.pin("hello", missing);
    let (_, error) = place.xtask(&["build-tools"]).fails();
    assert!(error.contains(&format!("`git` failed while fetching {missing} of ")), "{error}");
    assert!(place.installed().is_empty() && place.leftovers().is_empty());

    // An older program stays, and is not taken for the new one.
    let place = Place::new(BUILDS);
    place.xtask(&["build-tools"]).ok();
    let before = place.installed();
    place.pin("hello", missing);
    place.xtask(&["build-tools"]).fails();
    assert_eq!(place.installed(), before);

    let place = Place::new("true\n");
    let (_, error) = place.xtask(&["build-tools"]).fails();
    assert!(error.contains("go succeeded, but did not write hello"), "{error}");
    fs::remove_file(place.path("tree/build-tools/tools.toml")).unwrap();
    place.pin("bye", &place.commit);
    let text = fs::read_to_string(place.path("tree/build-tools/tools.toml")).unwrap();
    place.write("tree/build-tools/tools.toml", &text.replace("cmd/hello", "cmd/bye"));
    let (_, error) = place.xtask(&["build-tools"]).fails();
    assert!(error.contains("does not contain bye: it has no folder cmd/bye"), "{error}");
    assert!(place.installed().is_empty() && place.leftovers().is_empty());
}

#[test]
fn control_c_leaves_nothing() {
    let place = Place::new(&format!("{BUILDS}sleep 60\n"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.env_clear().env("PATH", std::env::var("PATH").unwrap()).env("HOME", place.path("home")).env("TMPDIR", place.path("tmp"));
    command.env("XTASK_TOOL_GIT", place.path("bin/git-told")).env("XTASK_TOOL_GO", place.path("bin/go-told"));
    command.arg("--root").arg(place.path("tree")).arg("build-tools").stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let since = Instant::now();
    while place.calls().len() < 4 && since.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(place.leftovers().len(), 1, "{:?}", place.calls());
    common::tool("kill", &["-INT", &child.id().to_string()]);
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success() && since.elapsed() < Duration::from_secs(60));
    assert!(common::texts(&output).1.contains("`go` failed while building hello: interrupted"), "{:?}", common::texts(&output));
    assert!(place.installed().is_empty() && place.leftovers().is_empty(), "{:?}", place.leftovers());
}

#[test]
fn what_cannot_be_built_is_said_before_anything_is_fetched() {
    let place = Place::new(BUILDS);
    let (code, error) = place.xtask(&["build-tools", "hallo"]).fails();
    assert!(code == 2 && error.contains("eve has no pin of hallo") && error.contains("hint: did you mean hello?"), "{error}");
    let (code, error) = place.xtask(&["make", "build-tools/bin/linuxkit"]).fails();
    assert!(code == 2 && error.contains("eve has no pin of linuxkit") && error.contains("hint: the tools are hello"), "{error}");

    let (code, error) = place.xtask(&["build-tools"]).env("XTASK_TOOL_GO", "/nowhere/go").env("XTASK_INSTALL_TOOLS", "n").fails();
    assert!(code == 3 && error.contains("`go` is needed to build hello: it is not on this machine"), "{code} {error}");
    if Path::new("/usr/bin/apt-get").exists() {
        assert!(error.contains("hint: ") && error.contains("golang-go"), "{error}");
    }
    assert!(place.calls().is_empty());

    place.write("source/go.mod", "module example.org/hello\n\ngo 1.24.2\n");
    let commit = place.commit("newer");
    place.pin("hello", &commit);
    let (code, error) = place.xtask(&["build-tools"]).fails();
    assert!(code == 1 && error.contains("hello needs Go 1.24.2 or later, but Go 1.19.8 is here"), "{error}");
    assert!(place.installed().is_empty() && place.leftovers().is_empty());

    let far = fs::read_to_string(place.path("tree/build-tools/tools.toml")).unwrap();
    let far = far.replace(&place.path("source").display().to_string(), "https://example.org/hello");
    place.write("tree/build-tools/tools.toml", &far);
    let (code, error) = place.xtask(&["--offline", "build-tools"]).fails();
    assert!(code == 2 && error.contains("--offline: hello must be fetched from https://example.org/hello"), "{error}");

    place.write("tree/build-tools/tools.toml", &far.replace("package", "pakage"));
    let (code, error) = place.xtask(&["build-tools"]).fails();
    assert!(code == 1 && error.contains("build-tools/tools.toml` is not valid") && error.contains("unknown field `pakage`"), "{error}");
    place.write("tree/build-tools/tools.toml", &far.replace(&commit, "main"));
    let (_, error) = place.xtask(&["build-tools"]).fails();
    assert!(error.contains("tools.toml` is not valid") && error.contains("commit = \"main\" is no commit"), "{error}");

    // A tree without pins has nothing to do, and one with two files of them does not choose.
    fs::remove_file(place.path("tree/build-tools/tools.toml")).unwrap();
    assert_eq!(place.xtask(&["build-tools"]).ok(), "nothing to build: eve pins no tools\n");
    let own = fs::read_to_string(place.path("tree/xtask.toml")).unwrap() + "\n[tools.a]\nrepository = \"a\"\ncommit = \"1\"\n";
    place.write("tree/xtask.toml", &own);
    place.pin("hello", &commit);
    let (_, error) = place.xtask(&["build-tools"]).fails();
    assert!(error.contains("and [tools] in xtask.toml both pin tools"), "{error}");
}

#[test]
fn without_a_go_the_trees_container_builds() {
    let place = Place::new(BUILDS);
    place.write("tree/build-tools/src/scripts/Dockerfile", "FROM scratch\n");
    place.write("source/vendor/modules.txt", "");
    let commit = place.commit("vendored");
    place.pin("hello", &commit);
    // The volume of the sources is the one that ends in the tool's name inside.
    let docker = "#!/bin/sh\n[ \"$1\" = --version ] && { echo Docker version 28.0.0; exit; }\n[ $1 = run ] || exit 0\n\
        for word; do case \"$word\" in *:/go/src/hello:z) cp \"${word%%:*}/cmd/hello/main.go\" \"${word%%:*}/hello\";; esac; done\n\
        echo \"$word\" >> @/calls\n";
    let here = place.path("tree").parent().unwrap().display().to_string();
    child::fake::executable(&place.path("bin/docker-told"), docker.replace("@/", &format!("{here}/")));
    let built = place.xtask(&["build-tools"]).env("XTASK_TOOL_GO", "/nowhere/go").env("XTASK_TOOL_DOCKER", place.path("bin/docker-told"));
    assert_eq!(built.ok(), format!("made: build-tools/bin/hello at {commit}\n"));
    let script = "unset GOFLAGS; cd cmd/hello && GOOS=linux GO111MODULE=on CGO_ENABLED=0 go build -o ../../hello -mod=vendor .";
    assert_eq!(place.calls().last().map(String::as_str), Some(script));
    assert_eq!(place.installed(), ["hello".to_owned(), format!("hello.{commit}")]);
    assert!(place.leftovers().is_empty());
}

#[test]
fn a_real_go_makes_the_same_bytes_twice() {
    if !wants("go", "golang-go") {
        return;
    }
    let place = Place::new("exit 1\n");
    let build = || {
        let built = place.xtask(&["build-tools"]).env("XTASK_TOOL_GO", "go").ok();
        assert!(built.starts_with("made: build-tools/bin/hello at "), "{built}");
        let program = place.path("tree/build-tools/bin/hello");
        let bytes = fs::read(&program).unwrap();
        let output = Command::new(program).output().unwrap();
        assert_eq!(common::texts(&output).1, "hello\n");
        fs::remove_dir_all(place.path("tree/build-tools/bin")).unwrap();
        bytes
    };
    let first = build();
    assert!(first == build(), "another folder gave other bytes");
    assert!(place.leftovers().is_empty(), "{:?}", place.leftovers());
}
