//! rootfs.img: a tree as a squashfs with the kernel's command line filled in; and what an EFI system partition takes from it.

use crate::{
    rootfs::fill_cmdline,
    squashfs::{self, Compressor, Reader},
};
use anyhow::{Context as _, Result};
use filetree::Tree;
use std::fs::File;

/// Writes `tree` as rootfs.img into `out`, an empty regular file.
pub fn pack_rootfs(mut tree: Tree, compressor: Compressor, epoch: i64, out: &mut File) -> Result<squashfs::Summary> {
    fill_cmdline(&mut tree)?;
    let options = squashfs::Options { compressor, mtime: u32::try_from(epoch).unwrap_or(0), ..squashfs::Options::default() };
    squashfs::write(&tree, &options, out)
}

/// The files of an EFI system partition that boots the root file system in the squashfs `rootfs`: its `/EFI/BOOT`.
pub fn esp_of_rootfs(rootfs: File) -> Result<Tree> {
    let reader = Reader::open(rootfs).context("rootfs.img cannot be read")?;
    let boot = reader.subtree("EFI/BOOT").context("rootfs.img has nothing to boot with")?;
    let mut tree = Tree::new();
    tree.insert("EFI/BOOT", boot.root)?;
    Ok(tree)
}
