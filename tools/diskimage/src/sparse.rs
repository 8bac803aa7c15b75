//! Files with holes: where their data lies, and copies that read no hole and write none.

use anyhow::{Result, bail};
use std::fs::File;

/// A run of bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Number of bytes, never 0.
    pub len: u64,
}

/// The runs of `file` inside `start..start + len` that hold data, in order, without touching each other. All else reads
/// as zeros. A file system that knows no holes gives one run.
pub fn extents(file: &File, start: u64, len: u64) -> Result<Vec<Extent>> {
    let _ = (file, start, len);
    bail!("not written yet")
}

/// Copies `len` bytes of `from` at `from_offset` to `to` at `to_offset`. Holes are left alone in `to`, whose region must
/// read as zeros. Returns the bytes really copied.
pub fn copy(from: &File, from_offset: u64, len: u64, to: &File, to_offset: u64) -> Result<u64> {
    let _ = (from, from_offset, len, to, to_offset);
    bail!("not written yet")
}
