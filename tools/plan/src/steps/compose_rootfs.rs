//! A root file system as a tar, composed of the images that a yml names.

use super::{Describe, Short};
use crate::{
    Composed, DiskKind, ImageRef, Need, Node, NodeId,
    planner::{Planner, input, need},
};
use anyhow::Result;
use common::{Arch, error::usage};
use std::path::PathBuf;

/// yml → rootfs.tar.
#[derive(Clone, Debug)]
pub struct ComposeRootfs {
    /// The resolved yml.
    pub yml: PathBuf,
    /// The images that it names and this tree makes.
    pub images: Vec<ImageRef>,
    /// For which machine.
    pub arch: Arch,
    /// Where linuxkit is started: relative sources of the yml's `files` lie below it.
    pub sources: PathBuf,
    /// A file that takes the place of the kernel in the tar.
    pub kernel: Option<PathBuf>,
    /// Files of an older tar need not be looked up again.
    pub update: bool,
    /// The tar.
    pub out: PathBuf,
}

impl Describe for ComposeRootfs {
    fn describe(&self, short: &Short<'_>) -> String {
        format!("compose {} and {} images of this tree: {}", short(&self.yml), self.images.len(), short(&self.out))
    }
}

impl Planner<'_> {
    /// Where the composed tar lies.
    pub(crate) fn tar_path(&self, of: Composed) -> PathBuf {
        self.layout.tar(of, &self.platform_suffix())
    }

    /// `rootfs.tar` or `installer.tar`.
    pub(crate) fn tar(&mut self, of: Composed) -> Result<NodeId> {
        let (yml, packages) = self.yml(of)?;
        let mut needs = vec![need(&yml, "the list of images")];
        let mut images = Vec::new();
        let builds_packages = !self.can.packages_are_published || self.knobs.image.rootfs_deps;
        for name in packages.iter().filter(|_| builds_packages) {
            needs.push(need(&self.package(name, self.knobs.image.arch, &mut Vec::new())?, "an image in the yml"));
            images.push(ImageRef { reference: self.facts.package(name)?.reference, arch: self.knobs.image.arch });
        }
        needs.extend(self.sources_of_files(of)?);
        let mut inputs = vec![input("ZARCH", self.knobs.image.arch)];
        let kernel = self.knobs.image.kernel_image.as_ref().filter(|_| of == Composed::Rootfs).map(|path| self.facts.root().join(path));
        if let Some(kernel) = &kernel {
            let digest = self.facts.file_digest(kernel).map_err(|error| usage(format!("KERNEL_IMAGE: {error:#}")))?;
            inputs.push(input("KERNEL_IMAGE", digest));
        }
        let out = self.tar_path(of);
        let update = self.knobs.image.live_update;
        let (yml, arch, sources) = (self.yml_path(of), self.knobs.image.arch, self.sources());
        Ok(self.add(Node {
            id: NodeId::Tar(of),
            inputs,
            needs,
            outputs: vec![out.clone()],
            step: ComposeRootfs { yml, images, arch, sources, kernel, update, out }.into(),
        }))
    }

    /// Where linuxkit is started. A tree that puts artifacts into its ymls has them below the folder of the parts; in this
    /// repository they are named from its root.
    fn sources(&self) -> PathBuf {
        if self.can.platforms_have_names {
            self.layout.parts(DiskKind::Installer)
        } else if self.can.packages_are_published {
            self.layout.path().to_owned()
        } else {
            self.facts.root().to_owned()
        }
    }

    /// What a yml's `files` take from the folder of the parts.
    fn sources_of_files(&mut self, of: Composed) -> Result<Vec<Need>> {
        if !self.can.platforms_have_names {
            return Ok(vec![]);
        }
        let mut ids = vec![self.version()];
        ids.extend(self.files(DiskKind::Installer, &[]));
        if of == Composed::Installer {
            ids.extend([self.rootfs_img()?, self.config_img()?, self.persist_img()]);
        }
        Ok(ids.iter().map(|id| need(id, "a file in the yml")).collect())
    }

    /// The installer's root file system, before it is an image.
    pub(crate) fn installer_tar(&mut self) -> Result<Vec<NodeId>> {
        if self.can.installer_is_composed {
            return Ok(vec![self.tar(Composed::Installer)?]);
        }
        let name = &self.facts.profile().tree.name;
        Err(usage(format!(
            "{name} has no installer.tar: its profile has no [templates] installer\nhint: installer-raw and installer-iso make what installs"
        )))
    }
}
