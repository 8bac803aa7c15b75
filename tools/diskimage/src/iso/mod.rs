//! Writes ISO 9660 with Rock Ridge and an El Torito boot record for UEFI from a tree (ECMA-119, IEEE P1281 and P1282, "El
//! Torito" 1.0, UEFI 2.10 chapter 13.3.2).

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

/// Size of a block in bytes.
const BLOCK: u64 = 2048;
const BLOCK_BYTES: usize = 2048;

/// Settings of a volume.
#[derive(Clone, Debug)]
pub struct Options {
    /// Label: at most 32 upper-case ASCII letters, digits and `_`.
    pub label: String,
    /// Time of the volume and all its files: Unix timestamp.
    pub mtime: i64,
}

/// Plans the volume. All validation is here, so [`Layout::write`] fails only on I/O errors. `efi` is the EFI system partition
/// to boot from; it is no file of the volume. Owners are root; files get mode 0644, or 0755 if the owner may execute them. Hard
/// links share their bytes. Errors name the path of unsupported nodes: devices, pipes, files of 4 GiB or more.
pub fn layout(tree: &Tree, efi: Option<fat::Layout>, options: &Options) -> Result<Layout> {
    layout::plan(tree, efi, options)
}
