//! A kernel lock on what only one machine may write: a disk, the state of a TPM. This process and QEMU hold it, so it ends with the last
//! of them, also by a crash.

use anyhow::{Context as _, Result, bail};
use std::{
    fs::{self, File, TryLockError},
    io::Write as _,
    os::fd::OwnedFd,
    path::Path,
};

/// The lock while a machine runs.
#[derive(Debug)]
pub struct MachineLock(File);

impl MachineLock {
    /// Takes the lock of `what`, whose lock file is `path`; fails at once if another machine has it.
    pub fn take(path: &Path, what: &Path) -> Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        let file = File::options().create(true).read(true).write(true).truncate(false).open(path);
        let mut file = file.with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(path).unwrap_or_default();
                let holder = if pid.trim().is_empty() { String::new() } else { format!(" (process {})", pid.trim()) };
                bail!(
                    "another machine{holder} uses {}\nhint: end that machine first: Ctrl-A X on its console, or cargo xtask stop",
                    what.display()
                )
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
        // The number is only for the error above.
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(file))
    }

    /// A copy of its file descriptor for QEMU.
    pub(super) fn fd(&self) -> Result<OwnedFd> {
        Ok(self.0.try_clone().context("cannot copy the file descriptor of a lock")?.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_second_machine_is_refused_until_the_first_ends_and_nothing_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/disk.lock");
        let first = MachineLock::take(&path, Path::new("disk.qcow2")).unwrap();
        let of_qemu = first.fd().unwrap();
        let refused = || common::error::render(&MachineLock::take(&path, Path::new("disk.qcow2")).unwrap_err());
        let text = format!("error: another machine (process {}) uses disk.qcow2\nhint: ", std::process::id());
        assert!(refused().starts_with(&text), "{}", refused());
        drop(first);
        assert!(refused().starts_with(&text), "QEMU still runs: {}", refused());
        drop(of_qemu);
        MachineLock::take(&path, Path::new("disk.qcow2")).unwrap();
    }
}
