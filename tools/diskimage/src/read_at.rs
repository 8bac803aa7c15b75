//! Random access to image data: a file, a part of one, the disk in a qcow2.

use anyhow::{Context as _, Result, bail};
use std::{fs::File, os::unix::fs::FileExt as _};

/// Data that several threads can read by position.
pub trait ReadAt: Send + Sync {
    /// Length in bytes.
    fn size(&self) -> u64;

    /// Fills `buffer` from `offset` on; fails if the data ends before.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()>;
}

/// Fills `buffer` from byte `offset` of a disk of `size` bytes that is kept in blocks of `block` bytes. `read` fills a part that lies in one
/// block: it gets the part, the number of the block, and the offset in the block.
pub(crate) fn read_blocks(
    buffer: &mut [u8],
    offset: u64,
    size: u64,
    block: u64,
    mut read: impl FnMut(&mut [u8], u64, u64) -> Result<()>,
) -> Result<()> {
    if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > size) {
        bail!("{} bytes at {offset} exceed the disk of {size} bytes", buffer.len());
    }
    let (mut rest, mut at) = (buffer, offset);
    while !rest.is_empty() {
        let within = at % block;
        let len = (rest.len() as u64).min(block - within);
        let (part, behind) = rest.split_at_mut(usize::try_from(len)?);
        read(part, at / block, within)?;
        (rest, at) = (behind, at + len);
    }
    Ok(())
}

/// A file or block device, with its size when it was opened.
#[derive(Debug)]
pub struct FileImage {
    file: File,
    size: u64,
}

impl FileImage {
    /// Wraps `file`. Seeks to find the size, which also works for block devices.
    pub fn new(mut file: File) -> Result<Self> {
        let size = std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).context("cannot find the end of the image")?;
        Ok(Self { file, size })
    }
}

impl ReadAt for FileImage {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        check_range(buffer.len(), offset, self.size)?;
        self.file.read_exact_at(buffer, offset).with_context(|| format!("cannot read {} bytes at {offset}", buffer.len()))
    }
}

impl ReadAt for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        check_range(buffer.len(), offset, self.size())?;
        let start = usize::try_from(offset)?;
        buffer.copy_from_slice(&self[start..start + buffer.len()]);
        Ok(())
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        (**self).read_at(buffer, offset)
    }
}

/// `len` bytes of another source from `start` on, such as a partition.
pub struct Window<'a> {
    source: &'a dyn ReadAt,
    start: u64,
    len: u64,
}

impl<'a> Window<'a> {
    /// A window; fails if it is not inside `source`.
    pub fn new(source: &'a dyn ReadAt, start: u64, len: u64) -> Result<Self> {
        if start.checked_add(len).is_none_or(|end| end > source.size()) {
            bail!("{len} bytes at {start} exceed the image of {} bytes", source.size());
        }
        Ok(Self { source, start, len })
    }
}

impl ReadAt for Window<'_> {
    fn size(&self) -> u64 {
        self.len
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        check_range(buffer.len(), offset, self.len)?;
        self.source.read_at(buffer, self.start + offset)
    }
}

/// Fails if `length` bytes at `offset` exceed `size`.
pub(crate) fn check_range(length: usize, offset: u64, size: u64) -> Result<()> {
    if offset.checked_add(length as u64).is_none_or(|end| end > size) {
        bail!("{length} bytes at {offset} exceed the image of {size} bytes");
    }
    Ok(())
}

/// Reads `N` bytes of `source` at `offset`.
pub(crate) fn read_array<const N: usize>(source: &dyn ReadAt, offset: u64) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    source.read_at(&mut bytes, offset)?;
    Ok(bytes)
}
