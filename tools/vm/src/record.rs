//! The machines of a tree that run, by name: each has a folder with a lock, which it holds, and a file that says how to reach it.

use super::MachineLock;
use anyhow::{Context as _, Result, anyhow, bail};
use common::{artifact::Pending, error::usage};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// The file in a machine's folder.
const FILE: &str = "machine.json";
/// The lock in a machine's folder.
const LOCK: &str = "lock";
/// Number of tries to take the lock: somebody who looks whether the machine runs holds it for a moment.
const TRIES: u32 = 5;
/// Time between two tries.
const PAUSE: Duration = Duration::from_millis(40);

/// How to reach a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// The process that keeps it: SIGTERM ends the machine.
    pub pid: u32,
    /// The port of this machine's loopback that leads to its ssh server.
    pub ssh_port: Option<u16>,
    /// Its architecture; none if an older program started it, which did not write that.
    #[serde(default)]
    pub arch: Option<String>,
    /// The disk it boots from.
    pub disk: PathBuf,
    /// The version of the build that its disk comes from.
    pub version: String,
    /// The socket of its serial console, if it runs in the background.
    pub console: Option<PathBuf>,
    /// The file with all that its serial console printed, if there is one.
    pub console_log: Option<PathBuf>,
}

impl Record {
    /// Ends the machine, as if its power were cut; QEMU still writes completed writes to the disk.
    pub fn kill(&self) -> Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).context("a machine's record has no process")?;
        rustix::process::kill_process(pid, Signal::TERM).with_context(|| format!("cannot end process {}", self.pid))
    }
}

/// The folder with a folder for each machine.
#[derive(Clone, Debug)]
pub struct Machines(PathBuf);

impl Machines {
    /// Those whose folders are in `folder`.
    #[must_use]
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The folder of a machine.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Takes the name of a machine that will run; fails if one with that name does.
    pub fn claim(&self, name: &str) -> Result<MachineLock> {
        let lock = self.folder(name).join(LOCK);
        let mut left = TRIES;
        loop {
            match MachineLock::take(&lock, Path::new(name)) {
                Ok(lock) => {
                    // A machine that was killed has left its record.
                    self.forget(name);
                    return Ok(lock);
                }
                Err(_) if left > 0 => left -= 1,
                Err(_) => {
                    return Err(usage(format!(
                        "a machine named {name} runs already\nhint: cargo xtask stop {name} ends it; --name NAME starts another one"
                    )));
                }
            }
            thread::sleep(PAUSE);
        }
    }

    /// Writes the record of a machine that has started.
    pub fn save(&self, record: &Record) -> Result<()> {
        let pending = Pending::new(&self.folder(&record.name).join(FILE))?;
        fs::write(pending.part(), serde_json::to_vec_pretty(record)?).context("cannot write a machine's record")?;
        pending.commit()
    }

    /// Removes the record of a machine that has ended. Ignores errors: without its lock the record does not count.
    pub fn forget(&self, name: &str) {
        let _ = fs::remove_file(self.folder(name).join(FILE));
    }

    /// The machines that run, by name.
    pub fn running(&self) -> Result<Vec<Record>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec![]),
            entries => entries.with_context(|| format!("cannot read {}", self.0.display()))?,
        };
        let mut records = Vec::new();
        for entry in entries {
            records.extend(read(&entry?.path()));
        }
        records.sort_by(|a: &Record, b| a.name.cmp(&b.name));
        Ok(records)
    }

    /// Whether the machine runs, or begins or ends to.
    #[must_use]
    pub fn is_running(&self, name: &str) -> bool {
        is_locked(&self.folder(name))
    }

    /// The machine with that name, or the only one that runs.
    pub fn find(&self, name: Option<&str>) -> Result<Record> {
        let mut running = self.running()?;
        if let Some(name) = name {
            let names: Vec<&str> = running.iter().map(|record| record.name.as_str()).collect();
            let there = if names.is_empty() { "none does".to_owned() } else { format!("these do: {}", names.join(", ")) };
            let error = usage(format!("no machine named {name} runs; {there}\nhint: cargo xtask run --background --name {name}"));
            return running.into_iter().find(|record| record.name == name).ok_or(error);
        }
        match running.len() {
            0 => Err(usage("no machine runs\nhint: cargo xtask run --background")),
            1 => running.pop().ok_or_else(|| anyhow!("a list of one is empty")),
            _ => {
                let names: Vec<&str> = running.iter().map(|record| record.name.as_str()).collect();
                bail!(usage(format!(
                    "several machines run: {}\nhint: --name {} behind the verb, as in cargo xtask ssh --name {1}",
                    names.join(", "),
                    names[0]
                )))
            }
        }
    }
}

/// The record in a machine's folder, if the machine runs.
fn read(folder: &Path) -> Option<Record> {
    let record = serde_json::from_slice(&fs::read(folder.join(FILE)).ok()?).ok()?;
    is_locked(folder).then_some(record)
}

/// Whether a machine holds the lock. Only one that runs does, however the last one ended.
fn is_locked(folder: &Path) -> bool {
    File::open(folder.join(LOCK)).is_ok_and(|lock| lock.try_lock_shared().is_err())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record(name: &str) -> Record {
        Record {
            name: name.into(),
            pid: 1,
            ssh_port: Some(2222),
            arch: None,
            disk: "/d".into(),
            version: "1".into(),
            console: None,
            console_log: None,
        }
    }

    #[test]
    fn a_machine_is_found_by_its_name_while_it_holds_its_lock() {
        let folder = tempfile::tempdir().unwrap();
        let machines = Machines::at(folder.path().join("machines"));
        assert_eq!(machines.find(None).unwrap_err().to_string(), "no machine runs\nhint: cargo xtask run --background");
        let one = machines.claim("one").unwrap();
        machines.save(&record("one")).unwrap();
        assert_eq!(machines.find(None).unwrap(), record("one"));
        assert!(machines.claim("one").unwrap_err().to_string().starts_with("a machine named one runs already\nhint: cargo xtask stop one"));
        let two = machines.claim("two").unwrap();
        machines.save(&record("two")).unwrap();
        assert_eq!(
            machines.find(None).unwrap_err().to_string(),
            "several machines run: one, two\nhint: --name one behind the verb, as in cargo xtask ssh --name one"
        );
        assert_eq!(machines.find(Some("two")).unwrap().name, "two");
        assert!(machines.find(Some("three")).unwrap_err().to_string().starts_with("no machine named three runs; these do: one, two\n"));
        drop(two);
        assert!(!machines.is_running("two"), "a record without a machine does not count");
        assert_eq!(machines.find(None).unwrap().name, "one");
        drop(one);
        assert_eq!(machines.running().unwrap(), []);
    }
}
