//! The root file system, the configuration, and what stands beside them.

use super::{
    super::{Action, Composed, DiskKind, ImageRef, Need, Node, NodeId},
    Planner, input, need, tool_input,
};
use anyhow::Result;
use common::error::usage;
use diskimage::recipes;
use std::path::PathBuf;

impl Planner<'_> {
    /// `-rt`, where the tree tells platforms apart; nothing where it does not.
    pub(super) fn platform_suffix(&self) -> String {
        if self.facts.profile().tree.platforms { format!("-{}", self.knobs.platform) } else { String::new() }
    }

    /// Where the resolved yml lies: in a folder `images`, as in the tree, so that linuxkit is told the same short name.
    pub(super) fn yml_path(&self, of: Composed) -> PathBuf {
        self.build_dir().join("images").join(format!("{}-{}{}.yml", of.as_str(), self.knobs.hv, self.platform_suffix()))
    }

    pub(super) fn tar_path(&self, of: Composed) -> PathBuf {
        let suffix = if of == Composed::Rootfs { self.platform_suffix() } else { String::new() };
        self.build_dir().join(format!("{}{suffix}.tar", of.as_str()))
    }

    pub(super) fn yml(&mut self, of: Composed) -> Result<(NodeId, Vec<String>)> {
        let (text, template, packages) = self.facts.yml(of)?;
        let out = self.yml_path(of);
        let node = Node {
            id: NodeId::Yml(of),
            inputs: vec![input("text", &text)],
            needs: vec![],
            outputs: vec![out.clone()],
            action: Action::ResolveYml { template, out, text },
        };
        Ok((self.add(node), packages))
    }

    pub(super) fn tar(&mut self, of: Composed) -> Result<NodeId> {
        let (yml, packages) = self.yml(of)?;
        let mut needs = vec![need(&yml, "the list of images")];
        let mut images = Vec::new();
        let published = self.facts.profile().packages.published;
        for name in packages.iter().filter(|_| !published || self.knobs.is_on("ROOTFS_DEPS")) {
            needs.push(need(&self.package(name, self.knobs.arch, &mut Vec::new())?, "an image in the yml"));
            images.push(ImageRef { reference: self.facts.package(name)?.reference, arch: self.knobs.arch });
        }
        needs.extend(self.sources_of_files(of)?);
        let mut inputs = vec![input("ZARCH", self.knobs.arch)];
        let kernel = self.knobs.optional("KERNEL_IMAGE").filter(|_| of == Composed::Rootfs).map(|path| self.facts.root().join(path));
        if let Some(kernel) = &kernel {
            let digest = self.facts.file_digest(kernel).map_err(|error| usage(format!("KERNEL_IMAGE: {error:#}")))?;
            inputs.push(input("KERNEL_IMAGE", digest));
        }
        let out = self.tar_path(of);
        let update = self.knobs.is_on("LIVE_UPDATE");
        let (yml, arch, sources) = (self.yml_path(of), self.knobs.arch, self.sources());
        Ok(self.add(Node {
            id: NodeId::Tar(of),
            inputs,
            needs,
            outputs: vec![out.clone()],
            action: Action::ComposeRootfs { yml, images, arch, sources, kernel, update, out },
        }))
    }

    /// Where linuxkit is started. A tree that puts artifacts into its ymls has them below the folder of the parts; in this
    /// repository they are named from its root.
    fn sources(&self) -> PathBuf {
        if self.facts.profile().tree.platforms {
            self.build_dir().join("installer")
        } else if self.facts.profile().packages.published {
            self.build_dir()
        } else {
            self.facts.root().to_owned()
        }
    }

    /// What a yml's `files` take from the folder of the parts.
    fn sources_of_files(&mut self, of: Composed) -> Result<Vec<Need>> {
        if !self.facts.profile().tree.platforms {
            return Ok(vec![]);
        }
        let mut ids = vec![self.version()];
        ids.extend(self.files(DiskKind::Installer, &[]));
        if of == Composed::Installer {
            ids.extend([self.rootfs_img()?, self.config_img()?, self.persist_img()]);
        }
        Ok(ids.iter().map(|id| need(id, "a file in the yml")).collect())
    }

    /// The installer's own root file system.
    pub(super) fn installer_img(&mut self) -> Result<NodeId> {
        let tar = self.tar(Composed::Installer)?;
        let format = self.knobs.rootfs_format;
        let mut needs = vec![need(&tar, "the files")];
        let tool = self.tool(&format!("mkrootfs-{format}"), &mut needs)?;
        let out = self.installer("installer.img");
        let mut inputs = vec![input("ROOTFS_FORMAT", format), input("ROOTFS_COMPRESSION", self.knobs.compression), self.time()];
        inputs.extend(tool_input(tool.as_ref()));
        Ok(self.add(Node {
            id: NodeId::InstallerImg,
            inputs,
            needs,
            outputs: vec![out.clone()],
            action: Action::PackRootfs {
                tar: self.tar_path(Composed::Installer),
                out,
                link: None,
                format,
                compression: self.knobs.compression,
                // It goes onto a stick of its own size.
                limit: u64::MAX,
                epoch: self.facts.epoch(),
                tool,
            },
        }))
    }

    pub(super) fn rootfs_img(&mut self) -> Result<NodeId> {
        let version = self.version();
        let tar = self.tar(Composed::Rootfs)?;
        let format = self.knobs.rootfs_format;
        let mut needs = vec![need(&version, "the version stands beside the image"), need(&tar, "the files")];
        let tool = self.tool(&format!("mkrootfs-{format}"), &mut needs)?;
        let out = self.installer("rootfs.img");
        let link = self.installer(&format!("rootfs-{}.{format}", self.full_version()));
        let limit = self.facts.profile().rootfs_limit(&self.knobs.hv, &self.knobs.platform);
        let mut inputs = vec![
            input("version", self.full_version()),
            input("ROOTFS_FORMAT", format),
            input("ROOTFS_COMPRESSION", self.knobs.compression),
            input("limit", limit),
            self.time(),
        ];
        inputs.extend(tool_input(tool.as_ref()));
        Ok(self.add(Node {
            id: NodeId::RootfsImg,
            inputs,
            needs,
            outputs: vec![out.clone(), link.clone()],
            action: Action::PackRootfs {
                tar: self.tar_path(Composed::Rootfs),
                out,
                link: Some(link),
                format,
                compression: self.knobs.compression,
                limit,
                epoch: self.facts.epoch(),
                tool,
            },
        }))
    }

    pub(super) fn config_img(&mut self) -> Result<NodeId> {
        let out = self.installer("config.img");
        let origin = recipes::origin_name(self.facts.epoch(), self.facts.version())?;
        let mut needs = vec![];
        let tool = self.tool("mkconf", &mut needs)?;
        let mut inputs = vec![
            input("CONF_DIR", self.knobs.conf_dir.display()),
            input("content of CONF_DIR", self.facts.folder_digest(&self.knobs.conf_dir)?),
            input("origin", &origin),
            self.time(),
        ];
        inputs.extend(tool_input(tool.as_ref()));
        let version = self.facts.version().to_owned();
        Ok(self.add(Node {
            id: NodeId::ConfigImg,
            inputs,
            needs,
            outputs: vec![out.clone()],
            action: Action::MakeConfig {
                conf_dir: self.knobs.conf_dir.clone(),
                files: vec![],
                version,
                origin,
                epoch: self.facts.epoch(),
                out,
                tool,
            },
        }))
    }

    pub(super) fn persist_img(&mut self) -> NodeId {
        let out = self.installer("persist.img");
        self.add(Node {
            id: NodeId::PersistImg,
            inputs: vec![],
            needs: vec![],
            outputs: vec![out.clone()],
            action: Action::MakePersist { out },
        })
    }

    pub(super) fn sbom(&mut self) -> Result<NodeId> {
        let tar = self.tar(Composed::Rootfs)?;
        let name = format!("rootfs{}.spdx.json", self.platform_suffix());
        let out = self.knobs.optional("SBOM").map_or_else(|| self.installer(&name), |path| self.facts.root().join(path));
        if let Some(entry) = self.facts.profile().sbom.clone() {
            return Ok(self.add(Node {
                id: NodeId::Sbom,
                inputs: vec![input("entry", &entry)],
                needs: vec![need(&tar, "it lies in there")],
                outputs: vec![out.clone()],
                action: Action::TakeOut { tar: self.tar_path(Composed::Rootfs), entry, out },
            }));
        }
        let image = format!("docker.io/anchore/syft:{}", self.knobs.text("SYFT_VERSION"));
        Ok(self.add(Node {
            id: NodeId::Sbom,
            inputs: vec![input("syft", &image)],
            needs: vec![need(&tar, "the files")],
            outputs: vec![out.clone()],
            action: Action::MakeSbom { tar: self.tar_path(Composed::Rootfs), config: self.facts.root().join(".syft.yaml"), image, out },
        }))
    }
}
