//! Reads git's index and tells whether the tracked files of a checkout are unchanged, without starting git; in a large checkout
//! this takes a fifth of the time of `git status`. Anything unusual gives `None`; the caller then asks git. It depends on no
//! crate of this workspace. Source of the format: gitformat-index(5).

#[cfg(target_os = "linux")]
mod look;
#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
mod look;
mod memory;
pub mod objects;
#[cfg(test)]
mod tests;

use look::Look;
use memory::Names;
use objects::{Id, TREE, push_entry, tree_of};
use std::{
    collections::HashMap,
    fs::Metadata,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// A checkout whose tracked files match its index.
#[derive(Debug)]
pub struct Clean {
    /// Tree id of the index; differs from the commit's tree if something is staged.
    pub root: Id,
    /// Tree ids of all folders, by path below the top.
    pub trees: HashMap<Box<[u8]>, Id>,
    /// Tracked files, in byte order of their paths.
    pub files: Vec<File>,
    /// Untracked files and folders, below the top, ignored ones included; `git ls-files --others --exclude-standard` tells them
    /// apart.
    pub unknown: Vec<PathBuf>,
    /// Bytes to pass as `remembered` next time; `None` if they have not changed.
    pub remember: Option<Vec<u8>>,
    /// Whether a file was written in the index's second or later. Git compares the content of such a file (most builds of git
    /// read no nanoseconds) as attributes and settings convert it: line ends, filters. Here it is compared as it is, so with any
    /// of these the caller asks git.
    pub racy: bool,
}

/// Compares the checkout at `top` with the index in `git_dir`. `None` if a tracked file changed or if the index uses features
/// that are not read here. `remembered` is [`Clean::remember`] of an earlier call.
#[must_use]
pub fn clean(top: &Path, git_dir: &Path, remembered: Option<&[u8]>) -> Option<Clean> {
    let path = git_dir.join("index");
    // In this order: if the index is rewritten in between, it appears older, and more files are hashed.
    let (written, bytes) = (path.metadata().ok()?, std::fs::read(&path).ok()?);
    // The last 20 bytes are the checksum.
    let checksum: &Id = bytes.last_chunk()?;
    let (index, remembered) = std::thread::scope(|scope| {
        let index = scope.spawn(|| Index::parse(&bytes));
        let names = remembered.and_then(|bytes| Names::parse(bytes, checksum));
        (index.join().ok().flatten(), names.filter(|names| look::holds(top, names)))
    });
    let mut index = index?;
    let look = Look::new(top, &index.files, &written);
    let (unknown, remember) = if let Some(names) = remembered {
        look.files()?;
        (names.unknown, None)
    } else {
        let began = SystemTime::now();
        let names = look.list()?;
        let remember = names.to_bytes(checksum, began);
        (names.unknown, remember)
    };
    let racy = look.racy.into_inner();
    let root = index.complete();
    Some(Clean { root, trees: index.trees, files: index.files, unknown, remember, racy })
}

/// A file of the index.
#[derive(Debug)]
pub struct File {
    /// Path below the top, with `/`.
    pub path: Box<[u8]>,
    /// Mode as in tree objects.
    pub mode: u32,
    /// Id of the blob.
    pub id: Id,
    /// ctime and mtime: seconds and nanoseconds each. Read by `look`, as are all below.
    times: [u32; 4],
    ino: u32,
    owner: [u32; 2],
    size: u32,
    /// `git update-index --assume-unchanged`.
    is_trusted: bool,
    /// `skip-worktree`: not in the working tree.
    is_absent: bool,
}

/// What the index keeps of a file's metadata, the low 32 bits each: seconds and nanoseconds of ctime and of mtime, inode, owner, group, size.
pub type Stat = [u32; 8];

/// What an index would keep of these metadata.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the index keeps the low 32 bits")]
pub fn stat_of(meta: &Metadata) -> Stat {
    let times = [meta.ctime() as u32, meta.ctime_nsec() as u32, meta.mtime() as u32, meta.mtime_nsec() as u32];
    join(times, meta.ino() as u32, [meta.uid(), meta.gid()], meta.size() as u32)
}

const fn join([c, c_nsec, m, m_nsec]: [u32; 4], ino: u32, [user, group]: [u32; 2], size: u32) -> Stat {
    [c, c_nsec, m, m_nsec, ino, user, group, size]
}

impl File {
    /// The file's metadata. A [`Clean`] has only files that have them now, except [hidden](Self::is_hidden) ones and submodules.
    #[must_use]
    pub const fn stat(&self) -> Stat {
        join(self.times, self.ino, self.owner, self.size)
    }

    /// Whether git was told not to look at the file, so that it counts as unchanged whatever it holds: `assume-unchanged`, and
    /// `skip-worktree`, the mark of a sparse checkout.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.is_trusted || self.is_absent
    }
}

#[derive(Debug, Default)]
struct Index {
    files: Vec<File>,
    /// Tree ids of folders that the index has cached (extension `TREE`).
    trees: HashMap<Box<[u8]>, Id>,
    root: Option<Id>,
}

/// Bytes of the smallest index entry.
const SMALLEST: usize = 62;

impl Index {
    /// The root's tree id; computes and stores the ids that the index has not cached.
    fn complete(&mut self) -> Id {
        self.root.unwrap_or_else(|| complete_below(&self.files, 0, &mut self.trees))
    }

    /// Reads versions 2 and 3; `None` with an extension that must be understood.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        if reader.take(4)? != b"DIRC" || !matches!(reader.u32()?, 2 | 3) {
            return None;
        }
        let count = reader.u32()? as usize;
        let mut index = Self::default();
        index.files.reserve(count.min(bytes.len() / SMALLEST));
        for _ in 0..count {
            index.files.push(reader.file()?);
        }
        // The checksum follows the extensions.
        while reader.at + 8 <= bytes.len().checked_sub(20)? {
            let (name, len) = (reader.take(4)?, reader.u32()? as usize);
            let content = reader.take(len)?;
            match name {
                b"TREE" => index.read_trees(content)?,
                // A name in lower case marks a mandatory extension.
                _ if !name[0].is_ascii_uppercase() => return None,
                _ => {}
            }
        }
        // Several entries of one path are a merge conflict.
        index.files.is_sorted_by(|a, b| a.path < b.path).then_some(index)
    }

    /// Extension `TREE`: folders in pre-order, each as name, number of files, number of subfolders, id.
    fn read_trees(&mut self, bytes: &[u8]) -> Option<()> {
        let mut reader = Reader { bytes, at: 0 };
        // Stack of parent folders, each with the number of subfolders still to read.
        let mut above: Vec<(Vec<u8>, usize)> = Vec::new();
        while reader.at < bytes.len() {
            let name = reader.until(0)?;
            let files = std::str::from_utf8(reader.until(b' ')?).ok()?.parse::<i64>().ok()?;
            let folders = std::str::from_utf8(reader.until(b'\n')?).ok()?.parse::<usize>().ok()?;
            // A negative count marks an invalid id: something below was staged later.
            let id: Option<Id> = if files < 0 { None } else { Some(reader.take(20)?.try_into().ok()?) };
            let path = match above.last_mut() {
                None if !name.is_empty() => return None,
                None => Vec::new(),
                Some((parent, left)) => {
                    *left = left.checked_sub(1)?;
                    if parent.is_empty() { name.to_vec() } else { [parent, &b"/"[..], name].concat() }
                }
            };
            if above.is_empty() {
                self.root = id;
            } else if let Some(id) = id {
                self.trees.insert(path.clone().into(), id);
            }
            above.push((path, folders));
            while above.len() > 1 && above.last().is_some_and(|(_, left)| *left == 0) {
                above.pop();
            }
        }
        Some(())
    }
}

/// Tree id of the folder that holds `files`, whose paths share the first `skip` bytes. Uses and extends `trees`.
fn complete_below(files: &[File], skip: usize, trees: &mut HashMap<Box<[u8]>, Id>) -> Id {
    let mut body = Vec::new();
    let mut rest = files;
    while let Some(file) = rest.first() {
        let name = &file.path[skip..];
        let Some(slash) = name.iter().position(|byte| *byte == b'/') else {
            push_entry(&mut body, file.mode, name, &file.id);
            rest = &rest[1..];
            continue;
        };
        let folder = &file.path[..skip + slash];
        let inside = |file: &File| file.path.starts_with(folder) && file.path.get(folder.len()) == Some(&b'/');
        let count = rest.iter().take_while(|file| inside(file)).count();
        let id = trees.get(folder).copied().unwrap_or_else(|| {
            let id = complete_below(&rest[..count], folder.len() + 1, trees);
            trees.insert(folder.into(), id);
            id
        });
        push_entry(&mut body, TREE, &name[..slash], &id);
        rest = &rest[count..];
    }
    tree_of(&body)
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    fn take(&mut self, len: usize) -> Option<&'b [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(taken)
    }

    fn until(&mut self, end: u8) -> Option<&'b [u8]> {
        let len = self.bytes.get(self.at..)?.iter().position(|byte| *byte == end)?;
        let taken = self.take(len)?;
        self.at += 1;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn file(&mut self) -> Option<File> {
        const EXTENDED: u16 = 1 << 14;
        const TRUSTED: u16 = 1 << 15;
        const STAGE: u16 = 3 << 12;
        const ABSENT: u16 = 1 << 14;
        const INTENDED: u16 = 1 << 13;
        let start = self.at;
        let times = [self.u32()?, self.u32()?, self.u32()?, self.u32()?];
        let (_device, ino, mode) = (self.u32()?, self.u32()?, self.u32()?);
        let (owner, size) = ([self.u32()?, self.u32()?], self.u32()?);
        let id: Id = self.take(20)?.try_into().ok()?;
        let flags = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        let more = if flags & EXTENDED == 0 { 0 } else { u16::from_be_bytes(self.take(2)?.try_into().ok()?) };
        if flags & STAGE != 0 || more & INTENDED != 0 {
            return None;
        }
        let path = self.until(0)?.into();
        // Entries end with 1 to 8 zeros, up to a multiple of eight bytes.
        self.at = start + (self.at - start).next_multiple_of(8);
        Some(File { path, mode, id, times, ino, owner, size, is_trusted: flags & TRUSTED != 0, is_absent: more & ABSENT != 0 })
    }
}
