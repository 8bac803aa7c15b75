//! Reads untrusted images: every length is bounded by the format and the image's size, every position by its table, and a
//! directory loop is an error.

mod data;
mod inode;
mod metadata;
mod stored;
mod superblock;

pub use stored::{Stored, StoredRun, Tail};
pub use superblock::Superblock;

use crate::read_at::{FileImage, ReadAt};
use anyhow::{Context as _, Result, bail, ensure};
use data::FileBody;
use filetree::{Content, Kind, Meta, Node, Spool, Tree};
use inode::{Body, Inode};
use metadata::MetaBlock;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io::Read as _,
    sync::{Arc, Mutex},
};

/// Maximum length of a path: Linux's limit.
const MAX_PATH: usize = 4096;
/// Memory limit of a walk in bytes: names, link targets and attributes together.
const MAX_NAMES: usize = 96 << 20;
/// Memory of an entry in addition to its names.
const ENTRY_SIZE: usize = 128;
/// Limit of contents that [`Reader::subtree`] keeps in memory, in bytes.
const MAX_IN_MEMORY: u64 = 128 << 20;

/// A path of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path from the root, without a leading `/`; the root itself is empty.
    pub path: Vec<u8>,
    /// Type of the node.
    pub kind: EntryKind,
    /// Owner, permissions, times and extended attributes.
    pub meta: Meta,
    /// Size in bytes of a file, or of a link's target.
    pub size: u64,
    /// Inode number; hard links share it.
    pub inode: u32,
}

/// Type of a node.
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

/// An open image. Several threads can read it.
pub struct Reader {
    image: Box<dyn ReadAt>,
    superblock: Superblock,
    ids: Vec<u32>,
    meta_blocks: Mutex<HashMap<u64, Arc<MetaBlock>>>,
    last_fragment: Mutex<Option<(u32, Arc<Vec<u8>>)>>,
}

/// Stores a file's content.
type Keep<'k> = &'k mut dyn FnMut(data::FileReader<'_>, u64) -> Result<Content>;

impl Reader {
    /// Opens an image file.
    pub fn open(file: File) -> Result<Self> {
        Self::open_image(Box::new(FileImage::new(file)?))
    }

    /// Opens an image from any source.
    pub fn open_image(image: Box<dyn ReadAt>) -> Result<Self> {
        let superblock = superblock::read(image.as_ref())?;
        let mut reader = Self { image, superblock, ids: Vec::new(), meta_blocks: Mutex::default(), last_fragment: Mutex::default() };
        let tables = &reader.superblock.tables;
        let id = |number| reader.row(tables.ids, number, 4)?.u32();
        reader.ids = (0..u64::from(tables.id_count)).map(id).collect::<Result<_>>().context("the id table is damaged")?;
        Ok(reader)
    }

    /// Values of the superblock.
    #[must_use]
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// All paths: directories before their children, names in byte order.
    pub fn list(&self) -> Result<Vec<Entry>> {
        let root = self.inode(self.superblock.root).context("the root directory is damaged")?;
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

    /// Content of a file; links are not followed. Fails if it has more than `most` bytes.
    pub fn read_file(&self, path: impl AsRef<[u8]>, most: u64) -> Result<Vec<u8>> {
        let name = String::from_utf8_lossy(path.as_ref()).into_owned();
        let Body::File(file) = self.find(path.as_ref())?.body else { bail!("`{name}` in the image is not a file") };
        ensure!(file.size <= most, "`{name}` in the image has {} bytes, more than {most}", file.size);
        let mut bytes = Vec::new();
        self.open_file(&file).read_to_end(&mut bytes).with_context(|| format!("cannot read `{name}` in the image"))?;
        Ok(bytes)
    }

    /// The directory at `path` with contents in memory, for small parts such as `EFI/BOOT`. Fails above 128 MiB.
    pub fn subtree(&self, path: impl AsRef<[u8]>) -> Result<Tree> {
        let mut left = MAX_IN_MEMORY;
        self.tree_from(path.as_ref(), &mut |mut reader, size| {
            left = left.checked_sub(size).with_context(|| format!("the files exceed {MAX_IN_MEMORY} bytes in total"))?;
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes)?;
            Ok(Content::from(bytes))
        })
    }

    /// The whole image, with contents in `spool`.
    pub fn tree(&self, spool: &mut Spool) -> Result<Tree> {
        self.tree_from(b"", &mut |mut reader, _| spool.add(&mut reader))
    }

    fn tree_from(&self, path: &[u8], keep: Keep<'_>) -> Result<Tree> {
        let name = String::from_utf8_lossy(path).into_owned();
        let root = self.find(path)?;
        ensure!(matches!(root.body, Body::Dir { .. }), "`{name}` in the image is not a directory");
        let mut tree = Tree::new();
        let mut linked: HashMap<u32, Content> = HashMap::new();
        self.walk(&root, &mut |path, inode| {
            let kind = match &inode.body {
                Body::Dir { .. } => Kind::Dir(BTreeMap::new()),
                Body::File(file) => {
                    let content = match linked.get(&inode.number) {
                        Some(content) => content.clone(),
                        None => keep(self.open_file(file), file.size)
                            .with_context(|| format!("cannot read `{}` in the image", String::from_utf8_lossy(path)))?,
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
                Body::Other(_) => bail!("`{}` in the image is a socket, which is not supported", String::from_utf8_lossy(path)),
            };
            tree.insert(path, Node { meta: inode.meta.clone(), kind })
        })?;
        Ok(tree)
    }

    fn find(&self, path: &[u8]) -> Result<Inode> {
        let mut inode = self.inode(self.superblock.root).context("the root directory is damaged")?;
        let name = || String::from_utf8_lossy(path).into_owned();
        for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            ensure!(matches!(inode.body, Body::Dir { .. }), "the image has no `{}`", name());
            let children = self.children(&inode).with_context(|| format!("a parent directory of `{}` is damaged", name()))?;
            let reference = children.iter().find(|(name, _)| name == part).map(|(_, reference)| *reference);
            let reference = reference.with_context(|| format!("the image has no `{}`", name()))?;
            inode = self.inode(reference).with_context(|| format!("cannot read an inode on the path `{}`", name()))?;
        }
        Ok(inode)
    }

    /// Calls `visit` for `root` and everything below it. Not recursive, so depth needs no stack.
    fn walk(&self, root: &Inode, visit: &mut dyn FnMut(&[u8], &Inode) -> Result<()>) -> Result<()> {
        let mut walk = Walk { reader: self, pending: Vec::new(), dirs: HashSet::new(), names_left: MAX_NAMES };
        visit(b"", root)?;
        walk.enter(b"", root)?;
        while let Some((path, reference)) = walk.pending.pop() {
            let inode = self.inode(reference).with_context(|| format!("`{}` in the image is damaged", String::from_utf8_lossy(&path)))?;
            walk.count(inode.size_of_names())?;
            visit(&path, &inode)?;
            if matches!(inode.body, Body::Dir { .. }) {
                walk.enter(&path, &inode).with_context(|| format!("the directory `{}` is damaged", String::from_utf8_lossy(&path)))?;
            }
        }
        Ok(())
    }
}

/// State of a walk; the next node is the last one.
struct Walk<'r> {
    reader: &'r Reader,
    pending: Vec<(Vec<u8>, u64)>,
    dirs: HashSet<u32>,
    names_left: usize,
}

impl Walk<'_> {
    fn enter(&mut self, path: &[u8], inode: &Inode) -> Result<()> {
        // A directory that is found twice contains itself, or simulates many directories.
        ensure!(self.dirs.insert(inode.number), "it has two parents");
        for (name, reference) in self.reader.children(inode)?.into_iter().rev() {
            let length = path.len() + 1 + name.len();
            ensure!(length < MAX_PATH, "a path of {length} bytes exceeds {MAX_PATH}");
            self.count(ENTRY_SIZE + length)?;
            let below = if path.is_empty() { name } else { [path, b"/", &name].concat() };
            self.pending.push((below, reference));
        }
        Ok(())
    }

    /// Accounts for bytes kept in memory.
    fn count(&mut self, bytes: usize) -> Result<()> {
        let left = self.names_left.checked_sub(bytes);
        self.names_left = left.with_context(|| format!("the names in the image exceed {MAX_NAMES} bytes"))?;
        Ok(())
    }
}

impl Inode {
    fn size_of_names(&self) -> usize {
        let target = if let Body::Other(EntryKind::Symlink(target)) = &self.body { target.len() } else { 0 };
        target + self.meta.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}
