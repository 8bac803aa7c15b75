//! A root file system as an image.

use super::{Describe, Short};
use crate::{
    Composed, ImageRef, Node, NodeId,
    planner::{Planner, input, need, tool_input},
};
use anyhow::Result;
use knobs::{Compression, RootfsFormat};
use std::path::PathBuf;

/// rootfs.tar → squashfs or ext4.
#[derive(Clone, Debug)]
pub struct PackRootfs {
    /// The tar.
    pub tar: PathBuf,
    /// `rootfs.img`.
    pub out: PathBuf,
    /// A link to it under its versioned name.
    pub link: Option<PathBuf>,
    /// Which file system.
    pub format: RootfsFormat,
    /// How to compress.
    pub compression: Compression,
    /// The most bytes that fit on the partition; `u64::MAX` where nothing limits it.
    pub limit: u64,
    /// Unix timestamp for files that carry none.
    pub epoch: i64,
    /// mkrootfs-*.
    pub tool: Option<ImageRef>,
}

impl Describe for PackRootfs {
    fn describe(&self, short: &Short<'_>) -> String {
        let mut details = Vec::new();
        if self.format == RootfsFormat::Squash {
            details.push(self.compression.to_string());
        }
        if self.limit != u64::MAX {
            details.push(format!("at most {} bytes", self.limit));
        }
        let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) };
        let format = match self.format {
            RootfsFormat::Squash => "squashfs",
            RootfsFormat::Ext4 => "ext4",
        };
        let link = self.link.as_ref().map_or_else(String::new, |link| format!(", linked as {}", short(link)));
        format!("pack {} as {format}{details}: {}{link}", short(&self.tar), short(&self.out))
    }

    fn tool(&self) -> Option<&ImageRef> {
        self.tool.as_ref()
    }
}

impl Planner<'_> {
    /// `installer.img`: composed, or out of a package.
    pub(crate) fn installer_part(&mut self) -> Result<Vec<NodeId>> {
        if self.can.installer_is_composed { Ok(vec![self.installer_img()?]) } else { self.parts(&["installer.img"]) }
    }

    /// The installer's own root file system.
    pub(crate) fn installer_img(&mut self) -> Result<NodeId> {
        let tar = self.tar(Composed::Installer)?;
        let format = self.knobs.image.rootfs_format;
        let mut needs = vec![need(&tar, "the files")];
        let tool = self.tool(&format!("mkrootfs-{format}"), &mut needs)?;
        let out = self.layout.part("installer.img");
        let mut inputs = vec![input("ROOTFS_FORMAT", format), input("ROOTFS_COMPRESSION", self.knobs.image.compression), self.time()];
        inputs.extend(tool_input(tool.as_ref()));
        Ok(self.add(Node {
            id: NodeId::InstallerImg,
            inputs,
            needs,
            outputs: vec![out.clone()],
            step: PackRootfs {
                tar: self.tar_path(Composed::Installer),
                out,
                link: None,
                format,
                compression: self.knobs.image.compression,
                // It goes onto a stick of its own size.
                limit: u64::MAX,
                epoch: self.facts.epoch(),
                tool,
            }
            .into(),
        }))
    }

    /// `rootfs.img` and its versioned name.
    pub(crate) fn rootfs_img(&mut self) -> Result<NodeId> {
        let version = self.version();
        let tar = self.tar(Composed::Rootfs)?;
        let format = self.knobs.image.rootfs_format;
        let mut needs = vec![need(&version, "the version stands beside the image"), need(&tar, "the files")];
        let tool = self.tool(&format!("mkrootfs-{format}"), &mut needs)?;
        let out = self.layout.part("rootfs.img");
        let link = self.layout.part(&format!("rootfs-{}.{format}", self.full_version()));
        let limit = self.facts.profile().rootfs_limit(&self.knobs.image.hv, &self.knobs.image.platform);
        let mut inputs = vec![
            input("version", self.full_version()),
            input("ROOTFS_FORMAT", format),
            input("ROOTFS_COMPRESSION", self.knobs.image.compression),
            input("limit", limit),
            self.time(),
        ];
        inputs.extend(tool_input(tool.as_ref()));
        Ok(self.add(Node {
            id: NodeId::RootfsImg,
            inputs,
            needs,
            outputs: vec![out.clone(), link.clone()],
            step: PackRootfs {
                tar: self.tar_path(Composed::Rootfs),
                out,
                link: Some(link),
                format,
                compression: self.knobs.image.compression,
                limit,
                epoch: self.facts.epoch(),
                tool,
            }
            .into(),
        }))
    }
}
