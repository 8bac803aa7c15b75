//! The disk of an installed machine: what a live disk is after its first boot.

use super::{CONFIG_VOLUME_ID, ESP_VOLUME_ID, LABEL, volume};
use crate::{
    disk::{Source, Table},
    eve::{self, Kind},
    fat,
};
use anyhow::{Context as _, Result};
use filetree::{Content, Tree};

/// Contents of an installed disk. What is none is not written.
#[derive(Clone, Debug, Default)]
pub struct InstalledDisk {
    /// Files of the EFI system partition ([`esp_of_rootfs`](super::esp_of_rootfs)).
    pub esp: Tree,
    /// Files of CONFIG.
    pub config: Option<Tree>,
    /// rootfs.img.
    pub rootfs: Option<Content>,
}

/// The table of a disk of `size` bytes with sectors of `sector` bytes; with P3 unless that lies on a disk of its own.
pub fn installed(contents: &InstalledDisk, persist: bool, size: u64, sector: u32, epoch: i64) -> Result<Table> {
    let fat = |kind: Kind, tree: &Tree, id: u32| -> Result<Source> {
        let options = fat::Options { sector, ..volume(kind.size(size), LABEL, id, epoch) };
        Ok(Source::Fat(fat::layout(tree, &options).with_context(|| format!("cannot make the partition `{}`", kind.word()))?))
    };
    let mut sources = Vec::new();
    for kind in eve::TARGET.iter().copied().filter(|kind| persist || *kind != Kind::Persist) {
        let source = match (kind, &contents.config, &contents.rootfs) {
            (Kind::Efi, ..) => fat(kind, &contents.esp, ESP_VOLUME_ID)?,
            (Kind::Conf, Some(config), _) => fat(kind, config, CONFIG_VOLUME_ID)?,
            (Kind::Imga, _, Some(rootfs)) => Source::Image(rootfs.clone()),
            _ => Source::Empty,
        };
        sources.push((kind, source));
    }
    Ok(eve::table(sources, size)?.with_sector(u64::from(sector)))
}

/// The table of a disk that has P3 alone.
pub fn persist_disk(size: u64, sector: u32) -> Result<Table> {
    let mut table = eve::table(vec![(Kind::Persist, Source::Empty)], size)?.with_sector(u64::from(sector));
    // The other disk of the machine has the usual GUID.
    table.disk_guid.0 += 0x9;
    Ok(table)
}
