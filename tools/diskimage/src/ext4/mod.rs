//! ext4 (the kernel's Documentation/filesystems/ext4): a writer from a tree, whose bytes depend on the tree and the options alone.

use crate::gpt::Guid;
use anyhow::{Result, bail};
use filetree::Tree;
use std::fs::File;

/// What a file system is to be, besides its files.
#[derive(Clone, Debug)]
pub struct Options {
    /// Label: at most 16 bytes.
    pub label: String,
    /// Identity.
    pub uuid: Guid,
    /// Time of the superblock, seconds since the epoch.
    pub mtime: u32,
    /// Size of the whole file system in bytes, a multiple of 4096.
    pub size: u64,
}

/// A validated file system, ready to be written. It refers to the files' contents and holds none of them.
#[derive(Clone, Debug)]
pub struct Layout {
    size: u64,
}

/// Where everything goes: all validation is here, so that [`Layout::write`] fails only on I/O. Errors name the path that
/// the format cannot hold, and the bytes needed and there when the files do not fit.
pub fn layout(_tree: &Tree, _options: &Options) -> Result<Layout> {
    bail!("not written yet")
}

/// Bytes that the files of `tree` take in blocks of 4 KiB, folders included: what `du` would count.
#[must_use]
pub fn disk_usage(_tree: &Tree) -> u64 {
    0
}

impl Layout {
    /// Bytes of the whole file system.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes the file system as the whole of `out`, sparse: what was there is cut away first.
    pub fn write(&self, _out: &File) -> Result<()> {
        bail!("not written yet")
    }
}
