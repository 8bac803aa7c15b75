//! The raw disks: live, installer and verification.

use super::{Describe, Keep, Short};
use crate::{
    DiskKind, ImageRef, Input, Need, NodeId,
    planner::{Planner, input, need, tool_input},
};
use anyhow::Result;
use common::error::usage;
use std::path::PathBuf;

/// Makes a disk with a partition table from the parts.
#[derive(Clone, Debug)]
pub struct MakeDisk {
    /// The kind of disk.
    pub kind: DiskKind,
    /// The folder of the parts: rootfs.img, config.img, persist.img and more.
    pub parts: PathBuf,
    /// The root file system of a medium, if it is not `rootfs_installer.img` among the parts.
    pub root: Option<PathBuf>,
    /// The partitions, in order; an entry may contain several names.
    pub words: Vec<String>,
    /// The disk's size.
    pub bytes: u64,
    /// The disk exists, and the tool container may read it.
    pub keep: bool,
    /// The tool container creates the file and chooses its size.
    pub grows: bool,
    /// The platform, if the tool container needs it.
    pub platform: Option<String>,
    /// The board, if its boot loader must be on the disk.
    pub board: Option<String>,
    /// Unix timestamp of the ESP's files.
    pub epoch: i64,
    /// If the disk is written as qcow2 and not raw: how.
    pub qcow2: Option<Qcow2>,
    /// The disk.
    pub out: PathBuf,
    /// The image mkimage-raw-efi or mkverification-raw-efi.
    pub tool: Option<ImageRef>,
}

/// A disk as qcow2.
#[derive(Clone, Copy, Debug)]
pub struct Qcow2 {
    /// The final size of the disk.
    pub size_mib: u64,
    /// Whether clusters are compressed.
    pub compressed: bool,
}

impl Describe for MakeDisk {
    fn describe(&self, short: &Short<'_>) -> String {
        let format = self.qcow2.map_or_else(String::new, |qcow2| format!(" as qcow2, {} MiB", qcow2.size_mib));
        format!("partition a disk ({}) with {}{format}: {}", self.words.join(" "), short(&self.parts), short(&self.out))
    }

    fn tool(&self) -> Option<&ImageRef> {
        self.tool.as_ref()
    }

    fn changes_in_place(&self) -> bool {
        self.keep
    }

    /// A disk is written from its parts as fast as it is copied.
    fn keep(&self) -> Keep {
        if self.keep { Keep::Never } else { Keep::Digests }
    }
}

/// Parts of a disk besides the root file system and the configuration: the optional and the required ones.
const fn wanted_parts(kind: DiskKind, composed: bool) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        _ if composed => (&["boot", "EFI", "bsp-imx"], &[]),
        DiskKind::Live => (&["boot", "EFI", "bsp-imx"], &[]),
        DiskKind::Installer => (&["boot", "EFI"], &["initrd.img", "installer.img"]),
        DiskKind::Verification => (&["boot", "EFI", "bsp-imx"], &["initrd.img", "verification.img"]),
    }
}

impl Planner<'_> {
    /// The contents of every disk and installer: root file system, configuration, an empty /persist.
    pub(crate) fn contents(&mut self) -> Result<Vec<Need>> {
        Ok(vec![
            need(&self.rootfs_img()?, "the content of IMGA, and of the ESP"),
            need(&self.config_img()?, "the content of CONFIG"),
            need(&self.persist_img(), "the start of P3"),
        ])
    }

    /// The needs of a disk, except its tool.
    fn needs_of_disk(&mut self, kind: DiskKind) -> Result<Vec<Need>> {
        let of_own_verification = kind == DiskKind::Verification && self.can.verification_is_own;
        let composed = kind == DiskKind::Installer && self.can.installer_is_composed || of_own_verification;
        let (some, all) = wanted_parts(kind, composed);
        let mut needs = self.more_parts(some, all)?;
        if composed {
            let image = if of_own_verification { self.verification_img()? } else { self.installer_img()? };
            let place = if self.can.installer_is_own { "the content of IMGA, and of the ESP" } else { "the content of INSTALLER" };
            needs.push(need(&image, place));
            needs.push(need(&self.config_img()?, "the content of CONFIG"));
        } else {
            needs.extend(self.contents()?);
        }
        needs.extend(self.platform().iter().map(|id| need(id, "it stands beside the parts")));
        let files = self.files(kind, &needs);
        needs.extend(files.iter().map(|files| need(files, "they lie beside the parts")));
        Ok(needs)
    }

    /// A raw disk.
    pub(crate) fn disk(&mut self, kind: DiskKind) -> Result<NodeId> {
        let (inputs, needs, step) = self.disk_step(kind)?;
        let outputs = [step.out.clone()];
        Ok(self.add(NodeId::Disk(kind), inputs, needs, outputs, step))
    }

    /// What makes a raw disk: inputs, needs and step.
    pub(super) fn disk_step(&mut self, kind: DiskKind) -> Result<(Vec<Input>, Vec<Need>, MakeDisk)> {
        let spec = self.disk_spec(kind)?;
        let mut needs = self.needs_of_disk(kind)?;
        let of_own_verification = kind == DiskKind::Verification && self.can.verification_is_own;
        let tool = if kind == DiskKind::Verification && !of_own_verification { "mkverification-raw-efi" } else { "mkimage-raw-efi" };
        let tool = self.tool(tool, &mut needs)?;
        let out = self.layout.disk(kind);
        let words = self.partitions(kind, spec.parts.clone());
        let mut inputs =
            vec![input("partitions", words.join(" ")), input("mebibytes", spec.mebibytes), input("grows", spec.grows), self.time()];
        inputs.extend(tool_input(tool.as_ref()));
        let board = self.board(kind)?;
        inputs.extend(board.iter().map(|board| input("PLATFORM", board)));
        let step = MakeDisk {
            kind,
            parts: self.layout.parts(if of_own_verification { DiskKind::Installer } else { kind }),
            root: of_own_verification.then(|| self.layout.part(&spec.image)),
            words,
            bytes: spec.mebibytes << 20,
            keep: false,
            grows: spec.grows,
            platform: self.can.platforms_have_names.then(|| self.knobs.image.platform.clone()),
            board,
            epoch: self.facts.epoch(),
            qcow2: None,
            out,
            tool,
        };
        Ok((inputs, needs, step))
    }

    /// The partitions of a disk: those of LIVE_PARTS if it is live and they are given, else the `usual` ones.
    pub(super) fn partitions(&self, kind: DiskKind, usual: Vec<String>) -> Vec<String> {
        let asked = self.knobs.image.live_parts.as_deref().filter(|_| kind == DiskKind::Live);
        asked.map_or(usual, |words| words.split_whitespace().map(str::to_owned).collect())
    }

    /// The disk's section in the profile.
    fn disk_spec(&self, kind: DiskKind) -> Result<crate::profile::DiskTable> {
        let profile = self.facts.profile();
        let spec = match kind {
            DiskKind::Live => Some(profile.live.clone()),
            DiskKind::Installer => profile.installer.clone(),
            DiskKind::Verification => profile.verification.clone(),
        };
        spec.ok_or_else(|| {
            usage(format!(
                "{} has no {word} disk: its profile has no [{word}]\nhint: lf-edge/eve {}has one: cargo xtask --root DIR {word}-raw",
                profile.tree.name,
                if kind == DiskKind::Verification { "of 2023 " } else { "" },
                word = kind.as_str(),
            ))
        })
    }

    /// The board whose boot loader is written to the disk: PLATFORM, if it is an i.MX.
    fn board(&self, kind: DiskKind) -> Result<Option<String>> {
        let platform = self.knobs.image.platform.as_str();
        let has_none = kind == DiskKind::Installer && !self.can.installer_is_composed;
        if has_none || !platform.contains("imx") {
            return Ok(None);
        }
        if !self.facts.profile().parts.contains_key("bsp-imx") {
            return Err(usage(format!("PLATFORM={platform}: {} has no package bsp-imx with boards", self.facts.profile().tree.name)));
        }
        Ok(Some(platform.to_owned()))
    }
}
