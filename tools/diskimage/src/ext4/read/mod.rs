//! Reads foreign ext2, ext3 and ext4 file systems, including their journals. All input is validated; nothing is written.

mod blocks;
mod journal;
mod path;
#[cfg(test)]
mod tests;

use crate::{
    gpt::Guid,
    read_at::{ReadAt, read_array},
};
use anyhow::{Context as _, Result, bail};
use blocks::Bytes;
use filetree::{Content, Kind, Meta, Node, Tree};
use journal::Newer;
use std::{
    collections::{HashMap, HashSet},
    io::Read,
};

const SUPERBLOCK: u64 = 1024;
const MAGIC: u16 = 0xef53;
const ROOT: u32 = 2;
/// Size limit of a directory in bytes.
const MOST_NAMES: u64 = 1 << 30;

/// Incompatible features that affect a reader.
const RECOVER: u32 = 0x4;
const META_BG: u32 = 0x10;
const SIXTY_FOUR: u32 = 0x80;
/// Supported incompatible features: filetype, recover, meta_bg, extents, 64bit, mmp, flex_bg, ea_inode, metadata_csum_seed,
/// large_dir, inline_data, encrypt, casefold.
const KNOWN: u32 = 0x2 | RECOVER | META_BG | 0x40 | SIXTY_FOUR | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000 | 0x1_0000 | 0x2_0000;
const SPARSE_SUPER: u32 = 0x1;
const SPARSE_SUPER2: u32 = 0x200;

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

/// An open file system.
pub struct Reader<'s> {
    source: &'s dyn ReadAt,
    superblock: [u8; 1024],
    /// Size of a block in bytes.
    block: u64,
    /// Number of blocks.
    blocks: u64,
    /// Blocks whose newest content is in the journal.
    newer: HashMap<u64, Newer>,
    is_whole: bool,
}

/// An inode.
struct Inode {
    mode: u16,
    meta: Meta,
    size: u64,
    names: u16,
    flags: u32,
    /// Block map, extent tree or inline data.
    block: [u8; 60],
    /// Content of a file with inline data.
    inside: Option<Vec<u8>>,
}

impl Inode {
    const ENCRYPTED: u32 = 0x800;
    const EXTENTS: u32 = 0x8_0000;
    const INLINE: u32 = 0x1000_0000;

    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    fn parse(bytes: &[u8; 128], mtime_extra: u32) -> Self {
        let mode = u16_at(bytes, 0);
        let wide = |low: usize, high: usize| u32::from(u16_at(bytes, high)) << 16 | u32::from(u16_at(bytes, low));
        let mtime = i64::from(i32::from_le_bytes(u32_at(bytes, 16).to_le_bytes())) + (i64::from(mtime_extra & 3) << 32);
        let mut block = [0; 60];
        block.copy_from_slice(&bytes[40..100]);
        Self {
            mode,
            meta: Meta { uid: wide(2, 120), gid: wide(24, 122), ..Meta::root(u32::from(mode) & 0o7777, mtime) },
            size: u64::from(u32_at(bytes, 108)) << 32 | u64::from(u32_at(bytes, 4)),
            names: u16_at(bytes, 26),
            flags: u32_at(bytes, 32),
            block,
            inside: None,
        }
    }

    fn is_directory(&self) -> bool {
        self.mode >> 12 == 4
    }
}

/// Called for each file with path, size and content; returns the content to keep, or `None` to leave out the file.
pub type Take<'t> = dyn FnMut(&[u8], u64, &mut dyn Read) -> Result<Option<Content>> + 't;

/// An entry of a directory.
pub(crate) struct Listed {
    pub name: Vec<u8>,
    pub directory: bool,
    /// Size in bytes.
    pub size: u64,
}

impl<'s> Reader<'s> {
    /// Whether `source` has the magic number of such a file system.
    #[must_use]
    pub fn fits(source: &dyn ReadAt) -> bool {
        read_array(source, SUPERBLOCK + 56).is_ok_and(|magic| u16::from_le_bytes(magic) == MAGIC)
    }

    /// Reads superblock and journal of `source`.
    pub fn open(source: &'s dyn ReadAt) -> Result<Self> {
        let superblock: [u8; 1024] = read_array(source, SUPERBLOCK)?;
        if u16_at(&superblock, 56) != MAGIC {
            bail!("not an ext2, ext3 or ext4 file system");
        }
        let log = u32_at(&superblock, 24);
        if log > 6 {
            bail!("unsupported block size of 2^{} bytes", u64::from(log) + 10);
        }
        let mut reader = Self { source, superblock, block: 1024 << log, blocks: 0, newer: HashMap::new(), is_whole: false };
        reader.blocks = reader.number64(4, 336);
        if reader.blocks == 0 || reader.bytes() > source.size() {
            bail!("invalid size: {} blocks of {} bytes in an image of {} bytes", reader.blocks, reader.block, source.size());
        }
        let unknown = reader.incompatible() & !KNOWN;
        if unknown != 0 {
            bail!("unsupported features {unknown:#x}");
        }
        // An unreadable journal is ignored; `is_whole` stays false.
        (reader.newer, reader.is_whole) = journal::newer_blocks(&reader).unwrap_or_default();
        let mut superblock = reader.superblock;
        reader.read_at(&mut superblock, SUPERBLOCK)?;
        reader.superblock = superblock;
        Ok(reader)
    }

    /// Label, at most 16 bytes, padded with zeros.
    #[must_use]
    pub fn label(&self) -> &[u8] {
        &self.superblock[120..136]
    }

    /// UUID.
    #[must_use]
    pub fn uuid(&self) -> Guid {
        Guid(self.superblock[104..120].iter().fold(0, |number, byte| number << 8 | u128::from(*byte)))
    }

    /// Size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.blocks.saturating_mul(self.block)
    }

    /// Free space in bytes.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.number64(12, 344).saturating_mul(self.block)
    }

    /// Whether all written data is visible. False if the file system was not unmounted and its journal is external or not
    /// supported.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    fn field(&self, at: usize) -> u32 {
        u32_at(&self.superblock, at)
    }

    fn incompatible(&self) -> u32 {
        self.field(96)
    }

    /// A number whose upper half is valid only with the feature 64bit.
    fn number64(&self, low: usize, high: usize) -> u64 {
        let high = if self.incompatible() & SIXTY_FOUR == 0 { 0 } else { self.field(high) };
        u64::from(high) << 32 | u64::from(self.field(low))
    }

    /// Reads bytes, preferring the journal's content.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        if self.newer.is_empty() {
            return self.source.read_at(buffer, offset);
        }
        let (mut at, mut buffer) = (offset, buffer);
        while !buffer.is_empty() {
            let (block, inside) = (at / self.block, at % self.block);
            let len = usize::try_from(self.block - inside)?.min(buffer.len());
            let (piece, rest) = buffer.split_at_mut(len);
            let newer = self.newer.get(&block);
            let place = newer.map_or(block, |newer| newer.block).checked_mul(self.block).and_then(|place| place.checked_add(inside));
            self.source.read_at(piece, place.context("a block number is out of range")?)?;
            if newer.is_some_and(|newer| newer.escaped) {
                let start = Newer::START.iter().skip(usize::try_from(inside)?.min(4));
                piece.iter_mut().zip(start).for_each(|(byte, magic)| *byte = *magic);
            }
            (at, buffer) = (at + len as u64, rest);
        }
        Ok(())
    }

    fn read_array<const N: usize>(&self, offset: u64) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn read_block(&self, block: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.block)?];
        self.read_at(&mut bytes, block.checked_mul(self.block).context("a block number is out of range")?)?;
        Ok(bytes)
    }

    /// Byte offset of a group's descriptor: in one table after the superblock, or with `meta_bg` at the start of each run of
    /// groups whose descriptors fill a block.
    fn descriptor(&self, group: u64, size: u64) -> u64 {
        let first = u64::from(self.field(20));
        let (meta, index) = (group / (self.block / size), group % (self.block / size));
        let place = if self.incompatible() & META_BG == 0 || meta < u64::from(self.field(260)) {
            first + 1 + meta
        } else {
            let start = meta * (self.block / size);
            first.saturating_add(start.saturating_mul(self.field(32).into())).saturating_add(self.has_superblock(start).into())
        };
        place.saturating_mul(self.block).saturating_add(index * size)
    }

    /// Whether a group contains a copy of the superblock.
    fn has_superblock(&self, group: u64) -> bool {
        let is_power = |of: u64| {
            std::iter::successors(Some(of), |power| power.checked_mul(of)).take_while(|power| *power <= group).any(|power| power == group)
        };
        if self.field(92) & SPARSE_SUPER2 != 0 {
            return group == 0 || [588, 592].iter().any(|at| u64::from(self.field(*at)) == group);
        }
        self.field(100) & SPARSE_SUPER == 0 || group <= 1 || [3, 5, 7].into_iter().any(is_power)
    }

    fn inode(&self, number: u32) -> Result<Inode> {
        let per_group = self.field(40);
        let size = if self.field(76) == 0 { 128 } else { u16_at(&self.superblock, 88) };
        let Some(index) = number.checked_sub(1).filter(|_| per_group > 0 && size >= 128) else { bail!("there is no inode {number}") };
        let wide = self.incompatible() & SIXTY_FOUR != 0;
        let descriptor = if wide { u64::from(u16_at(&self.superblock, 254)) } else { 32 };
        if descriptor < if wide { 64 } else { 32 } || descriptor > self.block {
            bail!("unsupported group descriptors of {descriptor} bytes");
        }
        let (group, index) = (u64::from(index / per_group), u64::from(index % per_group));
        let place = self.descriptor(group, descriptor);
        let table: [u8; 4] = self.read_array(place.saturating_add(8))?;
        let high: [u8; 4] = if wide { self.read_array(place.saturating_add(40))? } else { [0; 4] };
        let table = u64::from(u32::from_le_bytes(high)) << 32 | u64::from(u32::from_le_bytes(table));
        let start = table.checked_mul(self.block).and_then(|start| start.checked_add(index * u64::from(size)));
        let start = start.context("the position of an inode is out of range")?;
        let bytes: [u8; 128] = self.read_array(start)?;
        // The upper bits of the time are in the fields after the first 128 bytes.
        let more: [u8; 32] = if size >= 160 { self.read_array(start + 128)? } else { [0; 32] };
        let has_time = u16_at(&more, 0) >= 12;
        let mut inode = Inode::parse(&bytes, if has_time { u32_at(&more, 8) } else { 0 });
        if inode.has(Inode::INLINE) {
            let mut rest = vec![0; usize::from(size) - 128];
            self.read_at(&mut rest, start + 128)?;
            let len = usize::try_from(inode.size).ok().filter(|len| *len <= usize::from(size)).context("the inode's size is damaged")?;
            let mut inside = [&inode.block, more_inside(&rest).context("the inline data is damaged")?].concat();
            inside.resize(len, 0);
            inode.inside = Some(inside);
        }
        Ok(inode)
    }

    /// Names and inodes of a directory, without `.` and `..`.
    fn names(&self, inode: &Inode, most: u64) -> Result<Vec<(Vec<u8>, u32)>> {
        if inode.size > most {
            bail!("a directory has {} bytes, more than {most}", inode.size);
        }
        let mut bytes = Vec::new();
        let blocks: Vec<&[u8]> = if let Some(inside) = &inode.inside {
            // The parent's inode number, then two parts.
            let (first, second) = inside.split_at(inside.len().min(inode.block.len()));
            vec![first.get(4..).unwrap_or_default(), second]
        } else {
            Bytes::new(self, inode)?.read_to_end(&mut bytes)?;
            bytes.chunks(usize::try_from(self.block)?).collect()
        };
        let mut names = Vec::new();
        for block in blocks {
            let mut at = 0;
            while at + 8 <= block.len() {
                let (number, len, name_len) = (u32_at(block, at), usize::from(u16_at(block, at + 4)), usize::from(block[at + 6]));
                // With blocks of 64 KiB, the length of the last entry may be 0.
                let len = if len == 0 { block.len() - at } else { len };
                if len < 8 || at + len > block.len() || 8 + name_len > len {
                    bail!("the entry at byte {at} of a directory block is damaged");
                }
                let name = &block[at + 8..at + 8 + name_len];
                if number != 0 && !matches!(name, b"" | b"." | b"..") {
                    if name.contains(&b'/') || name.contains(&0) {
                        bail!("invalid file name `{}`", String::from_utf8_lossy(name));
                    }
                    names.push((name.to_vec(), number));
                }
                at += len;
            }
        }
        Ok(names)
    }

    /// Entries of the root directory, in byte order of the names.
    pub(crate) fn root(&self) -> Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for (name, number) in self.names(&self.inode(ROOT)?, 1 << 20)? {
            let inode = self.inode(number)?;
            listed.push(Listed { name, directory: inode.is_directory(), size: inode.size });
        }
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    /// All files with the contents that `take` returns, and one sentence for each omitted file: encrypted files, sockets, and
    /// files refused by `take`. Extended attributes are not read.
    pub fn tree(&self, take: &mut Take<'_>) -> Result<(Tree, Vec<String>)> {
        let mut walk =
            Walk { reader: self, tree: Tree::new(), left_out: Vec::new(), directories: HashSet::from([ROOT]), links: HashMap::new(), take };
        let root = self.inode(ROOT)?;
        walk.tree.root.meta = root.meta.clone();
        let mut pending = vec![(Vec::new(), root)];
        while let Some((path, directory)) = pending.pop() {
            let place = || format!("the directory `/{}`", String::from_utf8_lossy(&path));
            for (name, number) in self.names(&directory, MOST_NAMES).with_context(place)? {
                let path = if path.is_empty() { name } else { [&path[..], b"/", &name].concat() };
                let below = walk.add(&path, number).with_context(|| format!("cannot read `/{}`", String::from_utf8_lossy(&path)))?;
                pending.extend(below.map(|inode| (path, inode)));
            }
        }
        Ok((walk.tree, walk.left_out))
    }
}

/// The second part of inline data: attribute `system.data` in `rest`, the inode after its first 128 bytes. `None` if damaged.
fn more_inside(rest: &[u8]) -> Option<&[u8]> {
    const ATTRIBUTES: u32 = 0xea02_0000;
    const SYSTEM: u8 = 7;
    let extra = usize::from(u16::from_le_bytes([*rest.first()?, *rest.get(1)?]));
    let attributes = rest.get(extra..)?;
    let entries = attributes.get(4..)?;
    if u32_at(attributes, 0) != ATTRIBUTES {
        return Some(&[]);
    }
    let mut at = 0;
    // An entry has 16 bytes and a name, padded to a multiple of four; four zeros end the list.
    while let Some(entry) = entries.get(at..at + 16).filter(|entry| entry[..4] != [0; 4]) {
        let name = entries.get(at + 16..at + 16 + usize::from(entry[0]))?;
        if entry[1] == SYSTEM && name == b"data" {
            let start = usize::from(u16_at(entry, 2));
            return entries.get(start..start.checked_add(usize::try_from(u32_at(entry, 8)).ok()?)?);
        }
        at = (at + 16 + name.len()).next_multiple_of(4);
    }
    Some(&[])
}

/// State of the walk over a tree.
struct Walk<'w, 's> {
    reader: &'w Reader<'s>,
    tree: Tree,
    left_out: Vec<String>,
    /// Visited directories, to detect loops.
    directories: HashSet<u32>,
    /// Contents of files with several names.
    links: HashMap<u32, Content>,
    take: &'w mut Take<'w>,
}

impl Walk<'_, '_> {
    /// Adds a file. Returns the inode of a directory, whose entries must still be added.
    fn add(&mut self, path: &[u8], number: u32) -> Result<Option<Inode>> {
        let inode = self.reader.inode(number)?;
        let device = || {
            let (old, new) = (u32_at(&inode.block, 0), u32_at(&inode.block, 4));
            if old != 0 { (old >> 8 & 0xff, old & 0xff) } else { (new >> 8 & 0xfff, new & 0xff | new >> 12 & 0xfff00) }
        };
        let kind = match inode.mode >> 12 {
            _ if inode.has(Inode::ENCRYPTED) => return self.leave_out(path, "is encrypted"),
            1 => Kind::Fifo,
            2 => Kind::CharDevice { major: device().0, minor: device().1 },
            4 if !self.directories.insert(number) => bail!("the directory has a second parent"),
            4 => Kind::Dir(filetree::Children::new()),
            6 => Kind::BlockDevice { major: device().0, minor: device().1 },
            8 => match self.content(path, number, &inode)? {
                Some(content) => Kind::File { content, link: (inode.names > 1).then_some(number.into()) },
                None => return self.leave_out(path, "is too large"),
            },
            10 => Kind::Symlink(self.target(&inode)?),
            12 => return self.leave_out(path, "is a socket"),
            other => bail!("unknown file type {other}"),
        };
        self.tree.insert(path, Node { meta: inode.meta.clone(), kind })?;
        Ok(inode.is_directory().then_some(inode))
    }

    fn leave_out(&mut self, path: &[u8], why: &str) -> Result<Option<Inode>> {
        self.left_out.push(format!("`/{}` {why}", String::from_utf8_lossy(path)));
        Ok(None)
    }

    fn content(&mut self, path: &[u8], number: u32, inode: &Inode) -> Result<Option<Content>> {
        if let Some(content) = self.links.get(&number) {
            return Ok(Some(content.clone()));
        }
        let content = match &inode.inside {
            Some(inside) => (self.take)(path, inode.size, &mut &inside[..])?,
            None => (self.take)(path, inode.size, &mut Bytes::new(self.reader, inode)?)?,
        };
        if let Some(content) = content.as_ref().filter(|_| inode.names > 1) {
            self.links.insert(number, content.clone());
        }
        Ok(content)
    }

    /// Target of a symbolic link; short ones are in the inode.
    fn target(&self, inode: &Inode) -> Result<Vec<u8>> {
        const LONGEST: u64 = 4096;
        if inode.size > LONGEST {
            bail!("the target of the link has {} bytes, more than {LONGEST}", inode.size);
        }
        if let Some(inside) = &inode.inside {
            return Ok(inside.clone());
        }
        let len = usize::try_from(inode.size)?;
        if !inode.has(Inode::EXTENTS) && len < inode.block.len() {
            return Ok(inode.block[..len].to_vec());
        }
        let mut target = Vec::new();
        Bytes::new(self.reader, inode)?.read_to_end(&mut target)?;
        Ok(target)
    }
}
