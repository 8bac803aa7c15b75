//! The root file system, the configuration, and what stands beside them.

use super::{
    super::{Action, ImageRef, Node, NodeId},
    Planner, input, need, tool_input,
};
use anyhow::Result;
use diskimage::recipes;

impl Planner<'_> {
    /// Where the resolved yml lies: in a folder `images`, as in the tree, so that linuxkit is told the same short name.
    fn yml_path(&self) -> std::path::PathBuf {
        self.build_dir().join("images").join(format!("rootfs-{}.yml", self.knobs.hv))
    }

    pub(super) fn rootfs_yml(&mut self) -> Result<(NodeId, Vec<String>)> {
        let (text, template, packages) = self.facts.rootfs_yml()?;
        let out = self.yml_path();
        let node = Node {
            id: NodeId::RootfsYml,
            inputs: vec![input("text", &text)],
            needs: vec![],
            outputs: vec![out.clone()],
            action: Action::ResolveYml { template, out, text },
        };
        Ok((self.add(node), packages))
    }

    pub(super) fn rootfs_tar(&mut self) -> Result<NodeId> {
        let (yml, packages) = self.rootfs_yml()?;
        let mut needs = vec![need(&yml, "the list of images")];
        let mut images = Vec::new();
        if !self.facts.profile().packages.published {
            for name in &packages {
                needs.push(need(&self.package(name, self.knobs.arch, &mut Vec::new())?, "an image in the yml"));
                images.push(ImageRef { reference: self.facts.package(name)?.reference, arch: self.knobs.arch });
            }
        }
        let out = self.build_dir().join("rootfs.tar");
        let yml = self.yml_path();
        Ok(self.add(Node {
            id: NodeId::RootfsTar,
            inputs: vec![input("ZARCH", self.knobs.arch)],
            needs,
            outputs: vec![out.clone()],
            action: Action::ComposeRootfs { yml, images, arch: self.knobs.arch, out },
        }))
    }

    pub(super) fn rootfs_img(&mut self) -> Result<NodeId> {
        let version = self.version();
        let tar = self.rootfs_tar()?;
        let format = self.knobs.rootfs_format;
        let mut needs = vec![need(&version, "the version stands beside the image"), need(&tar, "the files")];
        let tool = self.tool(&format!("mkrootfs-{format}"), &mut needs)?;
        let out = self.installer("rootfs.img");
        let link = self.installer(&format!("rootfs-{}.{format}", self.full_version()));
        let limit = self.facts.profile().rootfs.limit;
        let mut inputs = vec![
            input("version", self.full_version()),
            input("ROOTFS_FORMAT", format),
            input("ROOTFS_COMPRESSION", self.knobs.compression),
            input("limit", limit),
        ];
        inputs.extend(tool_input(tool.as_ref()));
        Ok(self.add(Node {
            id: NodeId::RootfsImg,
            inputs,
            needs,
            outputs: vec![out.clone(), link.clone()],
            action: Action::PackRootfs {
                tar: self.build_dir().join("rootfs.tar"),
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
        let tar = self.rootfs_tar()?;
        let out = self.knobs.optional("SBOM").map_or_else(|| self.installer("rootfs.spdx.json"), |path| self.facts.root().join(path));
        let image = format!("docker.io/anchore/syft:{}", self.knobs.text("SYFT_VERSION"));
        Ok(self.add(Node {
            id: NodeId::Sbom,
            inputs: vec![input("syft", &image)],
            needs: vec![need(&tar, "the files")],
            outputs: vec![out.clone()],
            action: Action::MakeSbom { tar: self.build_dir().join("rootfs.tar"), config: self.facts.root().join(".syft.yaml"), image, out },
        }))
    }
}
