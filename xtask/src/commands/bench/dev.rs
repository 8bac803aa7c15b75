//! Measures the time from the save of a script to the service that runs it in a machine: `dev` builds the package, sends what differs, and
//! waits until the service runs again. The machine is one of QEMU's, booted for this.

use super::{
    loops::append,
    row::{Budget, Cost, Row},
    setting::Setting,
};
use anyhow::{Result, bail};
use child::Cmd;
use std::{path::PathBuf, process};

/// The script of a service, and the service's package.
const SCRIPT: &str = "pkg/dhcpcd/dhcpcd.sh";
const PACKAGE: &str = "dhcpcd";
/// Where the machine has the script.
const THERE: &str = "/hostfs/containers/services/dhcpcd/rootfs/dhcpcd.sh";
/// How often the script is changed; the best time counts.
const ROUNDS: usize = 3;
/// The longest boot in seconds: without KVM on a busy machine.
const BOOT: &str = "1800";

/// A machine with a clone of its own, which is ended with the value.
struct Machine<'s> {
    setting: &'s Setting<'s>,
    tree: PathBuf,
    store: PathBuf,
    name: String,
}

impl Machine<'_> {
    fn xtask(&self, words: &[&str]) -> Result<Cmd> {
        Ok(self.setting.ourselves(&self.tree)?.env("STORE", &self.store).args(words))
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        // Where it does not run, there is nothing to stop.
        let _ = self.xtask(&["stop", "--now", &self.name]).and_then(|stop| stop.status_ok());
    }
}

/// Boots a machine and changes a script of a service in it.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let [tree, store] = ["tree", "store"].map(|name| setting.fresh(name));
    let machine = Machine { setting, tree: tree?, store: store?, name: format!("bench-{}", process::id()) };
    setting.rivals.clone(&setting.ctx.root, &machine.tree)?.run()?;
    machine.xtask(&["dev"])?.run()?;
    // A machine in the background takes a port that is free.
    let boot = ["--background", "--name", &machine.name, "--until", "EVE-READY", "--timeout", BOOT];
    machine.xtask(&[&["run"][..], &boot].concat())?.run()?;
    let mut best = f64::INFINITY;
    for round in 0..ROUNDS {
        let line = format!("# bench {round}");
        append(&machine.tree.join(SCRIPT), &format!("{line}\n"))?;
        let usage = machine.xtask(&["dev", PACKAGE])?.measure()?.0;
        let script = machine.xtask(&["ssh", "cat", THERE])?.stdout()?;
        if !script.lines().any(|there| there == line) {
            bail!("`dev {PACKAGE}` ended well, and the machine has the old script");
        }
        best = best.min(usage.wall.as_secs_f64());
    }
    let row = Row::alone("a script of a service is edited: `dev`, until it runs in the machine".to_owned(), Cost::of_seconds(best));
    Ok(vec![Row { budget: Budget::Seconds(3.0), ..row }])
}
