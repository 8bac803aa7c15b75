//! Inodes of 256 bytes, and extent trees.

use super::{
    BLOCK, BLOCK_BYTES,
    geometry::{EXTRA, INODE},
    put16, put32, xattrs,
};
use std::ops::Range;

/// Maximum length of a symbolic link's target that is stored in the inode.
pub(super) const FAST_LINK: usize = 59;
const USES_EXTENTS: u32 = 0x8_0000;
/// Extents per inode and per block.
const IN_INODE: usize = 4;
pub(super) const IN_BLOCK: usize = (BLOCK_BYTES - 12) / 12;
/// Maximum extents of a file: a tree of two levels.
pub(super) const MOST: usize = IN_INODE * IN_BLOCK;

/// An inode before encoding.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// File type and permissions.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub mtime: i64,
    pub size: u64,
    pub links: u16,
    /// All blocks of the file, including metadata.
    pub blocks: u64,
    /// Whether `place` is an extent tree.
    pub extents: bool,
    /// Extent tree, device number or target of a short link; at most 60 bytes.
    pub place: Vec<u8>,
    /// Block of the extended attributes, or 0.
    pub xattr_block: u32,
    /// Extended attributes stored in the inode.
    pub xattrs: Vec<u8>,
}

impl Inode {
    pub(super) fn encode(&self) -> [u8; INODE] {
        let mut out = [0; INODE];
        let sectors = self.blocks * (BLOCK / 512);
        // Seconds have 34 bits: 32 signed bits, and 2 epoch bits in the extra fields.
        let low = low32(self.mtime);
        let epochs = low32((self.mtime - i64::from(low.cast_signed())) >> 32) & 3;
        put16(&mut out, 0, self.mode);
        put16(&mut out, 2, low16(self.uid));
        put32(&mut out, 4, low32(self.size.cast_signed()));
        for at in [8, 12, 16, 144] {
            put32(&mut out, at, low);
        }
        put16(&mut out, 24, low16(self.gid));
        put16(&mut out, 26, self.links);
        put32(&mut out, 28, low32(sectors.cast_signed()));
        put32(&mut out, 32, if self.extents { USES_EXTENTS } else { 0 });
        out[40..40 + self.place.len()].copy_from_slice(&self.place);
        put32(&mut out, 104, self.xattr_block);
        put32(&mut out, 108, low32((self.size >> 32).cast_signed()));
        put16(&mut out, 116, low16(low32((sectors >> 32).cast_signed())));
        put16(&mut out, 120, low16(self.uid >> 16));
        put16(&mut out, 122, low16(self.gid >> 16));
        put16(&mut out, 128, u16::try_from(EXTRA).expect("32"));
        for at in [132, 136, 140, 148] {
            put32(&mut out, at, epochs);
        }
        debug_assert!(self.xattrs.len() <= xattrs::IN_INODE);
        out[128 + EXTRA..128 + EXTRA + self.xattrs.len()].copy_from_slice(&self.xattrs);
        out
    }
}

fn low32(value: i64) -> u32 {
    u32::try_from(value & 0xffff_ffff).expect("32 bits")
}

fn low16(value: u32) -> u16 {
    u16::try_from(value & 0xffff).expect("16 bits")
}

/// Encodes the extent tree's root for the inode. If it has too many extents, also returns leaf blocks, allocated with `take`.
pub(super) fn encode_extents(extents: &[Range<u64>], mut take: impl FnMut() -> u64) -> (Vec<u8>, Vec<(u64, Vec<u8>)>) {
    let mut logical = 0;
    let mut placed = Vec::with_capacity(extents.len());
    for extent in extents {
        placed.push((block32(logical), extent.clone()));
        logical += extent.end - extent.start;
    }
    if placed.len() <= IN_INODE {
        return (leaf(&placed, IN_INODE), Vec::new());
    }
    let leaves: Vec<(u64, Vec<u8>)> = placed.chunks(IN_BLOCK).map(|part| (take(), leaf(part, IN_BLOCK))).collect();
    let mut root = header(leaves.len(), IN_INODE, 1);
    for ((block, _), part) in leaves.iter().zip(placed.chunks(IN_BLOCK)) {
        root.extend_from_slice(&part[0].0.to_le_bytes());
        root.extend_from_slice(&block32(*block).to_le_bytes());
        root.extend_from_slice(&[0; 4]);
    }
    (root, leaves)
}

fn leaf(extents: &[(u32, Range<u64>)], most: usize) -> Vec<u8> {
    let mut out = header(extents.len(), most, 0);
    for (logical, blocks) in extents {
        out.extend_from_slice(&logical.to_le_bytes());
        out.extend_from_slice(&u16::try_from(blocks.end - blocks.start).expect("an extent has at most 32768 blocks").to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&block32(blocks.start).to_le_bytes());
    }
    out
}

fn header(entries: usize, most: usize, depth: u16) -> Vec<u8> {
    let mut out = vec![0; 12];
    put16(&mut out, 0, 0xF30A);
    put16(&mut out, 2, u16::try_from(entries).expect("at most 340 extents"));
    put16(&mut out, 4, u16::try_from(most).expect("at most 340 extents"));
    put16(&mut out, 6, depth);
    out
}

/// A block number as 32 bits. Numbers beyond the file system's end may not fit, but are reported as an error later.
fn block32(block: u64) -> u32 {
    u32::try_from(block).unwrap_or(u32::MAX)
}
