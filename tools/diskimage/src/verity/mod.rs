//! dm-verity: a tree of hashes behind a file system, by which the kernel checks each block that it reads (kernel's
//! Documentation/admin-guide/device-mapper/verity.rst). Superblock and tree are those of `veritysetup format` (format 1, SHA-256, blocks of
//! 4096 bytes). `statement.rs` has the block before them, which says and signs what the root of the tree is.

mod statement;
#[cfg(test)]
mod tests;

use statement::hex;
pub use statement::{RootStatement, find};

use crate::gpt::Guid;
use anyhow::{Context as _, Result, ensure};
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use std::{fs::File, os::unix::fs::FileExt as _};

/// Size of a block in bytes, of data and of hashes.
pub const BLOCK: u64 = 4096;
/// The same, as the length of a buffer.
const LEN: usize = 4096;
/// Hashes in a block.
const HASHES: u64 = 128;
/// Blocks that are read at a time.
const READ: u64 = 256;

/// A SHA-256.
pub type Hash = [u8; 32];

/// Where everything lies in an image, in blocks from its beginning: data, the statement, the superblock, and the levels of the tree, of
/// which the kernel wants the root first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    data_blocks: u64,
    /// The first block of each level; that of the data's hashes first.
    starts: Vec<u64>,
    end: u64,
}

/// The layout for a file system of so many bytes.
pub fn layout(used: u64) -> Result<Layout> {
    let data_blocks = used.div_ceil(BLOCK);
    ensure!(data_blocks < 1 << 40, "a file system of {used} bytes is too large for dm-verity");
    ensure!(data_blocks > 0, "an empty file system has nothing to protect");
    let mut counts = Vec::new();
    let mut count = data_blocks;
    while count > 1 {
        count = count.div_ceil(HASHES);
        counts.push(count);
    }
    let mut end = data_blocks + 2;
    let mut starts = Vec::new();
    for count in counts.into_iter().rev() {
        starts.push(end);
        end += count;
    }
    starts.reverse();
    Ok(Layout { data_blocks, starts, end })
}

impl Layout {
    /// Where the statement begins, in bytes.
    #[must_use]
    pub const fn statement(&self) -> u64 {
        self.data_blocks * BLOCK
    }

    /// Where veritysetup's superblock begins, in bytes.
    #[must_use]
    pub const fn superblock(&self) -> u64 {
        (self.data_blocks + 1) * BLOCK
    }

    /// The size of the image with all of it, in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.end * BLOCK
    }
}

/// What makes one tree differ from another besides the data. It depends on the image's version alone, so the same version has the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Hashed before each block.
    pub salt: Hash,
    /// The name of the tree.
    pub uuid: Guid,
}

impl Identity {
    /// That of a version.
    #[must_use]
    pub fn of(version: &str) -> Self {
        let digest = |what: &str| -> Hash { Sha256::digest(format!("eve dm-verity {what}\n{version}\n")).into() };
        let [high, low] = [0, 8].map(|at| digest("uuid")[at..at + 8].iter().fold(0, |value, byte| value << 8 | u64::from(*byte)));
        // RFC 9562: version 8, variant 2.
        let (high, low) = (high & !0xf000 | 0x8000, low & (u64::MAX >> 2) | 1 << 63);
        Self { salt: digest("salt"), uuid: Guid(u128::from(high) << 64 | u128::from(low)) }
    }
}

/// What the kernel must know to read an image through its tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verity {
    /// Blocks of data.
    pub data_blocks: u64,
    /// The first block of the tree.
    pub hash_start: u64,
    /// Hashed before each block.
    #[serde(serialize_with = "as_hex")]
    pub salt: Hash,
    /// The hash of the tree's first block.
    #[serde(serialize_with = "as_hex")]
    pub root: Hash,
}

impl Verity {
    /// The hash of the tree's first block, as people and other tools write it.
    #[must_use]
    pub fn root_hash(&self) -> String {
        hex(&self.root)
    }
}

fn as_hex<S: Serializer>(hash: &Hash, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex(hash))
}

/// Writes superblock and tree behind the file system in `image`, which is open for reading and writing, and leaves the block of the statement empty.
/// Reads the data once; needs one block of memory for each level. `progress` gets bytes that have been read, and all bytes.
pub fn write(image: &File, layout: &Layout, identity: &Identity, progress: &dyn Fn(u64, u64)) -> Result<Verity> {
    image.set_len(layout.size()).context("cannot make room for the hashes")?;
    let levels = layout.starts.iter().map(|start| Level { next: *start, hashes: Vec::with_capacity(LEN) }).collect();
    let mut tree = Tree { image, salt: identity.salt, levels, root: [0; 32] };
    let mut buffer = vec![0; LEN * usize::try_from(READ)?];
    for first in (0..layout.data_blocks).step_by(usize::try_from(READ)?) {
        let count = READ.min(layout.data_blocks - first);
        let bytes = &mut buffer[..LEN * usize::try_from(count)?];
        image.read_exact_at(bytes, first * BLOCK).with_context(|| format!("cannot read block {first}"))?;
        for block in bytes.chunks_exact(LEN) {
            let hash = tree.hash(block);
            tree.add(0, hash)?;
        }
        progress((first + count) * BLOCK, layout.data_blocks * BLOCK);
    }
    let root = tree.finish()?;
    image.write_all_at(&superblock(layout, identity), layout.superblock()).context("cannot write the superblock of dm-verity")?;
    Ok(Verity { data_blocks: layout.data_blocks, hash_start: layout.data_blocks + 2, salt: identity.salt, root })
}

/// A level of the tree: the block that is being filled, and its place.
struct Level {
    next: u64,
    hashes: Vec<u8>,
}

struct Tree<'i> {
    image: &'i File,
    salt: Hash,
    levels: Vec<Level>,
    root: Hash,
}

impl Tree<'_> {
    fn hash(&self, block: &[u8]) -> Hash {
        Sha256::new().chain_update(self.salt).chain_update(block).finalize().into()
    }

    /// Adds the hash of a block that `level` covers; above the last level it is the root.
    fn add(&mut self, level: usize, hash: Hash) -> Result<()> {
        let Some(open) = self.levels.get_mut(level) else {
            self.root = hash;
            return Ok(());
        };
        open.hashes.extend(hash);
        if open.hashes.len() == LEN { self.close(level) } else { Ok(()) }
    }

    /// Writes the open block of a level, filled up with zeros.
    fn close(&mut self, level: usize) -> Result<()> {
        let open = &mut self.levels[level];
        let mut block = std::mem::replace(&mut open.hashes, Vec::with_capacity(LEN));
        block.resize(LEN, 0);
        let at = open.next;
        open.next += 1;
        self.image.write_all_at(&block, at * BLOCK).with_context(|| format!("cannot write block {at}, one of hashes"))?;
        self.add(level + 1, self.hash(&block))
    }

    fn finish(mut self) -> Result<Hash> {
        for level in 0..self.levels.len() {
            if !self.levels[level].hashes.is_empty() {
                self.close(level)?;
            }
        }
        Ok(self.root)
    }
}

/// The superblock that `veritysetup format` writes; the kernel does not read it.
fn superblock(layout: &Layout, identity: &Identity) -> [u8; LEN] {
    let mut block = [0; LEN];
    let block_size = BLOCK.to_le_bytes();
    let data_blocks = layout.data_blocks.to_le_bytes();
    let uuid = identity.uuid.0.to_be_bytes();
    let fields: [(usize, &[u8]); 10] = [
        (0, b"verity\0\0"),
        // The version of this form, and that of the tree: the salt comes before the data.
        (8, &[1, 0, 0, 0]),
        (12, &[1, 0, 0, 0]),
        (16, &uuid),
        (32, b"sha256"),
        (64, &block_size[..4]),
        (68, &block_size[..4]),
        (72, &data_blocks),
        (80, &[32, 0]),
        (88, &identity.salt),
    ];
    for (at, value) in fields {
        block[at..at + value.len()].copy_from_slice(value);
    }
    block
}
