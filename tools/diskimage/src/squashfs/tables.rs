//! Writes the tables after the data, and finally the superblock.

use super::{
    Options,
    blocks::Data,
    format::{MAGIC, NONE64, flag},
    inodes::Inodes,
    meta::{MetaBlocks, MetaWriter},
    store::{BlockStore, Row},
};
use anyhow::{Context as _, Result};
use std::{
    fs::File,
    io::{BufWriter, Seek as _, SeekFrom, Write},
};

/// Content of the tables.
pub(super) struct Tables<'t> {
    pub inodes: &'t Inodes,
    pub data: &'t Data,
    pub options: &'t Options,
    /// Metadata blocks that it knows are not compressed.
    pub store: Option<&'t BlockStore>,
    /// Whether compressor options follow the superblock.
    pub has_options: bool,
}

/// Output that tracks its offset.
struct Out<'o> {
    file: BufWriter<&'o mut File>,
    at: u64,
    /// Number of metadata blocks.
    blocks: usize,
    /// With a store: each of them and the pack from which it came.
    rows: Vec<(Row, Option<u32>)>,
}

/// What was written.
pub(super) struct Tabled {
    /// Number of bytes of the image.
    pub used: u64,
    /// Number of metadata blocks.
    pub blocks: usize,
    /// With a store: what it is to keep of them.
    pub rows: Vec<(Row, Option<u32>)>,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<u64> {
        let at = self.at;
        self.file.write_all(bytes).context("cannot write the image")?;
        self.at += bytes.len() as u64;
        Ok(at)
    }

    fn put_blocks(&mut self, blocks: &MetaBlocks) -> Result<u64> {
        let at = self.put(&blocks.bytes)?;
        self.blocks += blocks.starts.len();
        self.rows.extend(blocks.rows.iter().map(|(row, pack)| (Row { offset: at + row.offset, ..*row }, *pack)));
        Ok(at)
    }
}

impl Tables<'_> {
    /// Writes all tables from offset `start` on, and the superblock.
    pub(super) fn write(&self, out: &mut File, start: u64) -> Result<Tabled> {
        out.seek(SeekFrom::Start(start))?;
        let mut out = Out { file: BufWriter::with_capacity(1 << 20, out), at: start, blocks: 0, rows: Vec::new() };
        let inode_table = out.put_blocks(&self.inodes.inodes)?;
        let directory_table = out.put_blocks(&self.inodes.dirs)?;
        let fragments: Vec<[u8; 16]> = self.data.fragments.iter().map(fragment_row).collect();
        let fragment_table = self.indexed(&mut out, &fragments.concat())?;
        let export: Vec<u8> = self.inodes.export.iter().flat_map(|reference| reference.to_le_bytes()).collect();
        let export_table = self.indexed(&mut out, &export)?;
        let ids: Vec<u8> = self.inodes.ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let id_table = self.indexed(&mut out, &ids)?;
        let xattr_table = if self.inodes.xattr_rows.is_empty() { NONE64 } else { self.xattrs(&mut out)? };
        let used = out.at;
        out.file.flush().context("cannot write the image")?;
        let tables = [used, id_table, xattr_table, inode_table, directory_table, fragment_table, export_table];
        let file = out.file.into_inner().map_err(std::io::IntoInnerError::into_error).context("cannot write the image")?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&self.superblock(tables)?).context("cannot write the image")?;
        Ok(Tabled { used, blocks: out.blocks, rows: out.rows })
    }

    /// Writes rows in metadata blocks, then the list of the blocks' offsets; returns the list's offset.
    fn indexed(&self, out: &mut Out<'_>, rows: &[u8]) -> Result<u64> {
        let mut meta = MetaWriter::new(self.options, self.store);
        meta.push(rows)?;
        let blocks = meta.finish()?;
        let at = out.put_blocks(&blocks)?;
        let positions: Vec<u8> = blocks.starts.iter().flat_map(|start| (at + start).to_le_bytes()).collect();
        out.put(&positions)
    }

    fn xattrs(&self, out: &mut Out<'_>) -> Result<u64> {
        let values = out.put_blocks(&self.inodes.xattr_values)?;
        let mut meta = MetaWriter::new(self.options, self.store);
        meta.push(&self.inodes.xattr_rows.concat())?;
        let blocks = meta.finish()?;
        let at = out.put_blocks(&blocks)?;
        let table = out.put(&values.to_le_bytes())?;
        out.put(&u32::try_from(self.inodes.xattr_rows.len())?.to_le_bytes())?;
        out.put(&[0; 4])?;
        for start in blocks.starts {
            out.put(&(at + start).to_le_bytes())?;
        }
        Ok(table)
    }

    fn superblock(&self, tables: [u64; 7]) -> Result<Vec<u8>> {
        let mut flags = flag::DUPLICATES | flag::EXPORT;
        if self.inodes.xattr_rows.is_empty() {
            flags |= flag::NO_XATTRS;
        }
        if self.has_options {
            flags |= flag::COMPRESSOR_OPTIONS;
        }
        let mut bytes = Vec::with_capacity(96);
        let fragments = u32::try_from(self.data.fragments.len())?;
        for value in [MAGIC, self.inodes.count, self.options.mtime, self.options.block_size, fragments] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        let log = u16::try_from(self.options.block_size.trailing_zeros())?;
        let ids = u16::try_from(self.inodes.ids.len())?;
        for value in [self.options.compressor.id(), log, flags, ids, 4, 0] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes.extend_from_slice(&self.inodes.root.to_le_bytes());
        for value in tables {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        Ok(bytes)
    }
}

fn fragment_row((start, size): &(u64, u32)) -> [u8; 16] {
    let mut row = [0; 16];
    row[..8].copy_from_slice(&start.to_le_bytes());
    row[8..12].copy_from_slice(&size.to_le_bytes());
    row
}
