//! How the bytes of files are stored: positions and compressed sizes of blocks. Files of two images are compared without unpacking
//! blocks whose stored bytes are the same.

use super::{
    Body, Entry, EntryKind, FileBody, Reader,
    superblock::{Superblock, Tables},
};
use crate::squashfs::format::{DATA_STORED, NONE32};
use anyhow::{Context as _, Result, ensure};
use std::io::{Read, Write};

/// A run of stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredRun {
    /// First byte in the image.
    pub at: u64,
    /// Stored bytes; 0 for a block of zeros, which is not stored.
    pub len: u32,
    /// Whether they are compressed.
    pub compressed: bool,
}

impl StoredRun {
    fn of(at: u64, size: u32) -> Self {
        Self { at, len: size & !DATA_STORED, compressed: size & DATA_STORED == 0 }
    }
}

/// A file's last bytes, which share a fragment block with those of other files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tail {
    /// The number of the fragment block.
    pub fragment: u32,
    /// Where they start in the unpacked block.
    pub offset: u32,
    /// How many.
    pub len: u64,
}

/// How a file is stored.
pub struct Stored {
    /// Its blocks.
    pub blocks: Vec<StoredRun>,
    /// Its last bytes, in a fragment block.
    pub tail: Option<Tail>,
    body: FileBody,
}

impl Reader {
    /// As [`Reader::list`], with how each file is stored.
    pub fn list_stored(&self) -> Result<Vec<(Entry, Option<Stored>)>> {
        let mut found = Vec::new();
        for entry in self.list()? {
            let stored = if entry.kind == EntryKind::File { Some(self.stored(&entry.path)?) } else { None };
            found.push((entry, stored));
        }
        Ok(found)
    }

    /// How the file at `path` is stored.
    pub fn stored(&self, path: &[u8]) -> Result<Stored> {
        let Body::File(body) = self.find(path)?.body else { anyhow::bail!("`{}` is no file", String::from_utf8_lossy(path)) };
        let mut at = body.start;
        let mut blocks = Vec::with_capacity(body.sizes.len());
        for size in &body.sizes {
            let run = StoredRun::of(at, *size);
            at = at.checked_add(run.len.into()).context("a block exceeds the image")?;
            blocks.push(run);
        }
        let len = body.size % u64::from(self.superblock.block_size);
        let tail = (body.fragment != NONE32).then_some(Tail { fragment: body.fragment, offset: body.offset, len });
        Ok(Stored { blocks, tail, body })
    }

    /// The fragment blocks, by number.
    pub fn fragments(&self) -> Result<Vec<StoredRun>> {
        let Superblock { tables: Tables { fragments, fragment_count, .. }, .. } = &self.superblock;
        let read = |number: u32| {
            let mut row = self.row(*fragments, number.into(), 16)?;
            let (at, size) = (row.u64()?, row.u32()?);
            Ok(StoredRun::of(at, size))
        };
        (0..*fragment_count).map(read).collect::<Result<_>>().context("the table of fragments is damaged")
    }

    /// Copies the file at `path` to `out`; links are not followed.
    pub fn copy_file(&self, path: &[u8], out: &mut dyn Write) -> Result<()> {
        let Body::File(file) = self.find(path)?.body else { anyhow::bail!("`{}` is no file", String::from_utf8_lossy(path)) };
        let copied = std::io::copy(&mut self.open_file(&file), out)?;
        ensure!(copied == file.size, "the file has {copied} bytes instead of {}", file.size);
        Ok(())
    }

    /// Whether a file of this image has the same bytes as one of `other`. Both have the same size. Unpacks only what is stored
    /// in another way.
    pub fn has_same_bytes(&self, mine: &Stored, other: &Self, theirs: &Stored) -> Result<bool> {
        let alike =
            self.superblock.block_size == other.superblock.block_size && self.superblock.compression == other.superblock.compression;
        let same_blocks = alike && mine.blocks.len() == theirs.blocks.len() && {
            let pairs = mine.blocks.iter().zip(&theirs.blocks);
            let mut same = true;
            for (one, two) in pairs {
                same = same && self.has_same_run(*one, other, *two)?;
            }
            same
        };
        if same_blocks && self.has_same_tail(mine, other, theirs)? {
            return Ok(true);
        }
        let (mut one, mut two) = (self.open_file(&mine.body), other.open_file(&theirs.body));
        let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        loop {
            let count = one.read(&mut left)?;
            if count == 0 {
                return Ok(two.read(&mut right)? == 0);
            }
            two.read_exact(&mut right[..count])?;
            if left[..count] != right[..count] {
                return Ok(false);
            }
        }
    }

    fn has_same_tail(&self, mine: &Stored, other: &Self, theirs: &Stored) -> Result<bool> {
        match (mine.tail, theirs.tail) {
            (None, None) => Ok(true),
            (Some(one), Some(two)) if one.offset == two.offset => {
                let (one, two) = (one.fragment, two.fragment);
                let run = |reader: &Self, number: u32| -> Result<StoredRun> {
                    let mut row = reader.row(reader.superblock.tables.fragments, number.into(), 16)?;
                    let (at, size) = (row.u64()?, row.u32()?);
                    Ok(StoredRun::of(at, size))
                };
                ensure!(one < self.superblock.tables.fragment_count, "fragment {one} does not exist");
                ensure!(two < other.superblock.tables.fragment_count, "fragment {two} does not exist");
                self.has_same_run(run(self, one)?, other, run(other, two)?)
            }
            _ => Ok(false),
        }
    }

    fn has_same_run(&self, mine: StoredRun, other: &Self, theirs: StoredRun) -> Result<bool> {
        if (mine.len, mine.compressed) != (theirs.len, theirs.compressed) {
            return Ok(false);
        }
        ensure!(mine.len <= 2 << 20, "a block of {} bytes exceeds the block size", mine.len);
        let (mut one, mut two) = (vec![0; mine.len as usize], vec![0; mine.len as usize]);
        self.image.read_at(&mut one, mine.at).context("a block exceeds the image")?;
        other.image.read_at(&mut two, theirs.at).context("a block exceeds the image")?;
        Ok(one == two)
    }
}
