//! Reads the superblock and checks that all tables are inside the image, in the order that the kernel requires.

use crate::{
    read_at::{ReadAt, read_array},
    squashfs::{
        compress,
        format::{MAGIC, NONE64, SUPERBLOCK_SIZE},
    },
};
use anyhow::{Context as _, Result, ensure};
use std::ops::Range;

/// Values of the superblock.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Superblock {
    /// Name of the compressor.
    pub compression: &'static str,
    /// Size of a data block in bytes.
    pub block_size: u32,
    /// Number of inodes.
    pub inodes: u32,
    /// Creation time: Unix timestamp.
    pub mtime: u32,
    /// Size of the image in bytes, without padding.
    pub bytes_used: u64,
    #[serde(skip)]
    pub(super) compressor: u16,
    #[serde(skip)]
    pub(super) root: u64,
    #[serde(skip)]
    pub(super) tables: Tables,
}

/// Offsets of the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tables {
    pub inodes: Range<u64>,
    pub dirs: Range<u64>,
    pub ids: u64,
    pub id_count: u16,
    pub fragments: u64,
    pub fragment_count: u32,
    /// `None` without extended attributes.
    pub xattrs: Option<u64>,
}

/// A little-endian number of at most eight bytes.
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

pub(super) fn read(image: &dyn ReadAt) -> Result<Superblock> {
    let bytes: [u8; SUPERBLOCK_SIZE as usize] = read_array(image, 0).context("the image is shorter than a squashfs superblock")?;
    let field = |at: usize, width: usize| number(&bytes[at..at + width]);
    ensure!(field(0, 4) == u64::from(MAGIC), "not a squashfs image");
    ensure!(
        field(28, 2) == 4 && field(30, 2) == 0,
        "unsupported squashfs version {}.{}: only 4.0 is supported",
        field(28, 2),
        field(30, 2)
    );
    let block_size = u32::try_from(field(12, 4))?;
    ensure!(block_size.is_power_of_two() && (4096..=1 << 20).contains(&block_size), "invalid block size {block_size}");
    ensure!(field(22, 2) == u64::from(block_size.trailing_zeros()), "the block sizes {block_size} and 2^{} differ", field(22, 2));
    let compressor = u16::try_from(field(20, 2))?;
    let bytes_used = field(40, 8);
    ensure!(bytes_used <= image.size(), "the image is truncated: {bytes_used} bytes expected, {} found", image.size());
    Ok(Superblock {
        compression: compress::name(compressor),
        block_size,
        inodes: u32::try_from(field(4, 4))?,
        mtime: u32::try_from(field(8, 4))?,
        bytes_used,
        compressor,
        root: field(32, 8),
        tables: tables(&field, bytes_used)?,
    })
}

fn tables(field: &dyn Fn(usize, usize) -> u64, bytes_used: u64) -> Result<Tables> {
    let (ids, xattrs, inodes, dirs, fragments) = (field(48, 8), field(56, 8), field(64, 8), field(72, 8), field(80, 8));
    let fragment_count = u32::try_from(field(16, 4))?;
    // The fragment, export and id tables are between the directories and the id index.
    let order = [("inodes", inodes, dirs), ("directories", dirs, ids), ("owners", ids, bytes_used)];
    for (name, start, end) in order {
        ensure!(start < end, "the table of {name} at {start} has no valid end ({end})");
    }
    ensure!(inodes >= SUPERBLOCK_SIZE && ids < bytes_used, "the table of inodes at {inodes} overlaps the superblock");
    ensure!(fragment_count == 0 || (dirs..ids).contains(&fragments), "the table of fragments at {fragments} is out of range");
    ensure!(xattrs == NONE64 || (ids..bytes_used).contains(&xattrs), "the table of extended attributes at {xattrs} is out of range");
    Ok(Tables {
        inodes: inodes..dirs,
        dirs: dirs..ids,
        ids,
        id_count: u16::try_from(field(26, 2))?,
        fragments,
        fragment_count,
        xattrs: (xattrs != NONE64).then_some(xattrs),
    })
}
