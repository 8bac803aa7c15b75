//! Reading of the disk inside a qcow2 file.

use crate::read_at::ReadAt;
use anyhow::{Result, bail};

/// The disk inside a qcow2 file of version 2 or 3: plain, zero and compressed (zlib, zstd) clusters; no encryption, no
/// backing file, no external data file.
pub struct Reader<S> {
    source: S,
    size: u64,
}

impl<S: ReadAt> Reader<S> {
    /// Reads the header; what is not supported is an error that names it.
    pub fn open(source: S) -> Result<Self> {
        let _ = source;
        bail!("not written yet")
    }
}

impl<S: ReadAt> ReadAt for Reader<S> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.source.read_at(buffer, offset)
    }
}
