//! Metadata streams: split into blocks of 8 KiB, each compressed; and references into them.

use super::{
    compress::Compressor,
    format::{META_SIZE, META_STORED},
};
use anyhow::Result;

/// A metadata stream in memory.
pub(super) struct MetaWriter<'c> {
    compressor: &'c Compressor,
    block_size: u32,
    pending: Vec<u8>,
    /// Finished blocks.
    pub done: Vec<u8>,
    /// Offsets of the finished blocks in `done`.
    pub starts: Vec<u64>,
}

impl<'c> MetaWriter<'c> {
    pub(super) fn new(compressor: &'c Compressor, block_size: u32) -> Self {
        Self { compressor, block_size, pending: Vec::new(), done: Vec::new(), starts: Vec::new() }
    }

    /// Position of the next byte: offset of its block, and offset in the uncompressed block.
    pub(super) fn position(&self) -> (u64, u16) {
        (self.done.len() as u64, u16::try_from(self.pending.len()).expect("less than a block is pending"))
    }

    /// Reference of the next byte: 48 bits of block offset, 16 of offset in the block.
    pub(super) fn reference(&self) -> u64 {
        let (start, offset) = self.position();
        start << 16 | u64::from(offset)
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let take = bytes.len().min(META_SIZE - self.pending.len());
            self.pending.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if self.pending.len() == META_SIZE {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.starts.push(self.done.len() as u64);
        match self.compressor.compress(&self.pending, self.block_size)? {
            Some(bytes) => {
                let length = u16::try_from(bytes.len()).expect("a metadata block is smaller than 8 KiB");
                self.done.extend_from_slice(&length.to_le_bytes());
                self.done.extend_from_slice(&bytes);
            }
            None => self.done.extend_from_slice(&stored(&self.pending)),
        }
        self.pending.clear();
        Ok(())
    }

    /// Ends the stream; returns all blocks and their offsets.
    pub(super) fn finish(mut self) -> Result<(Vec<u8>, Vec<u64>)> {
        self.flush()?;
        Ok((self.done, self.starts))
    }
}

/// An uncompressed metadata block.
pub(super) fn stored(bytes: &[u8]) -> Vec<u8> {
    let header = u16::try_from(bytes.len()).expect("a metadata block holds at most 8 KiB") | META_STORED;
    [&header.to_le_bytes(), bytes].concat()
}
