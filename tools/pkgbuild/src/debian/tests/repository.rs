//! Checks that the lists and locks in pkg/debian of this repository match.

use super::*;

#[test]
fn the_locks_hold_what_the_lists_want() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pkg/debian/mirrors/bookworm");
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let wanted = Wanted::parse(&text("packages"), "packages").unwrap();
    for arch in ["amd64", "arm64"] {
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
