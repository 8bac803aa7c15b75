//! Finds a file's blocks: extents, or block maps of ext2 and ext3.

use super::{Inode, Reader, u16_at, u32_at};
use anyhow::{Context as _, Result, bail};
use std::io::{self, Read};

/// Blocks that are contiguous in the file and on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// First block in the file.
    pub logical: u64,
    /// First block on the disk.
    pub physical: u64,
    pub count: u64,
}

/// Maximum depth of an extent tree. A block map has three levels.
const MOST_LEVELS: u16 = 5;
const EXTENTS_MAGIC: u16 = 0xf30a;
/// A longer extent is unwritten: its length is reduced by this, and it reads as zeros.
const LONGEST_EXTENT: u16 = 0x8000;

/// Collects runs, up to the number of blocks in the file system: damaged nodes may refer to each other.
struct Runs {
    found: Vec<Run>,
    left: u64,
}

impl Runs {
    fn spend(&mut self, blocks: u64) -> Result<()> {
        self.left = self.left.checked_sub(blocks).context("the file has more blocks than the file system")?;
        Ok(())
    }

    fn add(&mut self, logical: u64, physical: u64, count: u64) -> Result<()> {
        self.spend(count)?;
        if let Some(last) = self.found.last_mut() {
            if logical < last.logical + last.count {
                bail!("the file's blocks are not in order");
            }
            if (last.logical + last.count, last.physical.checked_add(last.count)) == (logical, Some(physical)) {
                last.count += count;
                return Ok(());
            }
        }
        self.found.push(Run { logical, physical, count });
        Ok(())
    }
}

impl Reader<'_> {
    /// The runs of a file, in file order.
    pub(super) fn runs(&self, inode: &Inode) -> Result<Vec<Run>> {
        // Doubled, because tree nodes are blocks, too.
        let mut runs = Runs { found: Vec::new(), left: self.blocks.saturating_mul(2) };
        if inode.has(Inode::EXTENTS) {
            self.extents(&inode.block, MOST_LEVELS, &mut runs)?;
        } else {
            self.map(inode, &mut runs)?;
        }
        Ok(runs.found)
    }

    fn extents(&self, node: &[u8], levels: u16, runs: &mut Runs) -> Result<()> {
        let (magic, entries, depth) = (u16_at(node, 0), usize::from(u16_at(node, 2)), u16_at(node, 6));
        if magic != EXTENTS_MAGIC || depth > levels || 12 + entries * 12 > node.len() {
            bail!("a node of the extent tree is damaged");
        }
        for entry in node[12..12 + entries * 12].chunks_exact(12) {
            if depth > 0 {
                runs.spend(1)?;
                let below = u64::from(u16_at(entry, 8)) << 32 | u64::from(u32_at(entry, 4));
                self.extents(&self.read_block(below)?, depth - 1, runs)?;
                continue;
            }
            let (logical, count) = (u32_at(entry, 0).into(), u16_at(entry, 4));
            let physical = u64::from(u16_at(entry, 6)) << 32 | u64::from(u32_at(entry, 8));
            match count.checked_sub(LONGEST_EXTENT).filter(|unwritten| *unwritten > 0) {
                Some(_) => {}
                None => runs.add(logical, physical, count.into())?,
            }
        }
        Ok(())
    }

    /// Twelve direct blocks, then a single, a double and a triple indirect one.
    fn map(&self, inode: &Inode, runs: &mut Runs) -> Result<()> {
        let each = self.block / 4;
        let mut logical = 0;
        for index in 0..15 {
            let level = u32::try_from(index).unwrap_or_default().saturating_sub(11);
            let block = u32_at(&inode.block, index * 4);
            self.mapped(block, level, logical, runs)?;
            logical += each.pow(level);
        }
        Ok(())
    }

    fn mapped(&self, block: u32, level: u32, logical: u64, runs: &mut Runs) -> Result<()> {
        if block == 0 {
            return Ok(());
        }
        if level == 0 {
            return runs.add(logical, block.into(), 1);
        }
        runs.spend(1)?;
        let bytes = self.read_block(block.into())?;
        let below = (self.block / 4).pow(level - 1);
        for (number, entry) in (0..).zip(bytes.chunks_exact(4)) {
            self.mapped(u32_at(entry, 0), level - 1, logical + number * below, runs)?;
        }
        Ok(())
    }
}

/// Sequential reader of a file; holes read as zeros.
pub(super) struct Bytes<'r> {
    reader: &'r Reader<'r>,
    runs: std::iter::Peekable<std::vec::IntoIter<Run>>,
    at: u64,
    size: u64,
}

impl<'r> Bytes<'r> {
    pub(super) fn new(reader: &'r Reader<'r>, inode: &Inode) -> Result<Self> {
        Ok(Self { reader, runs: reader.runs(inode)?.into_iter().peekable(), at: 0, size: inode.size })
    }
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let block = self.reader.block;
        while self.runs.next_if(|run| (run.logical + run.count).saturating_mul(block) <= self.at).is_some() {}
        let left = self.size - self.at;
        let (start, end) = self
            .runs
            .peek()
            .map_or((u64::MAX, u64::MAX), |run| (run.logical.saturating_mul(block), (run.logical + run.count).saturating_mul(block)));
        let is_hole = self.at < start;
        let most = left.min(if is_hole { start } else { end } - self.at);
        let count = buffer.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..count];
        if is_hole {
            buffer.fill(0);
        } else if let Some(run) = self.runs.peek() {
            let offset = run.physical.checked_mul(block).and_then(|offset| offset.checked_add(self.at - start));
            let offset = offset.ok_or_else(|| io::Error::other("a block number is out of range"))?;
            self.reader.read_at(buffer, offset).map_err(io::Error::other)?;
        }
        self.at += count as u64;
        Ok(count)
    }
}
