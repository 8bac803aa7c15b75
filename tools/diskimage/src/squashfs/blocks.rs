//! File contents: split into blocks, compressed in parallel, written in order. Small files are packed into fragment blocks, as
//! in mksquashfs by default: the tail of a larger file is not packed.

use super::{
    Options,
    dedup::Contents,
    format::NONE32,
    queue::{self, Queue},
    store::{BlockStore, Row},
};
use anyhow::{Context as _, Result};
use std::{fs::File, io::Read as _};

/// Positions of all data.
pub(super) struct Data {
    /// Each distinct content.
    pub files: Vec<Stored>,
    /// Offset and size field of each fragment block.
    pub fragments: Vec<(u64, u32)>,
    /// Offset after the last block.
    pub end: u64,
    /// Number of blocks.
    pub blocks: usize,
    /// With a store: each block, and the pack from which it came.
    pub rows: Vec<(Row, Option<u32>)>,
}

/// Location of one content.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// Offset of its first block.
    pub start: u64,
    /// Size field of each block; 0 is a hole.
    pub sizes: Vec<u32>,
    /// Number of bytes in holes.
    pub sparse: u64,
    /// Number of its fragment block, or `NONE32`.
    pub fragment: u32,
    /// Offset in the fragment block.
    pub offset: u32,
}

impl Stored {
    /// Location of an empty content.
    pub(super) fn nowhere() -> Self {
        Self { start: 0, sizes: Vec::new(), sparse: 0, fragment: NONE32, offset: 0 }
    }
}

/// A block: its job number, or a hole.
#[derive(Clone, Copy)]
enum Block {
    Job(usize),
    Hole,
}

/// Location of one content in job numbers; their offsets are known only at the end.
struct Plan {
    blocks: Vec<Block>,
    sparse: u64,
    fragment: u32,
    offset: u32,
}

/// Compresses and writes all contents to `out` from offset `start` on. Blocks that `store` knows are not compressed.
pub(super) fn write(
    contents: &Contents<'_>,
    options: &Options,
    store: Option<&BlockStore>,
    progress: &dyn Fn(u64, u64),
    out: &mut File,
    start: u64,
) -> Result<Data> {
    let total: u64 = contents.distinct.iter().map(|(content, _)| content.len()).sum();
    let read = |queue: &Queue<'_>| {
        let progress = |done| progress(done, total);
        let (fragment, fragments) = (Vec::new(), Vec::new());
        let mut packer = Packer { block_size: options.block_size as usize, queue, fragment, fragments, done: 0, progress: &progress };
        let plans = packer.read(contents)?;
        Ok((plans, packer.fragments))
    };
    let ((plans, fragments), places) = queue::run(options, store, out, start, read)?;
    let files = plans.iter().map(|plan| stored(plan, &places.blocks)).collect();
    let fragments = fragments.iter().map(|job| places.blocks[*job]).collect();
    Ok(Data { files, fragments, end: places.end, blocks: places.blocks.len(), rows: places.rows })
}

fn stored(plan: &Plan, places: &[(u64, u32)]) -> Stored {
    let first = plan.blocks.iter().find_map(|block| match block {
        Block::Job(job) => Some(places[*job].0),
        Block::Hole => None,
    });
    let sizes = plan.blocks.iter().map(|block| match block {
        Block::Job(job) => places[*job].1,
        Block::Hole => 0,
    });
    Stored { start: first.unwrap_or(0), sizes: sizes.collect(), sparse: plan.sparse, fragment: plan.fragment, offset: plan.offset }
}

/// Splits contents into blocks and sends them to the queue.
struct Packer<'p> {
    block_size: usize,
    queue: &'p Queue<'p>,
    fragment: Vec<u8>,
    fragments: Vec<usize>,
    /// The bytes that have been read.
    done: u64,
    progress: &'p dyn Fn(u64),
}

impl Packer<'_> {
    fn read(&mut self, contents: &Contents<'_>) -> Result<Vec<Plan>> {
        let mut plans = Vec::with_capacity(contents.distinct.len());
        for (content, path) in &contents.distinct {
            let plan = if content.len() < self.block_size as u64 { self.small(content, path) } else { self.large(content) };
            plans.push(plan.with_context(|| format!("cannot read the content of `{path}`"))?);
        }
        self.flush_fragment()?;
        Ok(plans)
    }

    fn small(&mut self, content: &filetree::Content, path: &str) -> Result<Plan> {
        let length = usize::try_from(content.len())?;
        let full = self.fragment.len() + length > self.block_size;
        if full || self.fragment.len() >= self.block_size / 2 && is_cut(path) {
            self.flush_fragment()?;
        }
        let plan = Plan {
            blocks: Vec::new(),
            sparse: 0,
            fragment: u32::try_from(self.fragments.len())?,
            offset: u32::try_from(self.fragment.len())?,
        };
        content.open()?.read_to_end(&mut self.fragment)?;
        self.count(content.len());
        Ok(plan)
    }

    fn large(&mut self, content: &filetree::Content) -> Result<Plan> {
        let mut reader = content.open()?;
        let mut plan = Plan { blocks: Vec::new(), sparse: 0, fragment: NONE32, offset: 0 };
        let mut left = content.len();
        while left > 0 {
            let length = usize::try_from(left.min(self.block_size as u64))?;
            let mut block = vec![0; length];
            reader.read_exact(&mut block)?;
            left -= length as u64;
            self.count(length as u64);
            if is_zero(&block) {
                plan.blocks.push(Block::Hole);
                plan.sparse += length as u64;
            } else {
                plan.blocks.push(Block::Job(self.queue.send(block)?));
            }
        }
        // The kernel subtracts it from the size; like mksquashfs, keeps the difference positive.
        plan.sparse = plan.sparse.min(content.len() - 1);
        Ok(plan)
    }

    fn count(&mut self, bytes: u64) {
        self.done += bytes;
        (self.progress)(self.done);
    }

    fn flush_fragment(&mut self) -> Result<()> {
        if !self.fragment.is_empty() {
            let block = std::mem::take(&mut self.fragment);
            self.fragments.push(self.queue.send(block)?);
        }
        Ok(())
    }
}

/// Whether a fragment block that is half full ends before the file `path`. If only the lengths of files decided, one more line in a
/// script would move all small files after it to other blocks, and all of these would be compressed anew.
fn is_cut(path: &str) -> bool {
    const ONE_OF: u64 = 8;
    // FNV-1a; its upper bits, mixed once more, depend on all bytes.
    let hash = path.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    ((hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).is_multiple_of(ONE_OF)
}

fn is_zero(block: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    block.chunks(ZEROS.len()).all(|chunk| chunk == &ZEROS[..chunk.len()])
}
