//! `fuzz` and `mutants`, with stand-ins for cargo and for the program of tools/fuzz.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use child::fake::executable;
use common::{Xtask, git, init};
use std::{
    fs,
    path::{Path, PathBuf},
};

const SMALL: &str = r#"tree = { name = "small", engine = "native" }
packages.folder = "pkg"
templates.rootfs = "images/rootfs.yml.in"
rootfs.limit = 262144000
live.parts = ["efi", "conf", "imga"]
firmware = { package = "base", files = ["CODE.fd"] }
"#;

/// A tree with a commit; xtask in it with the cargo of `body`.
fn tree(folder: &Path, body: &str) -> (PathBuf, impl Fn() -> Xtask) {
    let root = folder.join("tree");
    fs::create_dir_all(root.join("src")).unwrap();
    fs::write(root.join("xtask.toml"), SMALL).unwrap();
    fs::write(root.join(".gitignore"), "/target\n").unwrap();
    fs::write(root.join("src/a.rs"), "one\n").unwrap();
    init(&root, "main", "first");
    let cargo = folder.join("cargo");
    executable(&cargo, format!("#!/bin/sh\n{body}\n"));
    let at = root.clone();
    (root, move || Xtask::new(&at).env("XTASK_TOOL_CARGO", &cargo).env("INSTALL_TOOLS", "never"))
}

/// A cargo that "compiles" a program with the targets `good`, `bad` and `killed`.
const FUZZ: &str = r#"case $1 in
  --version) echo "host: x86_64-unknown-linux-gnu"; exit;;
esac
echo "$CARGO_ENCODED_RUSTFLAGS" | grep -q sancov-module || exit 9
[ "$1 $2 $3" = "build --profile fuzz" ] || exit 8
to=target/fuzz/x86_64-unknown-linux-gnu/fuzz
mkdir -p $to
cat > $to/fuzz <<'END'
#!/bin/sh
case "$1 $2" in
  "list ") printf 'good\t5\nbad\t6\nkilled\t7\n';;
  "run good") echo "$*";;
  "run bad") echo "a.rs:1:1: a panic"; exit 1;;
  "run killed") echo x > "$8/killed-current"; kill -9 $$;;
esac
END
chmod +x $to/fuzz"#;

#[test]
fn targets_run_one_after_the_other_and_findings_fail() {
    let folder = tempfile::tempdir().unwrap();
    let (root, xtask) = tree(folder.path(), FUZZ);
    assert_eq!(xtask().args(["fuzz", "--list"]).ok(), "good\nbad\nkilled\n");
    let findings = root.join("target/fuzz");
    let out = xtask().args(["fuzz", "good", "--seconds", "3", "--seed", "9"]).ok();
    assert_eq!(out, format!("run good --seconds 3 --seed 9 --findings {}\n", findings.display()));
    let output = xtask().args(["fuzz", "--seconds", "1"]).output();
    let (out, err) = common::texts(&output);
    assert_eq!(output.status.code(), Some(1));
    let killed = format!("killed: the process was killed by the input {}\n", findings.join("killed-current").display());
    assert!(out.contains("run good ") && out.contains("a.rs:1:1: a panic\n") && out.ends_with(&killed), "{out}");
    let last = "error: inputs that break a reader were found: bad, killed\nhint: mend it, then keep the input in tools/fuzz/corpus\n";
    assert!(err.ends_with(last), "{err}");
    let (code, err) = xtask().args(["fuzz", "goood"]).fails();
    assert!(code == 2 && err.ends_with("error: there is no target `goood`\nhint: cargo xtask fuzz good\n"), "{code} {err}");
}

/// A cargo with `mutants`, which lists three and says how it was called.
const MUTANTS: &str = r#"[ "$1" = mutants ] || exit 9
case "$*" in
  *--version*) exit;;
  *--list*) [ -s "$4" ] && grep -q two "$4" && printf 'src/a.rs:1:1: replace f with ()\nsrc/a.rs:1:2: b\nsrc/a.rs:1:3: c\n'; exit 0;;
esac
echo "$*" | sed 's/in-diff [^ ]*/in-diff DIFF/'"#;

#[test]
fn a_sample_of_the_change_is_mutated() {
    let folder = tempfile::tempdir().unwrap();
    let (root, xtask) = tree(folder.path(), MUTANTS);
    git(&root, &["commit", "--allow-empty", "-qm", "second"]);
    assert_eq!(xtask().args(["mutants"]).ok(), "nothing to mutate in the change since HEAD~1\n");
    fs::write(root.join("src/a.rs"), "two\n").unwrap();
    let called = |shards: &str| {
        let words = format!("mutants --in-diff DIFF --shard 0/{shards} --sharding round-robin --output");
        format!("3 mutants in the change since HEAD; trying 1 of {shards}\n{words} {}\n", root.join("target/mutants").display())
    };
    assert_eq!(xtask().args(["mutants", "--since", "HEAD", "--sample", "3"]).ok(), called("1"));
    assert_eq!(xtask().args(["mutants", "--since", "HEAD", "--sample", "2"]).ok(), called("2"));
    let (code, err) = xtask().args(["mutants", "--since", "none"]).fails();
    assert!(code != 0 && err.contains("cannot compare with none"), "{err}");
    let (code, err) = xtask().args(["mutants", "--sample", "0"]).fails();
    assert!(code == 2 && err.ends_with("error: --sample 0 tries nothing\n"), "{code} {err}");
}

#[test]
fn without_cargo_mutants_the_way_to_get_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (_, xtask) = tree(folder.path(), "exit 1");
    let (code, err) = xtask().args(["mutants"]).fails();
    let expected = "error: cargo-mutants is not installed\nhint: cargo install --locked cargo-mutants\n";
    assert!(code == 2 && err.ends_with(expected), "{code} {err}");
}
