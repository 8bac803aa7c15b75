//! The store of artifacts in a folder of this machine. An entry is a folder named after the key: `record.json`, and beside it the files as
//! `0`, `1`, …. An entry appears and disappears by one rename, so that no process needs a lock.

use super::{ArtifactKey, ArtifactRecord, ArtifactStore, Keep};
use anyhow::{Context as _, Result, bail};
use common::{
    artifact::{Pending, flush},
    display::size,
};
use diskimage::sparse;
use std::{
    fs::{self, File, Metadata},
    io::ErrorKind,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

/// The name of an entry's record.
const RECORD: &str = "record.json";
/// Start of the names of entries that are not whole yet, or no longer. What a killed process has left is removed after an hour.
const UNFINISHED: &str = ".";
/// See [`UNFINISHED`].
const ABANDONED: Duration = Duration::from_secs(3600);
/// How long an entry is kept that nobody uses.
const MOST_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How many entries are kept.
const MOST_ENTRIES: usize = 1000;
/// Bytes that a copy into the store leaves free for the build.
const RESERVE: u64 = 256 << 20;

/// How many entries this process has removed, for names that nothing else has.
static REMOVED: AtomicU64 = AtomicU64::new(0);

/// A store in a folder, which need not exist.
#[derive(Clone, Debug)]
pub struct LocalStore {
    folder: PathBuf,
    pub(super) limit: u64,
}

impl LocalStore {
    /// The store in `folder`; a run that adds something leaves at most `limit` bytes in it.
    #[must_use]
    pub fn new(folder: PathBuf, limit: u64) -> Self {
        Self { folder, limit }
    }

    /// Removes what nobody has used for a month, and then, the longest unused first, what exceeds the limit. A build that has taken files
    /// of an entry keeps them. Returns the number of bytes that are left.
    pub fn prune(&self) -> u64 {
        let now = SystemTime::now();
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                let changed = entry.metadata().and_then(|metadata| metadata.modified());
                if changed.is_ok_and(|time| age(now, time) > ABANDONED) {
                    let _ = fs::remove_dir_all(path);
                }
                continue;
            }
            let (used, bytes) = usage(&path);
            entries.push((used, bytes, path));
        }
        entries.sort();
        let (mut left, mut count) = (entries.iter().map(|(_, bytes, _)| bytes).sum::<u64>(), entries.len());
        for (used, bytes, path) in entries {
            if left <= self.limit && count <= MOST_ENTRIES && age(now, used) <= MOST_AGE {
                break;
            }
            discard(&path);
            left -= bytes;
            count -= 1;
        }
        left
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn entry(&self, key: &ArtifactKey) -> PathBuf {
        self.folder.join(key.to_string())
    }

    fn put_once(&self, key: &ArtifactKey, record: &ArtifactRecord, places: &[PathBuf]) -> Result<()> {
        fs::create_dir_all(&self.folder)?;
        let readable = fs::Permissions::from_mode(0o755);
        let part = tempfile::Builder::new().prefix(".new-").permissions(readable).tempdir_in(&self.folder)?;
        self.fill(part.path(), record, places)?;
        if self.entry(key).exists() {
            self.remove(key);
        }
        match fs::rename(part.path(), self.entry(key)) {
            Ok(()) => drop(part.keep()),
            // Another process has just put the same.
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Fills the new entry `folder`, and waits until its copies are on the disk. A record that a power loss cut is no record.
    fn fill(&self, folder: &Path, record: &ArtifactRecord, places: &[PathBuf]) -> Result<()> {
        if record.has_files() {
            for (at, place) in places.iter().enumerate() {
                let to = folder.join(at.to_string());
                let is_copied = transfer(place, &to, record.keep, &|bytes| self.check_space(bytes));
                // Another name of an artifact is on the disk already.
                if is_copied.with_context(|| format!("`{}`", place.display()))? {
                    flush(&to).with_context(|| format!("cannot write `{}` to the disk", to.display()))?;
                }
            }
        }
        Ok(fs::write(folder.join(RECORD), serde_json::to_vec_pretty(record)?)?)
    }

    /// Fails if a copy of `bytes` would leave too little for the build itself.
    fn check_space(&self, bytes: u64) -> Result<()> {
        let free = rustix::fs::statvfs(&self.folder).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        if free < bytes.saturating_add(RESERVE) {
            bail!("only {} are free", size(free));
        }
        Ok(())
    }
}

impl ArtifactStore for LocalStore {
    fn find(&self, key: &ArtifactKey) -> Option<ArtifactRecord> {
        serde_json::from_slice(&fs::read(self.entry(key).join(RECORD)).ok()?).ok()
    }

    fn get(&self, key: &ArtifactKey, places: &[PathBuf], _progress: &(dyn Fn(u64, u64) + Sync)) -> Result<bool> {
        let entry = self.entry(key);
        let Some(record) = self.find(key).filter(|record| record.has_files() && record.files.len() == places.len()) else {
            return Ok(false);
        };
        for (at, place) in places.iter().enumerate() {
            match put_in_place(&entry.join(at.to_string()), place, record.keep) {
                Err(error) if is_missing(&error) => {
                    // Without a file the entry is worth nothing, and would hide that the step's result is not kept.
                    self.remove(key);
                    return Ok(false);
                }
                result => result.with_context(|| format!("cannot take `{}` from the store", place.display()))?,
            }
        }
        // So that it is not the next one to go. Another user's entry cannot be marked.
        let _ = File::options().write(true).open(entry.join(RECORD)).and_then(|file| file.set_modified(SystemTime::now()));
        Ok(true)
    }

    fn put(&self, key: &ArtifactKey, record: &ArtifactRecord, places: &[PathBuf]) -> Result<()> {
        let known = self.find(key);
        if known.as_ref() == Some(record) {
            return Ok(());
        }
        match self.put_once(key, record, places) {
            // Somebody has removed the whole store meanwhile.
            Err(error) if is_missing(&error) => self.put_once(key, record, places),
            result => result,
        }
        .with_context(|| format!("cannot keep {} in the store `{}`", record.node, self.folder.display()))
    }

    fn remove(&self, key: &ArtifactKey) {
        discard(&self.entry(key));
    }

    fn tidy(&self) {
        self.prune();
    }
}

fn age(now: SystemTime, time: SystemTime) -> Duration {
    now.duration_since(time).unwrap_or_default()
}

/// When an entry was last used, which its record's time says, and its bytes on the disk.
fn usage(entry: &Path) -> (SystemTime, u64) {
    let (mut used, mut bytes) = (SystemTime::UNIX_EPOCH, 0);
    for file in fs::read_dir(entry).into_iter().flatten().flatten() {
        let Ok(metadata) = file.metadata() else { continue };
        if file.file_name() == RECORD {
            used = metadata.modified().unwrap_or(used);
        }
        bytes += if metadata.is_dir() { allocated(&file.path()) } else { metadata.blocks() * 512 };
    }
    (used, bytes)
}

/// The bytes on the disk below a folder.
fn allocated(folder: &Path) -> u64 {
    let files = walkdir::WalkDir::new(folder).into_iter().filter_map(|entry| entry.ok()?.metadata().ok());
    files.map(|metadata| metadata.blocks() * 512).sum()
}

/// Removes an entry: first its name, so that nobody finds half of it.
fn discard(entry: &Path) {
    let Some((folder, name)) = entry.parent().zip(entry.file_name()) else { return };
    let number = REMOVED.fetch_add(1, Ordering::Relaxed);
    let gone = folder.join(format!("{UNFINISHED}gone-{}-{number}-{}", std::process::id(), name.to_string_lossy()));
    if fs::rename(entry, &gone).is_ok() {
        let _ = fs::remove_dir_all(gone);
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound))
}

/// Creates `place` from `from`, whole or not at all.
fn put_in_place(from: &Path, place: &Path, keep: Keep) -> Result<()> {
    let pending = Pending::new(place)?;
    transfer(from, pending.part(), keep, &|_| Ok(()))?;
    match place.symlink_metadata() {
        Ok(old) if old.is_dir() => fs::remove_dir_all(place)?,
        // A rename between two names of one file does nothing.
        Ok(_) => fs::remove_file(place)?,
        Err(_) => {}
    }
    pending.commit_before_stamp()
}

/// Creates `to`, which does not exist, with the content of `from`: a file, a link or a folder. `may_copy` is asked before bytes are copied.
/// Whether `to` is anything but other names of files that were there.
fn transfer(from: &Path, to: &Path, keep: Keep, may_copy: &dyn Fn(u64) -> Result<()>) -> Result<bool> {
    let metadata = from.symlink_metadata()?;
    if metadata.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(from)?, to)?;
        return Ok(true);
    }
    if metadata.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            transfer(&entry.path(), &to.join(entry.file_name()), keep, may_copy)?;
        }
        return Ok(true);
    }
    if keep == Keep::Linked && fs::hard_link(from, to).is_ok() {
        return Ok(false);
    }
    copy(from, &metadata, to, may_copy)?;
    Ok(true)
}

/// Copies a file with its holes and permissions. Shares the blocks where the file system can.
fn copy(from: &Path, metadata: &Metadata, to: &Path, may_copy: &dyn Fn(u64) -> Result<()>) -> Result<()> {
    let (from, to) = (File::open(from)?, File::options().read(true).write(true).create_new(true).open(to)?);
    if !sparse::share(&from, &to) {
        may_copy(metadata.blocks() * 512)?;
        to.set_len(metadata.len())?;
        sparse::copy(&from, 0, metadata.len(), &to, 0)?;
    }
    Ok(to.set_permissions(metadata.permissions())?)
}
