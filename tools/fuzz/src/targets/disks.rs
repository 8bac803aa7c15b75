//! Images of disks and file systems.

use super::files::folder;
use anyhow::{Result, ensure};
use diskimage::{ReadAt, ext4, extract, fat as fat_image, gpt as table, inspect::inspect_image, squashfs as squash};
use filetree::{Content, Spool};
use std::{io::Read, sync::Arc};

/// An image in memory. Zeros follow the bytes up to `size`.
pub struct Bytes {
    bytes: Arc<[u8]>,
    size: u64,
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), size: bytes.len() as u64 }
    }
}

impl ReadAt for Bytes {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        ensure!(offset.checked_add(buffer.len() as u64).is_some_and(|end| end <= self.size), "the image ends before");
        let known = self.bytes.get(usize::try_from(offset)?..).unwrap_or_default();
        let len = known.len().min(buffer.len());
        buffer[..len].copy_from_slice(&known[..len]);
        buffer[len..].fill(0);
        Ok(())
    }
}

/// Whatever it is: containers, partitions and file systems, as `cargo xtask inspect` prints them.
pub fn inspect(input: &[u8]) -> Result<()> {
    let report = inspect_image(&Bytes::from(input))?;
    drop(report.to_string());
    drop(report.summary());
    Ok(())
}

/// The most bytes of one file that a target reads.
const MOST: u64 = 1 << 20;

/// A squashfs: its list, its files, and a folder as a tree.
pub fn squashfs(input: &[u8]) -> Result<()> {
    let reader = squash::Reader::open_image(Box::new(Bytes::from(input)))?;
    let entries = reader.list()?;
    let mut result = Ok(());
    for entry in entries.iter().filter(|entry| entry.kind == squash::EntryKind::File).take(8) {
        match reader.read_file(&entry.path, MOST) {
            Ok(bytes) => assert_eq!(bytes.len() as u64, entry.size, "a file is not as long as listed"),
            Err(error) => result = Err(error),
        }
    }
    reader.subtree("etc")?;
    // A sparse file can announce terabytes; what a caller takes out of an image is up to the caller.
    if entries.iter().all(|entry| entry.size <= MOST) {
        reader.tree(&mut Spool::new_in(folder())?)?;
    }
    result
}

/// An ext2, 3 or 4: its list and its files.
pub fn ext(input: &[u8]) -> Result<()> {
    let image = Bytes::from(input);
    drop(inspect_image(&image)?.to_string());
    let reader = ext4::Reader::open(&image)?;
    let mut take = |_: &[u8], size: u64, content: &mut dyn Read| {
        if size > MOST {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        assert_eq!(bytes.len() as u64, size, "a file is not as long as announced");
        Ok(Some(Content::from(bytes)))
    };
    reader.tree(&mut take)?;
    Ok(())
}

/// A FAT: its list and its files.
pub fn fat(input: &[u8]) -> Result<()> {
    let image = Bytes { size: (input.len() as u64).max(40 << 20), ..Bytes::from(input) };
    drop(inspect_image(&image)?.to_string());
    let reader = fat_image::Reader::open(&image)?;
    extract::fat_tree(&reader, 1 << 20, 0)?;
    Ok(())
}

/// The tables of a disk, and what is in its partitions.
pub fn gpt(input: &[u8]) -> Result<()> {
    let image = Bytes::from(input);
    drop(inspect_image(&image)?.to_string());
    table::read(&image)?;
    table::read_mbr(&image)?;
    Ok(())
}
