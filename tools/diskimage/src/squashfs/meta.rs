//! Metadata streams: split into blocks of 8 KiB, each compressed; and references into them.

use super::{
    Options,
    format::{DATA_STORED, META_SIZE, META_STORED},
    store::{BlockStore, Form, Row, check},
};
use anyhow::Result;

/// A metadata stream in memory.
pub(super) struct MetaWriter<'c> {
    options: &'c Options,
    store: Option<&'c BlockStore>,
    pending: Vec<u8>,
    done: MetaBlocks,
}

/// A finished stream.
#[derive(Default)]
pub(super) struct MetaBlocks {
    /// The blocks with their headers.
    pub bytes: Vec<u8>,
    /// Offsets of the blocks in `bytes`.
    pub starts: Vec<u64>,
    /// With a store: each block and the pack from which it came. Offsets are those in `bytes`.
    pub rows: Vec<(Row, Option<u32>)>,
}

impl<'c> MetaWriter<'c> {
    /// Blocks that `store` knows are not compressed.
    pub(super) fn new(options: &'c Options, store: Option<&'c BlockStore>) -> Self {
        Self { options, store, pending: Vec::new(), done: MetaBlocks::default() }
    }

    /// Position of the next byte: offset of its block, and offset in the uncompressed block.
    pub(super) fn position(&self) -> (u64, u16) {
        (self.done.bytes.len() as u64, u16::try_from(self.pending.len()).expect("less than a block is pending"))
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
        let small = self.compressed()?;
        let MetaBlocks { bytes, starts, .. } = &mut self.done;
        starts.push(bytes.len() as u64);
        match small {
            Some(small) => {
                let length = u16::try_from(small.len()).expect("a metadata block is smaller than 8 KiB");
                bytes.extend_from_slice(&length.to_le_bytes());
                bytes.extend_from_slice(&small);
            }
            None => bytes.extend_from_slice(&stored(&self.pending)),
        }
        self.pending.clear();
        Ok(())
    }

    /// The pending block, compressed or taken from the store; none if it does not become smaller.
    fn compressed(&mut self) -> Result<Option<Vec<u8>>> {
        let Options { compressor, block_size, .. } = self.options;
        let Some(store) = self.store else { return compressor.compress(&self.pending, *block_size) };
        let key = BlockStore::key(compressor, *block_size, &self.pending);
        let (small, check, pack) = match store.find(&key) {
            Some((Form::Smaller(bytes, check), pack)) => (Some(bytes), check, Some(pack)),
            Some((Form::AsItIs(check), pack)) => (None, check, Some(pack)),
            None => {
                let small = compressor.compress(&self.pending, *block_size)?;
                let check = check(&key, small.as_deref().unwrap_or_default());
                (small, check, None)
            }
        };
        let size = small.as_ref().map_or(Ok(DATA_STORED), |small| u32::try_from(small.len()))?;
        // Its bytes come after its header.
        self.done.rows.push((Row { key, check, offset: self.done.bytes.len() as u64 + HEADER, size }, pack));
        Ok(small)
    }

    /// Ends the stream.
    pub(super) fn finish(mut self) -> Result<MetaBlocks> {
        self.flush()?;
        Ok(self.done)
    }
}

/// Bytes of the length before each metadata block.
const HEADER: u64 = 2;

/// An uncompressed metadata block.
pub(super) fn stored(bytes: &[u8]) -> Vec<u8> {
    let header = u16::try_from(bytes.len()).expect("a metadata block holds at most 8 KiB") | META_STORED;
    [&header.to_le_bytes(), bytes].concat()
}
