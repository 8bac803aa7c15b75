//! Whether the files of a checkout look as its index says: each folder is opened once, and its files are asked for by their names in it.

use crate::{
    File,
    objects::{LINK, LINKED_COMMIT, file_now},
};
use rustix::{
    fd::{AsFd as _, BorrowedFd},
    fs::{AtFlags, CWD, Mode, OFlags, RawDir, Stat, openat, statat},
};
use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::Metadata,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

/// What the index knows in a folder: a name, and the file, unless it is a folder too.
type Child<'i> = (&'i [u8], Option<&'i File>);

/// The names that the index does not know, when all that it knows looks as it says. `written` is the index file.
pub(crate) fn around(top: &Path, files: &[File], written: &Metadata) -> Option<Vec<PathBuf>> {
    let folders = folders(files);
    let mut names: Vec<(&&[u8], &Vec<Child<'_>>)> = folders.iter().collect();
    names.sort_unstable_by_key(|(folder, _)| **folder);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(8);
    let since = (written.mtime(), written.mtime_nsec());
    // Folders differ in size, so whoever is free takes the next few.
    let next = AtomicUsize::new(0);
    let look = || {
        let mut found = Found { unknown: Vec::new(), names: Vec::with_capacity(NAMES), since };
        while let Some(some) = names.chunks(AT_ONCE).nth(next.fetch_add(1, Ordering::Relaxed)) {
            some.iter().try_for_each(|(folder, children)| found.look_at(top, folder, children))?;
        }
        Some(found.unknown)
    };
    let found: Option<Vec<Vec<PathBuf>>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(look)).collect();
        running.into_iter().map(|thread| thread.join().ok().flatten()).collect()
    });
    Some(found?.concat())
}

/// All folders with what is in each, names in byte order; the top is the empty name.
fn folders(files: &[File]) -> HashMap<&[u8], Vec<Child<'_>>> {
    let mut folders: HashMap<&[u8], Vec<Child<'_>>> = HashMap::new();
    for file in files {
        let mut child: Child<'_> = (&file.path, Some(file));
        loop {
            let slash = child.0.iter().rposition(|byte| *byte == b'/');
            let (parent, name) = slash.map_or((&b""[..], child.0), |at| (&child.0[..at], &child.0[at + 1..]));
            let is_new = !folders.contains_key(parent);
            folders.entry(parent).or_default().push((name, child.1));
            if !is_new || parent.is_empty() {
                break;
            }
            child = (parent, None);
        }
    }
    for children in folders.values_mut() {
        children.sort_unstable_by_key(|(name, _)| *name);
        children.dedup_by_key(|(name, _)| *name);
    }
    folders
}

/// Folders that a thread takes.
const AT_ONCE: usize = 8;

/// Bytes of names that are read of a folder at once.
const NAMES: usize = 32 * 1024;

/// One thread's work.
struct Found {
    unknown: Vec<PathBuf>,
    /// Where names are read to.
    names: Vec<u8>,
    /// When the index was written.
    since: (i64, i64),
}

impl Found {
    /// Whether all is as the index says in one folder; names that it does not know are added.
    fn look_at(&mut self, top: &Path, folder: &[u8], children: &[Child<'_>]) -> Option<()> {
        let relative = Path::new(OsStr::from_bytes(folder));
        let path = top.join(relative);
        // Through a link one would see files that git does not.
        let open = openat(CWD, &path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut met = vec![false; children.len()];
        let mut entries = RawDir::new(&open, self.names.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.ok()?;
            let name = entry.file_name().to_bytes();
            match children.binary_search_by(|(known, _)| (*known).cmp(name)) {
                Ok(at) => {
                    met[at] = true;
                    if let Some(file) = children[at].1 {
                        file.is_unchanged(open.as_fd(), name, &path, self.since)?;
                    }
                }
                Err(_) if name == b"." || name == b".." => {}
                Err(_) if folder.is_empty() && name == b".git" => {}
                // A repository in the repository.
                Err(_) if name == b".git" => return None,
                Err(_) => self.unknown.push(relative.join(OsStr::from_bytes(name))),
            }
        }
        let may_be_absent = |child: &Child<'_>| child.1.is_some_and(|file| file.is_absent || file.mode == LINKED_COMMIT);
        met.iter().zip(children).all(|(met, child)| *met || may_be_absent(child)).then_some(())
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the index keeps the low 32 bits")]
fn seen(now: &Stat) -> ([u32; 4], u32, [u32; 2], u32) {
    let times = [now.st_ctime as u32, now.st_ctime_nsec as u32, now.st_mtime as u32, now.st_mtime_nsec as u32];
    (times, now.st_ino as u32, [now.st_uid, now.st_gid], now.st_size as u32)
}

impl File {
    /// Something when the file `name` in `folder`, at `path`, is as it was. `since` is when the index was written: a file that is not
    /// older may have changed since without looking so, and is read.
    #[allow(clippy::cast_possible_wrap, clippy::unnecessary_cast, reason = "some systems count so, some so")]
    fn is_unchanged(&self, folder: BorrowedFd<'_>, name: &[u8], path: &Path, since: (i64, i64)) -> Option<()> {
        let whole = || path.join(OsStr::from_bytes(name));
        if self.mode == LINKED_COMMIT {
            // A submodule that nobody fetched is an empty folder.
            return whole().read_dir().ok()?.next().is_none().then_some(());
        }
        if self.is_absent || self.is_trusted {
            return self.is_trusted.then_some(());
        }
        let now = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let mode = match now.st_mode & 0o170_000 {
            0o120_000 => LINK,
            0o100_000 if now.st_mode & 0o100 != 0 => 0o100_755,
            0o100_000 => 0o100_644,
            _ => return None,
        };
        if mode != self.mode || seen(&now) != (self.times, self.ino, self.owner, self.size) {
            return None;
        }
        let is_old = (now.st_mtime as i64, now.st_mtime_nsec as i64) < since;
        (is_old || file_now(&whole()).ok()? == Some((self.mode, self.id))).then_some(())
    }
}
