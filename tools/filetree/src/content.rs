//! File contents by reference, and readers for them that can run on any thread.

use anyhow::{Context as _, Result, bail};
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A file's bytes, in memory or by reference. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Content {
    /// In memory: generated content.
    Bytes(Arc<[u8]>),
    /// `len` bytes of an open file from `offset` on: a tar entry, or spooled bytes.
    Range {
        /// The file; read with `pread`, so threads can share it.
        file: Arc<File>,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
    },
    /// A whole file on disk, opened when it is read.
    Path {
        /// Absolute path.
        path: PathBuf,
        /// Length when the reference was made; reading fails if the file's length differs.
        len: u64,
    },
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().into())
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl Content {
    /// A reference to the whole file at `path`, which must be absolute.
    pub fn of_path(path: &Path) -> Result<Self> {
        let len = path.metadata().with_context(|| format!("cannot read the metadata of `{}`", path.display()))?.len();
        Ok(Self::Path { path: path.to_owned(), len })
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Range { len, .. } | Self::Path { len, .. } => *len,
        }
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A reader over exactly [`Content::len`] bytes. It fails with `UnexpectedEof` if the file has become shorter.
    pub fn open(&self) -> Result<ContentReader> {
        let (source, start) = match self {
            Self::Bytes(bytes) => (Source::Bytes(bytes.clone()), 0),
            Self::Range { file, offset, .. } => (Source::File(file.clone()), *offset),
            Self::Path { path, len } => (Source::File(Arc::new(open_unchanged(path, *len)?)), 0),
        };
        Ok(ContentReader { source, start, len: self.len(), position: start })
    }

    /// A reference to `len` bytes from `offset` on. Fails if the range exceeds [`Content::len`].
    pub fn slice(&self, offset: u64, len: u64) -> Result<Self> {
        if offset.checked_add(len).is_none_or(|end| end > self.len()) {
            bail!("the range of {len} bytes at {offset} exceeds the content's {} bytes", self.len());
        }
        Ok(match self {
            Self::Bytes(bytes) => Self::Bytes(bytes[usize::try_from(offset)?..usize::try_from(offset + len)?].into()),
            Self::Range { file, offset: start, .. } => Self::Range { file: file.clone(), offset: start + offset, len },
            Self::Path { path, len: whole } => Self::Range { file: Arc::new(open_unchanged(path, *whole)?), offset, len },
        })
    }

    /// All bytes in memory; for small files only.
    pub fn read_all(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.len())?);
        self.open()?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Opens the file at `path`; fails if its length is not `len` any more.
fn open_unchanged(path: &Path, len: u64) -> Result<File> {
    let file = File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
    if file.metadata()?.len() != len {
        bail!("`{}` changed its length during the build", path.display());
    }
    Ok(file)
}

#[derive(Debug)]
enum Source {
    Bytes(Arc<[u8]>),
    File(Arc<File>),
}

/// Reader of a [`Content`].
#[derive(Debug)]
pub struct ContentReader {
    source: Source,
    /// Offset of the first byte and number of bytes in the source.
    start: u64,
    len: u64,
    /// Offset of the next byte in the source.
    position: u64,
}

impl Read for ContentReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = (self.start + self.len).saturating_sub(self.position);
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..most];
        let got = match &self.source {
            Source::Bytes(bytes) => (&bytes[usize::try_from(self.position).unwrap_or(usize::MAX)..]).read(buffer)?,
            Source::File(file) => file.read_at(buffer, self.position)?,
        };
        if got == 0 && most > 0 {
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the file is shorter than its recorded length"));
        }
        self.position += got as u64;
        Ok(got)
    }
}

impl Seek for ContentReader {
    /// As for a file: the position may lie behind the end, and then nothing is left to read.
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let end = self.start + self.len;
        let position = match to {
            SeekFrom::Start(at) => self.start.checked_add(at),
            SeekFrom::Current(distance) => self.position.checked_add_signed(distance),
            SeekFrom::End(distance) => end.checked_add_signed(distance),
        };
        self.position = position.filter(|position| *position >= self.start).ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.position - self.start)
    }
}

/// An unlinked temporary file for contents that no other file holds (decompressed archives, streams). The last [`Content`] that
/// refers to it frees it.
#[derive(Debug)]
pub struct Spool {
    file: Arc<File>,
    end: u64,
}

impl Spool {
    /// A new spool in `folder`, which must exist; its disk must have room for the contents.
    pub fn new_in(folder: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).with_context(|| format!("cannot make a temporary file in `{}`", folder.display()))?;
        Ok(Self { file: Arc::new(file), end: 0 })
    }

    /// Copies `reader` to its end and returns a reference to the copy.
    pub fn add(&mut self, reader: &mut dyn Read) -> Result<Content> {
        let mut file = &*self.file;
        file.seek(SeekFrom::Start(self.end))?;
        let offset = self.end;
        let len = std::io::copy(reader, &mut file).context("cannot write to the temporary file")?;
        file.flush()?;
        self.end += len;
        Ok(Content::Range { file: self.file.clone(), offset, len })
    }

    /// Like [`Self::add`], but blocks of zeros become holes.
    pub fn add_sparse(&mut self, reader: &mut dyn Read) -> Result<Content> {
        let (offset, mut buffer) = (self.end, vec![0; 64 << 10]);
        // A failed copy may have left bytes behind, and holes must be zeros.
        self.file.set_len(offset).context("cannot write to the temporary file")?;
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                count => count.context("cannot read the content to spool")?,
            };
            if buffer[..count].iter().any(|byte| *byte != 0) {
                self.file.write_all_at(&buffer[..count], self.end).context("cannot write to the temporary file")?;
            }
            self.end += count as u64;
        }
        self.file.set_len(self.end).context("cannot write to the temporary file")?;
        Ok(Content::Range { file: self.file.clone(), offset, len: self.end - offset })
    }

    /// Copies `pieces` (offset in the new content and length, ordered) from `reader`, where they follow each other. The
    /// rest of the `len` bytes is a hole.
    pub(crate) fn add_pieces(&mut self, reader: &mut dyn Read, pieces: &[(u64, u64)], len: u64) -> Result<Content> {
        let (offset, mut buffer) = (self.end, vec![0; 64 << 10]);
        // A failed copy may have left bytes behind, and holes must be zeros.
        self.file.set_len(offset).context("cannot write to the temporary file")?;
        for (at, length) in pieces {
            let (mut at, mut left) = (offset + at, *length);
            while left > 0 {
                let count = buffer.len().min(usize::try_from(left)?);
                reader.read_exact(&mut buffer[..count]).context("the file is cut off")?;
                self.file.write_all_at(&buffer[..count], at).context("cannot write to the temporary file")?;
                (at, left) = (at + count as u64, left - count as u64);
            }
        }
        self.end = offset.checked_add(len).context("the temporary file would be too large")?;
        self.file.set_len(self.end).context("cannot write to the temporary file")?;
        Ok(Content::Range { file: self.file.clone(), offset, len })
    }
}
