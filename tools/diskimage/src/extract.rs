//! Reads single partitions of a disk without mounting it: a raw image, a block device, or a container that can be read.

use crate::{
    container::{self, Container},
    fat,
    gpt::{self, GptEntry},
    qcow2,
    read_at::{ReadAt, Window},
};
use anyhow::{Context as _, Result};
use filetree::{Content, Node, Tree};
use std::path::Path;

/// A disk with a GUID partition table.
pub struct Disk {
    source: Box<dyn ReadAt>,
    sector: u64,
    entries: Vec<GptEntry>,
}

impl Disk {
    /// Opens the disk in a file or device.
    pub fn open(path: &Path) -> Result<Self> {
        Self::of_source(container::open(path)?, path)
    }

    /// Opens the disk in the qcow2 file at `path`, with the image at `base` as its backing file.
    pub fn open_over(path: &Path, base: &Path) -> Result<Self> {
        let image = container::open_file(path)?;
        let source: Box<dyn ReadAt> = match Container::of(&image)? {
            Some(Container::Qcow2) => Box::new(
                qcow2::Reader::open_over(image, container::open(base)?).with_context(|| format!("cannot open `{}`", path.display()))?,
            ),
            _ => container::open(path)?,
        };
        Self::of_source(source, path)
    }

    fn of_source(source: Box<dyn ReadAt>, path: &Path) -> Result<Self> {
        let table = gpt::read(source.as_ref()).with_context(|| format!("cannot read the partitions of `{}`", path.display()))?;
        let table = table.with_context(|| format!("`{}` has no GUID partition table", path.display()))?;
        Ok(Self { source, sector: table.sector, entries: table.entries })
    }

    /// The first partition with this name, if any.
    pub fn partition(&self, name: &str) -> Result<Option<Window<'_>>> {
        let Some(entry) = self.entries.iter().find(|entry| entry.name == name) else { return Ok(None) };
        let sectors = entry.last_lba.checked_sub(entry.first_lba).context("a partition ends before its start")?;
        let bytes = |sectors: u64| sectors.checked_mul(self.sector).context("the position of a partition is out of range");
        let window = Window::new(self.source.as_ref(), bytes(entry.first_lba)?, bytes(sectors.saturating_add(1))?);
        window.with_context(|| format!("cannot read the partition {name}")).map(Some)
    }

    /// Names of all partitions.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.entries.iter().map(|entry| entry.name.as_str()).collect()
    }
}

/// Files and directories of a FAT volume, with mtime `mtime`. Files with more than `most` bytes are errors.
pub fn fat_tree(volume: &fat::Reader<'_>, most: u32, mtime: i64) -> Result<Tree> {
    let mut tree = Tree::new();
    for entry in volume.entries()? {
        let node = match entry.directory {
            true => Node::dir(0o755, mtime),
            false => Node::file(0o644, mtime, Content::from(volume.read(&entry, most)?)),
        };
        tree.insert(&entry.path, node).with_context(|| format!("cannot add `{}` of the FAT volume", entry.path))?;
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        disk,
        recipes::{UsbConf, usb_conf},
    };
    use std::fs::File;

    #[test]
    fn a_partition_is_found_by_its_name_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("usb.img");
        let stick = UsbConf { identity: true, config: Some(Content::from("{}")), ..UsbConf::default() };
        disk::layout(usb_conf(&stick, 8 << 20, 1_700_000_000).unwrap()).unwrap().write(&File::create(&path).unwrap()).unwrap();
        let disk = Disk::open(&path).unwrap();
        assert_eq!(disk.names(), ["DevicePortConfig"]);
        assert!(disk.partition("P3").unwrap().is_none());
        let window = disk.partition("DevicePortConfig").unwrap().unwrap();
        let tree = fat_tree(&fat::Reader::open(&window).unwrap(), 100, 7).unwrap();
        assert!(tree.get("identity").unwrap().children().is_some());
        let error = fat_tree(&fat::Reader::open(&window).unwrap(), 1, 7).unwrap_err().to_string();
        assert_eq!(error, "`usb.json` is a directory or has more than 1 bytes");
        std::fs::write(&path, "no disk").unwrap();
        assert!(format!("{:#}", Disk::open(&path).err().unwrap()).contains("has no GUID partition table"));
    }
}
