//! ISO 9660 with Rock Ridge names and an El Torito boot record for UEFI (ECMA-119, IEEE P1282, "El Torito" 1.0, UEFI 2.10
//! chapter 13.3.2): a writer from a tree.

use crate::fat;
use anyhow::{Result, bail};
use filetree::Tree;
use std::fs::File;

/// What a volume is to be, besides its files.
#[derive(Clone, Debug)]
pub struct Options {
    /// Label: at most 32 upper-case ASCII letters, digits and `_`.
    pub label: String,
    /// Time of the volume and of everything in it, seconds since the epoch.
    pub mtime: i64,
}

/// A validated volume, ready to be written. It refers to the files' contents and holds none of them.
#[derive(Clone, Debug)]
pub struct Layout {
    size: u64,
}

/// Where everything goes: all validation is here, so that [`Layout::write`] fails only on I/O. `efi` is the image of the
/// EFI system partition to boot from, which is no file of the volume. Everything belongs to root, files have mode 0644,
/// or 0755 when their owner may execute them.
pub fn layout(_tree: &Tree, _efi: Option<fat::Layout>, _options: &Options) -> Result<Layout> {
    bail!("not written yet")
}

impl Layout {
    /// Bytes of the whole volume.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes the volume as the whole of `out`: what was there is cut away first.
    pub fn write(&self, _out: &File) -> Result<()> {
        bail!("not written yet")
    }
}
