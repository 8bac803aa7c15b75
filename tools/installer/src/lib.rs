//! Installs EVE on a machine: `settings` says what was asked for, `disks` which disk it goes to, `target` writes and checks it, `enrol` gives the
//! firmware its keys, `verify` checks the machine, `report` records what happened, and `run` puts them together. The crate diskimage makes the formats. It starts no process: /etc/init.d of
//! pkg/installer calls the program, and stops the machine afterwards.

pub mod disks;
pub mod enrol;
#[cfg(test)]
mod fake_tests;
mod medium;
mod random;
pub mod report;
pub mod run;
pub mod settings;
pub mod target;
mod verify;

use std::fmt;

/// Why nothing was installed: what failed, and why. On the console `EVE-FAILED install: <what>: <why>`.
#[derive(Debug)]
pub struct NotInstalled {
    /// What failed, in one word.
    pub what: &'static str,
    /// The reason, in one line.
    pub why: String,
}

impl fmt::Display for NotInstalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

/// Names what failed.
trait Doing<T> {
    fn doing(self, what: &'static str) -> Result<T, NotInstalled>;
}

impl<T> Doing<T> for anyhow::Result<T> {
    fn doing(self, what: &'static str) -> Result<T, NotInstalled> {
        self.map_err(|error| NotInstalled { what, why: format!("{error:#}").replace('\n', " ") })
    }
}
