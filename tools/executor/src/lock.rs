//! The lock of a tree's `dist/`: one build at a time.

use anyhow::{Context as _, Result};
use plan::Dist;
use std::fs::{File, TryLockError};

/// Takes the lock; waits if another run has it. Closing the file, also by a crash, releases it.
pub fn lock_tree(dist: &Dist) -> Result<File> {
    let folder = dist.path();
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    let path = dist.lock();
    let file = File::options().create(true).write(true).truncate(false).open(&path);
    let file = file.with_context(|| format!("cannot open `{}`", path.display()))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => eprintln!("another build runs in `{}`: waiting for it", folder.display()),
        Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("cannot lock `{}`", path.display())),
    }
    file.lock().with_context(|| format!("cannot lock `{}`", path.display()))?;
    Ok(file)
}
