//! Disks: the assignment of parts to partitions.

use super::{
    ESP_VOLUME_ID, INSTALLER_VOLUME_ID, INVENTORY_VOLUME_ID, LABEL, USB_VOLUME_ID, installer,
    parts::{CONFIG, IMX8_BLOB, IMX8_CONF, PERSIST, Parts, ROOTFS},
    volume,
};
use crate::{
    disk::{Source, Table},
    eve::{self, Kind},
    fat,
};
use anyhow::{Context as _, Result, bail};
use filetree::{Kind as NodeKind, Node, Tree};

/// The disk of `size` bytes with the partitions `kinds`, in order, filled from `parts`.
pub fn disk(kinds: &[Kind], size: u64, parts: &Parts, epoch: i64) -> Result<Table> {
    let of_medium = parts.of_medium()?;
    let parts = if kinds.contains(&Kind::ConfWin) { &of_medium } else { parts };
    let mut esp = None;
    let mut sources = Vec::new();
    for kind in kinds {
        sources.push((*kind, source(*kind, size, parts, epoch, &mut esp)?));
    }
    let mut table = eve::table(sources, size)?;
    if let Some(tree) = &esp {
        add_bios_grub(&mut table, tree)?;
    }
    add_imx8(&mut table, parts)?;
    Ok(table)
}

fn source(kind: Kind, disk: u64, parts: &Parts, epoch: i64, esp: &mut Option<Tree>) -> Result<Source> {
    let fat = |tree: &Tree, label: &str, id: u32| -> Result<Source> {
        let layout = fat::layout(tree, &volume(kind.size(disk), label, id, epoch));
        Ok(Source::Fat(layout.with_context(|| format!("cannot make the partition `{}`", kind.word()))?))
    };
    Ok(match kind {
        Kind::Efi => fat(esp.insert(parts.esp()?), LABEL, ESP_VOLUME_ID)?,
        Kind::Imga => Source::Image(parts.image(ROOTFS, kind)?),
        Kind::Imgb => Source::Empty,
        Kind::Conf | Kind::ConfWin => Source::Image(parts.image(CONFIG, kind)?),
        Kind::Persist => Source::Image(parts.image(PERSIST, kind)?),
        Kind::InventoryWin => fat(&Tree::new(), "INVENTORY", INVENTORY_VOLUME_ID)?,
        Kind::UsbConf => fat(&parts.tree, "EVEDPC", USB_VOLUME_ID)?,
        Kind::Installer | Kind::Verification => fat(esp.insert(installer::medium(kind, parts, epoch)?), LABEL, INSTALLER_VOLUME_ID)?,
    })
}

/// Adds GRUB for BIOS if it is next to the one for UEFI.
fn add_bios_grub(table: &mut Table, esp: &Tree) -> Result<()> {
    let read = |name: &str| match esp.get(name) {
        Some(Node { kind: NodeKind::File { content, .. }, .. }) => {
            content.read_all().with_context(|| format!("cannot read {name}")).map(Some)
        }
        _ => Ok(None),
    };
    match (read("EFI/BOOT/BOOT.img")?, read("EFI/BOOT/BOOT.pc")?) {
        (Some(boot), Some(core)) => eve::add_bios_grub(table, &boot, &core),
        (None, Some(_)) => bail!("EFI/BOOT/BOOT.pc (GRUB for BIOS) needs EFI/BOOT/BOOT.img"),
        (_, None) => Ok(()),
    }
}

/// Adds an i.MX8 board's boot blob at `offset=` of its configuration in KiB, default 32.
fn add_imx8(table: &mut Table, parts: &Parts) -> Result<()> {
    let (Some(Node { kind: NodeKind::File { content: blob, .. }, .. }), Some(Node { kind: NodeKind::File { content: conf, .. }, .. })) =
        (parts.find(IMX8_BLOB)?, parts.find(IMX8_CONF)?)
    else {
        return Ok(());
    };
    let conf = String::from_utf8(conf.read_all()?).with_context(|| format!("{IMX8_CONF} is not UTF-8"))?;
    let offset = conf.lines().filter_map(|line| line.strip_prefix("offset")?.trim().strip_prefix('=')).next();
    let offset = match offset {
        Some(text) => text.trim().parse().with_context(|| format!("{IMX8_CONF}: `offset={}` is not a number of KiB", text.trim()))?,
        None => 32,
    };
    eve::add_imx8_blob(table, blob.clone(), offset);
    Ok(())
}
