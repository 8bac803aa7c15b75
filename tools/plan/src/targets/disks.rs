//! Disks, and what is made of them.

use super::{
    super::{Action, Composed, DiskJob, DiskKind, Need, Node, NodeId},
    Planner, input, need, tool_input,
};
use anyhow::Result;
use common::error::usage;
use diskimage::recipes::IsoKind;
use knobs::ImageFormat;

/// Parts beside the root file system and the configuration that a disk takes where the tree has them, and those that it must have.
const fn wanted_parts(kind: DiskKind, composed: bool) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        DiskKind::Installer if composed => (&["boot", "EFI", "bsp-imx"], &[]),
        DiskKind::Live => (&["boot", "EFI", "bsp-imx"], &[]),
        DiskKind::Installer => (&["boot", "EFI"], &["initrd.img", "installer.img"]),
        DiskKind::Verification => (&["boot", "EFI", "bsp-imx"], &["initrd.img", "verification.img"]),
    }
}

impl Planner<'_> {
    /// What every disk and installer has: root file system, configuration, an empty /persist.
    fn contents(&mut self) -> Result<Vec<Need>> {
        Ok(vec![
            need(&self.rootfs_img()?, "the content of IMGA, and of the ESP"),
            need(&self.config_img()?, "the content of CONFIG"),
            need(&self.persist_img(), "the start of P3"),
        ])
    }

    /// Whether the installer is a root file system of its own, rather than a package's image beside EVE's.
    pub(super) fn installer_is_composed(&self) -> bool {
        self.facts.profile().templates.installer.is_some()
    }

    /// `installer.img`: composed, or out of a package.
    pub(super) fn installer_part(&mut self) -> Result<Vec<NodeId>> {
        if self.installer_is_composed() { Ok(vec![self.installer_img()?]) } else { self.parts(&["installer.img"]) }
    }

    /// The installer's root file system, before it is an image.
    pub(super) fn installer_tar(&mut self) -> Result<Vec<NodeId>> {
        if self.installer_is_composed() {
            return Ok(vec![self.tar(Composed::Installer)?]);
        }
        let name = &self.facts.profile().tree.name;
        Err(usage(format!(
            "{name} has no installer.tar: its profile has no [templates] installer\nhint: installer-raw and installer-iso make what installs"
        )))
    }

    fn more_parts(&mut self, some: &[&'static str], all: &[&'static str]) -> Result<Vec<Need>> {
        let mut ids = self.parts_if_any(&[some, all].concat())?;
        if all.iter().any(|entry| !self.facts.profile().parts.contains_key(*entry)) {
            ids = self.parts(all)?;
        }
        Ok(ids.iter().map(|id| need(id, "boot loader, firmware or installer")).collect())
    }

    /// Files of the tree that lie beside the parts.
    pub(super) fn files(&mut self, kind: DiskKind, after: &[Need]) -> Option<NodeId> {
        let profile = self.facts.profile();
        let disk = if kind == DiskKind::Verification { &profile.verification } else { &profile.installer };
        let folder = disk.as_ref()?.files.clone()?;
        let kind = if kind == DiskKind::Verification { kind } else { DiskKind::Installer };
        let to = self.build_dir().join(kind.as_str());
        let mut from = vec![folder.clone()];
        let mut needs = vec![];
        if kind == DiskKind::Verification {
            from.insert(0, self.build_dir().join("installer"));
            needs = after.to_vec();
        }
        let digest = self.facts.folder_digest(&folder).ok()?;
        let outputs = self.facts.folder_files(&folder).ok()?.into_iter().map(|file| to.join(file)).collect();
        Some(self.add(Node {
            id: NodeId::Files(kind),
            inputs: vec![input("content", digest)],
            needs,
            outputs,
            action: Action::CopyFiles { from, to },
        }))
    }

    pub(super) fn disk(&mut self, kind: DiskKind) -> Result<NodeId> {
        let profile = self.facts.profile();
        let spec = match kind {
            DiskKind::Live => Some(profile.live.clone()),
            DiskKind::Installer => profile.installer.clone(),
            DiskKind::Verification => profile.verification.clone(),
        };
        let Some(spec) = spec else {
            return Err(usage(format!(
                "{} has no {word} disk: its profile has no [{word}]\nhint: lf-edge/eve {}has one: cargo xtask --root DIR {word}-raw",
                profile.tree.name,
                if kind == DiskKind::Verification { "of 2023 " } else { "" },
                word = kind.as_str(),
            )));
        };
        let composed = kind == DiskKind::Installer && self.installer_is_composed();
        let (some, all) = wanted_parts(kind, composed);
        let mut needs = self.more_parts(some, all)?;
        if composed {
            needs.push(need(&self.installer_img()?, "the content of INSTALLER"));
            needs.push(need(&self.config_img()?, "the content of CONFIG"));
        } else {
            needs.extend(self.contents()?);
        }
        needs.extend(self.platform().iter().map(|id| need(id, "it stands beside the parts")));
        let files = self.files(kind, &needs);
        needs.extend(files.iter().map(|files| need(files, "they lie beside the parts")));
        let tool = if kind == DiskKind::Verification { "mkverification-raw-efi" } else { "mkimage-raw-efi" };
        let tool = self.tool(tool, &mut needs)?;
        let folder = if kind == DiskKind::Verification { "verification" } else { "installer" };
        let out = self.build_dir().join(format!("{}.raw", kind.as_str()));
        let asked = self.knobs.optional("LIVE_PART_SPEC").filter(|_| kind == DiskKind::Live);
        let words = asked.map_or(spec.parts, |words| words.split_whitespace().map(str::to_owned).collect());
        let mut inputs =
            vec![input("partitions", words.join(" ")), input("mebibytes", spec.mebibytes), input("grows", spec.grows), self.time()];
        inputs.extend(tool_input(tool.as_ref()));
        let board = self.board(kind)?;
        inputs.extend(board.iter().map(|board| input("PLATFORM", board)));
        Ok(self.add(Node {
            id: NodeId::Disk(kind),
            inputs,
            needs,
            outputs: vec![out.clone()],
            action: Action::MakeDisk(DiskJob {
                kind,
                parts: self.build_dir().join(folder),
                words,
                bytes: spec.mebibytes << 20,
                keep: false,
                grows: spec.grows,
                platform: Some(self.knobs.platform.clone()).filter(|_| self.facts.profile().tree.platforms),
                board,
                epoch: self.facts.epoch(),
                out,
                tool,
            }),
        }))
    }

    /// The board whose boot loader goes onto the disk: an i.MX that PLATFORM names.
    fn board(&self, kind: DiskKind) -> Result<Option<String>> {
        let Some(platform) = self.knobs.optional("PLATFORM").filter(|platform| *platform != "generic") else { return Ok(None) };
        let has_none = kind == DiskKind::Installer && !self.installer_is_composed();
        if has_none || !platform.contains("imx") {
            return Ok(None);
        }
        if !self.facts.profile().parts.contains_key("bsp-imx") {
            return Err(usage(format!("PLATFORM={platform}: {} has no package bsp-imx with boards", self.facts.profile().tree.name)));
        }
        Ok(Some(platform.to_owned()))
    }

    pub(super) fn installer_iso(&mut self) -> Result<NodeId> {
        let mut needs = Vec::new();
        let mut tar = None;
        if self.installer_is_composed() {
            needs.push(need(&self.tar(Composed::Installer)?, "the files"));
            needs.extend(self.parts_if_any(&["bsp-imx"])?.iter().map(|id| need(id, "boards' boot loaders")));
            tar = Some(self.tar_path(Composed::Installer));
        } else {
            needs.extend(self.more_parts(&["EFI"], &["initrd.img", "installer.img"])?);
            needs.extend(self.contents()?);
            needs.extend(self.files(DiskKind::Installer, &[]).iter().map(|files| need(files, "GRUB's configuration")));
        }
        let tool = self.tool("mkimage-iso-efi", &mut needs)?;
        let out = self.build_dir().join("installer.iso");
        Ok(self.add(Node {
            id: NodeId::InstallerIso,
            inputs: tool_input(tool.as_ref()).into_iter().chain([self.time()]).collect(),
            needs,
            outputs: vec![out.clone()],
            action: Action::MakeIso {
                kind: IsoKind::Installer,
                tar,
                parts: self.build_dir().join("installer"),
                epoch: self.facts.epoch(),
                out,
                tool,
            },
        }))
    }

    pub(super) fn installer_net(&mut self) -> Result<NodeId> {
        let mut needs;
        let mut iso = None;
        if self.installer_is_composed() {
            needs = self.more_parts(&["EFI"], &["initrd.img", "ipxe.efi"])?;
            needs.push(need(&self.installer_iso()?, "what is booted"));
            iso = Some(self.build_dir().join("installer.iso"));
        } else {
            needs = self.more_parts(&["EFI"], &["initrd.img", "installer.img", "kernel"])?;
            needs.extend(self.contents()?);
        }
        needs.extend(self.files(DiskKind::Installer, &[]).iter().map(|files| need(files, "iPXE's configuration")));
        let out = self.build_dir().join("installer.net");
        Ok(self.add(Node {
            id: NodeId::InstallerNet,
            inputs: vec![self.time()],
            needs,
            outputs: vec![out.clone()],
            action: Action::MakeNet { iso, parts: self.build_dir().join("installer"), epoch: self.facts.epoch(), out },
        }))
    }

    /// The live disk, the firmware that `run` boots it with, and the links.
    pub(super) fn live(&mut self, format: ImageFormat, with_firmware: bool) -> Result<Vec<NodeId>> {
        let raw = self.disk(DiskKind::Live)?;
        let mut goals = Vec::new();
        if with_firmware {
            goals.push(self.firmware()?);
        }
        let made = if format == ImageFormat::Raw { raw } else { self.converted(format, &raw) };
        goals.push(self.current(&made));
        goals.push(made);
        Ok(goals)
    }

    fn converted(&mut self, format: ImageFormat, raw: &NodeId) -> NodeId {
        let name = match format {
            ImageFormat::Gcp => "live.img.tar.gz".to_owned(),
            other => format!("live.{other}"),
        };
        let out = self.build_dir().join(name);
        let size_mib = self.knobs.media_size;
        let uuid = self.knobs.text("PARALLELS_UUID").to_owned();
        let mut inputs = vec![input("MEDIA_SIZE", size_mib)];
        let compressed = !self.knobs.is_on("LIVE_UPDATE");
        if !compressed {
            inputs.push(input("LIVE_UPDATE", "y"));
        }
        if format == ImageFormat::Gcp {
            inputs.push(self.time());
        }
        if format == ImageFormat::Parallels {
            inputs.push(input("PARALLELS_UUID", &uuid));
        }
        self.add(Node {
            id: NodeId::Live(format),
            inputs,
            needs: vec![need(raw, "the disk")],
            outputs: vec![out.clone()],
            action: Action::ConvertDisk {
                raw: self.build_dir().join("live.raw"),
                format,
                size_mib,
                epoch: self.facts.epoch(),
                compressed,
                uuid,
                out,
            },
        })
    }
}
