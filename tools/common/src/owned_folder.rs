//! Temporary folders that their process has locked, so that what a killed process left is told from what is in use.

use anyhow::{Context as _, Result};
use std::{
    fs::{self, File},
    path::Path,
};
use tempfile::TempDir;

/// The file in each folder that its owner has locked.
const LOCK: &str = "lock";

/// A temporary folder, removed when this is dropped. If the process is killed, the next one removes it.
#[derive(Debug)]
pub struct OwnedFolder {
    dir: TempDir,
    _lock: File,
}

impl OwnedFolder {
    /// Makes a folder `PREFIX…` in `parent`, after removing those of dead processes.
    pub fn new(parent: &Path, prefix: &str) -> Result<Self> {
        sweep(parent, prefix);
        let context = || format!("cannot make a temporary folder in `{}`", parent.display());
        let dir = tempfile::Builder::new().prefix(prefix).tempdir_in(parent).with_context(context)?;
        // Lock before the file has its name: a folder whose lock is free is abandoned.
        let draft = dir.path().join(".lock");
        let lock = File::create_new(&draft).and_then(|lock| {
            lock.lock()?;
            fs::rename(&draft, dir.path().join(LOCK))?;
            Ok(lock)
        });
        Ok(Self { _lock: lock.with_context(context)?, dir })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Removes abandoned folders. Ignores errors: another user's folders are not ours to remove.
fn sweep(parent: &Path, prefix: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(prefix);
        if is_ours && File::open(entry.path().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_an_owner_is_removed_and_no_other() {
        let parent = tempfile::tempdir().expect("folder");
        let make = || OwnedFolder::new(parent.path(), "stage-").expect("folder");
        let (lives, died) = (make(), make());
        let (left, young) = (died.path().to_owned(), parent.path().join("stage-young"));
        let OwnedFolder { dir, _lock } = died;
        drop(_lock);
        let _ = dir.keep();
        for folder in [&young, &parent.path().join("other")] {
            fs::create_dir(folder).expect("folder");
        }
        fs::write(parent.path().join("other/lock"), "").expect("file");
        let next = make();
        assert!(!left.exists());
        assert!(lives.path().join(LOCK).is_file() && next.path().is_dir() && young.is_dir() && parent.path().join("other").is_dir());
    }
}
