//! A disk with a GUID partition table: one table of rows (MBR, GPT, blobs, partitions, backup GPT), one overlap check, one writer.

use crate::{fat, gpt::Guid};
use anyhow::{Result, bail};
use filetree::Content;
use std::fs::File;

/// What a partition holds.
#[derive(Clone, Debug)]
pub enum Source {
    /// Nothing: zeros.
    Empty,
    /// A ready image; shorter than the partition is fine, longer is an error with both numbers.
    Image(Content),
    /// A FAT volume, written straight into the disk.
    Fat(fat::Layout),
}

/// How large a partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// So many bytes, rounded up to whole MiB.
    Bytes(u64),
    /// All that is left up to the last usable sector; only the last partition may say so.
    Rest,
}

/// One partition. Partitions lie on the disk in the order of the table; their numbers may have gaps and any order.
#[derive(Clone, Debug)]
pub struct Part {
    /// Number, 1 to 128: the entry's place in the GPT.
    pub number: u32,
    /// Name, at most 36 UTF-16 units.
    pub name: String,
    /// Type.
    pub type_guid: Guid,
    /// Identity.
    pub uuid: Guid,
    /// Attribute bits, as the entry has them: bit 2 is legacy BIOS bootable.
    pub attributes: u64,
    /// Size.
    pub size: Size,
    /// Content.
    pub source: Source,
}

/// One record of a hybrid MBR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MbrRecord {
    /// Number of the partition that it repeats.
    pub number: u32,
    /// MBR type, such as 0x0c.
    pub kind: u8,
    /// Whether it is marked bootable.
    pub bootable: bool,
}

/// Bytes at a fixed place outside all partitions: GRUB's core image for BIOS, a board's boot blob.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Name in errors.
    pub name: String,
    /// Byte offset on the disk.
    pub offset: u64,
    /// Content.
    pub content: Content,
}

/// A disk as it is wanted.
#[derive(Clone, Debug)]
pub struct Table {
    /// Identity of the disk.
    pub disk_guid: Guid,
    /// Size of the whole disk in bytes, a multiple of 512.
    pub size: u64,
    /// Sector of the first partition: 2048.
    pub first_lba: u64,
    /// Partitions in the order in which they lie on the disk.
    pub parts: Vec<Part>,
    /// Records of a hybrid MBR, at most three, before the record of type 0xEE; none for a plain protective MBR.
    pub hybrid: Vec<MbrRecord>,
    /// Boot code for the first 446 bytes of the disk.
    pub boot_code: Option<Vec<u8>>,
    /// Bytes outside of all partitions.
    pub blobs: Vec<Blob>,
}

/// A validated disk, ready to be written.
#[derive(Clone, Debug)]
pub struct Layout {
    size: u64,
}

/// Places every row and checks all of them: sizes, overlaps, numbers, names, contents that are too large.
pub fn layout(table: Table) -> Result<Layout> {
    let _ = table;
    bail!("not written yet")
}

impl Layout {
    /// Bytes of the whole disk.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes the disk as the whole of `out`, sparse: what was there is cut away first.
    pub fn write(&self, out: &File) -> Result<()> {
        let _ = out;
        bail!("not written yet")
    }
}
