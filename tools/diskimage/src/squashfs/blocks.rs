//! File contents: split into blocks, compressed in parallel, written in order. Small files are packed into fragment blocks, as
//! in mksquashfs by default: the tail of a larger file is not packed. Fragment blocks come after all others: a small file that changes,
//! such as the version's name, then moves no large one, and the inodes stay as they were.

use super::{
    Options,
    dedup::Contents,
    format::NONE32,
    pieces::{Block, Piece},
    queue::{self, Place, Queue},
    store::{BlockStore, Written},
};
use anyhow::{Context as _, Result};
use filetree::Content;
use std::fs::File;

/// Positions of all data.
pub(super) struct Data {
    /// Each distinct content.
    pub files: Vec<Stored>,
    /// Offset and size field of each fragment block.
    pub fragments: Vec<(u64, u32)>,
    /// Offset after the last block.
    pub end: u64,
    /// Number of blocks, without holes.
    pub blocks: usize,
    /// What a store is to keep of the blocks.
    pub written: Written,
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

/// Location of one content in block numbers; their offsets are known only at the end.
struct Plan {
    blocks: Vec<usize>,
    /// Length in bytes.
    length: u64,
    fragment: u32,
    offset: u32,
}

/// Compresses and writes all contents to `out` from offset `start` on. Blocks that `store` knows are not compressed.
pub(super) fn write<'c>(
    contents: &'c Contents<'_>,
    options: &Options,
    store: Option<&BlockStore>,
    progress: &dyn Fn(u64, u64),
    out: &mut File,
    start: u64,
) -> Result<Data> {
    let total: u64 = contents.distinct.iter().map(|(content, _)| content.len()).sum();
    let send = |queue: &Queue<'_, 'c>| {
        let progress = |done| progress(done, total);
        let block_size = u64::from(options.block_size);
        Packer { block_size, queue, fragment: Fragment::default(), full: Vec::new(), done: 0, progress: &progress }.send_all(contents)
    };
    let ((plans, fragments), places) = queue::run(options, store, out, start, send)?;
    let files = plans.iter().map(|plan| stored(plan, &places.blocks, options.block_size)).collect();
    let fragments = fragments.iter().map(|block| (places.blocks[*block].offset, places.blocks[*block].size)).collect();
    let blocks = places.blocks.iter().filter(|place| place.size != 0).count();
    Ok(Data { files, fragments, end: places.end, blocks, written: places.written })
}

fn stored(plan: &Plan, places: &[Place], block_size: u32) -> Stored {
    let blocks = || plan.blocks.iter().map(|block| places[*block]);
    let start = blocks().find(|place| place.size != 0).map_or(0, |place| place.offset);
    let last = plan.length % u64::from(block_size);
    let length = |at: usize| if at + 1 == plan.blocks.len() && last != 0 { last } else { u64::from(block_size) };
    let holes = blocks().enumerate().filter(|(_, place)| place.size == 0).map(|(at, _)| length(at)).sum::<u64>();
    // The kernel subtracts it from the size; like mksquashfs, keeps the difference positive.
    let sparse = holes.min(plan.length.saturating_sub(1));
    Stored { start, sizes: blocks().map(|place| place.size).collect(), sparse, fragment: plan.fragment, offset: plan.offset }
}

/// The small files of a fragment block.
#[derive(Default)]
struct Fragment<'c> {
    pieces: Vec<Piece<'c>>,
    length: u64,
}

/// Splits contents into blocks and sends them to the queue, which reads them.
struct Packer<'p, 'c> {
    block_size: u64,
    queue: &'p Queue<'p, 'c>,
    fragment: Fragment<'c>,
    /// The fragment blocks that are complete. They are sent last.
    full: Vec<Fragment<'c>>,
    /// The bytes that have been sent.
    done: u64,
    progress: &'p dyn Fn(u64),
}

impl<'c> Packer<'_, 'c> {
    /// The location of each content, and the block of each fragment block.
    fn send_all(mut self, contents: &'c Contents<'_>) -> Result<(Vec<Plan>, Vec<usize>)> {
        let mut plans = Vec::with_capacity(contents.distinct.len());
        for (content, path) in &contents.distinct {
            let plan = if content.len() < self.block_size { self.small(content, path) } else { self.large(content, path) };
            plans.push(plan.with_context(|| format!("cannot read the content of `{path}`"))?);
        }
        self.end_fragment();
        let mut fragments = Vec::with_capacity(self.full.len());
        for Fragment { pieces, length } in std::mem::take(&mut self.full) {
            fragments.push(self.queue.send(Block::of_fragment(pieces))?);
            self.count(length);
        }
        Ok((plans, fragments))
    }

    fn small(&mut self, content: &Content, path: &'c str) -> Result<Plan> {
        let full = self.fragment.length + content.len() > self.block_size;
        if full || self.fragment.length >= self.block_size / 2 && is_cut(path) {
            self.end_fragment();
        }
        let plan = Plan {
            blocks: Vec::new(),
            length: content.len(),
            fragment: u32::try_from(self.full.len())?,
            offset: u32::try_from(self.fragment.length)?,
        };
        self.fragment.length += content.len();
        self.fragment.pieces.push(Piece { content: content.clone(), path });
        Ok(plan)
    }

    fn large(&mut self, content: &Content, path: &'c str) -> Result<Plan> {
        // Opens a path once instead of once per block.
        let content = content.slice(0, content.len())?;
        let mut plan = Plan { blocks: Vec::new(), length: content.len(), fragment: NONE32, offset: 0 };
        let mut at = 0;
        while at < content.len() {
            let length = self.block_size.min(content.len() - at);
            let piece = Piece { content: content.slice(at, length)?, path };
            plan.blocks.push(self.queue.send(Block::of_file(piece))?);
            at += length;
            self.count(length);
        }
        Ok(plan)
    }

    fn count(&mut self, bytes: u64) {
        self.done += bytes;
        (self.progress)(self.done);
    }

    fn end_fragment(&mut self) {
        let fragment = std::mem::take(&mut self.fragment);
        self.full.extend(Some(fragment).filter(|fragment| !fragment.pieces.is_empty()));
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
