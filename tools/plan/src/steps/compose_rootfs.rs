//! A root file system as a tar, composed of the images in a yml.

use super::{Describe, Keep, Short};
use crate::{
    Composed, DiskKind, ImageRef, Input, Need, NodeId,
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
    /// The images in the yml that this tree builds.
    pub images: Vec<ImageRef>,
    /// The architecture.
    pub arch: Arch,
    /// The folder in which linuxkit runs: relative paths in the yml's `files` start there.
    pub sources: PathBuf,
    /// A file that replaces the kernel in the tar.
    pub kernel: Option<PathBuf>,
    /// A hypervisor to put into the tar, and its place there.
    pub hypervisor: Option<(PathBuf, String)>,
    /// Reuse the files of an older tar.
    pub update: bool,
    /// The tar.
    pub out: PathBuf,
}

impl Describe for ComposeRootfs {
    fn describe(&self, short: &Short<'_>) -> String {
        format!("compose {} and {} images of this tree: {}", short(&self.yml), self.images.len(), short(&self.out))
    }

    /// An update reads the older tar. An image that the yml names and this tree does not build is an input by its name only, as for stamps.
    fn keep(&self) -> Keep {
        if self.update { Keep::Never } else { Keep::Linked }
    }
}

impl Planner<'_> {
    /// The path of the composed tar.
    pub(crate) fn tar_path(&self, of: Composed) -> PathBuf {
        self.layout.tar(of, &self.platform_suffix())
    }

    /// `rootfs.tar`, `installer.tar` or `verification.tar`.
    pub(crate) fn tar(&mut self, of: Composed) -> Result<NodeId> {
        let (inputs, needs, step) = self.composition(of)?;
        let outputs = [step.out.clone()];
        Ok(self.add(NodeId::Tar(of), inputs, needs, outputs, step))
    }

    /// The inputs and needs of whatever composes a root file system, and the step that writes it as a tar.
    pub(crate) fn composition(&mut self, of: Composed) -> Result<(Vec<Input>, Vec<Need>, ComposeRootfs)> {
        let (yml, packages) = self.yml(of)?;
        let mut needs = vec![need(&yml, "the list of images")];
        let mut images = Vec::new();
        let builds_packages = !self.can.packages_are_published || self.knobs.image.rootfs_deps;
        let with_args: Vec<String> = self.facts.profile().packages.build_args.keys().filter(|_| !builds_packages).cloned().collect();
        for name in &packages {
            let facts = if with_args.contains(name) { Some(self.facts.package(name)?) } else { None };
            // No registry has an image with build arguments.
            let id = match facts.filter(|facts| !facts.build_args.is_empty()) {
                Some(facts) => self.package_of_fetched(facts)?,
                None if builds_packages => self.package(name, self.knobs.image.arch, &mut Vec::new())?,
                None => continue,
            };
            needs.push(need(&id, "an image in the yml"));
            images.push(ImageRef { reference: self.facts.package(name)?.reference, arch: self.knobs.image.arch });
        }
        needs.extend(self.sources_of_files(of)?);
        let mut inputs = vec![input("ZARCH", self.knobs.image.arch)];
        let kernel = self.knobs.image.kernel_image.as_ref().filter(|_| of == Composed::Rootfs).map(|path| self.facts.root().join(path));
        if let Some(kernel) = &kernel {
            let digest = self.facts.file_digest(kernel).map_err(|error| usage(format!("KERNEL_IMAGE: {error:#}")))?;
            inputs.push(input("KERNEL_IMAGE", digest));
        }
        let hypervisor = if of == Composed::Rootfs { self.hypervisor_file()? } else { None };
        if let Some((file, _)) = &hypervisor {
            let digest = self.facts.file_digest(file).map_err(|error| usage(format!("ACRN_BIN: {error:#}")))?;
            inputs.push(input("ACRN_BIN", digest));
        }
        let out = self.tar_path(of);
        let update = self.knobs.image.live_update || self.knobs.image.live_fast;
        let (yml, arch, sources) = (self.yml_path(of), self.knobs.image.arch, self.sources(of));
        Ok((inputs, needs, ComposeRootfs { yml, images, arch, sources, kernel, hypervisor, update, out }))
    }

    /// The file of ACRN_BIN, and its place in the image.
    fn hypervisor_file(&self) -> Result<Option<(PathBuf, String)>> {
        let Some(file) = &self.knobs.image.acrn_bin else { return Ok(None) };
        let (profile, hv) = (self.facts.profile(), &self.knobs.image.hv);
        match profile.rootfs.hypervisor_files.get(hv) {
            Some(place) => Ok(Some((self.facts.root().join(file), place.clone()))),
            None => Err(usage(format!(
                "ACRN_BIN={}: an image of {} for HV={hv} takes no hypervisor from a file\nhint: HV=acrn, or unset ACRN_BIN",
                file.display(),
                profile.tree.name
            ))),
        }
    }

    /// The folder in which linuxkit runs. Ymls of trees with platforms in names, and those of our installer, contain artifacts in the folder
    /// of the parts; that of this repository's root file system contains paths below its root.
    fn sources(&self, of: Composed) -> PathBuf {
        if self.can.platforms_have_names || of != Composed::Rootfs && self.can.installer_is_own {
            self.layout.parts(DiskKind::Installer)
        } else if self.can.packages_are_published {
            self.layout.path().to_owned()
        } else {
            self.facts.root().to_owned()
        }
    }

    /// The nodes of the artifacts that a yml's `files` contain.
    fn sources_of_files(&mut self, of: Composed) -> Result<Vec<Need>> {
        if of != Composed::Rootfs && self.can.installer_is_own {
            return Ok(vec![need(&self.rootfs_img()?, "what it installs, a file in the yml")]);
        }
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

    /// `installer.tar`; an error if the tree's installer has no root file system of its own.
    pub(crate) fn installer_tar(&mut self) -> Result<Vec<NodeId>> {
        if self.can.installer_is_composed {
            return Ok(vec![self.tar(Composed::Installer)?]);
        }
        let name = &self.facts.profile().tree.name;
        Err(usage(format!(
            "{name} has no installer.tar: its profile has no [templates] installer\nhint: installer-raw and installer-iso build the installer"
        )))
    }
}
