//! EVE's disks as data: the kinds of partitions that the original's make-raw knows, and the lists that make live and installer.

use crate::disk::{Source, Table};
use anyhow::{Result, bail};
use std::str::FromStr;

/// The kinds of partitions, by the names that make-raw takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `efi`: the EFI system partition.
    Efi,
    /// `imga`: the first root file system.
    Imga,
    /// `imgb`: the second root file system, empty at first.
    Imgb,
    /// `conf`: the configuration.
    Conf,
    /// `conf_win`: the same under a type that Windows shows.
    ConfWin,
    /// `persist`: P3, up to the disk's end.
    Persist,
    /// `installer`: an EFI system partition with everything to install.
    Installer,
    /// `inventory_win`: where the installer leaves its report.
    InventoryWin,
    /// `usb_conf`: a stick with a device's port configuration, alone on its disk.
    UsbConf,
}

/// What lies on `live.raw`, in the original's order.
pub const LIVE: &[Kind] = &[Kind::Efi, Kind::Conf, Kind::Imga];

/// What lies on `installer.raw`, in the original's order.
pub const INSTALLER: &[Kind] = &[Kind::ConfWin, Kind::Installer, Kind::InventoryWin];

/// Size of live.raw and installer.raw: 350 MiB. `MEDIA_SIZE` applies later, when the image is converted or resized.
pub const DISK_SIZE: u64 = 350 << 20;

impl Kind {
    /// Bytes of the partition (0 for those that take the rest): the size of a FAT volume for it.
    #[must_use]
    pub fn size(self) -> u64 {
        0
    }
}

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        bail!("there is no partition kind `{text}`")
    }
}

/// The table for `kinds` on a disk of `size` bytes, in their order, each with its content.
pub fn table(kinds: Vec<(Kind, Source)>, size: u64) -> Result<Table> {
    let _ = (kinds, size);
    bail!("not written yet")
}
