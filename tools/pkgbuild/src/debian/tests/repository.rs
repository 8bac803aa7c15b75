//! Checks that the lists and locks in pkg/debian of this repository match.

use super::*;

#[test]
fn the_locks_hold_what_the_lists_want() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pkg/debian");
    let locks = Locks::read(&folder).unwrap();
    assert_eq!(locks.arches().collect::<Vec<_>>(), ["amd64", "arm64", "riscv64"]);
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
        let locks = root.join("pkg/debian/mirrors").join(path.file_stem().unwrap());
        for lock in std::fs::read_dir(locks).unwrap().map(|entry| entry.unwrap().path()) {
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
