//! ISO 9660 with Rock Ridge names and an El Torito boot record for UEFI (ECMA-119, IEEE P1281 and P1282, "El Torito" 1.0,
//! UEFI 2.10 chapter 13.3.2): a writer from a tree.

mod layout;
mod names;
mod susp;
#[cfg(test)]
mod tests;
mod volume;

pub use layout::Layout;

use crate::fat;
use anyhow::Result;
use filetree::Tree;

/// Bytes of a block.
const BLOCK: u64 = 2048;
const BLOCK_BYTES: usize = 2048;

/// What a volume is to be, besides its files.
#[derive(Clone, Debug)]
pub struct Options {
    /// Label: at most 32 upper-case ASCII letters, digits and `_`.
    pub label: String,
    /// Time of the volume and of everything in it, seconds since the epoch.
    pub mtime: i64,
}

/// Where everything goes: all validation is here, so that [`Layout::write`] fails only on I/O. `efi` is the image of the
/// EFI system partition to boot from, which is no file of the volume. Everything belongs to root, files have mode 0644,
/// or 0755 when their owner may execute them. Hard links share their bytes. Errors name the path that cannot be held:
/// devices, pipes, files from 4 GiB on.
pub fn layout(tree: &Tree, efi: Option<fat::Layout>, options: &Options) -> Result<Layout> {
    layout::plan(tree, efi, options)
}
