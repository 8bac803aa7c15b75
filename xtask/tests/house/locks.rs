//! The programs inside images are made of external crates, too. A package's tag is a hash of folders, so each program's folder holds the
//! list of those crates, as in Cargo.lock.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// The crates of this workspace that become programs in images.
const PROGRAMS: &[&str] = &["eve-tools", "installer"];

/// The list of `program`'s external crates by a Cargo.lock: a line `name version checksum` for each, sorted.
fn list(lock: &str, program: &str) -> String {
    let lock: toml::Table = lock.parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    let text = |package: &toml::Value, field: &str| package.get(field).and_then(toml::Value::as_str).unwrap_or_default().to_owned();
    // A dependency is `name`, or `name version` where a name alone is not unique.
    let mut by_name: BTreeMap<String, Vec<&toml::Value>> = BTreeMap::new();
    for package in packages {
        by_name.entry(text(package, "name")).or_default().push(package);
        by_name.entry(format!("{} {}", text(package, "name"), text(package, "version"))).or_default().push(package);
    }
    let mut seen = BTreeSet::new();
    let mut lines = BTreeSet::new();
    let mut pending = vec![program.to_owned()];
    while let Some(name) = pending.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        for package in by_name.get(&name).unwrap_or_else(|| panic!("Cargo.lock has no {name}")) {
            let needed = package.get("dependencies").and_then(toml::Value::as_array);
            pending.extend(needed.into_iter().flatten().map(|needed| needed.as_str().unwrap().to_owned()));
            if package.get("source").is_some() {
                lines.insert(format!("{} {} {}\n", text(package, "name"), text(package, "version"), text(package, "checksum")));
            }
        }
    }
    lines.into_iter().collect()
}

#[test]
fn the_lists_of_crates_in_programs_of_images_are_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap();
    for program in PROGRAMS {
        let (path, fresh) = (root.join("tools").join(program).join("crates.lock"), list(&lock, program));
        if std::env::var_os("XTASK_BLESS").is_some() {
            fs::write(&path, &fresh).unwrap();
        }
        let known = fs::read_to_string(&path).unwrap_or_default();
        assert!(known == fresh, "tools/{program}/crates.lock is stale: XTASK_BLESS=1 cargo test --release -p xtask --test house crates");
        // Its folder is what the tag of each package with this program is made of.
        let packages = fs::read_dir(root.join("pkg")).unwrap().map(|entry| entry.unwrap().path().join("build.yml"));
        let with = packages.filter(|yml| fs::read_to_string(yml).is_ok_and(|text| text.contains(&format!("- ../../tools/{program}:"))));
        assert!(with.count() > 0, "no package has {program} in its extra-sources");
    }
}

#[test]
fn a_list_holds_what_a_program_needs_and_changes_with_it() {
    let lock = "[[package]]\nname = \"p\"\nversion = \"0\"\ndependencies = [\"own\", \"a 1\"]\n\
                [[package]]\nname = \"own\"\nversion = \"0\"\ndependencies = [\"b\"]\n\
                [[package]]\nname = \"a\"\nversion = \"1\"\nsource = \"r\"\nchecksum = \"a1\"\ndependencies = [\"p\"]\n\
                [[package]]\nname = \"a\"\nversion = \"2\"\nsource = \"r\"\nchecksum = \"a2\"\n\
                [[package]]\nname = \"b\"\nversion = \"3\"\nsource = \"r\"\nchecksum = \"b3\"\n";
    assert_eq!(list(lock, "p"), "a 1 a1\nb 3 b3\n");
    assert_eq!(list(&lock.replace("b3", "b4"), "p"), "a 1 a1\nb 3 b4\n");
}
