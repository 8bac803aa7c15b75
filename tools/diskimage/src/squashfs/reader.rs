//! Reads an image that may come from anybody: every length is bounded by what the format allows and by the image's size,
//! every position by its end, and a directory that contains itself is an error.

use super::{
    compress::{self, decompress},
    format::{DATA_STORED, MAGIC, META_SIZE, META_STORED, NONE32, kind, split_device},
    xattrs,
};
use crate::read_at::{FileImage, ReadAt};
use anyhow::{Context as _, Result, bail, ensure};
use filetree::{Content, Kind, Meta, Node, Tree};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    sync::{Arc, Mutex, PoisonError},
};

/// Directories inside directories, at most: what Linux's longest path has room for.
const MAX_DEPTH: usize = 2048;
/// Metadata blocks kept decompressed.
const CACHED_BLOCKS: usize = 256;

/// What the superblock says.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Superblock {
    /// Name of the compressor.
    pub compression: &'static str,
    /// Bytes in a data block.
    pub block_size: u32,
    /// Number of inodes.
    pub inodes: u32,
    /// Seconds since the epoch.
    pub mtime: u32,
    /// Bytes used, without padding.
    pub bytes_used: u64,
    #[serde(skip)]
    compressor: u16,
    #[serde(skip)]
    root: u64,
    #[serde(skip)]
    tables: Tables,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tables {
    ids: u64,
    id_count: u16,
    xattrs: u64,
    inodes: u64,
    dirs: u64,
    fragments: u64,
    fragment_count: u32,
}

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

/// An open image.
pub struct Reader {
    image: Box<dyn ReadAt>,
    superblock: Superblock,
    ids: Vec<u32>,
    blocks: Mutex<HashMap<u64, Arc<MetaBlock>>>,
}

struct MetaBlock {
    bytes: Vec<u8>,
    next: u64,
}

struct Inode {
    meta: Meta,
    number: u32,
    links: u32,
    body: Body,
}

enum Body {
    Dir { start: u32, offset: u16, size: u32 },
    File(FileBody),
    Other(EntryKind),
}

struct FileBody {
    start: u64,
    size: u64,
    fragment: u32,
    offset: u32,
    sizes: Vec<u32>,
}

/// A position in a stream of metadata.
struct Cursor<'r> {
    reader: &'r Reader,
    block: u64,
    offset: usize,
}

impl Cursor<'_> {
    fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length.min(META_SIZE));
        while bytes.len() < length {
            let block = self.reader.meta_block(self.block)?;
            if self.offset >= block.bytes.len() {
                ensure!(!block.bytes.is_empty(), "an empty metadata block at {}", self.block);
                self.offset -= block.bytes.len();
                self.block = block.next;
                continue;
            }
            let take = (length - bytes.len()).min(block.bytes.len() - self.offset);
            bytes.extend_from_slice(&block.bytes[self.offset..self.offset + take]);
            self.offset += take;
        }
        Ok(bytes)
    }

    fn u16(&mut self) -> Result<u16> {
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::try_from(number(&self.take(4)?))?)
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(number(&self.take(8)?))
    }
}

/// A little-endian number of at most eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

impl Reader {
    /// Opens an image in a file.
    pub fn open(file: File) -> Result<Self> {
        Self::open_image(Box::new(FileImage::new(file)?))
    }

    /// Opens an image anywhere.
    pub fn open_image(image: Box<dyn ReadAt>) -> Result<Self> {
        let superblock = read_superblock(image.as_ref())?;
        let mut reader = Self { image, superblock, ids: Vec::new(), blocks: Mutex::default() };
        reader.ids = reader.read_ids().context("the table of owners is damaged")?;
        Ok(reader)
    }

    /// What the superblock says.
    #[must_use]
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Every path, directories before what is in them, in the image's order.
    pub fn list(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        self.walk(&mut |path, inode| {
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
        let path = path.as_ref();
        let name = String::from_utf8_lossy(path).into_owned();
        match self.find(path)?.body {
            Body::File(file) if file.size <= most => self.content(&file).with_context(|| format!("`{name}` of the image")),
            Body::File(file) => bail!("`{name}` of the image has {} bytes, more than {most}", file.size),
            _ => bail!("`{name}` of the image is no file"),
        }
    }

    /// The directory at `path` and all below it, contents in memory: for small parts such as `EFI/BOOT`.
    pub fn subtree(&self, path: impl AsRef<[u8]>) -> Result<Tree> {
        let path = path.as_ref();
        let name = String::from_utf8_lossy(path).into_owned();
        let inode = self.find(path).with_context(|| format!("the image has no `{name}`"))?;
        ensure!(matches!(inode.body, Body::Dir { .. }), "`{name}` of the image is no directory");
        let mut tree = Tree::new();
        self.walk_from(&mut Vec::new(), &inode, &mut HashSet::new(), &mut |path, inode| {
            let kind = match &inode.body {
                Body::Dir { .. } => Kind::Dir(BTreeMap::new()),
                Body::File(file) => {
                    let link = (inode.links > 1).then_some(u64::from(inode.number));
                    Kind::File { content: Content::from(self.content(file)?), link }
                }
                Body::Other(EntryKind::Symlink(target)) => Kind::Symlink(target.clone()),
                Body::Other(EntryKind::CharDevice(major, minor)) => Kind::CharDevice { major: *major, minor: *minor },
                Body::Other(EntryKind::BlockDevice(major, minor)) => Kind::BlockDevice { major: *major, minor: *minor },
                Body::Other(EntryKind::Fifo) => Kind::Fifo,
                Body::Other(_) => return Ok(()),
            };
            if path.is_empty() {
                tree.root.meta = inode.meta.clone();
                return Ok(());
            }
            tree.insert(path, Node { meta: inode.meta.clone(), kind })
        })?;
        Ok(tree)
    }

    fn find(&self, path: &[u8]) -> Result<Inode> {
        let mut inode = self.inode(self.superblock.root)?;
        for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            let children = self.children(&inode)?;
            let reference = children.iter().find(|(name, _)| name == part).map(|(_, reference)| *reference);
            let reference = reference.with_context(|| format!("the image has no `{}`", String::from_utf8_lossy(path)))?;
            inode = self.inode(reference)?;
        }
        Ok(inode)
    }

    fn walk(&self, visit: &mut dyn FnMut(&[u8], &Inode) -> Result<()>) -> Result<()> {
        let root = self.inode(self.superblock.root).context("the root of the image is damaged")?;
        self.walk_from(&mut Vec::new(), &root, &mut HashSet::new(), visit)
    }

    fn walk_from(
        &self,
        path: &mut Vec<u8>,
        inode: &Inode,
        above: &mut HashSet<u32>,
        visit: &mut dyn FnMut(&[u8], &Inode) -> Result<()>,
    ) -> Result<()> {
        visit(path, inode)?;
        if !matches!(inode.body, Body::Dir { .. }) {
            return Ok(());
        }
        let name = || String::from_utf8_lossy(path).into_owned();
        ensure!(above.len() < MAX_DEPTH, "`{}` lies too deep", name());
        // Every directory has one parent; one that is met twice lies in itself, or pretends to be many.
        ensure!(above.insert(inode.number), "the directory `{}` is in the image twice", name());
        for (child, reference) in self.children(inode).with_context(|| format!("the directory `{}` is damaged", name()))? {
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(&child);
            let child = self.inode(reference).with_context(|| format!("`{}` is damaged", String::from_utf8_lossy(path)))?;
            self.walk_from(path, &child, above, visit)?;
            path.truncate(length);
        }
        Ok(())
    }

    fn children(&self, inode: &Inode) -> Result<Vec<(Vec<u8>, u64)>> {
        let Body::Dir { start, offset, size } = inode.body else { bail!("a file has no entries") };
        let mut left = i64::from(size) - 3;
        let mut cursor = Cursor { reader: self, block: self.superblock.tables.dirs + u64::from(start), offset: usize::from(offset) };
        let mut entries = Vec::new();
        while left > 0 {
            let (count, block, _) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
            ensure!(count < 256, "a header speaks of {} entries", u64::from(count) + 1);
            left -= 12;
            for _ in 0..=count {
                let (offset, _, _, length) = (cursor.u16()?, cursor.u16()?, cursor.u16()?, cursor.u16()?);
                ensure!(length < 256, "a name of {} bytes", u32::from(length) + 1);
                let name = cursor.take(usize::from(length) + 1)?;
                ensure!(!name.contains(&b'/') && !name.contains(&0) && name != b"." && name != b"..", "an entry with an impossible name");
                left -= 8 + i64::from(length) + 1;
                entries.push((name, u64::from(block) << 16 | u64::from(offset)));
            }
            ensure!(entries.len() as u64 <= u64::from(self.superblock.inodes) * 64, "more entries than the image can have");
        }
        Ok(entries)
    }

    fn inode(&self, reference: u64) -> Result<Inode> {
        let offset = usize::try_from(reference & 0xffff)?;
        let mut at = Cursor { reader: self, block: self.superblock.tables.inodes + (reference >> 16), offset };
        let (kind, mode, uid, gid) = (at.u16()?, at.u16()?, at.u16()?, at.u16()?);
        let (mtime, number) = (at.u32()?, at.u32()?);
        let id = |index: u16| self.ids.get(usize::from(index)).copied().context("an owner that the table does not have");
        let mut meta = Meta { uid: id(uid)?, gid: id(gid)?, mtime: i64::from(mtime), ..Meta::root(u32::from(mode & 0o7777), 0) };
        let extended = kind > kind::EXTENDED;
        let basic = if extended { kind - kind::EXTENDED } else { kind };
        let (links, body, xattr) = match basic {
            kind::DIR => read_dir(&mut at, extended)?,
            kind::FILE => self.read_file_body(&mut at, extended)?,
            kind::SYMLINK => {
                let (links, length) = (at.u32()?, at.u32()?);
                ensure!(length <= 65536, "a link of {length} bytes");
                let target = at.take(length as usize)?;
                (links, Body::Other(EntryKind::Symlink(target)), if extended { at.u32()? } else { NONE32 })
            }
            kind::BLOCK | kind::CHAR => {
                let links = at.u32()?;
                let (major, minor) = split_device(at.u32()?);
                let kind = if basic == kind::BLOCK { EntryKind::BlockDevice(major, minor) } else { EntryKind::CharDevice(major, minor) };
                (links, Body::Other(kind), if extended { at.u32()? } else { NONE32 })
            }
            kind::FIFO | kind::SOCKET => {
                let links = at.u32()?;
                let kind = if basic == kind::FIFO { EntryKind::Fifo } else { EntryKind::Socket };
                (links, Body::Other(kind), if extended { at.u32()? } else { NONE32 })
            }
            other => bail!("an inode of the unknown type {other}"),
        };
        if xattr != NONE32 {
            meta.xattrs = self.read_xattrs(xattr).context("extended attributes are damaged")?;
        }
        Ok(Inode { meta, number, links, body })
    }

    fn read_file_body(&self, at: &mut Cursor<'_>, extended: bool) -> Result<(u32, Body, u32)> {
        let (start, size, links, fragment, offset, xattr);
        if extended {
            (start, size) = (at.u64()?, at.u64()?);
            at.u64()?;
            (links, fragment, offset, xattr) = (at.u32()?, at.u32()?, at.u32()?, at.u32()?);
        } else {
            start = u64::from(at.u32()?);
            (fragment, offset) = (at.u32()?, at.u32()?);
            size = u64::from(at.u32()?);
            (links, xattr) = (1, NONE32);
        }
        let block_size = u64::from(self.superblock.block_size);
        let blocks = if fragment == NONE32 { size.div_ceil(block_size) } else { size / block_size };
        // Every block has a size field in the inode table, so an honest count is bounded by the image.
        ensure!(blocks <= self.superblock.bytes_used, "a file of {size} bytes");
        let mut sizes = Vec::new();
        for _ in 0..blocks {
            sizes.push(at.u32()?);
        }
        Ok((links, Body::File(FileBody { start, size, fragment, offset, sizes }), xattr))
    }

    fn content(&self, file: &FileBody) -> Result<Vec<u8>> {
        let block_size = u64::from(self.superblock.block_size);
        let mut bytes: Vec<u8> = Vec::new();
        let mut at = file.start;
        for size in &file.sizes {
            let length = usize::try_from(block_size.min(file.size - bytes.len() as u64))?;
            let block = if *size == 0 { vec![0; length] } else { self.data_block(at, *size)? };
            ensure!(block.len() == length, "a block of {} bytes instead of {length}", block.len());
            bytes.extend_from_slice(&block);
            at += u64::from(size & !DATA_STORED);
        }
        if file.fragment != NONE32 {
            let rest = usize::try_from(file.size - bytes.len() as u64)?;
            let block = self.fragment(file.fragment)?;
            let end = (file.offset as usize).checked_add(rest).filter(|end| *end <= block.len()).context("a fragment beyond its block")?;
            bytes.extend_from_slice(&block[file.offset as usize..end]);
        }
        Ok(bytes)
    }

    fn data_block(&self, at: u64, size: u32) -> Result<Vec<u8>> {
        let limit = self.superblock.block_size as usize;
        let length = (size & !DATA_STORED) as usize;
        ensure!(length <= limit, "a block of {length} bytes");
        let mut bytes = vec![0; length];
        self.image.read_at(&mut bytes, at).context("a block beyond the image")?;
        if size & DATA_STORED != 0 { Ok(bytes) } else { decompress(self.superblock.compressor, &bytes, limit) }
    }

    fn fragment(&self, number: u32) -> Result<Vec<u8>> {
        let tables = &self.superblock.tables;
        ensure!(number < tables.fragment_count, "a fragment that the table does not have");
        let mut at = self.row(tables.fragments, u64::from(number), 16)?;
        let (start, size) = (at.u64()?, at.u32()?);
        self.data_block(start, size)
    }

    /// The place of a row in a table of metadata blocks whose positions stand at `table`.
    fn row(&self, table: u64, number: u64, width: usize) -> Result<Cursor<'_>> {
        let per_block = (META_SIZE / width) as u64;
        let mut position = [0; 8];
        self.image.read_at(&mut position, table.saturating_add(number / per_block * 8)).context("a table beyond the image")?;
        Ok(Cursor { reader: self, block: u64::from_le_bytes(position), offset: usize::try_from(number % per_block)? * width })
    }

    fn read_ids(&self) -> Result<Vec<u32>> {
        let tables = &self.superblock.tables;
        (0..u64::from(tables.id_count)).map(|number| self.row(tables.ids, number, 4)?.u32()).collect()
    }

    fn read_xattrs(&self, number: u32) -> Result<BTreeMap<String, Vec<u8>>> {
        let table = self.superblock.tables.xattrs;
        let mut head = [0; 16];
        self.image.read_at(&mut head, table).context("the table is missing")?;
        let (values, count) = (self::number(&head[..8]), self::number(&head[8..12]));
        ensure!(u64::from(number) < count, "attributes that the table does not have");
        let mut row = self.row(table.saturating_add(16), u64::from(number), 16)?;
        let (reference, count) = (row.u64()?, row.u32()?);
        ensure!(count <= 65536, "{count} attributes");
        let at = |reference: u64| -> Result<Cursor<'_>> {
            let block = values.checked_add(reference >> 16).context("a value beyond the image")?;
            Ok(Cursor { reader: self, block, offset: usize::try_from(reference & 0xffff)? })
        };
        let mut cursor = at(reference)?;
        let mut list = BTreeMap::new();
        for _ in 0..count {
            let (kind, length) = (cursor.u16()?, cursor.u16()?);
            let name = cursor.take(usize::from(length))?;
            let prefix = xattrs::prefix(kind & 0xff).context("a namespace without a number")?;
            let size = cursor.u32()?;
            ensure!(size <= 65536, "a value of {size} bytes");
            let value = cursor.take(size as usize)?;
            // The value of an attribute that many files share stands elsewhere; here is only where.
            let value = if kind & 0x100 != 0 {
                let mut elsewhere = at(self::number(&value))?;
                let size = elsewhere.u32()?;
                ensure!(size <= 65536, "a value of {size} bytes");
                elsewhere.take(size as usize)?
            } else {
                value
            };
            list.insert(format!("{prefix}{}", String::from_utf8_lossy(&name)), value);
        }
        Ok(list)
    }

    fn meta_block(&self, at: u64) -> Result<Arc<MetaBlock>> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = blocks.get(&at) {
            return Ok(block.clone());
        }
        let mut header = [0; 2];
        self.image.read_at(&mut header, at).with_context(|| format!("no metadata at {at}"))?;
        let header = u16::from_le_bytes(header);
        let length = usize::from(header & !META_STORED);
        ensure!(length <= META_SIZE, "a metadata block of {length} bytes at {at}");
        let mut bytes = vec![0; length];
        self.image.read_at(&mut bytes, at + 2).with_context(|| format!("the metadata at {at} is cut off"))?;
        if header & META_STORED == 0 {
            bytes = decompress(self.superblock.compressor, &bytes, META_SIZE).with_context(|| format!("the metadata at {at}"))?;
        }
        if blocks.len() >= CACHED_BLOCKS {
            blocks.clear();
        }
        let block = Arc::new(MetaBlock { bytes, next: at + 2 + length as u64 });
        blocks.insert(at, block.clone());
        Ok(block)
    }
}

fn read_dir(at: &mut Cursor<'_>, extended: bool) -> Result<(u32, Body, u32)> {
    if extended {
        let (links, size, start, _parent) = (at.u32()?, at.u32()?, at.u32()?, at.u32()?);
        let (_index, offset, xattr) = (at.u16()?, at.u16()?, at.u32()?);
        return Ok((links, Body::Dir { start, offset, size }, xattr));
    }
    let (start, links, size, offset) = (at.u32()?, at.u32()?, at.u16()?, at.u16()?);
    Ok((links, Body::Dir { start, offset, size: u32::from(size) }, NONE32))
}

fn read_superblock(image: &dyn ReadAt) -> Result<Superblock> {
    let mut bytes = [0; 96];
    image.read_at(&mut bytes, 0).context("the image is shorter than a squashfs superblock")?;
    let field = |at: usize, width: usize| number(&bytes[at..at + width]);
    ensure!(field(0, 4) == u64::from(MAGIC), "this is no squashfs image");
    ensure!(field(28, 2) == 4, "a squashfs of version {}.{}; only 4.0 is known", field(28, 2), field(30, 2));
    let block_size = u32::try_from(field(12, 4))?;
    ensure!(block_size.is_power_of_two() && (4096..=1 << 20).contains(&block_size), "a block size of {block_size}");
    let compressor = u16::try_from(field(20, 2))?;
    let bytes_used = field(40, 8);
    ensure!(bytes_used <= image.size(), "the image should have {bytes_used} bytes, but has {}", image.size());
    Ok(Superblock {
        compression: compress::name(compressor),
        block_size,
        inodes: u32::try_from(field(4, 4))?,
        mtime: u32::try_from(field(8, 4))?,
        bytes_used,
        compressor,
        root: field(32, 8),
        tables: Tables {
            id_count: u16::try_from(field(26, 2))?,
            ids: field(48, 8),
            xattrs: field(56, 8),
            inodes: field(64, 8),
            dirs: field(72, 8),
            fragments: field(80, 8),
            fragment_count: u32::try_from(field(16, 4))?,
        },
    })
}
