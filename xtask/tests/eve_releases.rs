//! Every minor release of lf-edge/eve since 9.0 is found by what is in it and plans; for one release of each year, the version, the tags and
//! the resolved template are those of its own make and scripts. `EVE_CHECKOUT` is a clone with all tags; it is cloned, never changed.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, git};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Answers `pkg show-tag` for a tree without changes from git: the id of the package's folder. Sources outside the folder are beyond it.
const SHOW_TAG: &str = r#"#!/bin/bash
yml=build.yml
while [ $# -gt 0 ]; do
    case $1 in -build-yml|--build-yml) yml=$2; shift ;; pkg|show-tag|-*) ;; *) folder=$1 ;; esac
    shift
done
cd "$folder" && [ -f "$yml" ] || exit 1
grep -q '^extra-sources:' "$yml" && { echo 'other sources'; exit; }
of() { sed -n "s/^$1: *//p" "$yml" | tr -d "\"' "; }
tag=$(of tag); hash=$(git ls-tree -d HEAD "$PWD" --full-tree --format='%(objectname)' -- "$(git rev-parse --show-prefix | sed 's,/$,,')")
echo "$(of org)/$(of image):$(echo "${tag:-{{.Hash\}\}}" | sed "s/{{\.Hash}}/$hash/")"
"#;

struct Clone(tempfile::TempDir);

impl Clone {
    /// A clone of what `EVE_CHECKOUT` names; the skip is recorded if it names nothing.
    fn new() -> Option<Self> {
        let Some(from) = std::env::var_os("EVE_CHECKOUT") else {
            skips::skipped(skips::Lack::Request, "EVE_CHECKOUT names no clone of lf-edge/eve with tags");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["clone", "-q", "--shared", "--no-checkout", &from.to_string_lossy(), "eve"]);
        let state = folder.path().join("state");
        fs::create_dir_all(&state).unwrap();
        child::fake::executable(&state.join("linuxkit"), SHOW_TAG);
        Some(Self(folder))
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("eve")
    }

    /// The first release of each minor version since 9.0, oldest first, with its year.
    fn releases(&self) -> Vec<(String, String)> {
        let text = said(&self.root(), "git for-each-ref --sort=v:refname --format='%(refname:strip=2) %(creatordate:short)' refs/tags");
        let is_minor = |tag: &str| {
            let numbers: Vec<Option<u32>> = tag.split('.').map(|part| part.parse().ok()).collect();
            matches!(numbers[..], [Some(9..), Some(_), Some(0)])
        };
        let rows = text.lines().filter_map(|line| line.split_once(' ')).filter(|(tag, _)| is_minor(tag));
        let rows: Vec<_> = rows.map(|(tag, date)| (tag.to_owned(), date[..4].to_owned())).collect();
        assert!(rows.len() > 20, "EVE_CHECKOUT has no tags");
        rows
    }

    /// Checks out what decides plans and tags, without the sources of others in `vendor`, and deals with all other files by `rest`.
    fn check_out_and(&self, commit: &str, rest: &str) {
        let script = format!(
            "find . -mindepth 1 -maxdepth 1 ! -name .git -exec rm -rf {{}} +; git update-ref --no-deref HEAD '{commit}^{{commit}}'
            git read-tree {commit}
            git ls-files -z pkg images tools conf api mk build-tools Makefile kernel-version.mk kernel-commits.mk .gitignore |
                grep -zv /vendor/ | git checkout-index -zfq --stdin 2> /dev/null || true
            git ls-files -z -d | git update-index -z {rest}"
        );
        said(&self.root(), &script);
    }

    /// Checks out `commit` with git's ids of all folders. Git thinks that the files which are not there are.
    fn check_out(&self, commit: &str) {
        self.check_out_and(commit, "--skip-worktree --stdin");
    }

    /// Checks out a commit of what is there, as builds refuse packages whose files git hides: a stored copy may lack large files.
    fn check_out_alone(&self, commit: &str) {
        let commits = "git -c user.name=n -c user.email=e commit-tree $(git write-tree --missing-ok) -p HEAD -m part";
        self.check_out_and(
            commit,
            &format!("--force-remove --stdin; git update-ref --no-deref HEAD $({commits}); git update-index -q --refresh"),
        );
    }

    fn xtask(&self, words: &[&str]) -> Xtask {
        Xtask::new(&self.root()).args(words)
    }

    /// What one of the tree's own programs prints.
    fn own(&self, script: &str) -> String {
        let path = format!("{}:{}", self.0.path().join("state").display(), std::env::var("PATH").unwrap());
        said(&self.root(), &format!("export PATH='{path}' DOCKER_ARCH_TAG=amd64 PLATFORM=generic; {script}"))
    }
}

fn said(folder: &Path, script: &str) -> String {
    let out = Command::new("bash").args(["-ec", script]).current_dir(folder).env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
    assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn every_release_plans() {
    let Some(eve) = Clone::new() else { return };
    let tip = said(&eve.root(), "git rev-parse HEAD").trim().to_owned();
    let mut failures = String::new();
    for release in eve.releases().into_iter().map(|(tag, _)| tag).chain([tip]) {
        eve.check_out_alone(&release);
        for goal in ["live", "eve", "pkgs", "installer-iso", "rootfs-xen"] {
            let out = eve.xtask(&["--dry-run", goal]).output();
            if !out.status.success() {
                failures.push_str(&format!("{release} {goal}: {}", common::texts(&out).1));
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn versions_tags_and_templates_of_one_release_a_year_are_its_own() {
    let Some(eve) = Clone::new() else { return };
    // The last of each year, and the newest commit.
    let tip = said(&eve.root(), "git rev-parse HEAD").trim().to_owned();
    let years: BTreeMap<String, String> = eve.releases().into_iter().map(|(tag, year)| (year, tag)).collect();
    let mut differences = Vec::new();
    for release in years.values().chain([&tip]) {
        eve.check_out(release);
        // Some print the kernel first.
        let version = eve.own("make -s version 2> /dev/null | tail -n 1");
        assert_eq!(eve.xtask(&["version"]).ok(), version, "{release}");
        let kernel = "printf 'include kernel-version.mk\\nall:\\n\\t@echo $(KERNEL_TAG)\\n' | make -s -f - all ZARCH=amd64 | tail -n 1";
        let kernel = if eve.root().join("kernel-version.mk").is_file() { eve.own(kernel).trim().to_owned() } else { String::new() };
        let table = |text: &str| -> BTreeMap<String, String> {
            text.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        let parse = format!("KERNEL_TAG='{kernel}' ./tools/parse-pkgs.sh");
        let (theirs, ours) = (table(&eve.own(&parse)), table(&eve.xtask(&["parse-pkgs", "--zarch", "amd64"]).ok()));
        let mut compared = 0;
        for (name, value) in &theirs {
            // Names without a package, tags that failed, and those that only linuxkit knows; EVE_TAG is row 80 of docs/DEVIATIONS.md.
            if value.is_empty()
                || value.starts_with('-')
                || value.starts_with("other sources")
                || ["CURDIR", "EVE_TAG"].contains(&name.as_str())
            {
                continue;
            }
            if ours.get(name) != Some(value) {
                differences.push(format!("{release} {name}: {value}, here {:?}", ours.get(name)));
            }
            compared += 1;
        }
        assert!(compared > 25, "{release}: {compared}");
        // The ymls of images, and the Dockerfiles that `make pkg/NAME/Dockerfile` writes.
        let templates = said(&eve.root(), "git ls-files 'images/*.yml.in' 'pkg/*/Dockerfile.in'");
        assert!(templates.contains("images/rootfs.yml.in") && templates.contains("pkg/eve/Dockerfile.in"), "{release}: {templates}");
        for template in templates.lines() {
            let theirs = eve.own(&format!("{parse} {template}"));
            let ours = eve.xtask(&["parse-pkgs", template, "--zarch", "amd64"]).ok();
            assert_eq!(theirs.lines().count(), ours.lines().count(), "{release} {template}");
            for (theirs, ours) in theirs.lines().zip(ours.lines()) {
                if theirs != ours && !theirs.contains(" -amd64") && !theirs.contains("other sources") {
                    differences.push(format!("{release} {template}: {theirs}, here {ours}"));
                }
            }
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
}
