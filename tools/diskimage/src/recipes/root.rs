//! rootfs.img: a squashfs or ext4 with the kernel command line filled in; and the EFI system partition taken from it.

use crate::{
    ext4,
    gpt::Guid,
    rootfs::fill_cmdline,
    squashfs::{self, Compressor, Reader},
};
use anyhow::{Context as _, Result};
use filetree::Tree;
use std::fs::File;

/// Writes `tree` as rootfs.img to `out`, an empty regular file.
pub fn pack_rootfs(mut tree: Tree, compressor: Compressor, epoch: i64, out: &mut File) -> Result<squashfs::Summary> {
    fill_cmdline(&mut tree)?;
    let options = squashfs::Options { compressor, mtime: u32::try_from(epoch).unwrap_or(0), ..squashfs::Options::default() };
    squashfs::write(&tree, &options, out)
}

/// Label of an ext4 rootfs.img.
const EXT4_LABEL: &str = "eve_rootfs";
/// Fixed for reproducibility; differs from all PARTUUIDs.
const EXT4_UUID: Guid = Guid(0xad6871ee_31f9_4cf3_9e09_6f7a25c30060);
/// Free space in addition to the files, in bytes.
const EXT4_HEADROOM: u64 = 16_000 << 12;

/// The ext4 rootfs.img of `tree`; write it with [`ext4::Layout::write`].
pub fn ext4_rootfs(mut tree: Tree, epoch: i64) -> Result<ext4::Layout> {
    fill_cmdline(&mut tree)?;
    let size = (ext4::disk_usage(&tree) + EXT4_HEADROOM) >> 20 << 20;
    let options = ext4::Options { label: EXT4_LABEL.into(), uuid: EXT4_UUID, mtime: u32::try_from(epoch).unwrap_or(0), size };
    ext4::layout(&tree, &options).context("cannot make an ext4 of the root file system")
}

/// Files of an EFI system partition that boots the squashfs `rootfs`: its `/EFI/BOOT`.
pub fn esp_of_rootfs(rootfs: File) -> Result<Tree> {
    let reader = Reader::open(rootfs).context("cannot read rootfs.img")?;
    let boot = reader.subtree("EFI/BOOT").context("rootfs.img contains no boot loader")?;
    let mut tree = Tree::new();
    tree.insert("EFI/BOOT", boot.root)?;
    Ok(tree)
}
