//! The lock of a cache, compatible with linuxkit's: a POSIX record lock (`fcntl`) on the whole file `.lock` in the cache's
//! folder. linuxkit versions of 2022 take no lock and must not run at the same time; see [`super::Fork`].

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

/// A POSIX record lock belongs to the process, and closing any descriptor of the file releases it. So only one thread at a time
/// may hold the lock of any cache.
static WITHIN_PROCESS: Mutex<()> = Mutex::new(());

/// Releases the lock on drop.
pub(super) struct Lock {
    // Field order matters: the file closes (releasing the lock) before another thread may lock.
    _file: Option<File>,
    _guard: MutexGuard<'static, ()>,
}

/// Takes the exclusive lock; waits for readers and writers. The folder must exist.
pub(super) fn write(dir: &Path) -> Result<Lock> {
    let guard = WITHIN_PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
    let path = dir.join(".lock");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.with_context(|| format!("cannot open the cache's lock `{}`", path.display()))?;
    wait(&file, FlockOperation::LockExclusive).with_context(|| format!("cannot lock `{}`", path.display()))?;
    Ok(Lock { _file: Some(file), _guard: guard })
}

/// Takes the shared lock; waits for writers. Without a lock file there is nothing to lock, and reading does not create it.
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
