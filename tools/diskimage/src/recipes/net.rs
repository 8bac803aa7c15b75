//! installer.net: a tar with what a device that boots from the network loads.

use super::Parts;
use anyhow::{Result, bail};
use std::io::Write;

/// What the tar holds, in its order. `initrd.bits` is made here, of `config.img` and `persist.img`; all others are parts.
pub const NET_FILES: &[&str] = &["ipxe.efi.cfg", "kernel", "initrd.img", "installer.img", "initrd.bits", "rootfs.img"];

/// Writes the tar from `parts` (read with `Parts::of_folder(folder, true)`).
pub fn write_installer_net(_parts: &Parts, _epoch: i64, _out: &mut dyn Write) -> Result<()> {
    bail!("not written yet")
}
