//! Reads an image that may come from anybody: every length is bounded by what the format allows and by the image's size,
//! every position by its table, and a directory that contains itself is an error.

mod data;
mod inode;
mod metadata;
mod superblock;

pub use superblock::Superblock;

use crate::read_at::{FileImage, ReadAt};
use anyhow::{Context as _, Result, bail, ensure};
use filetree::{Content, Kind, Meta, Node, Spool, Tree};
use inode::{Body, Inode};
use metadata::MetaBlock;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io::Read as _,
    sync::{Arc, Mutex},
};

/// Bytes of a path, at most: Linux's limit.
const MAX_PATH: usize = 4096;
/// Bytes that the names, link targets and attributes of a walk may take in memory, together.
const MAX_NAMES: usize = 96 << 20;
/// What an entry takes beside its names.
const ENTRY_SIZE: usize = 128;
/// Bytes of contents that [`Reader::subtree`] keeps in memory, at most.
const MAX_IN_MEMORY: u64 = 128 << 20;

/// One path of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path from the root, without a leading `/`; the root itself is empty.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Owner, permissions, times and extended attributes.
    pub meta: Meta,
    /// Bytes of a file, or of a link's target.
    pub size: u64,
    /// Number of its inode: equal for hard links.
    pub inode: u32,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Dir,
    /// A regular file.
    File,
    /// A symbolic link to this target.
    Symlink(Vec<u8>),
    /// A character device: major, minor.
    CharDevice(u32, u32),
    /// A block device: major, minor.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// An open image. It can be read from several threads.
pub struct Reader {
    image: Box<dyn ReadAt>,
    superblock: Superblock,
    ids: Vec<u32>,
    meta_blocks: Mutex<HashMap<u64, Arc<MetaBlock>>>,
    last_fragment: Mutex<Option<(u32, Arc<Vec<u8>>)>>,
}

/// Keeps a file's content somewhere.
type Keep<'k> = &'k mut dyn FnMut(data::FileReader<'_>, u64) -> Result<Content>;

impl Reader {
    /// Opens an image in a file.
    pub fn open(file: File) -> Result<Self> {
        Self::open_image(Box::new(FileImage::new(file)?))
    }

    /// Opens an image anywhere.
    pub fn open_image(image: Box<dyn ReadAt>) -> Result<Self> {
        let superblock = superblock::read(image.as_ref())?;
        let mut reader = Self { image, superblock, ids: Vec::new(), meta_blocks: Mutex::default(), last_fragment: Mutex::default() };
        let tables = &reader.superblock.tables;
        let id = |number| reader.row(tables.ids, number, 4)?.u32();
        reader.ids = (0..u64::from(tables.id_count)).map(id).collect::<Result<_>>().context("the table of owners is damaged")?;
        Ok(reader)
    }

    /// What the superblock says.
    #[must_use]
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Every path, directories before what is in them, in byte order of the names.
    pub fn list(&self) -> Result<Vec<Entry>> {
        let root = self.inode(self.superblock.root).context("the root of the image is damaged")?;
        let mut entries = Vec::new();
        self.walk(&root, &mut |path, inode| {
            let (kind, size) = match &inode.body {
                Body::Dir { .. } => (EntryKind::Dir, 0),
                Body::File(file) => (EntryKind::File, file.size),
                Body::Other(kind) => (kind.clone(), if let EntryKind::Symlink(target) = kind { target.len() as u64 } else { 0 }),
            };
            entries.push(Entry { path: path.to_vec(), kind, meta: inode.meta.clone(), size, inode: inode.number });
            Ok(())
        })?;
        Ok(entries)
    }

    /// The content of one file; links are not followed. An error when it is larger than `most` bytes.
    pub fn read_file(&self, path: impl AsRef<[u8]>, most: u64) -> Result<Vec<u8>> {
        let name = String::from_utf8_lossy(path.as_ref()).into_owned();
        let Body::File(file) = self.find(path.as_ref())?.body else { bail!("`{name}` of the image is no file") };
        ensure!(file.size <= most, "`{name}` of the image has {} bytes, more than {most}", file.size);
        let mut bytes = Vec::new();
        self.open_file(&file).read_to_end(&mut bytes).with_context(|| format!("cannot read `{name}` of the image"))?;
        Ok(bytes)
    }

    /// The directory at `path` and all below it, contents in memory: for small parts such as `EFI/BOOT`. More than
    /// 128 MiB are an error.
    pub fn subtree(&self, path: impl AsRef<[u8]>) -> Result<Tree> {
        let mut left = MAX_IN_MEMORY;
        self.tree_from(path.as_ref(), &mut |mut reader, size| {
            left = left.checked_sub(size).with_context(|| format!("its files have more than {MAX_IN_MEMORY} bytes together"))?;
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes)?;
            Ok(Content::from(bytes))
        })
    }

    /// The whole image, contents in `spool`.
    pub fn tree(&self, spool: &mut Spool) -> Result<Tree> {
        self.tree_from(b"", &mut |mut reader, _| spool.add(&mut reader))
    }

    fn tree_from(&self, path: &[u8], keep: Keep<'_>) -> Result<Tree> {
        let name = String::from_utf8_lossy(path).into_owned();
        let root = self.find(path)?;
        ensure!(matches!(root.body, Body::Dir { .. }), "`{name}` of the image is no directory");
        let mut tree = Tree::new();
        let mut linked: HashMap<u32, Content> = HashMap::new();
        self.walk(&root, &mut |path, inode| {
            let kind = match &inode.body {
                Body::Dir { .. } => Kind::Dir(BTreeMap::new()),
                Body::File(file) => {
                    let content = match linked.get(&inode.number) {
                        Some(content) => content.clone(),
                        None => keep(self.open_file(file), file.size)
                            .with_context(|| format!("cannot read `{}` of the image", String::from_utf8_lossy(path)))?,
                    };
                    let link = (inode.links > 1).then_some(u64::from(inode.number));
                    if link.is_some() {
                        linked.insert(inode.number, content.clone());
                    }
                    Kind::File { content, link }
                }
                Body::Other(EntryKind::Symlink(target)) => Kind::Symlink(target.clone()),
                Body::Other(EntryKind::CharDevice(major, minor)) => Kind::CharDevice { major: *major, minor: *minor },
                Body::Other(EntryKind::BlockDevice(major, minor)) => Kind::BlockDevice { major: *major, minor: *minor },
                Body::Other(EntryKind::Fifo) => Kind::Fifo,
                Body::Other(_) => bail!("`{}` of the image is a socket: no tree can hold it", String::from_utf8_lossy(path)),
            };
            tree.insert(path, Node { meta: inode.meta.clone(), kind })
        })?;
        Ok(tree)
    }

    fn find(&self, path: &[u8]) -> Result<Inode> {
        let mut inode = self.inode(self.superblock.root).context("the root of the image is damaged")?;
        let name = || String::from_utf8_lossy(path).into_owned();
        for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            ensure!(matches!(inode.body, Body::Dir { .. }), "the image has no `{}`", name());
            let children = self.children(&inode).with_context(|| format!("the way to `{}` is damaged", name()))?;
            let reference = children.iter().find(|(name, _)| name == part).map(|(_, reference)| *reference);
            let reference = reference.with_context(|| format!("the image has no `{}`", name()))?;
            inode = self.inode(reference).with_context(|| format!("the way to `{}` is damaged", name()))?;
        }
        Ok(inode)
    }

    /// Calls `visit` for `root` and all below it. What is above an inode is not kept on the stack, so depth costs nothing.
    fn walk(&self, root: &Inode, visit: &mut dyn FnMut(&[u8], &Inode) -> Result<()>) -> Result<()> {
        let mut walk = Walk { reader: self, pending: Vec::new(), dirs: HashSet::new(), names_left: MAX_NAMES };
        visit(b"", root)?;
        walk.enter(b"", root)?;
        while let Some((path, reference)) = walk.pending.pop() {
            let inode = self.inode(reference).with_context(|| format!("`{}` of the image is damaged", String::from_utf8_lossy(&path)))?;
            walk.count(inode.size_of_names())?;
            visit(&path, &inode)?;
            if matches!(inode.body, Body::Dir { .. }) {
                walk.enter(&path, &inode).with_context(|| format!("the directory `{}` is damaged", String::from_utf8_lossy(&path)))?;
            }
        }
        Ok(())
    }
}

/// What a walk still has to visit, the next one last.
struct Walk<'r> {
    reader: &'r Reader,
    pending: Vec<(Vec<u8>, u64)>,
    dirs: HashSet<u32>,
    names_left: usize,
}

impl Walk<'_> {
    fn enter(&mut self, path: &[u8], inode: &Inode) -> Result<()> {
        // Every directory has one parent; one that is met twice lies in itself, or pretends to be many.
        ensure!(self.dirs.insert(inode.number), "it is in the image twice");
        for (name, reference) in self.reader.children(inode)?.into_iter().rev() {
            let length = path.len() + 1 + name.len();
            ensure!(length < MAX_PATH, "a path of {length} bytes");
            self.count(ENTRY_SIZE + length)?;
            let below = if path.is_empty() { name } else { [path, b"/", &name].concat() };
            self.pending.push((below, reference));
        }
        Ok(())
    }

    /// Counts bytes that are kept in memory.
    fn count(&mut self, bytes: usize) -> Result<()> {
        let left = self.names_left.checked_sub(bytes);
        self.names_left = left.with_context(|| format!("the image has more than {MAX_NAMES} bytes of names"))?;
        Ok(())
    }
}

impl Inode {
    fn size_of_names(&self) -> usize {
        let target = if let Body::Other(EntryKind::Symlink(target)) = &self.body { target.len() } else { 0 };
        target + self.meta.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}
