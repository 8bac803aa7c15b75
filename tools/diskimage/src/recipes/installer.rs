//! Media that install or examine a machine: the system partition of a disk that boots from USB, and an ISO that boots by UEFI.

use super::{ISO_BOOT_VOLUME_ID, Parts, volume};
use crate::{eve::Kind, fat, iso};
use anyhow::{Context as _, Result, bail};
use filetree::{Content, Kind as NodeKind, Node, Tree};

/// What an ISO is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsoKind {
    /// All of the parts as they are, with `EFI/BOOT` to boot from.
    Plain,
    /// The same with `grub.cfg` for GRUB's configuration and the files by which the installer finds its medium.
    Installer,
}

/// GRUB's configuration of a medium, among the parts, and where it goes.
const GRUB_CFG: &str = "grub.cfg";
const ESP_GRUB_CFG: &str = "EFI/BOOT/grub.cfg";
/// By this folder's files the initrd finds the medium that it came from.
const BOOT: &str = "boot";
/// What Dell's Edge Gateways run when they start from USB.
const DELL_SCRIPT: (&str, &str) = ("UsbInvocationScript.txt", "usb_disable_secure_boot noreset;\nusb_one_time_boot usb nolog;\n");
/// What the original's tool calls a volume for which nobody chose a label.
const LABEL: &str = "ISOIMAGE";

/// The files of the partition `installer` or `verification`.
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

/// Adds the files by which the initrd finds the medium.
fn mark(tree: &mut Tree, parts: &Parts, epoch: i64) -> Result<()> {
    let identity = identify(tree, parts, epoch)?;
    tree.insert("boot/.boot_repository", Node::file(0o644, epoch, Content::from("")))?;
    tree.insert("boot/.uuid", Node::file(0o644, epoch, Content::from(format!("{identity:032x}\n").as_str())))
}

/// An identity that another medium does not have: a hash (FNV-1a) of what is on it. Of large files only their length
/// counts; there is always a small one that differs, or the time.
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
            add(&bytes.with_context(|| format!("cannot read `{}` of the parts", String::from_utf8_lossy(&path)))?);
        }
    }
    Ok(hash)
}

/// The ISO of `parts` (read with `Parts::of_folder(folder, true)`); what is named `rootfs-*` is left out, as is what is
/// hidden among the parts.
pub fn iso(kind: IsoKind, parts: &Parts, epoch: i64) -> Result<iso::Layout> {
    let mut tree = Tree::new();
    for (name, node) in parts.tree.root.children().into_iter().flatten().filter(|(name, _)| !name.starts_with(b".")) {
        tree.insert(name, follow(&parts.tree, name, node)?)?;
    }
    leave_out(&mut tree.root, b"rootfs-");
    if tree.get("EFI").is_none_or(|efi| efi.children().is_none()) {
        let esp = parts.esp()?;
        let Some(efi) = esp.get("EFI") else { bail!("there is nothing to boot from among the parts") };
        tree.insert("EFI", efi.clone())?;
    }
    if kind == IsoKind::Installer {
        let Some(Node { kind: NodeKind::File { content, .. }, .. }) = tree.get(GRUB_CFG) else {
            bail!("there is no `{GRUB_CFG}` among the parts, GRUB's configuration for the installer");
        };
        let config = Node::file(0o644, epoch, content.clone());
        tree.insert(ESP_GRUB_CFG, config)?;
        mark(&mut tree, parts, epoch)?;
    }
    let efi = boot_volume(&tree, epoch).context("the EFI system partition of the ISO cannot be made")?;
    iso::layout(&tree, Some(efi), &iso::Options { label: LABEL.into(), mtime: epoch })
}

/// What a link of the parts leads to, when it leads to one of them.
fn follow(tree: &Tree, name: &[u8], node: &Node) -> Result<Node> {
    if let NodeKind::Symlink(_) = node.kind
        && let Some(found) = tree.get(tree.resolve(name, true)?)
    {
        return Ok(found.clone());
    }
    Ok(node.clone())
}

fn leave_out(node: &mut Node, prefix: &[u8]) {
    if let NodeKind::Dir(children) = &mut node.kind {
        children.retain(|name, _| !name.starts_with(prefix));
        children.values_mut().for_each(|child| leave_out(child, prefix));
    }
}

/// The volume that firmware starts `EFI/BOOT/BOOT*.EFI` from: as large as the original makes it, or as its files need.
fn boot_volume(tree: &Tree, epoch: i64) -> Result<fat::Layout> {
    const STEP: u64 = 32 << 10;
    let Some(boot @ Node { kind: NodeKind::Dir(files), .. }) = tree.get("EFI/BOOT") else { bail!("there is no folder EFI/BOOT") };
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
        bail!("there is no EFI/BOOT/BOOT*.EFI");
    }
    let size = ((programs / 1024 + 511) * 1024 / STEP * STEP).max((all + (128 << 10)).next_multiple_of(STEP));
    let mut volume_tree = Tree::new();
    volume_tree.insert("EFI/BOOT", boot.clone())?;
    fat::layout(&volume_tree, &volume(size, "", ISO_BOOT_VOLUME_ID, epoch))
}
