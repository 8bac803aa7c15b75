//! What only Linux has stands under `#[cfg(target_os = "linux")]`: planning, image formats and QEMU are to compile on macOS too, which no
//! machine of CI is. The compiler of another system is not asked, so the rule knows calls by their names.

use super::{source::Source, tree};

/// Crates that run nowhere but on Linux: in the installer, in tool images, in tests. The program does not depend on them.
const LINUX_CRATES: &[&str] = &["tools/eve-tools/", "tools/fuzz/", "tools/installer/"];

/// Files that a crate has only on Linux; the `mod` line in its `lib.rs` says so.
const LINUX_FILES: &[&str] = &[
    "tools/gitindex/src/look.rs",
    "tools/sandbox/src/filter.rs",
    "tools/sandbox/src/inside.rs",
    "tools/sandbox/src/linux.rs",
    "tools/sandbox/src/stage.rs",
];

/// Names of rustix, libc and std that macOS does not have.
const LINUX_WORDS: &[&str] = &[
    "CLOSE_RANGE_CLOEXEC",
    "FallocateFlags",
    "MemfdFlags",
    "MountFlags",
    "MountPropagationFlags",
    "O_PATH",
    "O_TMPFILE",
    "PidfdFlags",
    "RawDir",
    "SECCOMP_MODE_FILTER",
    "SYS_close_range",
    "SYS_waitid",
    "TMPFILE",
    "UnmountFlags",
    "UnshareFlags",
    "copy_file_range",
    "epoll",
    "eventfd",
    "inotify",
    "ioctl_ficlone",
    "ioctl_ficlonerange",
    "memfd_create",
    "mknodat",
    "mount_bind",
    "mount_remount",
    "openat2",
    "pidfd_open",
    "pivot_root",
    "prctl",
    "sendfile",
    "set_parent_process_death_signal",
    "signalfd",
    "statx",
    "syncfs",
    "syscall",
    "timerfd_create",
    "unshare_unsafe",
];

/// Rule: a name of [`LINUX_WORDS`], `OFlags::PATH` or `std::os::linux` is used only under `#[cfg(target_os = "linux")]`.
fn ungated(source: &Source) -> Vec<String> {
    if LINUX_FILES.contains(&source.name.as_str()) {
        return Vec::new();
    }
    let before = |index: usize, word: &str| index > 2 && source.tokens[index - 3].is_ident(word) && source.tokens[index - 1].is(':');
    let is_meant = |index: usize| {
        let word = source.tokens[index].ident().unwrap_or_default();
        LINUX_WORDS.contains(&word) || word == "PATH" && before(index, "OFlags") || word == "linux" && before(index, "os")
    };
    let found = source.program().filter(|(index, token)| !token.linux && is_meant(*index));
    found.map(|(_, token)| source.hit(token.line, &format!("only Linux has `{}`", token.ident().unwrap_or_default()))).collect()
}

/// Rule: the `mod` lines of the files for Linux in the root of their crate are for Linux only.
fn ungated_modules(root: &Source) -> Vec<String> {
    let folder = root.name.trim_end_matches("lib.rs");
    let is_listed = |module: &str| LINUX_FILES.contains(&format!("{folder}{module}.rs").as_str());
    // Another file may take the module's place.
    let is_other = |index: usize| root.tokens[..index].iter().rev().take(3).any(|token| token.is_string());
    let mods = (1..root.tokens.len()).filter(|at| root.tokens[at - 1].is_ident("mod") && root.tokens[*at].ident().is_some_and(is_listed));
    let plain = mods.filter(|at| !root.tokens[*at].linux && !is_other(at - 1));
    plain.map(|at| root.hit(root.tokens[at].line, "this module is for Linux only, and its `mod` does not say so")).collect()
}

fn sources() -> impl Iterator<Item = &'static Source> {
    tree::sources().iter().filter(|source| !LINUX_CRATES.iter().any(|name| source.name.starts_with(name)))
}

#[test]
fn what_only_linux_has_is_for_linux_only() {
    super::none(sources().flat_map(ungated));
    super::none(sources().filter(|source| source.name.ends_with("/src/lib.rs")).flat_map(ungated_modules));
    for name in LINUX_FILES {
        let source = sources().find(|source| source.name == *name).unwrap_or_else(|| panic!("{name} is listed, and not there"));
        let root = format!("{}/lib.rs", name.rsplit_once('/').unwrap().0);
        let module = name.rsplit('/').next().unwrap().trim_end_matches(".rs");
        let root = sources().find(|source| source.name == root).unwrap();
        let is_declared = root.tokens.windows(2).any(|two| two[0].is_ident("mod") && two[1].is_ident(module) && two[1].linux);
        assert!(is_declared && !source.tokens.is_empty(), "{name} is not declared for Linux");
    }
}

#[test]
fn a_call_of_linux_that_nothing_gates_is_caught() {
    let hits = |text: &str| ungated(&Source::new("tools/x/src/y.rs", text)).len();
    for text in [
        "use rustix::fs::memfd_create;",
        "fn f() { #[cfg(target_os = \"linux\")] g(); rustix::fs::copy_file_range(a, b) }",
        "#[cfg(test)] mod tests {} fn f() { unsafe { libc::prctl(1) } }",
        "#[cfg(not(target_os = \"linux\"))] fn f() { libc::syscall(1) }",
        "#[cfg(target_os = \"macos\")] fn f() { libc::syscall(1) }",
        "fn f() { open(OFlags::PATH) } use std::os::linux::fs::MetadataExt;",
    ] {
        assert!(hits(text) > 0, "{text}");
    }
    for text in [
        "#[cfg(target_os = \"linux\")] use rustix::fs::memfd_create; fn g() {}",
        "fn f() { #[cfg(target_os = \"linux\")] while a { rustix::fs::copy_file_range(a, b) } g() }",
        "#[cfg(test)] mod tests { fn f() { mknodat() } }",
        "// memfd_create\nfn f() { let _ = \"prctl\"; env(\"PATH\"); Cpu::PATH }",
    ] {
        assert_eq!(hits(text), 0, "{text}");
    }
    let root = |text: &str| ungated_modules(&Source::new("tools/gitindex/src/lib.rs", text)).len();
    assert_eq!(root("#[cfg(target_os = \"linux\")] mod look; #[path = \"elsewhere.rs\"] mod look; mod memory;"), 0);
    assert_eq!(root("mod look;"), 1);
}
