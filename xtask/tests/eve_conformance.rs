//! What lf-edge/eve's own make does today and what this program does in its place, for a sample of the scenarios of
//! `xtask/conformance/scenarios.toml`: none differs without a row of docs/DEVIATIONS.md. `EVE_CHECKOUT` is a clone; its newest commit is
//! recorded in a checkout of the test's own. `cargo xtask conformance` does the same for all scenarios.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, repository};

/// One scenario of each kind: what prints, a part, a package and what it starts from, disks, an installer, a machine.
const SAMPLE: &str = "^(version|kernel-tag_ZARCH-arm64|config|pkg-fw|pkg-grub_LINUXKIT_PKG_TARGET-push|pkg-pillar_COVER-y|live-vdi|installer-net|run_IPS_NET1.*)$";

#[test]
fn a_sample_of_todays_scenarios_has_no_unexplained_difference() {
    let Some(eve) = std::env::var_os("EVE_CHECKOUT") else {
        return skips::skipped(skips::Lack::Request, "EVE_CHECKOUT names no clone of lf-edge/eve");
    };
    if !common::wants("make", "make") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let conformance = |more: &[&str]| {
        let xtask = Xtask::new(&repository()).args(["conformance", "--eve"]).args([eve.to_str().unwrap()]);
        xtask.args(["--work", work.path().to_str().unwrap(), "--only", SAMPLE]).args(more.iter().copied()).ok()
    };
    let recorded = conformance(&["--record"]);
    assert!(recorded.contains("9 recorded from "), "{recorded}");
    let compared = conformance(&[]);
    assert!(compared.contains(" equal, ") && compared.contains(", 0 unexplained"), "{compared}");
}
