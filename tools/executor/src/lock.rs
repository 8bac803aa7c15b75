//! One run at a time in a tree's `dist/`.

use anyhow::{Context as _, Result};
use std::{
    fs::{File, TryLockError},
    path::Path,
};

/// The name of the file in `dist/` that a build holds.
pub const LOCK: &str = ".lock";

/// Takes the lock, waiting for another run if there is one; it is given back when the file is closed, also by a crash.
pub fn lock_tree(dist: &Path) -> Result<File> {
    std::fs::create_dir_all(dist).with_context(|| format!("cannot make the folder `{}`", dist.display()))?;
    let path = dist.join(LOCK);
    let file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("cannot open `{}`", path.display()))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => eprintln!("another build runs in `{}`: waiting for it", dist.display()),
        Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("cannot lock `{}`", path.display())),
    }
    file.lock().with_context(|| format!("cannot lock `{}`", path.display()))?;
    Ok(file)
}
