//! An ext2, ext3 or ext4 that is only looked at: its superblock, and what lies in its root. Nothing in it is trusted.

use super::{Contents, Top, probe::text};
use crate::{
    gpt::Guid,
    read_at::{ReadAt, read_array},
};
use anyhow::{Context as _, Result, bail};

const SUPERBLOCK: u64 = 1024;
/// Bytes of a root directory that are looked at.
const MOST_BYTES: u64 = 1 << 20;
/// Levels of a tree of extents, and its nodes: nodes may lead to one another as they like.
const MOST_LEVELS: u16 = 5;
const MOST_NODES: usize = 1024;

struct Ext<'s> {
    source: &'s dyn ReadAt,
    superblock: [u8; 1024],
    block: u64,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

/// Looks at the file system in `source`; at its root when `all` is wanted.
pub(super) fn look(source: &dyn ReadAt, all: bool) -> Result<Contents> {
    let superblock: [u8; 1024] = read_array(source, SUPERBLOCK)?;
    let log = u32_at(&superblock, 24);
    if log > 6 {
        bail!("its blocks have 2^{} bytes", u64::from(log) + 10);
    }
    let ext = Ext { source, superblock, block: 1024 << log };
    let (blocks, free) = (ext.number64(4, 336), ext.number64(12, 344));
    let bytes = blocks.saturating_mul(ext.block);
    if blocks == 0 || bytes > source.size() {
        bail!("it has {blocks} blocks of {}, the image {} bytes", ext.block, source.size());
    }
    let uuid: [u8; 16] = superblock[104..120].try_into()?;
    Ok(Contents::Ext {
        label: text(&superblock[120..136]),
        uuid: Guid(u128::from_be_bytes(uuid)),
        bytes,
        free: free.saturating_mul(ext.block),
        entries: if all { ext.root().context("its root cannot be read")? } else { Vec::new() },
    })
}

impl Ext<'_> {
    fn field(&self, at: usize) -> u32 {
        u32_at(&self.superblock, at)
    }

    /// A number whose upper half counts only with 64 bits.
    fn number64(&self, low: usize, high: usize) -> u64 {
        const SIXTY_FOUR: u32 = 0x80;
        let high = if self.field(96) & SIXTY_FOUR == 0 { 0 } else { self.field(high) };
        u64::from(high) << 32 | u64::from(self.field(low))
    }

    fn read_block(&self, block: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.block)?];
        self.source.read_at(&mut bytes, block.checked_mul(self.block).context("a block lies nowhere")?)?;
        Ok(bytes)
    }

    fn inode(&self, number: u32) -> Result<[u8; 128]> {
        let per_group = self.field(40);
        let revision = self.field(76);
        let (inode, descriptor) = (if revision == 0 { 128 } else { u16_at(&self.superblock, 88) }, u16_at(&self.superblock, 254));
        let Some(index) = number.checked_sub(1).filter(|_| per_group > 0 && inode >= 128) else { bail!("there is no inode {number}") };
        let wide = self.field(96) & 0x80 != 0 && descriptor >= 64;
        let descriptor_bytes = if wide { u64::from(descriptor) } else { 32 };
        let (group, index) = (u64::from(index / per_group), u64::from(index % per_group));
        let first = (u64::from(self.field(20)) + 1) * self.block;
        let table: [u8; 4] = read_array(self.source, first + group * descriptor_bytes + 8)?;
        let high: [u8; 4] = if wide { read_array(self.source, first + group * descriptor_bytes + 40)? } else { [0; 4] };
        let table = u64::from(u32::from_le_bytes(high)) << 32 | u64::from(u32::from_le_bytes(table));
        let start = table.checked_mul(self.block).and_then(|start| start.checked_add(index * u64::from(inode)));
        read_array(self.source, start.context("an inode lies nowhere")?)
    }

    /// The blocks of a small file.
    fn blocks(&self, inode: &[u8; 128]) -> Result<Vec<u64>> {
        const EXTENTS: u32 = 0x8_0000;
        let mut blocks = Vec::new();
        if u32_at(inode, 32) & EXTENTS == 0 {
            blocks.extend((40..88).step_by(4).map(|at| u64::from(u32_at(inode, at))).filter(|block| *block > 0));
        } else {
            let mut nodes = MOST_NODES;
            self.extents(&inode[40..100], MOST_LEVELS, &mut nodes, &mut blocks)?;
        }
        Ok(blocks)
    }

    fn extents(&self, node: &[u8], levels: u16, nodes: &mut usize, blocks: &mut Vec<u64>) -> Result<()> {
        let (magic, entries, depth) = (u16_at(node, 0), usize::from(u16_at(node, 2)), u16_at(node, 6));
        if magic != 0xf30a || depth > levels || 12 + entries * 12 > node.len() {
            bail!("a node of its extents is damaged");
        }
        for entry in node[12..12 + entries * 12].chunks(12) {
            let Some(left) = nodes.checked_sub(usize::from(depth > 0)) else { return Ok(()) };
            *nodes = left;
            if depth > 0 {
                let below = u64::from(u16_at(entry, 8)) << 32 | u64::from(u32_at(entry, 4));
                self.extents(&self.read_block(below)?, depth - 1, nodes, blocks)?;
            } else {
                let start = u64::from(u16_at(entry, 6)) << 32 | u64::from(u32_at(entry, 8));
                let most = usize::try_from(MOST_BYTES / self.block)?;
                blocks.extend((start..start.saturating_add(u16_at(entry, 4).into())).take(most));
            }
        }
        Ok(())
    }

    fn root(&self) -> Result<Vec<Top>> {
        let mut found = Vec::new();
        for block in self.blocks(&self.inode(2)?)?.into_iter().take(usize::try_from(MOST_BYTES / self.block)?) {
            let bytes = self.read_block(block)?;
            let mut at = 0;
            while at + 8 <= bytes.len() {
                let (number, len, name_len) = (u32_at(&bytes, at), usize::from(u16_at(&bytes, at + 4)), usize::from(bytes[at + 6]));
                // In blocks of 64 KiB the length of the last may be 0.
                let len = if len == 0 { bytes.len() - at } else { len };
                if len < 8 || at + len > bytes.len() || 8 + name_len > len {
                    bail!("the entry at byte {at} of block {block} is damaged");
                }
                let name = &bytes[at + 8..at + 8 + name_len];
                if number != 0 && name != b"." && name != b".." {
                    let inode = self.inode(number)?;
                    let directory = u16_at(&inode, 0) >> 12 == 4;
                    let size = u64::from(u32_at(&inode, 108)) << 32 | u64::from(u32_at(&inode, 4));
                    let name = String::from_utf8_lossy(name).into_owned();
                    found.push(Top { name, directory, size: if directory { 0 } else { size } });
                }
                at += len;
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }
}
