//! `installer.net`: the installer for a network boot.

use super::{Describe, Short};
use crate::{
    DiskKind, NodeId,
    planner::{Planner, need},
};
use anyhow::Result;
use std::path::PathBuf;

/// Packs the parts for a network boot into a tar.
#[derive(Clone, Debug)]
pub struct MakeNet {
    /// The installer has a root file system of its own among the parts, and no ISO.
    pub own: bool,
    /// The ISO to boot, if it contains everything.
    pub iso: Option<PathBuf>,
    /// The folder of the parts.
    pub parts: PathBuf,
    /// Unix timestamp for files that carry none.
    pub epoch: i64,
    /// The tar.
    pub out: PathBuf,
}

impl Describe for MakeNet {
    fn describe(&self, short: &Short<'_>) -> String {
        format!("pack what a netboot needs, of {}: {}", short(&self.parts), short(&self.out))
    }
}

impl Planner<'_> {
    /// `installer.net`.
    pub(crate) fn installer_net(&mut self) -> Result<NodeId> {
        // Under Secure Boot GRUB takes no configuration from a server.
        self.refuse_to_sign("installer.net")?;
        let mut needs;
        let mut iso = None;
        let own = self.can.installer_is_own;
        if own {
            needs = self.more_parts(&[], &["initrd.img", "kernel"])?;
            needs.push(need(&self.installer_img()?, "the root file system of the installer"));
            needs.push(need(&self.config_img()?, "the configuration"));
        } else if self.can.installer_is_composed {
            needs = self.more_parts(&["EFI"], &["initrd.img", "ipxe.efi"])?;
            needs.push(need(&self.installer_iso()?, "what is booted"));
            iso = Some(self.layout.installer_iso());
        } else {
            needs = self.more_parts(&["EFI"], &["initrd.img", "installer.img", "kernel"])?;
            needs.extend(self.contents()?);
        }
        needs.extend(self.files(DiskKind::Installer, &[]).iter().map(|files| need(files, "iPXE's configuration")));
        let (parts, epoch, out) = (self.layout.parts(DiskKind::Installer), self.facts.epoch(), self.layout.installer_net());
        let inputs = vec![self.time()];
        Ok(self.add(NodeId::InstallerNet, inputs, needs, [out.clone()], MakeNet { own, iso, parts, epoch, out }))
    }
}
