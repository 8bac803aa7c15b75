//! Block groups: their number, copies of the superblock, and the allocation of blocks. Blocks are allocated from the start;
//! only contiguous allocations leave gaps, before superblock copies.

use super::{BLOCK, BLOCK_BYTES};
use anyhow::{Result, bail};
use std::ops::Range;

/// Blocks of a group: one bit each in a bitmap of one block.
pub(super) const GROUP: u64 = 8 * BLOCK;
/// Size of an inode's fields after the first 128 bytes (`i_extra_isize`).
pub(super) const EXTRA: usize = 32;
/// Size of an inode, and of a group descriptor.
pub(super) const INODE: usize = 256;
pub(super) const DESCRIPTOR: usize = 32;
/// Bytes per inode, mke2fs's default.
const INODE_RATIO: u64 = 16384;
/// Maximum blocks of an extent.
const EXTENT: u64 = 32768;

/// Sizes of all areas.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    pub blocks: u64,
    pub groups: u64,
    /// Blocks of the group descriptor table.
    pub table_blocks: u64,
    pub inodes_per_group: u64,
}

impl Geometry {
    /// Chooses the geometry for `size` bytes and at least `inodes` inodes.
    pub(super) fn choose(size: u64, inodes: u64) -> Result<Self> {
        if !size.is_multiple_of(BLOCK) || !(1 << 20..=1 << 44).contains(&size) {
            bail!("invalid ext4 size of {size} bytes: it must be a multiple of {BLOCK}, from 1 MiB to 16 TiB");
        }
        let per_block = (BLOCK_BYTES / INODE) as u64;
        let mut blocks = (size / BLOCK).min(u64::from(u32::MAX));
        loop {
            let groups = blocks.div_ceil(GROUP);
            let table_blocks = (groups * DESCRIPTOR as u64).div_ceil(BLOCK);
            let wanted = inodes.max(size / INODE_RATIO);
            let inodes_per_group = wanted.div_ceil(groups).next_multiple_of(per_block);
            if inodes_per_group > GROUP {
                bail!("{inodes} files exceed the {} of an ext4 of {size} bytes", groups * GROUP);
            }
            // Drops a last group without room for its superblock copy.
            let last = blocks - (groups - 1) * GROUP;
            if groups > 1 && last < table_blocks + 16 {
                blocks -= last;
                continue;
            }
            return Ok(Self { blocks, groups, table_blocks, inodes_per_group });
        }
    }

    /// Blocks of a group's inode table.
    pub(super) fn inode_blocks(&self) -> u64 {
        self.inodes_per_group * INODE as u64 / BLOCK
    }

    /// Whether a group contains a copy of superblock and descriptors (`sparse_super`): 0, 1 and powers of 3, 5 and 7.
    pub(super) fn has_superblock(group: u64) -> bool {
        let is_power = |base: u64| {
            let mut power = base;
            while power < group {
                power *= base;
            }
            power == group
        };
        group < 2 || [3, 5, 7].into_iter().any(is_power)
    }

    /// Blocks of the superblock copy in a group; empty if it has none.
    pub(super) fn copy_in(&self, group: u64) -> Range<u64> {
        let start = group * GROUP;
        if Self::has_superblock(group) { start..start + 1 + self.table_blocks } else { start..start }
    }

    /// Blocks of a group.
    pub(super) fn blocks_of(&self, group: u64) -> Range<u64> {
        group * GROUP..((group + 1) * GROUP).min(self.blocks)
    }
}

/// Allocates blocks.
#[derive(Clone, Debug)]
pub(super) struct Allocator {
    geometry: Geometry,
    next: u64,
    gaps: Vec<Range<u64>>,
}

impl Allocator {
    pub(super) fn new(geometry: Geometry) -> Self {
        Self { geometry, next: 0, gaps: Vec::new() }
    }

    /// Skips a superblock copy; returns the number of contiguous blocks from there.
    fn room(&mut self) -> u64 {
        let copy = self.geometry.copy_in(self.next / GROUP);
        if copy.contains(&self.next) {
            self.next = copy.end;
        }
        let group = self.next / GROUP;
        // Without a superblock copy in between, groups are contiguous.
        let next = (group + 1..).find(|group| Geometry::has_superblock(*group)).unwrap_or(u64::MAX / GROUP);
        next * GROUP - self.next
    }

    /// Allocates `count` contiguous blocks. May exceed the file system, so that the caller can report the missing space.
    pub(super) fn take(&mut self, count: u64) -> Range<u64> {
        loop {
            let (room, start) = (self.room(), self.next);
            if room >= count {
                self.next += count;
                return start..start + count;
            }
            self.next += room;
            self.gaps.push(start..self.next);
        }
    }

    /// Allocates `count` blocks in as few extents as possible.
    pub(super) fn take_extents(&mut self, mut count: u64) -> Vec<Range<u64>> {
        let mut extents = Vec::new();
        while count > 0 {
            let len = self.room().min(count).min(EXTENT);
            extents.push(self.next..self.next + len);
            self.next += len;
            count -= len;
        }
        extents
    }

    /// End of the allocated blocks, including superblock copies and gaps.
    pub(super) fn end(&self) -> u64 {
        self.next
    }

    /// A group's block bitmap, and its number of free blocks. Bits beyond the last block are set.
    pub(super) fn bitmap(&self, group: u64) -> (Vec<u8>, u64) {
        let blocks = self.geometry.blocks_of(group);
        let mut bits = vec![0; BLOCK_BYTES];
        let mut mark = |range: Range<u64>, used: bool| {
            for block in range.start.max(blocks.start)..range.end.min(blocks.start + GROUP) {
                let (byte, bit) = (usize::try_from((block - blocks.start) / 8).expect("a bitmap has 4096 bytes"), block % 8);
                bits[byte] = if used { bits[byte] | 1 << bit } else { bits[byte] & !(1 << bit) };
            }
        };
        mark(blocks.start..self.next, true);
        self.gaps.iter().for_each(|gap| mark(gap.clone(), false));
        mark(self.geometry.copy_in(group), true);
        mark(blocks.end..blocks.start + GROUP, true);
        let free = bits.iter().map(|byte: &u8| u64::from(byte.count_zeros())).sum();
        (bits, free)
    }
}
