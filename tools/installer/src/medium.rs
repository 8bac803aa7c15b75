//! What the medium brings: rootfs.img, CONFIG, and the partition for reports.

use crate::{
    disks::{Disk, MEDIUM},
    target,
};
use anyhow::{Context as _, Result};
use diskimage::FileImage;
use filetree::{Content, Kind, Tree};
use std::{
    fs::File,
    path::{Path, PathBuf},
};

/// The root file system that is installed.
pub const ROOTFS: &str = "/rootfs.img";
/// Where the partition for reports is mounted.
const INVENTORY: &str = "/inventory";

/// The files of CONFIG: from the partition of the medium, or from config.img beside the root file system.
pub fn config(disks: &[Disk]) -> Result<Tree> {
    let path = match partition(disks, "CONFIG") {
        Some(device) => device,
        None => Path::new(MEDIUM).join("config.img"),
    };
    let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    target::read_volume(&FileImage::new(file)?).with_context(|| format!("cannot read the configuration in {}", path.display()))
}

/// The text of a file of CONFIG; empty without one.
pub fn text(config: &Tree, name: &str) -> Result<String> {
    let Some(Kind::File { content, .. }) = config.get(name).map(|node| &node.kind) else { return Ok(String::new()) };
    Ok(String::from_utf8_lossy(&content.read_all()?).into_owned())
}

/// rootfs.img.
pub fn rootfs() -> Result<Content> {
    Content::of_path(Path::new(ROOTFS))
}

/// The device of the medium's partition with this name.
fn partition(disks: &[Disk], name: &str) -> Option<PathBuf> {
    let partitions = disks.iter().filter(|disk| disk.is_medium()).flat_map(|disk| &disk.partitions);
    partitions.filter(|(_, _, label)| label == name).map(|(_, device, _)| Path::new("/dev").join(device)).next()
}

/// The mounted partition for reports. It is unmounted at the end.
pub struct Inventory;

impl Inventory {
    /// Mounts it; none if the medium has none.
    pub fn mount(disks: &[Disk]) -> Result<Option<Self>> {
        use rustix::mount::{MountFlags, mount};
        let Some(device) = partition(disks, "INVENTORY") else { return Ok(None) };
        let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
        mount(&device, INVENTORY, "vfat", flags, c"iocharset=iso8859-1").with_context(|| format!("cannot mount {}", device.display()))?;
        Ok(Some(Self))
    }

    /// The mount point.
    pub fn folder(&self) -> &'static Path {
        Path::new(INVENTORY)
    }

    /// Unmounts it; what was written is on the medium then.
    pub fn unmount(self) -> Result<()> {
        rustix::mount::unmount(INVENTORY, rustix::mount::UnmountFlags::empty()).context("cannot unmount the inventory")
    }
}
