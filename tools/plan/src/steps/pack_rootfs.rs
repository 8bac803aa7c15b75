//! `rootfs.img` and `installer.img`: root file systems as images.

use super::{ComposeRootfs, Describe, Keep, Short};
use crate::{
    Composed, ImageRef, Input, Need, NodeId, Signing,
    planner::{Planner, input, need, tool_input},
};
use anyhow::Result;
use knobs::{Compression, RootfsFormat};
use std::path::PathBuf;

/// Where the files of an image come from.
#[derive(Clone, Debug)]
pub enum RootfsFiles {
    /// From a tar.
    Tar(PathBuf),
    /// From the images of a yml. The tar that this would write is not made.
    Images(ComposeRootfs),
}

/// Packs files into a squashfs or ext4 image.
#[derive(Clone, Debug)]
pub struct PackRootfs {
    /// The files.
    pub files: RootfsFiles,
    /// The image.
    pub out: PathBuf,
    /// A link to it with the version in its name.
    pub link: Option<PathBuf>,
    /// The file system.
    pub format: RootfsFormat,
    /// The compressor, for squashfs.
    pub compression: Compression,
    /// The largest size in bytes, the partition's; `u64::MAX` for no limit.
    pub limit: u64,
    /// Unix timestamp for files that carry none.
    pub epoch: i64,
    /// How its boot chain is signed, if it is.
    pub signing: Option<Signing>,
    /// The image mkrootfs-squash or mkrootfs-ext4.
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
        if let Some(signing) = &self.signing {
            let has_keys = signing.medium.as_ref().is_some_and(|medium| !medium.variables.is_empty());
            let keys = if has_keys { " and the keys to enrol" } else { "" };
            details.push(format!("signed for Secure Boot, with dm-verity{keys}"));
        }
        let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) };
        let format = match self.format {
            RootfsFormat::Squash => "squashfs",
            RootfsFormat::Ext4 => "ext4",
        };
        let link = self.link.as_ref().map_or_else(String::new, |link| format!(", linked as {}", short(link)));
        let work = match &self.files {
            RootfsFiles::Tar(tar) => format!("pack {} as", short(tar)),
            RootfsFiles::Images(ComposeRootfs { yml, images, .. }) => {
                format!("compose {} and {} images of this tree as", short(yml), images.len())
            }
        };
        format!("{work} {format}{details}: {}{link}", short(&self.out))
    }

    fn tool(&self) -> Option<&ImageRef> {
        self.tool.as_ref()
    }

    /// A link with another hypervisor's name would point to this image.
    fn owns_its_outputs(&self) -> bool {
        true
    }

    /// A squashfs cannot be mounted for writing.
    fn keep(&self) -> Keep {
        if self.format == RootfsFormat::Squash { Keep::Linked } else { Keep::Copied }
    }
}

impl Planner<'_> {
    /// `installer.img`: composed, or copied from a package.
    pub(crate) fn installer_part(&mut self) -> Result<Vec<NodeId>> {
        if self.can.installer_is_composed { Ok(vec![self.installer_img()?]) } else { self.parts(&["installer.img"]) }
    }

    /// `installer.img` of an installer with its own root file system. It goes onto a disk of its own, so its size has no limit.
    pub(crate) fn installer_img(&mut self) -> Result<NodeId> {
        let name = self.facts.profile().installer.as_ref().map_or("installer.img", |installer| &installer.image).to_owned();
        self.pack(NodeId::InstallerImg, Composed::Installer, &name, vec![], vec![], u64::MAX)
    }

    /// `verification.img`: composed, or copied from a package.
    pub(crate) fn verification_part(&mut self) -> Result<Vec<NodeId>> {
        if self.can.verification_is_own { Ok(vec![self.verification_img()?]) } else { self.parts(&["verification.img"]) }
    }

    /// The root file system of a composed verification.
    pub(crate) fn verification_img(&mut self) -> Result<NodeId> {
        let name = self.facts.profile().verification.as_ref().map_or("verification.img", |disk| &disk.image).to_owned();
        self.pack(NodeId::VerificationImg, Composed::Verification, &name, vec![], vec![], u64::MAX)
    }

    /// `rootfs.img` and its versioned name.
    pub(crate) fn rootfs_img(&mut self) -> Result<NodeId> {
        let needs = vec![need(&self.version(), "the version stands beside the image")];
        let image = &self.knobs.image;
        let own_limit = || self.facts.profile().rootfs_limit(image.rootfs_format, &image.hv, &image.platform);
        let limit = image.rootfs_most.map_or_else(own_limit, |mib| mib << 20);
        let inputs = vec![input("version", self.full_version()), input("limit", limit)];
        self.pack(NodeId::RootfsImg, Composed::Rootfs, "rootfs.img", inputs, needs, limit)
    }

    fn pack(&mut self, id: NodeId, of: Composed, name: &str, mut inputs: Vec<Input>, mut needs: Vec<Need>, limit: u64) -> Result<NodeId> {
        let (mut format, compression) = (self.knobs.image.rootfs_format, self.knobs.image.compression);
        if of != Composed::Rootfs && self.can.installer_is_own {
            format = RootfsFormat::Squash;
        }
        let signing = self.signing(of)?;
        let (signing, signing_inputs) = signing.unzip();
        inputs.extend(signing_inputs.into_iter().flatten());
        if signing.is_some() {
            needs.push(self.verity_package()?);
        }
        let files = match self.can.images_are_packed_directly() {
            true => {
                let (own_inputs, own_needs, step) = self.composition(of)?;
                inputs.extend(own_inputs);
                needs.extend(own_needs);
                // There is no older tar: with LIVE_FAST this is the same image.
                RootfsFiles::Images(ComposeRootfs { update: false, ..step })
            }
            false => {
                needs.push(need(&self.tar(of)?, "the files"));
                RootfsFiles::Tar(self.tar_path(of))
            }
        };
        let tool = self.tool(&format!("mkrootfs-{format}"), &mut needs)?;
        inputs.extend([input("ROOTFS_FORMAT", format), input("ROOTFS_COMPRESSION", compression), self.time()]);
        inputs.extend(tool_input(tool.as_ref()));
        let out = self.layout.part(name);
        // Both names of the installer are in the specification.
        let link = match of {
            Composed::Rootfs => Some(format!("rootfs-{}.{format}", self.full_version())),
            Composed::Installer | Composed::Verification => Some(format!("{}.img", of.as_str())).filter(|link| link != name),
        };
        let link = link.map(|link| self.layout.part(&link));
        let outputs: Vec<PathBuf> = [out.clone()].into_iter().chain(link.clone()).collect();
        let epoch = self.facts.epoch();
        Ok(self.add(id, inputs, needs, outputs, PackRootfs { files, out, link, format, compression, limit, epoch, signing, tool }))
    }
}
