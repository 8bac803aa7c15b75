//! Compares all tags of lf-edge/eve with those recorded from a real linuxkit. `EVE_CHECKOUT` is a repository with the recorded
//! commit (cloned, not changed), `EVE_TAGS_JSON` the recording.
#![allow(clippy::unwrap_used)]

use super::{
    tests::{sh, state},
    *,
};
use serde_json::Value;
use std::{cell::Cell, fs};

struct Checkout {
    dir: tempfile::TempDir,
    commit: String,
    recorded: Value,
    count: Cell<usize>,
}

const PLAIN: Options<'static> = Options { rule: DirtyRule::Linuxkit, hash: None, org: None, dev_user: None, force_dirty: false, top: None };

impl Checkout {
    fn new() -> Self {
        let recorded: Value = serde_json::from_slice(&fs::read(std::env::var_os("EVE_TAGS_JSON").unwrap()).unwrap()).unwrap();
        let (dir, from) = (tempfile::tempdir().unwrap(), std::env::var("EVE_CHECKOUT").unwrap());
        let commit = recorded["commit"].as_str().unwrap().to_owned();
        sh(dir.path(), &format!("git clone -q --shared --no-tags --no-checkout {from} .; git config user.name n; git config user.email e"));
        let made = Self { dir, commit, recorded, count: Cell::new(0) };
        made.reset();
        made
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    /// Checks out only files that tags depend on: a stored copy may lack large files elsewhere.
    fn reset(&self) {
        let commit = &self.commit;
        sh(
            self.root(),
            &format!(
                "git update-ref HEAD {commit}; git reset -q {commit} || true; git checkout -qf -- pkg Makefile .gitignore; git clean -xdfq pkg"
            ),
        );
    }

    fn each(&self, key: &str) -> Vec<(String, Value)> {
        self.recorded[key].as_object().unwrap().clone().into_iter().collect()
    }

    /// The two files that EVE's Makefile generates.
    fn write_kernel_ymls(&self) {
        for (name, yml) in self.each("kernel-build-yml") {
            fs::write(self.root().join("pkg").join(name).join("build.yml"), yml.as_str().unwrap()).unwrap();
        }
    }

    fn check(&self, state: &TreeState, name: &str, yml: &str, options: &Options<'_>, want: &Value) {
        let got = package_tag(state, self.root(), &self.root().join("pkg").join(name), yml, options);
        match want.as_str() {
            Some(want) if want.starts_with("docker.io/") => assert_eq!(got.unwrap().canonical(), want, "{name} {yml}"),
            Some(want) => assert_eq!(got.unwrap().to_string(), want, "{name} {yml}"),
            None => {
                // linuxkit has no tag for it either: its yml is missing or wrong.
                let error = format!("{:#}", got.unwrap_err());
                assert!(error.contains(yml), "{name}: {error}");
            }
        }
        self.count.set(self.count.get() + 1);
    }

    fn check_all(&self, state: &TreeState, key: &str, yml: &str, options: &Options<'_>) {
        self.each(key).iter().for_each(|(name, want)| self.check(state, name, yml, options, want));
    }

    fn check_clean(&self) {
        let clean = state(self.root());
        self.check_all(&clean, "clean", "build.yml", &PLAIN);
        for yml in ["build-dev.yml", "build-rstats.yml", "build-k.yml"] {
            self.check_all(&clean, yml, yml, &PLAIN);
        }
        self.check_all(&clean, "missing_yml", "build-dev.yml", &PLAIN);
        self.check_all(&clean, "org", "build.yml", &Options { org: Some("me"), ..PLAIN });
        self.write_kernel_ymls();
        let generated = state(self.root());
        self.check_all(&generated, "clean_after_kernel_build_yml", "build.yml", &PLAIN);
        self.check_all(&generated, "canonical", "build.yml", &PLAIN);
        self.check_all(&generated, "hash_10.1.0", "build.yml", &Options { hash: Some("10.1.0"), ..PLAIN });
    }

    fn check_dirty(&self) {
        // Each change touches its own package, so all are made at once.
        let changes = self.each("dirty_tracked");
        changes.iter().for_each(|(_, case)| drop(sh(self.root(), case["change"].as_str().unwrap())));
        let dirty = state(self.root());
        changes.iter().for_each(|(name, case)| self.check(&dirty, name, "build.yml", &PLAIN, &case["tag"]));
        self.reset();
        for (kind, case) in self.each("dirty_cases") {
            sh(self.root(), case["change"].as_str().unwrap());
            let name = if case["tag"].as_str().unwrap().contains("pillar") { "pillar" } else { "grub" };
            let yml = if kind == "dev_yml_and_dirty" { "build-dev.yml" } else { "build.yml" };
            let hash = (kind == "hash_given_and_dirty").then_some("10.1.0");
            self.check(&state(self.root()), name, yml, &Options { hash, ..PLAIN }, &case["tag"]);
            self.reset();
        }
    }

    /// Regular names of the table, without their architecture.
    fn check_tables(&self) {
        for (mode_name, mode) in self.each("parse_pkgs") {
            let Some(table) = mode["table"].as_object() else { continue };
            sh(self.root(), mode["setup"].as_str().unwrap_or("true"));
            if mode["kernel_build_yml"] == true {
                self.write_kernel_ymls();
            }
            let now = state(self.root());
            // EVE's EVE_TAG is always the id of an empty file.
            for (key, value) in table.iter().filter(|(key, _)| *key != "EVE_TAG") {
                let name = key.trim_end_matches("_TAG").to_lowercase().replace('_', "-");
                let dir = self.root().join("pkg").join(&name);
                let (Some(value), true) = (value.as_str(), dir.is_dir()) else { continue };
                let options = Options { hash: mode["env"]["EVE_HASH"].as_str(), ..PLAIN };
                match package_tag(&now, self.root(), &dir, "build.yml", &options) {
                    Ok(tag) => {
                        let suffix = value.strip_prefix(&tag.to_string());
                        let good = suffix.is_some_and(|suffix| suffix.is_empty() || suffix.starts_with('-') && !suffix.contains("dirty"));
                        assert!(good, "{mode_name} {key}: {value}, {tag}");
                    }
                    Err(_) => assert!(!value.contains('/'), "{mode_name} {key}: {value}"),
                }
                self.count.set(self.count.get() + 1);
            }
            self.reset();
        }
    }
}

#[test]
#[ignore = "needs EVE_CHECKOUT and EVE_TAGS_JSON"]
fn all_recorded_tags_of_eve_are_the_same() {
    let checkout = Checkout::new();
    checkout.check_clean();
    checkout.reset();
    checkout.write_kernel_ymls();
    checkout.check_dirty();
    checkout.check_tables();
    let begun = std::time::Instant::now();
    let now = state(checkout.root());
    let read = begun.elapsed();
    checkout.check_all(&now, "clean", "build.yml", &PLAIN);
    eprintln!("{} tags are the same; git and parsing {read:?}, then all clean tags {:?}", checkout.count.get(), begun.elapsed() - read);
}
