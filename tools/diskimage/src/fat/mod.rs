//! Writes and reads FAT12, FAT16 and FAT32 with long names (Microsoft's "FAT: General Overview of On-Disk Format" 1.03). The
//! reader validates all input.

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

/// Width of a table entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bits {
    /// Like lf-edge/eve's tools: FAT32 from 33 MiB, else FAT12 up to 4084 clusters of 2 KiB, else FAT16.
    #[default]
    Auto,
    /// FAT12: at most 4084 clusters.
    Fat12,
    /// FAT16: 4085 to 65524 clusters.
    Fat16,
    /// FAT32: at least 65525 clusters, about 33 MiB.
    Fat32,
}

/// Settings of a volume.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size of the volume in bytes, a multiple of `sector`.
    pub size: u64,
    /// Size of a sector in bytes: 512, or the disk's if that is larger. Linux mounts no volume with smaller sectors than its disk's.
    pub sector: u32,
    /// Label: at most 11 upper-case ASCII characters; may be empty.
    pub label: String,
    /// Serial number of the volume.
    pub volume_id: u32,
    /// Time of every entry: Unix timestamp, stored as UTC; times before 1980 become 1980-01-01.
    pub mtime: u32,
    /// Width of a table entry.
    pub bits: Bits,
}

/// Plans the volume. All validation is here, so [`Layout::write`] fails only on I/O errors. Errors name the path of what FAT
/// cannot store (links, devices, invalid names, names that differ only in case), or the needed and available bytes. Owners,
/// permissions and times of the tree are dropped; hard links become copies.
pub fn layout(tree: &Tree, options: &Options) -> Result<Layout> {
    layout::plan(tree, options)
}
