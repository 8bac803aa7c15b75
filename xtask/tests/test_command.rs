//! `cargo xtask test` with a stand-in for cargo: what it says at its end, and when it fails.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use child::fake::executable;
use common::{Xtask, repository};
use std::path::Path;

/// A run whose cargo says `lines` of its tests, ends with `status`, and has a test that skips itself for want of mtools.
fn test(folder: &Path, lines: &str, status: u8) -> Xtask {
    let skip = r"printf 'fat::x (fat.rs)\t`mdir` is not on this machine\tpackage\tmtools\n' >> $XTASK_TEST_SKIPS";
    let cargo = folder.join("cargo");
    executable(&cargo, format!("#!/bin/sh\n[ \"$1\" = test ] || exit 0\ncat <<'END'\n{lines}\nEND\n{skip}\nexit {status}\n"));
    // apt is here whatever the machine has, and installs nothing.
    executable(&folder.join("apt-get"), "#!/bin/sh\nexit 1\n");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let test = Xtask::new(&repository()).env("PATH", path).env("XTASK_TOOL_CARGO", &cargo).env("INSTALL_TOOLS", "never");
    test.env("CARGO_TARGET_DIR", folder.join("target")).args(["test", "--quick"])
}

const GOOD: &str = "test a::b ... ok\ntest fat::x ... ok\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";

#[test]
fn skips_are_named_at_the_end_and_fail_ci_where_it_could_have_installed() {
    let folder = tempfile::tempdir().unwrap();
    let out = test(folder.path(), GOOD, 0).ok();
    let end = "\n2 tests ran: 2 passed, 0 failed; 0 are ignored\n\
        skipped wholly or in part (counted as passed): 1\n  SKIPPED (package) fat::x (fat.rs): `mdir` is not on this machine\n";
    assert!(out.starts_with(GOOD) && out.ends_with(end), "{out}");
    let left = std::fs::read_dir(folder.path().join("target")).unwrap().count();
    assert_eq!(left, 0, "the file of skips is removed");
    let (code, err) = test(folder.path(), GOOD, 0).env("CI", "true").fails();
    assert!(code == 1 && err.contains("fat::x (fat.rs): `mdir` is not on this machine\n"), "{code} {err}");
    // As root or with sudo.
    assert!(err.ends_with("apt-get install -y --no-install-recommends mtools\n"), "{err}");
}

#[test]
fn what_failed_is_named_after_all_has_run() {
    let folder = tempfile::tempdir().unwrap();
    let bad = "test a::b ... FAILED\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out";
    let (code, err) = test(folder.path(), &format!("{bad}\n{GOOD}"), 101).fails();
    assert!(code == 1 && err.ends_with("error: 1 test has failed: a::b\n"), "{code} {err}");
    let (_, err) = test(folder.path(), "error: could not compile `x`", 101).fails();
    assert!(err.ends_with("error: the tests did not all run: see above\n"), "{err}");
}
