//! The lock of a cache, as linuxkit takes it: a POSIX record lock (`fcntl`) on the whole file `.lock` in the cache's folder.
//! The linuxkit of 2022 takes none; against that one nothing helps but not to run it at the same time.

use anyhow::{Context as _, Result};
use rustix::{
    fs::{FlockOperation, fcntl_lock},
    io::Errno,
};
use std::{
    fs::{File, OpenOptions},
    io::ErrorKind,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A POSIX lock belongs to the process, not to the thread, and closing any descriptor of the file drops it: so within the
/// process one thread at a time holds any cache's lock.
static WITHIN_PROCESS: Mutex<()> = Mutex::new(());

/// Holds the lock until it is dropped.
pub(super) struct Lock {
    // In this order: the file is closed, which releases the lock, before another thread may take it.
    _file: Option<File>,
    _guard: MutexGuard<'static, ()>,
}

/// Waits until nobody else reads or writes the index. The folder must exist.
pub(super) fn write(dir: &Path) -> Result<Lock> {
    let guard = WITHIN_PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
    let path = dir.join(".lock");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.with_context(|| format!("cannot open the cache's lock `{}`", path.display()))?;
    wait(&file, FlockOperation::LockExclusive).with_context(|| format!("cannot lock `{}`", path.display()))?;
    Ok(Lock { _file: Some(file), _guard: guard })
}

/// Waits until nobody writes the index. A cache without a lock file has no writer that knows locks; reading makes no file.
pub(super) fn read(dir: &Path) -> Result<Lock> {
    let guard = WITHIN_PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
    let path = dir.join(".lock");
    let file = match File::open(&path) {
        Ok(file) => Some(file),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::NotADirectory) => None,
        Err(e) => return Err(e).with_context(|| format!("cannot open the cache's lock `{}`", path.display())),
    };
    if let Some(file) = &file {
        wait(file, FlockOperation::LockShared).with_context(|| format!("cannot lock `{}`", path.display()))?;
    }
    Ok(Lock { _file: file, _guard: guard })
}

fn wait(file: &File, operation: FlockOperation) -> rustix::io::Result<()> {
    loop {
        match fcntl_lock(file, operation) {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}
