//! Bytes that several readers share: a file, a part of one, the disk in a container, or what a compressed file unpacks to.

use anyhow::{Context as _, Result, bail};
use diskimage::{
    FileImage, ReadAt,
    squashfs::{Entry, EntryKind},
};
use filetree::{Content, Meta, Spool};
use std::{
    io::{self, Read, Write},
    sync::Arc,
};

/// Limit of what a compressed file may unpack to, in bytes.
const MOST_UNPACKED: u64 = 16 << 30;

/// An image's bytes. Cheap to clone.
#[derive(Clone)]
pub struct Shared(Arc<dyn ReadAt>);

impl Shared {
    /// Shares `source`.
    pub fn new(source: impl ReadAt + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// `len` bytes from `start` on; fails if they are not all there.
    pub fn part(&self, start: u64, len: u64) -> Result<Self> {
        if start.checked_add(len).is_none_or(|end| end > self.size()) {
            bail!("{len} bytes at {start} exceed the image of {} bytes", self.size());
        }
        Ok(Self::new(Part { source: self.clone(), start, len }))
    }

    /// The first bytes, at most `most`.
    pub fn start(&self, most: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.size().min(most))?];
        self.read_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// A sequential reader from the first byte to the last.
    #[must_use]
    pub fn reader(&self) -> SharedReader {
        SharedReader { source: self.clone(), at: 0 }
    }

    /// Copies `len` bytes from `start` on to `out`.
    pub fn copy(&self, start: u64, len: u64, out: &mut dyn Write) -> Result<()> {
        io::copy(&mut self.part(start, len)?.reader(), out)?;
        Ok(())
    }
}

impl From<Box<dyn ReadAt>> for Shared {
    fn from(source: Box<dyn ReadAt>) -> Self {
        Self(Arc::from(source))
    }
}

impl ReadAt for Shared {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.0.read_at(buffer, offset)
    }
}

struct Part {
    source: Shared,
    start: u64,
    len: u64,
}

impl ReadAt for Part {
    fn size(&self) -> u64 {
        self.len
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.len) {
            bail!("{} bytes at {offset} exceed the part of {} bytes", buffer.len(), self.len);
        }
        self.source.read_at(buffer, self.start + offset)
    }
}

/// A sequential reader of a [`Shared`].
pub struct SharedReader {
    source: Shared,
    at: u64,
}

impl Read for SharedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.source.size() - self.at;
        let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.source.read_at(&mut buffer[..count], self.at).map_err(io::Error::other)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// What a gzip, xz or zstd file unpacks to, in an unlinked temporary file; none if `source` is none of them.
pub(crate) fn unpacked(source: &Shared) -> Result<Option<Shared>> {
    let start = source.start(6)?;
    let buffered = io::BufReader::with_capacity(1 << 17, source.reader());
    let (name, reader): (_, Box<dyn Read>) = match &start[..] {
        [0x1f, 0x8b, ..] => ("gzip", Box::new(flate2::bufread::MultiGzDecoder::new(buffered))),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => ("xz", Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(buffered))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("zstd", Box::new(ruzstd::decoding::StreamingDecoder::new(buffered).map_err(io::Error::other)?)),
        _ => return Ok(None),
    };
    let content = spooled(&mut reader.take(MOST_UNPACKED)).with_context(|| format!("cannot unpack the {name} file"))?;
    if content.len() == MOST_UNPACKED {
        bail!("the {name} file unpacks to more than {MOST_UNPACKED} bytes, which is not read");
    }
    of_content(&content).map(Some)
}

/// Copies `reader` to an unlinked temporary file, with holes for zeros.
pub(crate) fn spooled(reader: &mut dyn Read) -> Result<Content> {
    Spool::new_in(&std::env::temp_dir())?.add_sparse(reader)
}

/// The bytes of a content.
pub(crate) fn of_content(content: &Content) -> Result<Shared> {
    match content {
        Content::Bytes(bytes) => Ok(Shared::new(Bytes(bytes.clone()))),
        Content::Range { file, offset, len } => Shared::new(FileImage::new(file.try_clone()?)?).part(*offset, *len),
        Content::Path { .. } => of_content(&content.slice(0, content.len())?),
    }
}

struct Bytes(Arc<[u8]>);

impl ReadAt for Bytes {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.0.read_at(buffer, offset)
    }
}

/// A folder that has no record of its own.
pub(crate) fn folder(path: Vec<u8>, inode: u32) -> Entry {
    Entry { path, kind: EntryKind::Dir, meta: Meta::root(0o755, 0), size: 0, inode }
}

/// Reads exactly `size` bytes of `source` from `offset` on.
pub(crate) fn bytes_at(source: &Shared, offset: u64, size: u64) -> Result<Vec<u8>> {
    if offset.checked_add(size).is_none_or(|end| end > source.size()) {
        bail!("{size} bytes at {offset} exceed the image of {} bytes", source.size());
    }
    let mut bytes = vec![0; usize::try_from(size)?];
    source.read_at(&mut bytes, offset)?;
    Ok(bytes)
}
