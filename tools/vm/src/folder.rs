//! The temporary folder of a running machine: firmware variables and sockets, whose paths must be short. Removed at the end; that of a
//! run that was killed is removed by the next run.

use anyhow::{Context as _, Result};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};
use tempfile::TempDir;

const PREFIX: &str = "xtask-vm-";
/// The file in each folder that its owner has locked.
const LOCK: &str = "lock";

/// The folder, locked until this is dropped.
pub(super) struct Folder {
    dir: TempDir,
    _lock: File,
}

impl Folder {
    /// Makes a folder, and removes those that nobody owns any more.
    pub(super) fn new() -> Result<Self> {
        let parent = std::env::temp_dir();
        sweep(&parent);
        Self::in_folder(&parent)
    }

    fn in_folder(parent: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent).context("cannot make a folder for the virtual machine")?;
        // Lock before the file has its name: a folder whose lock is free is abandoned.
        let draft = dir.path().join(".lock");
        let lock = File::create_new(&draft).and_then(|lock| {
            lock.lock()?;
            fs::rename(&draft, dir.path().join(LOCK))?;
            Ok(lock)
        });
        Ok(Self { _lock: lock.context("cannot lock the folder of the virtual machine")?, dir })
    }

    /// The path of a file in it.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Removes abandoned folders. Ignores errors: another user's folders are not ours to remove.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if is_ours && File::open(entry.path().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_folder_without_an_owner_is_removed_and_no_other() {
        let parent = tempfile::tempdir().unwrap();
        let lives = Folder::in_folder(parent.path()).unwrap();
        let died = Folder::in_folder(parent.path()).unwrap();
        let (left, young) = (died.dir.path().to_owned(), parent.path().join("xtask-vm-young"));
        let Folder { dir, _lock } = died;
        drop(_lock);
        let _ = dir.keep();
        fs::create_dir(&young).unwrap();
        sweep(parent.path());
        assert!(!left.exists());
        assert!(lives.join(LOCK).is_file() && young.is_dir());
    }
}
