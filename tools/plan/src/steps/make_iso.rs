//! `installer.iso`: the installer as an ISO.

use super::{Describe, Short};
use crate::{
    Composed, DiskKind, ImageRef, NodeId,
    planner::{Planner, need, tool_input},
};
use anyhow::Result;
use diskimage::recipes::IsoKind;
use std::path::PathBuf;

/// Parts → an ISO that boots the installer.
#[derive(Clone, Debug)]
pub struct MakeIso {
    /// The kind of ISO.
    pub kind: IsoKind,
    /// The installer's root file system, if it has its own. Then the ISO contains it instead of the parts.
    pub tar: Option<PathBuf>,
    /// The folder of the parts.
    pub parts: PathBuf,
    /// Unix timestamp for files that carry none.
    pub epoch: i64,
    /// The ISO.
    pub out: PathBuf,
    /// The image mkimage-iso-efi.
    pub tool: Option<ImageRef>,
}

impl Describe for MakeIso {
    fn describe(&self, short: &Short<'_>) -> String {
        format!("make an ISO that boots, of {}: {}", short(self.tar.as_ref().unwrap_or(&self.parts)), short(&self.out))
    }

    fn tool(&self) -> Option<&ImageRef> {
        self.tool.as_ref()
    }
}

impl Planner<'_> {
    /// `installer.iso`.
    pub(crate) fn installer_iso(&mut self) -> Result<NodeId> {
        let mut needs = Vec::new();
        let mut tar = None;
        if self.can.installer_is_own {
            needs.push(need(&self.installer_img()?, "the root file system of the installer"));
            needs.push(need(&self.config_img()?, "the configuration"));
        } else if self.can.installer_is_composed {
            needs.push(need(&self.tar(Composed::Installer)?, "the files"));
            needs.extend(self.parts_if_any(&["bsp-imx"])?.iter().map(|id| need(id, "boards' boot loaders")));
            tar = Some(self.tar_path(Composed::Installer));
        } else {
            needs.extend(self.more_parts(&["EFI"], &["initrd.img", "installer.img"])?);
            needs.extend(self.contents()?);
            needs.extend(self.files(DiskKind::Installer, &[]).iter().map(|files| need(files, "GRUB's configuration")));
        }
        let tool = self.tool("mkimage-iso-efi", &mut needs)?;
        let (parts, epoch, out) = (self.layout.parts(DiskKind::Installer), self.facts.epoch(), self.layout.installer_iso());
        let inputs = tool_input(tool.as_ref()).into_iter().chain([self.time()]).collect();
        let outputs = [out.clone()];
        let step = MakeIso { kind: IsoKind::Installer, tar, parts, epoch, out, tool };
        Ok(self.add(NodeId::InstallerIso, inputs, needs, outputs, step))
    }
}
