//! A disk for Google's cloud: `NAME.img.tar.gz`, a gzip'd tar with one member, `disk.raw`, in old GNU's sparse form.

use anyhow::{Result, bail};
use std::{fs::File, io::Write, sync::Arc};

/// How the archive is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size of the disk in bytes (`MEDIA_SIZE`), a multiple of 512, at least the image's. Google's cloud takes whole GiB.
    pub size: u64,
    /// Time of the member, seconds since the epoch.
    pub mtime: u32,
    /// Blocks compressed at a time; the bytes do not depend on it.
    pub threads: usize,
}

impl Options {
    /// Every core.
    #[must_use]
    pub fn new(size: u64, mtime: u32) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { size, mtime, threads }
    }
}

/// What an archive will hold: the places of the disk that are not zeros.
#[derive(Clone, Debug)]
pub struct Layout {
    _disk: Arc<File>,
}

/// Looks through `disk` (a regular file) for what is not zeros; holes are not read. What the archive holds depends on the
/// bytes of the disk alone, not on where its file system has holes.
pub fn layout(_disk: File, _options: &Options) -> Result<Layout> {
    bail!("not written yet")
}

impl Layout {
    /// Bytes of the disk that are in the archive.
    #[must_use]
    pub fn data(&self) -> u64 {
        0
    }

    /// Writes the archive; gives its bytes.
    pub fn write(&self, _out: &mut (dyn Write + Send)) -> Result<u64> {
        bail!("not written yet")
    }
}
