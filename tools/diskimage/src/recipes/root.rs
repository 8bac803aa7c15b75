//! rootfs.img: a squashfs or ext4 with the kernel command line filled in; and the EFI system partition taken from it.

use crate::{
    FileImage,
    eve::Kind,
    ext4,
    gpt::Guid,
    rootfs::fill_cmdline,
    squashfs::{self, BlockStore, Compressor},
};
use anyhow::{Context as _, Result};
use filetree::{Content, Node, Tree};
use std::{fs::File, io::Read};

/// Writes `tree` as rootfs.img to `out`, an empty regular file.
pub fn pack_rootfs(tree: Tree, compressor: Compressor, epoch: i64, out: &mut File) -> Result<squashfs::Summary> {
    pack_rootfs_with(tree, compressor, epoch, None, &|_, _| {}, out)
}

/// Like [`pack_rootfs`], with the same bytes, but compresses only blocks that `store` does not know, and tells `progress` how many bytes of how many are
/// read; see [`squashfs::write_with`].
pub fn pack_rootfs_with(
    mut tree: Tree,
    compressor: Compressor,
    epoch: i64,
    store: Option<&BlockStore>,
    progress: &dyn Fn(u64, u64),
    out: &mut File,
) -> Result<squashfs::Summary> {
    fill_cmdline(&mut tree)?;
    let options = squashfs::Options { compressor, mtime: u32::try_from(epoch).unwrap_or(0), ..squashfs::Options::default() };
    squashfs::write_with(&tree, &options, store, progress, out)
}

/// Label of an ext4 rootfs.img.
const EXT4_LABEL: &str = "eve_rootfs";
/// Fixed for reproducibility; differs from all PARTUUIDs.
const EXT4_UUID: Guid = Guid(0xad6871ee_31f9_4cf3_9e09_6f7a25c30060);
/// Free space of an image that is larger than IMGA, in addition to the files, in bytes.
const EXT4_HEADROOM: u64 = 16_000 << 12;

/// The ext4 rootfs.img of `tree`; write it with [`ext4::Layout::write`]. It has the size of IMGA, so that all of the partition can be used.
/// If the files need more, it is as large as they need, for a disk with a larger IMGA.
pub fn ext4_rootfs(mut tree: Tree, epoch: i64) -> Result<ext4::Layout> {
    fill_cmdline(&mut tree)?;
    let mtime = u32::try_from(epoch).unwrap_or(0);
    let layout = |size| ext4::layout(&tree, &ext4::Options { label: EXT4_LABEL.into(), uuid: EXT4_UUID, mtime, size });
    let larger = || layout((ext4::disk_usage(&tree) + EXT4_HEADROOM) >> 20 << 20);
    layout(Kind::Imga.size(0)).or_else(|_| larger()).context("cannot make an ext4 of the root file system")
}

/// The folder of boot loaders in a root file system and on the EFI system partition.
const BOOT: &str = "EFI/BOOT";
/// Largest boot loader in bytes.
const MOST: u64 = 128 << 20;

/// Files of an EFI system partition that boots `rootfs`, a squashfs or ext4: its `/EFI/BOOT`.
pub fn esp_of_rootfs(rootfs: File) -> Result<Tree> {
    let image = FileImage::new(rootfs)?;
    let boot = if ext4::Reader::fits(&image) {
        boot_of_ext4(&image)
    } else {
        let reader = squashfs::Reader::open_image(Box::new(image)).context("cannot read rootfs.img")?;
        reader.subtree(BOOT).map(|tree| tree.root)
    };
    let mut tree = Tree::new();
    tree.insert(BOOT, boot.context("rootfs.img contains no boot loader")?)?;
    Ok(tree)
}

/// The folder [`BOOT`] of an ext4.
fn boot_of_ext4(image: &FileImage) -> Result<Node> {
    let reader = ext4::Reader::open(image)?;
    let mut take = |path: &[u8], size: u64, content: &mut dyn Read| {
        let is_boot = path.strip_prefix(BOOT.as_bytes()).is_some_and(|rest| rest.starts_with(b"/"));
        if !is_boot || size > MOST {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        Ok(Some(Content::from(bytes)))
    };
    let (tree, _) = reader.tree(&mut take)?;
    tree.get(BOOT).cloned().with_context(|| format!("there is no `{BOOT}`"))
}
