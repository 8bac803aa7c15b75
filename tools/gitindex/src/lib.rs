//! Reads git's index and tells whether the tracked files of a checkout are unchanged, without starting git; in a large checkout
//! this takes a fifth of the time of `git status`. Anything unusual gives `None`; the caller then asks git. It depends on no
//! crate of this workspace. Source of the format: gitformat-index(5).

#[cfg(target_os = "linux")]
mod look;
#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
mod look;
mod memory;
mod name;
pub mod objects;
#[cfg(test)]
mod tests;

pub use name::Name;

use look::Look;
use memory::{NO_CHECKSUM, Names};
use objects::{Id, TREE, push_entry, tree_of};
use std::{
    collections::HashMap,
    ffi::CStr,
    fs::Metadata,
    ops::Range,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
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
    /// The metadata of each file. It has them now, unless it is [hidden](Self::hidden) or a submodule.
    pub stats: Vec<Stat>,
    /// Positions of files at which git was told not to look, so that they count as unchanged whatever they hold: `assume-unchanged`, and
    /// `skip-worktree`, the mark of a sparse checkout.
    pub hidden: Vec<usize>,
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
    let written = path.metadata().ok()?;
    let (index, names) = std::thread::scope(|scope| {
        let index = scope.spawn(|| Index::parse(std::fs::read(&path).ok()?));
        let names = remembered.and_then(Names::parse).filter(|(_, names)| look::holds(top, names));
        (index.join().ok().flatten(), names)
    });
    let mut index = index?;
    let names = names.and_then(|(of, names)| (of == index.checksum && of != NO_CHECKSUM).then_some(names));
    let look = Look::new(top, &index, &written);
    let (unknown, remember) = if let Some(names) = names {
        look.files()?;
        (names.unknown, None)
    } else {
        let began = SystemTime::now();
        let names = look.list()?;
        let remember = names.to_bytes(&index.checksum, began);
        (names.unknown, remember)
    };
    let racy = look.racy.into_inner();
    let root = index.complete();
    let hidden = (0..index.files.len()).filter(|at| index.hidden[*at] != SHOWN).collect();
    Some(Clean { root, trees: index.trees, files: index.files, stats: index.stats, hidden, unknown, remember, racy })
}

/// A file of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Path below the top, with `/`.
    pub path: Name,
    /// Mode as in tree objects.
    pub mode: u32,
    /// Id of the blob.
    pub id: Id,
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

/// Files of one folder that stand side by side in the index: their positions, and the length of the folder's path.
#[derive(Debug)]
struct Run {
    files: Range<usize>,
    folder: usize,
}

/// What git was told of a file: nothing, `assume-unchanged` or `skip-worktree` (it is not in the working tree).
const SHOWN: u8 = 0;
const TRUSTED: u8 = 1;
const ABSENT: u8 = 2;

#[derive(Debug, Default)]
struct Index {
    files: Vec<File>,
    /// The metadata of each file.
    stats: Vec<Stat>,
    /// [`SHOWN`] or not, for each file.
    hidden: Vec<u8>,
    runs: Vec<Run>,
    /// Tree ids of folders that the index has cached (extension `TREE`).
    trees: HashMap<Box<[u8]>, Id>,
    root: Option<Id>,
    /// The digest of everything before it, at the end.
    checksum: Id,
}

/// Bytes of the smallest index entry.
const SMALLEST: usize = 62;

/// Usual bytes of a folder in the extension `TREE`.
const TREE_ENTRY: usize = 32;

impl Index {
    /// The root's tree id; computes and stores the ids that the index has not cached.
    fn complete(&mut self) -> Id {
        self.root.unwrap_or_else(|| complete_below(&self.files, 0, &mut self.trees))
    }

    /// Reads versions 2 and 3; `None` with an extension that must be understood.
    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let bytes = Arc::new(bytes);
        let mut reader = Reader { bytes: &bytes, at: 0 };
        if reader.take(4)? != b"DIRC" || !matches!(reader.u32()?, 2 | 3) {
            return None;
        }
        let count = reader.u32()? as usize;
        let mut index = Self { checksum: *bytes.last_chunk()?, ..Self::default() };
        let room = count.min(bytes.len() / SMALLEST);
        index.files.reserve(room);
        index.stats.reserve(room);
        index.hidden.reserve(room);
        for _ in 0..count {
            index.add(&mut reader, &bytes)?;
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
        Some(index)
    }

    /// Reads the next entry.
    fn add(&mut self, reader: &mut Reader<'_>, bytes: &Arc<Vec<u8>>) -> Option<()> {
        const EXTENDED: u16 = 1 << 14;
        const ASSUMED: u16 = 1 << 15;
        const STAGE: u16 = 3 << 12;
        const SKIPPED: u16 = 1 << 14;
        const INTENDED: u16 = 1 << 13;
        let start = reader.at;
        let (times, _device) = ([reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?], reader.u32()?);
        let (ino, mode) = (reader.u32()?, reader.u32()?);
        let (owner, size) = ([reader.u32()?, reader.u32()?], reader.u32()?);
        let id: Id = reader.take(20)?.try_into().ok()?;
        let flags = reader.u16()?;
        let more = if flags & EXTENDED == 0 { 0 } else { reader.u16()? };
        if flags & STAGE != 0 || more & INTENDED != 0 {
            return None;
        }
        let (path_at, path) = (reader.at, CStr::from_bytes_until_nul(reader.bytes.get(reader.at..)?).ok()?.to_bytes());
        // Entries end with 1 to 8 zeros, up to a multiple of eight bytes.
        reader.at = start + (path_at + path.len() + 1 - start).next_multiple_of(8);
        let (at, folder) = (self.files.len(), path.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
        let before = self.files.last().map_or(&b""[..], |file| &file.path);
        // Several entries of one path are a merge conflict.
        if at > 0 && before >= path {
            return None;
        }
        match self.runs.last_mut() {
            Some(run) if run.folder == folder && before[..folder] == path[..folder] => run.files.end = at + 1,
            _ => self.runs.push(Run { files: at..at + 1, folder }),
        }
        let path = Name::part_of(bytes, path_at, path.len())?;
        self.files.push(File { path, mode, id });
        self.stats.push(join(times, ino, owner, size));
        // A file with both marks counts as absent: where it is there, git is asked.
        self.hidden.push(if more & SKIPPED != 0 { ABSENT } else { u8::from(flags & ASSUMED != 0) * TRUSTED });
        Some(())
    }

    /// Extension `TREE`: folders in pre-order, each as name, number of files, number of subfolders, id.
    fn read_trees(&mut self, bytes: &[u8]) -> Option<()> {
        let mut reader = Reader { bytes, at: 0 };
        self.trees.reserve(bytes.len() / TREE_ENTRY);
        // The path of the folder, and its parents: the lengths of their paths, each with the number of subfolders still to read.
        let (mut path, mut above) = (Vec::new(), Vec::<(usize, usize)>::new());
        while reader.at < bytes.len() {
            let name = reader.until(0)?;
            let files = std::str::from_utf8(reader.until(b' ')?).ok()?.parse::<i64>().ok()?;
            let folders = std::str::from_utf8(reader.until(b'\n')?).ok()?.parse::<usize>().ok()?;
            // A negative count marks an invalid id: something below was staged later.
            let id: Option<Id> = if files < 0 { None } else { Some(reader.take(20)?.try_into().ok()?) };
            match above.last_mut() {
                None if !name.is_empty() => return None,
                None => self.root = id,
                Some((parent, left)) => {
                    *left = left.checked_sub(1)?;
                    path.truncate(*parent);
                    path.extend_from_slice(if path.is_empty() { b"" } else { b"/" });
                    path.extend_from_slice(name);
                    if let Some(id) = id {
                        self.trees.insert(path.as_slice().into(), id);
                    }
                }
            }
            above.push((path.len(), folders));
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

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }
}
