//! A raw disk whose largest contents stay in their own files: what [`Layout::write`](super::Layout::write) would make, without a copy of them.

use crate::{
    ReadAt,
    read_at::check_range,
    sparse::{self, Extent},
};
use anyhow::{Context as _, Result, bail};
use std::{fs::File, os::unix::fs::FileExt as _, path::Path};

/// A raw disk for reading.
#[derive(Debug)]
pub struct PartedDisk {
    size: u64,
    /// Everything that is in no part.
    rest: File,
    /// In the order of the disk, none over another.
    parts: Vec<Part>,
}

/// A file that is a part of the disk.
#[derive(Debug)]
struct Part {
    /// Its place on the disk.
    start: u64,
    /// Its number of bytes.
    len: u64,
    file: File,
}

/// Bytes of the disk that are in one file.
struct Piece<'d> {
    file: &'d File,
    /// Their place there.
    offset: u64,
    /// Their place on the disk.
    at: u64,
    len: u64,
}

impl PartedDisk {
    /// A disk that is one file.
    pub fn of_file(file: &File) -> Result<Self> {
        let size = file.metadata().context("cannot read the disk's metadata")?.len();
        Ok(Self { size, rest: file.try_clone().context("cannot open the disk again")?, parts: Vec::new() })
    }

    /// The disk of `rest`, of `size` bytes, over which the `parts` lie: path, number of bytes, and offset on the disk.
    pub(super) fn new<'p>(rest: File, size: u64, parts: impl Iterator<Item = (&'p Path, u64, u64)>) -> Result<Self> {
        let mut open = Vec::new();
        for (path, len, start) in parts {
            let file = File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
            let now = file.metadata()?.len();
            if now != len {
                bail!("`{}` changed from {len} to {now} bytes during the build", path.display());
            }
            open.push(Part { start, len, file });
        }
        open.sort_by_key(|part| part.start);
        Ok(Self { size, rest, parts: open })
    }

    /// The ranges of the disk that contain data, as [`sparse::extents`] gives them for one file.
    pub(crate) fn extents(&self) -> Result<Vec<Extent>> {
        let mut found: Vec<Extent> = Vec::new();
        for piece in self.pieces(0, self.size) {
            for extent in sparse::extents(piece.file, piece.offset, piece.len)? {
                let offset = piece.at + (extent.offset - piece.offset);
                match found.last_mut().filter(|last| last.offset + last.len == offset) {
                    Some(last) => last.len += extent.len,
                    None => found.push(Extent { offset, len: extent.len }),
                }
            }
        }
        Ok(found)
    }

    /// Copies `len` bytes from `at` on to `to` at `to_offset`, where zeros must be. Skips holes.
    pub(crate) fn copy(&self, at: u64, len: u64, to: &File, to_offset: u64) -> Result<()> {
        self.pieces(at, len)
            .into_iter()
            .try_for_each(|piece| sparse::copy(piece.file, piece.offset, piece.len, to, to_offset + (piece.at - at)).map(drop))
    }

    /// The files in which `len` bytes from `at` on are.
    fn pieces(&self, at: u64, len: u64) -> Vec<Piece<'_>> {
        let (mut pieces, mut next, end) = (Vec::new(), at, at + len);
        let whole = |file, offset, at, len| (len > 0).then_some(Piece { file, offset, at, len });
        for part in &self.parts {
            let (start, behind) = (part.start.clamp(next, end), (part.start + part.len).clamp(next, end));
            if start >= behind {
                continue;
            }
            pieces.extend(whole(&self.rest, next, next, start - next));
            pieces.extend(whole(&part.file, start - part.start, start, behind - start));
            next = behind;
        }
        pieces.extend(whole(&self.rest, next, next, end - next));
        pieces
    }
}

impl ReadAt for PartedDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        check_range(buffer.len(), offset, self.size)?;
        for piece in self.pieces(offset, buffer.len() as u64) {
            let start = usize::try_from(piece.at - offset)?;
            let part = &mut buffer[start..start + usize::try_from(piece.len)?];
            piece.file.read_exact_at(part, piece.offset).with_context(|| format!("cannot read the disk at {}", piece.at))?;
        }
        Ok(())
    }
}
