//! Reads metadata blocks, caches some of them, and provides cursors that stay inside a table.

use super::{Reader, superblock::number};
use crate::{
    read_at::read_array,
    squashfs::{
        compress::decompress,
        format::{META_SIZE, META_STORED},
    },
};
use anyhow::{Context as _, Result, ensure};
use std::{
    ops::Range,
    sync::{Arc, PoisonError},
};

/// Number of cached metadata blocks.
const CACHED_BLOCKS: usize = 256;

/// A decompressed block.
pub(super) struct MetaBlock {
    bytes: Vec<u8>,
    /// Offset of the next block.
    next: u64,
}

/// A position in a stream of metadata.
pub(super) struct Cursor<'r> {
    reader: &'r Reader,
    table: Range<u64>,
    block: u64,
    offset: usize,
}

impl<'r> Cursor<'r> {
    /// A cursor at `reference` (48 bits of block offset, 16 of offset in the block) in the table at the image offsets `table`.
    pub(super) fn new(reader: &'r Reader, table: Range<u64>, reference: u64) -> Result<Self> {
        let block = table.start.checked_add(reference >> 16).context("a metadata reference exceeds the image")?;
        let offset = usize::try_from(reference & 0xffff)?;
        ensure!(offset <= META_SIZE, "a reference to byte {offset} exceeds a metadata block");
        Ok(Self { reader, table, block, offset })
    }

    pub(super) fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length.min(META_SIZE));
        while bytes.len() < length {
            ensure!(self.table.contains(&self.block), "metadata at {} is outside its table at {:?}", self.block, self.table);
            let block = self.reader.meta_block(self.block)?;
            if self.offset >= block.bytes.len() {
                ensure!(!block.bytes.is_empty(), "the metadata block at {} is empty", self.block);
                self.offset -= block.bytes.len();
                self.block = block.next;
                continue;
            }
            let take = (length - bytes.len()).min(block.bytes.len() - self.offset);
            bytes.extend_from_slice(&block.bytes[self.offset..self.offset + take]);
            self.offset += take;
        }
        Ok(bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        Ok(u16::try_from(number(&self.take(2)?))?)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::try_from(number(&self.take(4)?))?)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(number(&self.take(8)?))
    }
}

impl Reader {
    fn meta_block(&self, at: u64) -> Result<Arc<MetaBlock>> {
        let mut blocks = self.meta_blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = blocks.get(&at) {
            return Ok(block.clone());
        }
        let header = u16::from_le_bytes(read_array(self.image.as_ref(), at).with_context(|| format!("cannot read the metadata at {at}"))?);
        let length = usize::from(header & !META_STORED);
        ensure!(length <= META_SIZE, "the metadata block at {at} has {length} bytes");
        let mut bytes = vec![0; length];
        self.image.read_at(&mut bytes, at + 2).with_context(|| format!("the metadata at {at} is truncated"))?;
        if header & META_STORED == 0 {
            bytes = decompress(self.superblock.compressor, &bytes, META_SIZE)
                .with_context(|| format!("cannot decompress the metadata at {at}"))?;
        }
        if blocks.len() >= CACHED_BLOCKS {
            blocks.clear();
        }
        let block = Arc::new(MetaBlock { bytes, next: at + 2 + length as u64 });
        blocks.insert(at, block.clone());
        Ok(block)
    }

    /// A cursor at a row of a table in metadata blocks, whose offsets are listed at `table`.
    pub(super) fn row(&self, table: u64, number: u64, width: usize) -> Result<Cursor<'_>> {
        let per_block = (META_SIZE / width) as u64;
        let position = table.checked_add(number / per_block * 8).context("a table exceeds the image")?;
        let block = u64::from_le_bytes(read_array(self.image.as_ref(), position).context("a table is truncated")?);
        let offset = (number % per_block) * width as u64;
        // A table's blocks precede the list of their offsets.
        ensure!(block < table, "the block at {block} of a table is not before its list at {table}");
        Cursor::new(self, block..table, offset)
    }
}
