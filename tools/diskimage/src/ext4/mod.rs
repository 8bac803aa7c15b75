//! ext4 (the kernel's Documentation/filesystems/ext4): a writer from a tree, whose bytes depend on the tree and the options
//! alone. Extents, linear directories, attributes in the inode or in a block; no journal and no checksums: what is written
//! here is mounted for reading, and Linux, GRUB and e2fsck all read it.

mod dirs;
mod geometry;
mod inode;
mod layout;
mod read;
mod superblock;
#[cfg(test)]
mod tests;
mod xattrs;

pub use layout::Layout;
pub use read::{Reader, Take};

use crate::gpt::Guid;
use anyhow::Result;
use filetree::{Kind, Tree};
use std::collections::HashSet;

/// Bytes of a block.
const BLOCK: u64 = 4096;
const BLOCK_BYTES: usize = 4096;

/// What a file system is to be, besides its files.
#[derive(Clone, Debug)]
pub struct Options {
    /// Label: at most 16 bytes.
    pub label: String,
    /// Identity.
    pub uuid: Guid,
    /// Time of the superblock, seconds since the epoch.
    pub mtime: u32,
    /// Size of the whole file system in bytes, a multiple of 4096, from 1 MiB to 16 TiB.
    pub size: u64,
}

/// Where everything goes: all validation is here, so that [`Layout::write`] fails only on I/O. Errors name the path that
/// the format cannot hold, and the bytes needed and there when the files do not fit.
pub fn layout(tree: &Tree, options: &Options) -> Result<Layout> {
    layout::plan(tree, options)
}

/// Bytes that the files of `tree` take in blocks of 4 KiB, a block for each folder included: what `du` would count.
#[must_use]
pub fn disk_usage(tree: &Tree) -> u64 {
    let mut seen = HashSet::new();
    let mut bytes: u64 = 0;
    let counted = tree.walk(&mut |_, node| {
        bytes = bytes.saturating_add(match &node.kind {
            Kind::Dir(_) => BLOCK,
            Kind::File { link: Some(link), .. } if !seen.insert(*link) => 0,
            Kind::File { content, .. } => content.len().checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX),
            Kind::Symlink(target) if target.len() > inode::FAST_LINK => BLOCK,
            _ => 0,
        });
        Ok(())
    });
    counted.map_or(0, |()| bytes)
}

/// Puts little-endian numbers into a structure.
fn put16(out: &mut [u8], at: usize, value: u16) {
    out[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

fn put32(out: &mut [u8], at: usize, value: u32) {
    out[at..at + 4].copy_from_slice(&value.to_le_bytes());
}
