//! FAT12, FAT16 and FAT32 with long names (Microsoft's "FAT: General Overview of On-Disk Format" 1.03): a writer from a
//! tree, and a reader that trusts nothing.

mod entries;
mod geometry;
mod layout;
mod names;
mod read;
#[cfg(test)]
mod tests;

pub use layout::Layout;
pub use read::{Entry, Reader};

use anyhow::Result;
use filetree::Tree;

/// Width of the entries of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bits {
    /// As the original's tools choose: FAT32 from 33 MiB on, else FAT12 while 4084 clusters of 2 KiB are enough, else FAT16.
    #[default]
    Auto,
    /// FAT12: at most 4084 clusters.
    Fat12,
    /// FAT16: 4085 to 65524 clusters.
    Fat16,
    /// FAT32: at least 65525 clusters, so about 33 MiB.
    Fat32,
}

/// What a volume is to be, besides its files.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size of the whole volume in bytes, a multiple of 512.
    pub size: u64,
    /// Label: at most 11 upper-case ASCII characters; empty for none.
    pub label: String,
    /// Serial number of the volume.
    pub volume_id: u32,
    /// Time of every entry: seconds since the epoch, written as UTC; the format begins in 1980 (earlier times become that).
    pub mtime: u32,
    /// Width of the table's entries.
    pub bits: Bits,
}

/// Where everything goes: all validation is here, so that [`Layout::write`] fails only on I/O. Errors name the path: what
/// FAT cannot hold (links, devices), names that it cannot spell, two names that differ only in case; and say the bytes
/// needed and the bytes there are when the files do not fit. Owners, permissions and the tree's own times are not kept;
/// hard links become copies.
pub fn layout(tree: &Tree, options: &Options) -> Result<Layout> {
    layout::plan(tree, options)
}
