//! What the medium brings: rootfs.img, CONFIG, and the partition for reports.

use crate::{
    disks::{Disk, MEDIUM},
    target,
};
use anyhow::{Context as _, Result};
use diskimage::FileImage;
use filetree::{Content, Kind, Node, Tree};
use std::{
    fs::File,
    path::{Path, PathBuf},
};

/// The root file system that is installed, below the root folder.
const ROOTFS: &str = "rootfs.img";
/// Where the partition for reports is mounted.
const INVENTORY: &str = "/inventory";

/// The files of CONFIG: from the partition of the medium, or from config.img beside the root file system. `root` is the root folder (`/`).
pub fn config(root: &Path, disks: &[Disk]) -> Result<Tree> {
    let path = match partition(root, disks, "CONFIG") {
        Some(device) => device,
        None => root.join(MEDIUM.trim_start_matches('/')).join("config.img"),
    };
    let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    target::read_volume(&FileImage::new(file)?).with_context(|| format!("cannot read the configuration in {}", path.display()))
}

/// The text of a file of CONFIG; empty without one. FAT knows no difference between `grub.cfg` and `GRUB.CFG`.
pub fn text(config: &Tree, name: &str) -> Result<String> {
    let found = spelled(config, name).and_then(|name| config.get(name));
    let Some(Kind::File { content, .. }) = found.map(|node| &node.kind) else { return Ok(String::new()) };
    Ok(String::from_utf8_lossy(&content.read_all()?).into_owned())
}

/// Writes a line to a file of CONFIG, in the place of the one that has the name, however that is spelled.
pub fn set_text(config: &mut Tree, name: &str, text: &str) -> Result<()> {
    if let Some(old) = spelled(config, name) {
        config.remove(old);
    }
    config.insert(name, Node::file(0o644, 0, Content::from(format!("{text}\n").as_str())))
}

/// How CONFIG spells the name of a file.
fn spelled(config: &Tree, name: &str) -> Option<Vec<u8>> {
    let mut names = config.root.children()?.keys();
    names.find(|known| known.eq_ignore_ascii_case(name.as_bytes())).cloned()
}

/// rootfs.img.
pub fn rootfs(root: &Path) -> Result<Content> {
    Content::of_path(&root.join(ROOTFS))
}

/// The device of the medium's partition with this name.
fn partition(root: &Path, disks: &[Disk], name: &str) -> Option<PathBuf> {
    let partitions = disks.iter().filter(|disk| disk.is_medium()).flat_map(|disk| &disk.partitions);
    partitions.filter(|(_, _, label)| label == name).map(|(_, device, _)| root.join("dev").join(device)).next()
}

/// The mounted partition for reports. It is unmounted at the end.
pub struct Inventory;

impl Inventory {
    /// Mounts it; none if the medium has none.
    pub fn mount(root: &Path, disks: &[Disk]) -> Result<Option<Self>> {
        use rustix::mount::{MountFlags, mount};
        let Some(device) = partition(root, disks, "INVENTORY") else { return Ok(None) };
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
