//! Installation and verification media: the system partition of a USB disk, and a UEFI-bootable ISO.

use super::{
    ISO_BOOT_VOLUME_ID,
    parts::{CONFIG, Parts, ROOTFS_OF_INSTALLER},
    volume,
};
use crate::{eve::Kind, fat, iso};
use anyhow::{Context as _, Result, bail};
use filetree::{Content, Kind as NodeKind, Node, Tree};

/// Purpose of an ISO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsoKind {
    /// All parts unchanged; boots from `EFI/BOOT`.
    Plain,
    /// With `grub.cfg` as GRUB's configuration, and the files by which the initrd finds the medium.
    Installer,
}

/// GRUB's configuration: name of the part, and path on the medium.
const GRUB_CFG: &str = "grub.cfg";
const ESP_GRUB_CFG: &str = "EFI/BOOT/grub.cfg";
/// Folder with the files by which the initrd finds its medium.
const BOOT: &str = "boot";
/// Script that Dell Edge Gateways run when they boot from USB.
const DELL_SCRIPT: (&str, &str) = ("UsbInvocationScript.txt", "usb_disable_secure_boot noreset;\nusb_one_time_boot usb nolog;\n");
/// Default label of the tool in lf-edge/eve.
const LABEL: &str = "ISOIMAGE";

/// Files of the partition `installer` or `verification`.
pub(super) fn medium(kind: Kind, parts: &Parts, epoch: i64) -> Result<Tree> {
    let payload = if kind == Kind::Verification { "verification.img" } else { "installer.img" };
    let mut tree = parts.esp()?;
    if let Some(Node { kind: NodeKind::Dir(files), .. }) = parts.find(BOOT)? {
        for (name, node) in files.iter().filter(|(name, _)| !name.starts_with(b".")) {
            tree.insert([b"boot/", &name[..]].concat(), node.clone())?;
        }
    }
    for name in ["persist.img", "initrd.img", "rootfs.img", payload] {
        tree.insert(name, Node::file(0o644, epoch, parts.image(name, kind)?))?;
    }
    tree.insert(ESP_GRUB_CFG, Node::file(0o644, epoch, parts.image(GRUB_CFG, kind)?))?;
    tree.insert(DELL_SCRIPT.0, Node::file(0o644, epoch, Content::from(DELL_SCRIPT.1)))?;
    mark(&mut tree, parts, epoch)?;
    Ok(tree)
}

/// Adds the files by which the initrd finds its medium.
fn mark(tree: &mut Tree, parts: &Parts, epoch: i64) -> Result<()> {
    let identity = identify(tree, parts, epoch)?;
    tree.insert("boot/.boot_repository", Node::file(0o644, epoch, Content::from("")))?;
    tree.insert("boot/.uuid", Node::file(0o644, epoch, Content::from(format!("{identity:032x}\n").as_str())))
}

/// An id that differs between media: FNV-1a hash of the files. Of large files only the length is hashed; a small file or the
/// time always differs.
fn identify(tree: &Tree, parts: &Parts, epoch: i64) -> Result<u128> {
    const PRIME: u128 = 0x0100_0000_0000_0000_0000_013b;
    const START: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const SMALL: u64 = 1 << 20;
    let mut hash = START;
    let mut add = |bytes: &[u8]| bytes.iter().for_each(|byte| hash = (hash ^ u128::from(*byte)).wrapping_mul(PRIME));
    add(&epoch.to_le_bytes());
    let config = parts.find("config.img")?.map(|node| (&b"config.img"[..], node));
    let mut files: Vec<(Vec<u8>, &Node)> = config.into_iter().map(|(name, node)| (name.to_vec(), node)).collect();
    tree.walk(&mut |path, node| {
        files.push((path.to_vec(), node));
        Ok(())
    })?;
    for (path, node) in files {
        let NodeKind::File { content, .. } = &node.kind else { continue };
        add(&path);
        add(&content.len().to_le_bytes());
        if content.len() <= SMALL {
            let bytes = content.read_all();
            add(&bytes.with_context(|| format!("cannot read the part `{}`", String::from_utf8_lossy(&path)))?);
        }
    }
    Ok(hash)
}

/// GRUB's configuration for an ISO that holds the installer's root file system as a file; read by pkg/grub/embedded.cfg.
const MEDIUM_CFG: &str = "\
# Starts the installer whose root file system is a file on this medium.
search --no-floppy --set=medium --file /rootfs_installer.img
export medium
loopback rootfs ($medium)/rootfs_installer.img
set root=rootfs
configfile (rootfs)/EFI/BOOT/grub.cfg
";
/// Its place.
pub(super) const ESP_MEDIUM_CFG: &str = "EFI/BOOT/medium.cfg";
/// Label of that ISO.
const COMPOSED_LABEL: &str = "EVE_INSTALLER";

/// The ISO of an installer with a root file system of its own: that, config.img and the boot loaders.
fn composed_iso(parts: &Parts, epoch: i64) -> Result<iso::Layout> {
    let mut tree = Tree::new();
    for name in [ROOTFS_OF_INSTALLER, CONFIG] {
        tree.insert(name, Node::file(0o644, epoch, parts.image(name, Kind::Installer)?))?;
    }
    let Some(loaders) = parts.of_medium()?.esp()?.remove("EFI") else { bail!("the parts contain no boot loader") };
    tree.insert("EFI", loaders)?;
    tree.insert(ESP_MEDIUM_CFG, Node::file(0o644, epoch, Content::from(MEDIUM_CFG)))?;
    let efi = boot_volume(&tree, epoch).context("cannot make the EFI system partition of the ISO")?;
    iso::layout(&tree, Some(efi), &iso::Options { label: COMPOSED_LABEL.into(), mtime: epoch })
}

/// The ISO of `parts` (read with `Parts::of_folder(folder, true)`), without hidden parts and files named `rootfs-*`. Of an installer with a
/// root file system of its own, only what it needs.
pub fn iso(kind: IsoKind, parts: &Parts, epoch: i64) -> Result<iso::Layout> {
    if kind == IsoKind::Installer && parts.find(ROOTFS_OF_INSTALLER)?.is_some() {
        return composed_iso(parts, epoch);
    }
    let mut tree = Tree::new();
    for (name, node) in parts.tree.root.children().into_iter().flatten().filter(|(name, _)| !name.starts_with(b".")) {
        tree.insert(name, follow(&parts.tree, name, node))?;
    }
    leave_out(&mut tree.root, b"rootfs-");
    if tree.get("EFI").is_none_or(|efi| efi.children().is_none()) {
        let esp = parts.esp()?;
        let Some(efi) = esp.get("EFI") else { bail!("the parts contain no boot loader") };
        tree.insert("EFI", efi.clone())?;
    }
    if kind == IsoKind::Installer {
        let Some(Node { kind: NodeKind::File { content, .. }, .. }) = tree.get(GRUB_CFG) else {
            bail!("the part `{GRUB_CFG}`, GRUB's configuration for the installer, is missing");
        };
        let config = Node::file(0o644, epoch, content.clone());
        tree.insert(ESP_GRUB_CFG, config)?;
        mark(&mut tree, parts, epoch)?;
    }
    let efi = boot_volume(&tree, epoch).context("cannot make the EFI system partition of the ISO")?;
    iso::layout(&tree, Some(efi), &iso::Options { label: LABEL.into(), mtime: epoch })
}

/// Resolves a link to another part; one that leads nowhere stays.
fn follow(tree: &Tree, name: &[u8], node: &Node) -> Node {
    let found = match node.kind {
        NodeKind::Symlink(_) => tree.resolve(name, true).ok().and_then(|path| tree.get(path)),
        _ => None,
    };
    found.unwrap_or(node).clone()
}

fn leave_out(node: &mut Node, prefix: &[u8]) {
    if let NodeKind::Dir(children) = &mut node.kind {
        children.retain(|name, _| !name.starts_with(prefix));
        children.values_mut().for_each(|child| leave_out(child, prefix));
    }
}

/// Volume from which firmware starts `EFI/BOOT/BOOT*.EFI`: as large as in lf-edge/eve, or as its files need.
fn boot_volume(tree: &Tree, epoch: i64) -> Result<fat::Layout> {
    const STEP: u64 = 32 << 10;
    let Some(boot @ Node { kind: NodeKind::Dir(files), .. }) = tree.get("EFI/BOOT") else { bail!("the folder EFI/BOOT is missing") };
    let sizes = files.iter().filter_map(|(name, node)| match &node.kind {
        NodeKind::File { content, .. } => Some((name, content.len())),
        _ => None,
    });
    let (mut programs, mut all) = (0, 0);
    for (name, len) in sizes {
        all += len.next_multiple_of(4096);
        if name.starts_with(b"BOOT") && name.ends_with(b"EFI") {
            programs += len;
        }
    }
    if programs == 0 {
        bail!("the file EFI/BOOT/BOOT*.EFI is missing");
    }
    let usual = ((programs / 1024 + 511) * 1024 / STEP * STEP).max((all + (128 << 10)).next_multiple_of(STEP));
    let mut volume_tree = Tree::new();
    volume_tree.insert("EFI/BOOT", boot.clone())?;
    let of_size = |size| fat::layout(&volume_tree, &volume(size, "", ISO_BOOT_VOLUME_ID, epoch));
    // Above 32 MiB the tables need more, and folders below EFI/BOOT are not counted yet.
    let mut needed = 0;
    volume_tree.walk(&mut |_, node| {
        needed += if let NodeKind::File { content, .. } = &node.kind { content.len().next_multiple_of(4096) } else { 4096 };
        Ok(())
    })?;
    of_size(usual).or_else(|error| {
        let larger = (needed + needed / 32 + (1 << 20)).next_multiple_of(STEP);
        if larger > usual { of_size(larger) } else { Err(error) }
    })
}
