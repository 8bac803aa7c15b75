//! Golden plans: what each kind of change touches.
#![allow(clippy::unwrap_used)]

use super::{
    facts::{Crate, Facts, Image, Package},
    jobs, touched,
};
use std::{collections::BTreeSet, fmt::Write as _, path::Path};

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A small tree of the same form as this repository.
fn facts() -> Facts {
    let member = |folder: &str, needs: &[&str]| Crate { folder: folder.to_owned(), needs: set(needs) };
    let package = |name: &str, extra: &[&str], needs: &[&str], programs: &[&str]| {
        let folders = std::iter::once(format!("pkg/{name}")).chain(extra.iter().map(|folder| (*folder).to_owned())).collect();
        (name.to_owned(), Package { folders, needs: set(needs), programs: set(programs) })
    };
    let image = |arch: &str, hv: &str, packages: &[&str]| Image { arch: arch.to_owned(), hv: hv.to_owned(), packages: set(packages) };
    Facts {
        crates: [
            ("common", member("tools/common", &["skips"])),
            ("native", member("tools/native", &["common"])),
            ("vm", member("tools/vm", &["common"])),
            ("eve-tools", member("tools/eve-tools", &[])),
            ("skips", member("tools/skips", &[])),
            ("xtask", member("xtask", &["native", "vm", "common"])),
        ]
        .map(|(name, one)| (name.to_owned(), one))
        .into(),
        image_crates: set(&["native", "common"]),
        packages: [
            package("debian", &[], &[], &[]),
            package("base", &[], &["debian"], &[]),
            package("debug", &["conf/keys"], &["base"], &[]),
            package("xen", &[], &["debian"], &[]),
            package("mkconf", &[], &[], &["eve-tools"]),
        ]
        .into(),
        packages_folder: "pkg".to_owned(),
        bulk: [
            ("amd64".to_owned(), set(&["debian", "base", "debug", "xen", "mkconf"])),
            ("arm64".to_owned(), set(&["debian", "base", "debug", "xen"])),
        ]
        .into(),
        images: vec![
            image("amd64", "kvm", &["base", "debug"]),
            image("amd64", "xen", &["base", "debug", "xen"]),
            image("arm64", "kvm", &["base", "debug"]),
        ],
        image_folders: vec!["conf".to_owned(), "images".to_owned(), "xtask.toml".to_owned()],
        host: "amd64".to_owned(),
        has_reference: true,
        has_pillar: false,
    }
}

fn planned(files: Option<&[&str]>) -> String {
    let facts = facts();
    let files: Option<Vec<String>> = files.map(|files| files.iter().map(|file| (*file).to_owned()).collect());
    let touched = touched::of(&facts, files.as_deref());
    let jobs = jobs::plan(&facts, &touched);
    format!("{}\n{}", touched.summary(files.as_ref().map(|_| "main"), files.as_deref()), jobs::text(&jobs))
}

/// Each case: its name and the changed files.
const CASES: &[(&str, Option<&[&str]>)] = &[
    ("everything", None),
    ("nothing", Some(&[])),
    ("a page", Some(&["docs/ARCHITECTURE.md"])),
    ("a package that only one hypervisor has", Some(&["pkg/xen/Dockerfile"])),
    ("a package that others start from", Some(&["pkg/base/a.sh"])),
    ("an extra source of a package", Some(&["conf/keys/a"])),
    ("a crate that only the command line needs", Some(&["tools/vm/src/lib.rs", "tools/vm/Cargo.toml"])),
    ("a crate whose program is in a package", Some(&["tools/eve-tools/src/main.rs"])),
    ("a package with a crate's program", Some(&["pkg/mkconf/Dockerfile"])),
    ("a crate that makes images", Some(&["tools/native/src/lib.rs"])),
    ("a template", Some(&["images/rootfs.yml.in"])),
    ("a script", Some(&["tools/makeiso.sh"])),
    ("the lock file", Some(&["Cargo.lock"])),
    ("a file of no known kind", Some(&["README.md", "new/thing"])),
];

#[test]
fn golden_plans_of_ci() {
    let mut text = String::new();
    for (name, files) in CASES {
        writeln!(text, "# {name}\n{}", planned(*files)).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/commands/ci/golden/plans.txt");
    if std::env::var_os("XTASK_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "XTASK_BLESS=1 cargo test -p xtask golden_plans_of_ci writes {}", path.display());
}

#[test]
fn the_matrix_names_each_job_once_and_arm64_runs_on_arm64() {
    let facts = facts();
    let jobs = jobs::plan(&facts, &touched::of(&facts, None));
    let names: BTreeSet<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names.len(), jobs.len(), "{names:?}");
    let matrix: serde_json::Value = serde_json::from_str(&jobs::matrix(&jobs)).unwrap();
    let rows = matrix["include"].as_array().unwrap();
    assert_eq!(rows.len(), jobs.len());
    assert!(rows.contains(&serde_json::json!({"job": "image-arm64-kvm", "runner": "ubuntu-24.04-arm"})), "{matrix}");
    assert!(rows.contains(&serde_json::json!({"job": "lint", "runner": "ubuntu-24.04"})), "{matrix}");
    assert!(!jobs::matrix(&jobs).contains('\n'));
    assert_eq!(jobs::matrix(&[]), r#"{"include":[]}"#);
}

/// The jobs run every test program that `test --quick` runs only in part.
#[test]
fn no_test_of_whole_images_is_left_out() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut found = BTreeSet::new();
    for file in walkdir::WalkDir::new(&tests).into_iter().map(|entry| entry.unwrap().into_path()) {
        let program =
            file.strip_prefix(&tests).unwrap().iter().next().map(|name| name.to_str().unwrap().trim_end_matches(".rs").to_owned());
        let is_rust = file.extension().is_some_and(|end| end == "rs") && program.as_deref() != Some("common");
        if is_rust && ["skip_boots()", "machine::ready("].iter().any(|word| std::fs::read_to_string(&file).unwrap().contains(word)) {
            found.extend(program);
        }
    }
    assert_eq!(found, set(jobs::WHOLE_IMAGES));
}
