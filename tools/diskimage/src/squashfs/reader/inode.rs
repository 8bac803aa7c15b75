//! Reads inodes, directory entries and extended attributes.

use super::{EntryKind, Reader, data::FileBody, metadata::Cursor, superblock::number};
use crate::{
    read_at::read_array,
    squashfs::{
        format::{NONE32, kind, split_device},
        xattrs,
    },
};
use anyhow::{Context as _, Result, bail, ensure};
use filetree::Meta;
use std::collections::BTreeMap;

/// Maximum blocks of a file: 2 TiB at the default block size.
const MAX_BLOCKS: u64 = 1 << 24;
/// Maximum size of a directory listing in bytes: about 500,000 files.
const MAX_LISTING: u32 = 16 << 20;
/// Maximum length of a symbolic link's target.
const MAX_TARGET: u32 = 65535;
/// Maximum size of an extended attribute's value, and of all attributes of a file, in bytes.
const MAX_VALUE: usize = 65536;
const MAX_VALUES: usize = 1 << 20;

/// One inode.
pub(super) struct Inode {
    pub meta: Meta,
    pub number: u32,
    pub links: u32,
    pub body: Body,
}

/// Type-specific data of an inode.
pub(super) enum Body {
    Dir { reference: u64, size: u32 },
    File(FileBody),
    Other(EntryKind),
}

/// Link count, body, index of the extended attributes.
type Parsed = (u32, Body, u32);

impl Reader {
    pub(super) fn inode(&self, reference: u64) -> Result<Inode> {
        let mut at = Cursor::new(self, self.superblock.tables.inodes.clone(), reference)?;
        let (kind, mode, uid, gid) = (at.u16()?, at.u16()?, at.u16()?, at.u16()?);
        let (mtime, number) = (at.u32()?, at.u32()?);
        ensure!((1..=self.superblock.inodes).contains(&number), "inode number {number} is not within 1 to {}", self.superblock.inodes);
        let id = |index: u16| self.ids.get(usize::from(index)).copied().context("an owner is not in the id table");
        let mut meta = Meta { uid: id(uid)?, gid: id(gid)?, ..Meta::root(u32::from(mode & 0o7777), i64::from(mtime)) };
        let extended = kind > kind::EXTENDED;
        let basic = if extended { kind - kind::EXTENDED } else { kind };
        let (links, body, xattr) = match basic {
            kind::DIR => dir_body(&mut at, extended)?,
            kind::FILE => self.file_body(&mut at, extended)?,
            _ => other_body(&mut at, basic, extended)?,
        };
        if xattr != NONE32 {
            meta.xattrs = self.xattrs(xattr).context("the extended attributes are damaged")?;
        }
        Ok(Inode { meta, number, links, body })
    }

    /// Sorted names, and references of the inodes.
    pub(super) fn children(&self, inode: &Inode) -> Result<Vec<(Vec<u8>, u64)>> {
        let Body::Dir { reference, size } = inode.body else { bail!("an inode is not a directory") };
        ensure!(size <= MAX_LISTING, "a directory listing of {size} bytes exceeds {MAX_LISTING}");
        // The size includes three bytes for `.` and `..`, which are not stored.
        let mut left = i64::from(size) - 3;
        let mut at = Cursor::new(self, self.superblock.tables.dirs.clone(), reference)?;
        let mut entries: Vec<(Vec<u8>, u64)> = Vec::new();
        while left > 0 {
            let (count, block, _) = (at.u32()?, at.u32()?, at.u32()?);
            ensure!(count < 256, "a directory header has {} entries", u64::from(count) + 1);
            left -= 12;
            for _ in 0..=count {
                let (offset, _, _, length) = (at.u16()?, at.u16()?, at.u16()?, at.u16()?);
                ensure!(length < 256, "a name has {} bytes", u32::from(length) + 1);
                left -= 8 + i64::from(length) + 1;
                ensure!(left >= 0, "the entries exceed the listing's {size} bytes");
                let name = at.take(usize::from(length) + 1)?;
                ensure!(!name.contains(&b'/') && !name.contains(&0) && name != b"." && name != b"..", "an entry has an invalid name");
                ensure!(entries.last().is_none_or(|(last, _)| *last < name), "the entries are not sorted");
                entries.push((name, u64::from(block) << 16 | u64::from(offset)));
            }
        }
        Ok(entries)
    }

    fn file_body(&self, at: &mut Cursor<'_>, extended: bool) -> Result<Parsed> {
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
        ensure!(blocks <= MAX_BLOCKS, "a file of {size} bytes has {blocks} blocks, more than {MAX_BLOCKS}");
        let mut sizes = Vec::new();
        for _ in 0..blocks {
            sizes.push(at.u32()?);
        }
        Ok((links, Body::File(FileBody { start, size, fragment, offset, sizes }), xattr))
    }

    fn xattrs(&self, number: u32) -> Result<BTreeMap<String, Vec<u8>>> {
        let table = self.superblock.tables.xattrs.context("the image has no attribute table")?;
        let head: [u8; 16] = read_array(self.image.as_ref(), table).context("the attribute table is truncated")?;
        let (values, rows) = (self::number(&head[..8]), self::number(&head[8..12]));
        ensure!(u64::from(number) < rows, "attribute list {number} is not below {rows}");
        ensure!(values < table, "the values at {values} are not before the table at {table}");
        let position = table + 16;
        let mut row = self.row(position, u64::from(number), 16)?;
        let (reference, count) = (row.u64()?, row.u32()?);
        let mut at = Cursor::new(self, values..table, reference)?;
        let mut list = BTreeMap::new();
        let mut total = 0;
        for _ in 0..count {
            let (kind, length) = (at.u16()?, at.u16()?);
            let prefix = xattrs::prefix(kind & 0xff).context("an attribute has an unknown namespace")?;
            let name = String::from_utf8(at.take(usize::from(length))?).context("an attribute's name is not UTF-8")?;
            let mut value = sized(&mut at)?;
            if kind & xattrs::ELSEWHERE != 0 {
                ensure!(value.len() == 8, "a reference has {} bytes", value.len());
                value = sized(&mut Cursor::new(self, values..table, self::number(&value))?)?;
            }
            total += value.len() + name.len() + 8;
            ensure!(total <= MAX_VALUES, "the attributes of a file exceed {MAX_VALUES} bytes");
            list.insert(format!("{prefix}{name}"), value);
        }
        Ok(list)
    }
}

fn sized(at: &mut Cursor<'_>) -> Result<Vec<u8>> {
    let size = at.u32()? as usize;
    ensure!(size <= MAX_VALUE, "a value of {size} bytes exceeds {MAX_VALUE}");
    at.take(size)
}

fn dir_body(at: &mut Cursor<'_>, extended: bool) -> Result<Parsed> {
    let (links, size, start, offset, xattr);
    if extended {
        (links, size, start) = (at.u32()?, at.u32()?, at.u32()?);
        let (_parent, _index) = (at.u32()?, at.u16()?);
        (offset, xattr) = (at.u16()?, at.u32()?);
    } else {
        (start, links) = (at.u32()?, at.u32()?);
        (size, offset) = (u32::from(at.u16()?), at.u16()?);
        xattr = NONE32;
    }
    Ok((links, Body::Dir { reference: u64::from(start) << 16 | u64::from(offset), size }, xattr))
}

fn other_body(at: &mut Cursor<'_>, kind: u16, extended: bool) -> Result<Parsed> {
    let links = at.u32()?;
    let kind = match kind {
        kind::SYMLINK => {
            let length = at.u32()?;
            ensure!(length <= MAX_TARGET, "a link target of {length} bytes exceeds {MAX_TARGET}");
            EntryKind::Symlink(at.take(length as usize)?)
        }
        kind::BLOCK | kind::CHAR => {
            let (major, minor) = split_device(at.u32()?);
            if kind == kind::BLOCK { EntryKind::BlockDevice(major, minor) } else { EntryKind::CharDevice(major, minor) }
        }
        kind::FIFO => EntryKind::Fifo,
        kind::SOCKET => EntryKind::Socket,
        other => bail!("an inode has the unknown type {other}"),
    };
    Ok((links, Body::Other(kind), if extended { at.u32()? } else { NONE32 }))
}
