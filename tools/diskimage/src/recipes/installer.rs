//! Installers: an ISO that boots by UEFI.

use super::Parts;
use crate::iso;
use anyhow::{Result, bail};

/// What an ISO is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsoKind {
    /// All of the parts as they are, with `EFI/BOOT` to boot from.
    Plain,
    /// The same with `grub.cfg` for GRUB's configuration and the files by which the installer finds its medium.
    Installer,
}

/// The ISO of `parts` (read with `Parts::of_folder(folder, true)`); what is named `rootfs-*` is left out.
pub fn iso(_kind: IsoKind, _parts: &Parts, _epoch: i64) -> Result<iso::Layout> {
    bail!("not written yet")
}
