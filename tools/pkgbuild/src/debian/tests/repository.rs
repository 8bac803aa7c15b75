//! Checks that the lists and locks of the archives of this repository match: those of pkg/debian and of the compilers.

use super::*;
use std::path::PathBuf;

/// The packages with a folder `mirrors`.
fn archives() -> Vec<PathBuf> {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pkg");
    let folders = std::fs::read_dir(packages).unwrap().map(|entry| entry.unwrap().path());
    folders.filter(|folder| folder.join("mirrors").is_dir()).collect()
}

#[test]
fn the_locks_hold_what_the_lists_want() {
    let all = archives();
    assert_eq!(all.len(), 5, "{all:?}");
    for folder in all {
        let arches: Vec<String> = Locks::read(&folder).unwrap().arches().map(str::to_owned).collect();
        let others: &[&str] = if folder.ends_with("debian") { &["riscv64"] } else { &[] };
        assert_eq!(arches, [&["amd64", "arm64"], others].concat(), "{folder:?}");
        check_locks(&folder);
    }
}

fn check_locks(folder: &Path) {
    let locks = Locks::read(folder).unwrap();
    for arch in locks.arches() {
        let release = locks.release_of(arch).unwrap();
        let text = |name: &str| std::fs::read_to_string(folder.join("mirrors").join(release).join(name)).unwrap();
        let wanted = Wanted::parse(&text("packages"), "packages").unwrap();
        let name = format!("{arch}.lock");
        let lock = Lock::parse(&text(&name), &name).unwrap();
        let stale = "is stale: run `cargo xtask pins`";
        for name in wanted.names(arch) {
            assert!(lock.pins.contains_key(name), "{arch}.lock has no {name}: it {stale}");
        }
        let dropped = wanted.dropped(arch);
        for pin in lock.pins.values() {
            assert!(!pin.depends.iter().any(|name| dropped.contains(&name.as_str())), "{arch}.lock {stale}");
            assert!(pin.arch == arch || pin.arch == "all", "{} in {arch}.lock is for {}", pin.name, pin.arch);
        }
        let names: Vec<String> = wanted.names(arch).into_iter().map(str::to_owned).collect();
        assert_eq!(lock.closure(&names, &[]).unwrap().len(), lock.pins.len(), "{arch}.lock {stale}");
        let header: String = text(&name).lines().filter(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
        assert_eq!(lock.to_text(&header), text(&name), "{arch}.lock {stale}");
    }
}

#[test]
fn the_sources_of_all_pins_are_pinned() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for release in std::fs::read_dir(root.join("sources")).unwrap() {
        let path = release.unwrap().path();
        let mut sources = SourceLock::default();
        sources.add(&std::fs::read_to_string(&path).unwrap(), &path.display().to_string()).unwrap();
        let names: std::collections::BTreeSet<&str> = sources.packages.keys().map(|(name, _)| name.as_str()).collect();
        let folders = archives().into_iter().map(|folder| folder.join("mirrors").join(path.file_stem().unwrap()));
        let folders = folders.filter(|folder| folder.is_dir());
        for lock in folders.flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path()) {
            if lock.extension().is_none_or(|extension| extension != "lock") {
                continue;
            }
            // The folder of a package in the pool has the name of its source.
            for pin in Lock::parse(&std::fs::read_to_string(&lock).unwrap(), "lock").unwrap().pins.values() {
                let source = pin.path.split('/').rev().nth(1).unwrap();
                assert!(names.contains(source), "{} is stale, it has no {source}: run `cargo xtask pins --sources`", path.display());
            }
        }
        assert!(names.len() > 50, "{}", names.len());
    }
}
