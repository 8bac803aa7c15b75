//! Where the files of a FAT volume go.

use super::{Bits, Options};
use anyhow::{Result, bail};
use filetree::Tree;
use std::fs::File;

/// A validated FAT volume, ready to be written. It refers to the files' contents and holds none of them.
#[derive(Clone, Debug)]
pub struct Layout {
    size: u64,
    bits: Bits,
}

pub(super) fn plan(tree: &Tree, options: &Options) -> Result<Layout> {
    let _ = (tree, options);
    bail!("not written yet")
}

impl Layout {
    /// Bytes of the whole volume.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The width that was chosen, never [`Bits::Auto`].
    #[must_use]
    pub fn bits(&self) -> Bits {
        self.bits
    }

    /// Writes the volume as the whole of `out`: what was there is cut away first.
    pub fn write(&self, out: &File) -> Result<()> {
        let _ = out;
        bail!("not written yet")
    }

    /// Writes the volume into `out` from `offset` on, where [`Layout::size`] bytes must read as zeros. Nothing that is zero is written.
    pub fn write_at(&self, out: &File, offset: u64) -> Result<()> {
        let _ = (out, offset);
        bail!("not written yet")
    }
}
