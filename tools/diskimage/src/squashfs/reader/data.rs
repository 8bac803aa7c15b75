//! Reads file contents (blocks, holes, fragments) one block at a time.

use super::Reader;
use crate::squashfs::{
    compress::decompress,
    format::{DATA_STORED, NONE32},
};
use anyhow::{Context as _, Result, ensure};
use std::{
    io::Read,
    sync::{Arc, PoisonError},
};

/// Location of a file's content.
pub(super) struct FileBody {
    pub start: u64,
    pub size: u64,
    pub fragment: u32,
    pub offset: u32,
    pub sizes: Vec<u32>,
}

/// Sequential reader of a file.
pub(super) struct FileReader<'r> {
    reader: &'r Reader,
    file: &'r FileBody,
    /// Index of the next block, and its offset.
    next: usize,
    at: u64,
    /// Bytes after the current block.
    left: u64,
    block: Vec<u8>,
    taken: usize,
}

impl Reader {
    pub(super) fn open_file<'r>(&'r self, file: &'r FileBody) -> FileReader<'r> {
        FileReader { reader: self, file, next: 0, at: file.start, left: file.size, block: Vec::new(), taken: 0 }
    }

    fn data_block(&self, at: u64, size: u32) -> Result<Vec<u8>> {
        let limit = self.superblock.block_size as usize;
        let length = (size & !DATA_STORED) as usize;
        ensure!(length <= limit, "a block of {length} bytes at {at} exceeds the block size");
        let mut bytes = vec![0; length];
        self.image.read_at(&mut bytes, at).context("a block exceeds the image")?;
        if size & DATA_STORED != 0 {
            return Ok(bytes);
        }
        decompress(self.superblock.compressor, &bytes, limit).with_context(|| format!("cannot decompress the block at {at}"))
    }

    /// A fragment block. Caches the last one, because neighbors in a directory share one.
    fn fragment(&self, number: u32) -> Result<Arc<Vec<u8>>> {
        let mut last = self.last_fragment.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, block)) = last.as_ref().filter(|(last, _)| *last == number) {
            return Ok(block.clone());
        }
        let tables = &self.superblock.tables;
        ensure!(number < tables.fragment_count, "fragment {number} is not below {}", tables.fragment_count);
        let mut row = self.row(tables.fragments, u64::from(number), 16)?;
        let (start, size) = (row.u64()?, row.u32()?);
        let block = Arc::new(self.data_block(start, size)?);
        *last = Some((number, block.clone()));
        Ok(block)
    }
}

impl FileReader<'_> {
    fn fill(&mut self) -> Result<()> {
        let length = usize::try_from(self.left.min(u64::from(self.reader.superblock.block_size)))?;
        self.block = match self.file.sizes.get(self.next) {
            Some(0) => vec![0; length],
            Some(size) => {
                let block = self.reader.data_block(self.at, *size)?;
                self.at += u64::from(size & !DATA_STORED);
                block
            }
            None => {
                ensure!(self.file.fragment != NONE32, "a file has no fragment for its last bytes");
                let block = self.reader.fragment(self.file.fragment)?;
                let start = self.file.offset as usize;
                let end = start.checked_add(length).filter(|end| *end <= block.len()).context("a file exceeds its fragment block")?;
                block[start..end].to_vec()
            }
        };
        ensure!(self.block.len() == length, "a block has {} bytes instead of {length}", self.block.len());
        self.taken = 0;
        self.next += 1;
        self.left -= length as u64;
        Ok(())
    }
}

impl Read for FileReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.taken == self.block.len() && self.left > 0 {
            self.fill().map_err(std::io::Error::other)?;
        }
        let got = buffer.len().min(self.block.len() - self.taken);
        buffer[..got].copy_from_slice(&self.block[self.taken..self.taken + got]);
        self.taken += got;
        Ok(got)
    }
}
