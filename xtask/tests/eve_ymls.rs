//! What lf-edge/eve's own scripts gave at one commit, against ours: resolved ymls by meaning, tables of tags line by line.
//! `EVE_CHECKOUT` is a repository that has the recorded commit (it is cloned, never changed), `EVE_CONFORMANCE` the folder of the
//! recordings.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, git, scratch};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Names that the original gets wrong: a constant, the id of an empty file.
const WRONG: &[&str] = &["EVE_TAG"];

struct Eve {
    root: PathBuf,
    recorded: Value,
    ymls: PathBuf,
}

fn eve(test: &str) -> Option<Eve> {
    let (Some(from), Some(recordings)) = (std::env::var_os("EVE_CHECKOUT"), std::env::var_os("EVE_CONFORMANCE")) else {
        skips::skipped(skips::Lack::Request, "EVE_CHECKOUT and EVE_CONFORMANCE name no checkout of lf-edge/eve and no recordings of it");
        return None;
    };
    let recordings = PathBuf::from(recordings);
    let text = std::fs::read_to_string(recordings.join("eve-2023-tags.json")).unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    let root = scratch().join(test);
    let _ = std::fs::remove_dir_all(&root);
    std::fs::create_dir_all(&root).unwrap();
    let from = from.to_string_lossy().into_owned();
    git(&root, &["clone", "-q", "--shared", "--no-tags", "--no-checkout", &from, "."]);
    let eve = Eve { root, recorded, ymls: recordings.join("eve-2023-yml") };
    eve.reset();
    Some(eve)
}

impl Eve {
    /// A stored copy may lack large files elsewhere, so only what matters is checked out; git thinks the rest is there.
    fn reset(&self) {
        let commit = self.recorded["commit"].as_str().unwrap();
        let script = format!(
            "git symbolic-ref HEAD refs/heads/master; git update-ref HEAD {commit}; git read-tree {commit}; git ls-files -z boards docs tests | git update-index -z --skip-worktree --stdin; git checkout -qf -- pkg images tools conf api build-tools Makefile .gitignore; git ls-files -z -d | git update-index -z --skip-worktree --stdin; git clean -xdfq pkg images dist"
        );
        sh(&self.root, &script);
    }

    fn xtask(&self) -> Xtask {
        Xtask::new(&self.root)
    }
}

fn sh(folder: &Path, script: &str) {
    let identity = ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"].map(|name| (name, "test"));
    let mut command = std::process::Command::new("sh");
    command.args(["-ec", script]).current_dir(folder).env("GIT_CONFIG_GLOBAL", "/dev/null").envs(identity);
    let status = command.status().unwrap();
    assert!(status.success(), "{script}");
}

fn table(text: &str) -> Vec<(String, String)> {
    text.lines().map(|line| line.split_once('=').unwrap()).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_tables_of_tags_are_the_recorded_ones() {
    let Some(eve) = eve("the_tables_of_tags_are_the_recorded_ones") else { return };
    let modes = eve.recorded["parse_pkgs"].as_object().unwrap().clone();
    let full = modes["amd64"]["table"].as_object().unwrap();
    for (mode, case) in &modes {
        let Some(want) = case["table"].as_object() else { continue };
        sh(&eve.root, case["setup"].as_str().filter(|setup| !setup.is_empty()).unwrap_or("true"));
        let mut xtask = eve.xtask();
        for (name, value) in case["env"].as_object().unwrap() {
            xtask = xtask.env(name, value.as_str().unwrap());
        }
        let got = table(&xtask.args(["parse-pkgs"]).ok());
        let names: Vec<&str> = got.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, want.keys().map(String::as_str).collect::<Vec<_>>(), "{mode}");
        for (name, value) in got.iter().filter(|(name, _)| name != "CURDIR") {
            let recorded = want[name].as_str().unwrap();
            if WRONG.contains(&name.as_str()) && case["env"].get("EVE_HASH").is_none() {
                assert_ne!(value, recorded, "{mode} {name}");
                assert_eq!(value.split(':').next(), recorded.split(':').next(), "{mode} {name}");
            } else if recorded.starts_with('-') {
                // Where a tag failed, the original went on with none; ours is the one that it has otherwise.
                assert_eq!(value, full[name].as_str().unwrap(), "{mode} {name}");
            } else {
                assert_eq!(value, recorded, "{mode} {name}");
            }
        }
        eve.reset();
    }
    for package in ["eve", "eve-verification"] {
        let template = eve.root.join("pkg").join(package).join("Dockerfile.in");
        let got = eve.xtask().env("DOCKER_ARCH_TAG", "amd64").args([std::ffi::OsStr::new("parse-pkgs"), template.as_os_str()]).ok();
        assert_eq!(got, modes[&format!("{package}_Dockerfile")]["text"].as_str().unwrap(), "{package}");
    }
}

#[test]
fn the_resolved_ymls_mean_the_recorded_ones() {
    let Some(eve) = eve("the_resolved_ymls_mean_the_recorded_ones") else { return };
    let read = |text: &str| ymlpatch::read(text).unwrap();
    let mut count = 0;
    for entry in std::fs::read_dir(&eve.ymls).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let Some(stem) = name.strip_prefix("rootfs-").and_then(|name| name.strip_suffix(".yml")) else { continue };
        let (hv, variant) = stem.split_once('.').unwrap_or((stem, ""));
        // That one is a fault of the original's: it has no kernel.
        if variant == "no-kernel-yml" {
            continue;
        }
        let (arch, dev) = (if variant == "arm64" { "arm64" } else { "amd64" }, if variant == "DEV-y" { "-dev" } else { "" });
        let version = format!("0.0.0-master-bcf06185{dev}-{hv}-{arch}");
        let composed = eve.root.join("images").join(format!("rootfs-{hv}.yml.in"));
        let template = eve.root.join("images/rootfs.yml.in");
        eve.xtask().args(["compose-image-yml".as_ref(), template.as_os_str(), composed.as_os_str(), version.as_ref()]).ok();
        let got = eve.xtask().env("DOCKER_ARCH_TAG", arch).args(["parse-pkgs".as_ref(), composed.as_os_str()]).ok();
        let want = std::fs::read_to_string(eve.ymls.join(&name)).unwrap();
        assert_eq!(read(&got), read(&want), "{name}");
        std::fs::remove_file(&composed).unwrap();
        count += 1;
    }
    assert!(count >= 8, "{count}");
}

#[test]
fn a_kernels_build_yml_is_the_recorded_one_and_tells_of_changes() {
    let Some(eve) = eve("a_kernels_build_yml_is_the_recorded_one_and_tells_of_changes") else { return };
    let read = |name: &str| std::fs::read_to_string(eve.root.join("pkg").join(name).join("build.yml")).unwrap();
    eve.xtask().args(["kernel-build-yml"]).ok();
    for (name, want) in eve.recorded["kernel-build-yml"].as_object().unwrap() {
        // The original leaves a space behind the date.
        assert_eq!(read(name), want.as_str().unwrap().replace(" \n", "\n"));
    }
    let clean = read("new-kernel");
    for change in ["echo '# x' >> pkg/kernel/Dockerfile", "touch pkg/kernel/a pkg/kernel/b", "git rm -q pkg/kernel/build.yml.in --cached"] {
        sh(&eve.root, change);
        eve.xtask().env("USER", "somebody").args(["kernel-build-yml"]).ok();
        let dirty = read("kernel");
        assert!(dirty.contains("KBUILD_BUILD_USER=somebody\n") && dirty.contains("KCONFIG_NOTIMESTAMP=false\n"), "{change}: {dirty}");
        assert!(!dirty.contains("KBUILD_BUILD_HOST=eve\n"), "{dirty}");
        assert_eq!(read("new-kernel"), clean);
        eve.reset();
    }
}
