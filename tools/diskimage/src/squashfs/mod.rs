//! SquashFS 4.0 (the kernel's Documentation/filesystems/squashfs.rst and fs/squashfs/squashfs_fs.h): a writer that compresses
//! on all cores and whose bytes depend on the tree and the options alone, and a reader that trusts nothing.

mod blocks;
mod compress;
mod dedup;
mod dirs;
mod format;
mod inodes;
mod meta;
mod queue;
mod reader;
mod tables;
#[cfg(test)]
mod tests;
mod xattrs;

pub use compress::{Bcj, Compressor};
pub use reader::{Entry, EntryKind, Reader, Superblock};

use anyhow::{Context as _, Result, bail};
use filetree::Tree;
use format::{PAD, SUPERBLOCK_SIZE};
use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
};

/// How an image is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// Compressor of data and metadata.
    pub compressor: Compressor,
    /// Bytes in a data block: a power of two from 4096 to 1 MiB.
    pub block_size: u32,
    /// Time in the superblock, seconds since the epoch.
    pub mtime: u32,
    /// Blocks compressed at a time (fewer when the block size is so large that the memory would not do); the bytes of the
    /// image do not depend on it.
    pub threads: usize,
}

impl Default for Options {
    /// mksquashfs's block size, xz, every core.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { compressor: Compressor::Xz { bcj: Vec::new() }, block_size: 128 << 10, mtime: 0, threads }
    }
}

/// What a written image holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of the file, padding included.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u32,
    /// Files of which another file has the same content.
    pub duplicates: u32,
    /// Blocks of packed small files.
    pub fragments: u32,
}

/// Writes `tree` as an image to `out`, which is emptied first. Errors name the path that the format cannot hold, or the
/// file that could not be read.
pub fn write(tree: &Tree, options: &Options, out: &mut File) -> Result<Summary> {
    if !options.block_size.is_power_of_two() || !(4096..=1 << 20).contains(&options.block_size) {
        bail!("a squashfs block has a power of two from 4096 to 1048576 bytes, not {}", options.block_size);
    }
    out.set_len(0)?;
    out.seek(SeekFrom::Start(SUPERBLOCK_SIZE))?;
    let mut start = SUPERBLOCK_SIZE;
    let comp_options = options.compressor.options(options.block_size);
    if let Some(bytes) = &comp_options {
        out.write_all(&meta::stored(bytes))?;
        start += 2 + bytes.len() as u64;
    }
    let contents = dedup::Contents::of(tree)?;
    let data = blocks::write(&contents, options, out, start)?;
    let inodes = inodes::write(tree, &contents, &data, options)?;
    let tables = tables::Tables { inodes: &inodes, data: &data, options, has_options: comp_options.is_some() };
    let used = tables.write(out, data.end)?;
    let bytes = used.next_multiple_of(PAD);
    out.set_len(bytes).context("cannot pad the image")?;
    Ok(Summary { bytes, inodes: inodes.count, duplicates: contents.duplicates, fragments: u32::try_from(data.fragments.len())? })
}
