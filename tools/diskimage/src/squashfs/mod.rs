//! Writes and reads SquashFS 4.0 (kernel's Documentation/filesystems/squashfs.rst and fs/squashfs/squashfs_fs.h). The writer
//! compresses on all cores; its bytes depend on the tree and the options only. The reader validates all input.

mod blocks;
mod compress;
mod dedup;
mod dirs;
mod format;
mod inodes;
mod meta;
mod pieces;
mod queue;
mod reader;
mod store;
mod tables;
#[cfg(test)]
mod tests;
mod xattrs;

pub use compress::{Bcj, Compressor};
pub use reader::{Entry, EntryKind, Reader, Stored, StoredRun, Superblock, Tail};
pub use store::BlockStore;

use anyhow::{Context as _, Result, bail};
use filetree::Tree;
use format::{PAD, SUPERBLOCK_SIZE};
use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
};

/// Settings of an image.
#[derive(Clone, Debug)]
pub struct Options {
    /// Compressor of data and metadata.
    pub compressor: Compressor,
    /// Size of a data block in bytes: a power of two from 4096 to 1 MiB.
    pub block_size: u32,
    /// Time in the superblock: Unix timestamp.
    pub mtime: u32,
    /// Number of compression threads (fewer for large blocks, to limit memory); does not affect the result.
    pub threads: usize,
}

impl Default for Options {
    /// xz, mksquashfs's default block size, all cores.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { compressor: Compressor::Xz { bcj: Vec::new() }, block_size: 128 << 10, mtime: 0, threads }
    }
}

/// Sizes of a written image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Size of the file in bytes, with padding.
    pub bytes: u64,
    /// Number of inodes.
    pub inodes: u32,
    /// Number of files whose content equals another file's.
    pub duplicates: u32,
    /// Number of fragment blocks.
    pub fragments: u32,
    /// Number of data blocks whose compressed form was in the store.
    pub known: u32,
    /// Number of data blocks that were compressed.
    pub compressed: u32,
    /// Number of metadata blocks that were compressed.
    pub tables: u32,
    /// Why the store was not added to.
    pub not_kept: Option<String>,
}

/// Writes `tree` to `out`, which is truncated first. Errors name the path that the format cannot store, or the file that cannot
/// be read.
pub fn write(tree: &Tree, options: &Options, out: &mut File) -> Result<Summary> {
    write_with(tree, options, None, &|_, _| {}, out)
}

/// Like [`write`], with the same bytes, but takes blocks from `store` that it knows, and adds the others to it. `out` must be open for
/// reading too. That the store cannot be written is no error: the next image compresses these blocks again. `progress` gets the bytes of
/// contents that have been read, and of all.
pub fn write_with(
    tree: &Tree,
    options: &Options,
    store: Option<&BlockStore>,
    progress: &dyn Fn(u64, u64),
    out: &mut File,
) -> Result<Summary> {
    if !options.block_size.is_power_of_two() || !(4096..=1 << 20).contains(&options.block_size) {
        bail!("invalid squashfs block size of {} bytes: it must be a power of two from 4096 to 1048576", options.block_size);
    }
    out.set_len(0)?;
    out.seek(SeekFrom::Start(SUPERBLOCK_SIZE))?;
    let mut start = SUPERBLOCK_SIZE;
    let comp_options = options.compressor.options(options.block_size);
    if let Some(bytes) = &comp_options {
        out.write_all(&meta::stored(bytes))?;
        start += 2 + bytes.len() as u64;
    }
    let contents = dedup::Contents::of(tree, options.threads, store)?;
    let mut data = blocks::write(&contents, options, store, progress, out, start)?;
    data.written.sources.extend_from_slice(&contents.sources);
    let known = u32::try_from(data.written.rows.iter().filter(|(_, pack)| pack.is_some()).count())?;
    let inodes = inodes::write(tree, &contents, &data, options, store)?;
    let tables = tables::Tables { inodes: &inodes, data: &data, options, store, has_options: comp_options.is_some() };
    let tabled = tables.write(out, data.end)?;
    let known_tables = tabled.rows.iter().filter(|(_, pack)| pack.is_some()).count();
    data.written.rows.extend(tabled.rows);
    let bytes = tabled.used.next_multiple_of(PAD);
    out.set_len(bytes).context("cannot pad the image")?;
    let kept = store.map_or(Ok(()), |store| store.keep(out, &data.written));
    Ok(Summary {
        bytes,
        inodes: inodes.count,
        duplicates: contents.duplicates,
        fragments: u32::try_from(data.fragments.len())?,
        known,
        compressed: u32::try_from(data.blocks)? - known,
        tables: u32::try_from(tabled.blocks - known_tables)?,
        not_kept: kept.err().map(|error| format!("{error:#}")),
    })
}
