//! Writes ext4 (format: kernel's Documentation/filesystems/ext4) from a tree; the bytes depend on the tree and the options
//! only. Uses extents, linear directories, and extended attributes in the inode or in one block. Has no journal and no
//! checksums, because it is mounted read-only; Linux, GRUB and e2fsck read it. Also reads ext2, ext3 and ext4.

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

/// Size of a block in bytes.
const BLOCK: u64 = 4096;
const BLOCK_BYTES: usize = 4096;

/// Settings of a file system.
#[derive(Clone, Debug)]
pub struct Options {
    /// Label: at most 16 bytes.
    pub label: String,
    /// Identity.
    pub uuid: Guid,
    /// Time of the superblock: Unix timestamp.
    pub mtime: u32,
    /// Size of the whole file system in bytes, a multiple of 4096, from 1 MiB to 16 TiB.
    pub size: u64,
}

/// Plans the file system. All validation is here, so [`Layout::write`] fails only on I/O errors. Errors name the path that the
/// format cannot store, or the needed and available bytes.
pub fn layout(tree: &Tree, options: &Options) -> Result<Layout> {
    layout::plan(tree, options)
}

/// Bytes of the files of `tree` in blocks of 4 KiB, one block per folder, like `du`.
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

/// Writes little-endian numbers into a structure.
fn put16(out: &mut [u8], at: usize, value: u16) {
    out[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

fn put32(out: &mut [u8], at: usize, value: u32) {
    out[at..at + 4].copy_from_slice(&value.to_le_bytes());
}
