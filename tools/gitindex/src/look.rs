//! Compares a checkout with its index. Without remembered names it lists every folder. With them it only checks the metadata of
//! folders and files, as an unchanged folder holds the same names.

use crate::{
    ABSENT, File, Index, TRUSTED, join,
    memory::{Folder, Names},
    objects::{LINK, LINKED_COMMIT, file_now},
};
use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{AtFlags, CWD, Mode, OFlags, RawDir, Stat, fstat, openat, statat},
};
use std::{
    collections::HashMap,
    ffi::{CStr, OsStr},
    fs::Metadata,
    ops::Range,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// An entry of a folder in the index: name, and the file's position unless the entry is a folder.
type Child<'i> = (&'i [u8], Option<usize>);

/// A checkout to compare.
pub(crate) struct Look<'i> {
    pub top: &'i Path,
    index: &'i Index,
    /// mtime of the index: seconds, nanoseconds.
    since: (i64, i64),
    /// Whether git may compare the content of a file.
    pub racy: AtomicBool,
}

impl<'i> Look<'i> {
    /// `written`: metadata of the index file.
    pub(crate) fn new(top: &'i Path, index: &'i Index, written: &Metadata) -> Self {
        Self { top, index, since: (written.mtime(), written.mtime_nsec()), racy: AtomicBool::new(false) }
    }

    /// Lists all folders. `None` if a tracked file differs from the index.
    pub(crate) fn list(&self) -> Option<Names> {
        let folders = folders(&self.index.files);
        let mut children: Vec<(&&[u8], &Vec<Child<'_>>)> = folders.iter().collect();
        children.sort_unstable_by_key(|(folder, _)| **folder);
        let found = at_once(&children, 8, |some| {
            let mut found = Found { names: Names::default(), buffer: Vec::with_capacity(BUFFER), look: self };
            some.iter().try_for_each(|(folder, children)| found.look_at(folder, children))?;
            Some(found.names)
        })?;
        Some(found.into_iter().fold(Names::default(), |mut all, some| {
            all.folders.extend(some.folders);
            all.unknown.extend(some.unknown);
            all
        }))
    }

    /// `Some` if all files match the index; for folders whose names are known to be unchanged.
    pub(crate) fn files(&self) -> Option<()> {
        let top = open(self.top).ok()?;
        let is_same = |at: usize, folder: BorrowedFd<'_>, skip: usize| {
            let name = self.index.files[at].path.after(skip)?;
            if self.index.hidden[at] == ABSENT && statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).is_err() {
                return Some(());
            }
            self.is_unchanged(at, folder, name)
        };
        at_once(&self.shares(), 1, |shares| {
            shares.iter().flat_map(|share| &self.index.runs[share.clone()]).try_for_each(|run| {
                // For four or more files, opening the folder is cheaper than resolving the whole path for each.
                if run.files.len() < 4 || run.folder == 0 {
                    return run.files.clone().try_for_each(|at| is_same(at, top.as_fd(), 0));
                }
                let folder = &self.index.files[run.files.start].path[..run.folder];
                let open = openat(&top, folder, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
                run.files.clone().try_for_each(|at| is_same(at, open.as_fd(), run.folder + 1))
            })
        })
        .map(|_| ())
    }

    /// Shares of the work for threads: runs with some hundred files together.
    fn shares(&self) -> Vec<Range<usize>> {
        const FILES: usize = 256;
        let (mut shares, mut start) = (Vec::new(), 0);
        for (at, run) in self.index.runs.iter().enumerate() {
            if run.files.end - self.index.runs[start].files.start >= FILES {
                shares.push(start..at + 1);
                start = at + 1;
            }
        }
        shares.push(start..self.index.runs.len());
        shares
    }

    /// `Some` if the file at the position `at`, which is `name` in `folder`, matches. A file that is not older than the index may have
    /// changed without a change in its metadata ("racily clean"), so its content is hashed.
    #[allow(clippy::cast_possible_wrap, clippy::unnecessary_cast, reason = "the types differ between systems")]
    fn is_unchanged(&self, at: usize, folder: BorrowedFd<'_>, name: &CStr) -> Option<()> {
        let file = &self.index.files[at];
        let whole = || self.top.join(OsStr::from_bytes(&file.path));
        if file.mode == LINKED_COMMIT {
            // The empty folder of a submodule that is not checked out. For git it has changed if the folder is gone, or is a link.
            let is_folder = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?.st_mode & 0o170_000 == 0o040_000;
            return is_folder.then(whole)?.read_dir().ok()?.next().is_none().then_some(());
        }
        match self.index.hidden[at] {
            TRUSTED => return Some(()),
            ABSENT => return None,
            _ => {}
        }
        let now = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let mode = match now.st_mode & 0o170_000 {
            0o120_000 => LINK,
            0o100_000 if now.st_mode & 0o100 != 0 => 0o100_755,
            0o100_000 => 0o100_644,
            _ => return None,
        };
        if mode != file.mode || seen(&now) != self.index.stats[at] {
            return None;
        }
        if now.st_mtime as i64 >= self.since.0 {
            self.racy.store(true, Ordering::Relaxed);
        }
        if (now.st_mtime as i64, now.st_mtime_nsec as i64) < self.since {
            return Some(());
        }
        (file_now(&whole()).ok()? == Some((file.mode, file.id))).then_some(())
    }
}

/// Whether the folders are unchanged since `names` were listed.
pub(crate) fn holds(top: &Path, names: &Names) -> bool {
    let Ok(top) = open(top) else { return false };
    let is_same = |folder: &Folder| {
        let path = if folder.path.is_empty() { b"." } else { &*folder.path };
        statat(&top, path, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|now| folder.is(&now))
    };
    at_once(&names.folders, 64, |some| some.iter().all(is_same).then_some(())).is_some()
}

fn open(folder: &Path) -> rustix::io::Result<OwnedFd> {
    // `NOFOLLOW`: git does not look behind symbolic links.
    openat(CWD, folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Runs `work` on chunks of `few` items, on all cores. Returns the results in any order; `None` as soon as one is `None`.
fn at_once<T: Sync, R: Send>(all: &[T], few: usize, work: impl Fn(&[T]) -> Option<R> + Sync) -> Option<Vec<R>> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(8);
    // Chunks differ in cost, so a free thread takes the next one.
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        while let Some(some) = all.chunks(few).nth(next.fetch_add(1, Ordering::Relaxed)) {
            let Some(result) = work(some) else {
                next.store(all.len(), Ordering::Relaxed);
                return None;
            };
            done.push(result);
        }
        Some(done)
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let own = run();
        others.into_iter().map(|thread| thread.join().ok().flatten()).chain([own]).try_fold(Vec::new(), |mut all, some| {
            all.extend(some?);
            Some(all)
        })
    })
}

/// All folders with their entries, sorted by name; the top's path is empty.
fn folders(files: &[File]) -> HashMap<&[u8], Vec<Child<'_>>> {
    let mut folders: HashMap<&[u8], Vec<Child<'_>>> = HashMap::new();
    for (at, file) in files.iter().enumerate() {
        let mut child: Child<'_> = (&file.path, Some(at));
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

/// Bytes of the directory listing buffer.
const BUFFER: usize = 32 * 1024;

/// Results of a few folders.
struct Found<'i> {
    names: Names,
    /// Buffer of directory listings.
    buffer: Vec<u8>,
    look: &'i Look<'i>,
}

impl Found<'_> {
    /// `Some` if the tracked files of one folder match the index. Records the folder and its untracked names.
    fn look_at(&mut self, folder: &[u8], children: &[Child<'_>]) -> Option<()> {
        let relative = Path::new(OsStr::from_bytes(folder));
        let path = self.look.top.join(relative);
        let open = open(&path).ok()?;
        // `fstat` before listing: a later change is then noticed next time.
        self.names.folders.push(Folder::new(folder, &fstat(&open).ok()?));
        let mut met = vec![false; children.len()];
        let mut entries = RawDir::new(&open, self.buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.ok()?;
            let (found, name) = (entry.file_name(), entry.file_name().to_bytes());
            match children.binary_search_by(|(known, _)| (*known).cmp(name)) {
                Ok(at) => {
                    met[at] = true;
                    if let Some(file) = children[at].1 {
                        self.look.is_unchanged(file, open.as_fd(), found)?;
                    }
                }
                Err(_) if name == b"." || name == b".." => {}
                Err(_) if folder.is_empty() && name == b".git" => {}
                // A nested repository.
                Err(_) if name == b".git" => return None,
                Err(_) => self.names.unknown.push(relative.join(OsStr::from_bytes(name))),
            }
        }
        met.iter()
            .zip(children)
            .all(|(met, child)| *met || child.1.is_some_and(|file| self.look.index.hidden[file] == ABSENT))
            .then_some(())
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the index keeps the low 32 bits")]
fn seen(now: &Stat) -> crate::Stat {
    let times = [now.st_ctime as u32, now.st_ctime_nsec as u32, now.st_mtime as u32, now.st_mtime_nsec as u32];
    join(times, now.st_ino as u32, [now.st_uid, now.st_gid], now.st_size as u32)
}
