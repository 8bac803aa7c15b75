//! Where a file's bytes are, and how to read them from any thread.

use anyhow::{Context as _, Result, bail};
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The bytes of a file, or where they lie. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Content {
    /// In memory: for what is generated.
    Bytes(Arc<[u8]>),
    /// `len` bytes of an open file from `offset` on: an entry of a tar, or spooled bytes.
    Range {
        /// The file; read by position, so it can be shared by threads.
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
        /// Its length when it was looked at; another length at reading is an error.
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
        let len = path.metadata().with_context(|| format!("cannot look at `{}`", path.display()))?.len();
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

    /// A reader over exactly [`Content::len`] bytes; a file that has become shorter is an error at its end.
    pub fn open(&self) -> Result<ContentReader> {
        let (source, position) = match self {
            Self::Bytes(bytes) => (Source::Bytes(bytes.clone()), 0),
            Self::Range { file, offset, .. } => (Source::File(file.clone()), *offset),
            Self::Path { path, len } => {
                let file = File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
                if file.metadata()?.len() != *len {
                    bail!("`{}` changed its length while it was read", path.display());
                }
                (Source::File(Arc::new(file)), 0)
            }
        };
        Ok(ContentReader { source, position, left: self.len() })
    }

    /// `len` of its bytes from `offset` on, referring to the same place. More than it has is an error.
    pub fn slice(&self, offset: u64, len: u64) -> Result<Self> {
        if offset.checked_add(len).is_none_or(|end| end > self.len()) {
            bail!("a part of {len} bytes at {offset} lies outside of {} bytes", self.len());
        }
        Ok(match self {
            Self::Bytes(bytes) => Self::Bytes(bytes[usize::try_from(offset)?..usize::try_from(offset + len)?].into()),
            Self::Range { file, offset: start, .. } => Self::Range { file: file.clone(), offset: start + offset, len },
            Self::Path { path, .. } => {
                let file = File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
                Self::Range { file: Arc::new(file), offset, len }
            }
        })
    }

    /// All bytes in memory: for small files.
    pub fn read_all(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.len())?);
        self.open()?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

#[derive(Debug)]
enum Source {
    Bytes(Arc<[u8]>),
    File(Arc<File>),
}

/// Reads a [`Content`] from its start to its end.
#[derive(Debug)]
pub struct ContentReader {
    source: Source,
    position: u64,
    left: u64,
}

impl Read for ContentReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..most];
        let got = match &self.source {
            Source::Bytes(bytes) => (&bytes[usize::try_from(self.position).unwrap_or(usize::MAX)..]).read(buffer)?,
            Source::File(file) => file.read_at(buffer, self.position)?,
        };
        if got == 0 && most > 0 {
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "a file ended before its recorded length"));
        }
        self.position += got as u64;
        self.left -= got as u64;
        Ok(got)
    }
}

/// A temporary file without a name that keeps contents which have no other place (decompressed archives, streams).
/// It is gone with the last [`Content`] that refers to it.
#[derive(Debug)]
pub struct Spool {
    file: Arc<File>,
    end: u64,
}

impl Spool {
    /// A new spool in `folder`, which must exist and should be on a disk with room.
    pub fn new_in(folder: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).with_context(|| format!("cannot make a temporary file in `{}`", folder.display()))?;
        Ok(Self { file: Arc::new(file), end: 0 })
    }

    /// Copies all of `reader` and refers to it.
    pub fn add(&mut self, reader: &mut dyn Read) -> Result<Content> {
        let mut file = &*self.file;
        file.seek(SeekFrom::Start(self.end))?;
        let offset = self.end;
        let len = std::io::copy(reader, &mut file).context("cannot spool a file's content")?;
        file.flush()?;
        self.end += len;
        Ok(Content::Range { file: self.file.clone(), offset, len })
    }

    /// The same for what may have large holes: zeros take no room.
    pub fn add_sparse(&mut self, reader: &mut dyn Read) -> Result<Content> {
        let (offset, mut buffer) = (self.end, vec![0; 64 << 10]);
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                count => count.context("cannot read what is spooled")?,
            };
            if buffer[..count].iter().any(|byte| *byte != 0) {
                self.file.write_all_at(&buffer[..count], self.end).context("cannot spool a file's content")?;
            }
            self.end += count as u64;
        }
        self.file.set_len(self.end).context("cannot spool a file's content")?;
        Ok(Content::Range { file: self.file.clone(), offset, len: self.end - offset })
    }
}
