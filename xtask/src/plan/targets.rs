//! What each target takes: from knobs and facts of the tree to nodes. One function a node.

use super::{Action, ImageRef, Input, Need, Node, NodeId, Plan};
use crate::knobs::{Arch, ImageFormat, Knobs};
use anyhow::{Result, bail};
use diskimage::recipes;
use std::path::{Path, PathBuf};

/// What a person can ask for, without its knobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Some packages for the target architecture.
    Packages(Vec<String>),
    /// `rootfs.tar`.
    RootfsTar,
    /// `rootfs.img`.
    Rootfs,
    /// `config.img`.
    Config,
    /// The live disk in one format.
    Live(ImageFormat),
}

/// A package as the plan needs it.
#[derive(Clone, Debug)]
pub struct PackageFacts {
    /// Folder below `pkg/`.
    pub name: String,
    /// Absolute folder.
    pub dir: PathBuf,
    /// `org/image:tag`.
    pub reference: String,
    /// The name of the build.yml in use.
    pub build_yml: String,
    /// Packages of the tree that it is made from; true where the build machine's architecture is meant.
    pub bases: Vec<(String, bool)>,
}

/// What the plan knows of the tree. Everything is looked up when it is asked for, so a target pays for what it needs only.
pub trait Facts {
    /// The version with hypervisor and architecture, and the folder name without.
    fn version(&self) -> &str;
    /// Seconds since the epoch of the commit (or `SOURCE_DATE_EPOCH`).
    fn epoch(&self) -> i64;
    /// `dist/`, absolute.
    fn dist(&self) -> &Path;
    /// The package of this name, or an error with a near miss.
    fn package(&self, name: &str) -> Result<PackageFacts>;
    /// The yml of the root file system with its tags filled in, the template's path, and the packages that it names.
    fn rootfs_yml(&self) -> Result<(String, PathBuf, Vec<String>)>;
    /// A digest over the names and contents of a folder.
    fn folder_digest(&self, folder: &Path) -> Result<String>;
    /// A size or list of the tree's profile.
    fn profile(&self) -> &crate::tree::Profile;
}

/// The plan of one goal.
pub fn plan_goal(goal: &Goal, knobs: &Knobs, facts: &dyn Facts) -> Result<Plan> {
    let mut planner = Planner { knobs, facts, plan: Plan::default() };
    let goals = match goal {
        Goal::Packages(names) => names.iter().map(|name| planner.package(name, knobs.arch, &mut Vec::new())).collect::<Result<_>>()?,
        Goal::RootfsTar => vec![planner.rootfs_tar()?],
        Goal::Rootfs => vec![planner.rootfs_img()?, planner.current()],
        Goal::Config => vec![planner.config_img()?],
        Goal::Live(format) => planner.live(*format)?,
    };
    planner.plan.goals = goals;
    Ok(planner.plan)
}

struct Planner<'p> {
    knobs: &'p Knobs,
    facts: &'p dyn Facts,
    plan: Plan,
}

fn need(id: &NodeId, reason: &'static str) -> Need {
    Need { id: id.clone(), reason }
}

fn input(name: &str, value: impl ToString) -> Input {
    Input { name: name.to_owned(), value: value.to_string() }
}

impl Planner<'_> {
    fn add(&mut self, node: Node) -> NodeId {
        let id = node.id.clone();
        self.plan.add(node);
        id
    }

    /// `dist/<arch>/<version>`.
    fn build_dir(&self) -> PathBuf {
        self.facts.dist().join(self.knobs.arch.as_str()).join(self.facts.version())
    }

    fn installer(&self, name: &str) -> PathBuf {
        self.build_dir().join("installer").join(name)
    }

    /// `0.0.0-main-1234abcd-kvm-amd64`.
    fn full_version(&self) -> String {
        format!("{}-{}-{}", self.facts.version(), self.knobs.hv, self.knobs.arch)
    }

    fn version(&mut self) -> NodeId {
        let path = self.installer("eve_version");
        let text = format!("{}\n", self.full_version());
        self.add(Node {
            id: NodeId::Version,
            inputs: vec![input("version", text.trim_end())],
            needs: vec![],
            outputs: vec![path.clone()],
            action: Action::WriteText { path, text },
        })
    }

    fn package(&mut self, name: &str, arch: Arch, above: &mut Vec<String>) -> Result<NodeId> {
        // A tool image runs on the machine that builds, whatever it builds for.
        let is_tool = self.facts.profile().tool_images.iter().any(|tool| tool == name);
        let arch = if is_tool { self.knobs.host_arch } else { arch };
        let id = NodeId::Package(name.to_owned(), arch);
        if self.plan.node(&id).is_some() {
            return Ok(id);
        }
        if above.iter().any(|other| other == name) {
            bail!("packages need each other: {} -> {name}", above.join(" -> "));
        }
        above.push(name.to_owned());
        let package = self.facts.package(name)?;
        let mut needs = Vec::new();
        for (base, on_build_machine) in &package.bases {
            let arch = if *on_build_machine { self.knobs.host_arch } else { arch };
            let base = need(&self.package(base, arch, above)?, "its Dockerfile starts from it");
            // For this machine's own architecture the two platforms of a Dockerfile are one.
            if needs.iter().all(|known: &Need| known.id != base.id) {
                needs.push(base);
            }
        }
        above.pop();
        let image = ImageRef { reference: package.reference.clone(), arch };
        Ok(self.add(Node {
            id,
            inputs: vec![input("image", &image)],
            needs,
            outputs: vec![],
            action: Action::BuildPackage { name: package.name, dir: package.dir, image, build_yml: package.build_yml },
        }))
    }

    fn rootfs_yml(&mut self) -> Result<(NodeId, Vec<String>)> {
        let (text, template, packages) = self.facts.rootfs_yml()?;
        let out = self.build_dir().join(format!("rootfs-{}.yml", self.knobs.hv));
        let node = Node {
            id: NodeId::RootfsYml,
            inputs: vec![input("text", &text)],
            needs: vec![],
            outputs: vec![out.clone()],
            action: Action::ResolveYml { template, out, text },
        };
        Ok((self.add(node), packages))
    }

    fn rootfs_tar(&mut self) -> Result<NodeId> {
        let (yml, packages) = self.rootfs_yml()?;
        let mut needs = vec![need(&yml, "the list of images")];
        let mut images = Vec::new();
        for name in &packages {
            needs.push(need(&self.package(name, self.knobs.arch, &mut Vec::new())?, "an image in the yml"));
            images.push(ImageRef { reference: self.facts.package(name)?.reference, arch: self.knobs.arch });
        }
        let out = self.build_dir().join("rootfs.tar");
        let yml = self.build_dir().join(format!("rootfs-{}.yml", self.knobs.hv));
        Ok(self.add(Node {
            id: NodeId::RootfsTar,
            inputs: vec![input("ZARCH", self.knobs.arch)],
            needs,
            outputs: vec![out.clone()],
            action: Action::ComposeRootfs { yml, images, arch: self.knobs.arch, out },
        }))
    }

    fn rootfs_img(&mut self) -> Result<NodeId> {
        let version = self.version();
        let tar = self.rootfs_tar()?;
        let link = self.installer("rootfs.img");
        let out = self.installer(&format!("rootfs-{}.squash", self.full_version()));
        let limit = self.facts.profile().rootfs_limit;
        Ok(self.add(Node {
            id: NodeId::RootfsImg,
            inputs: vec![input("version", self.full_version()), input("ROOTFS_COMPRESSION", self.knobs.compression), input("limit", limit)],
            needs: vec![need(&version, "the version stands beside the image"), need(&tar, "the files")],
            outputs: vec![out.clone(), link.clone()],
            action: Action::PackRootfs {
                tar: self.build_dir().join("rootfs.tar"),
                out,
                link,
                compression: self.knobs.compression,
                limit,
                epoch: self.facts.epoch(),
            },
        }))
    }

    fn config_img(&mut self) -> Result<NodeId> {
        let out = self.installer("config.img");
        let origin = recipes::origin_name(self.facts.epoch(), self.facts.version())?;
        Ok(self.add(Node {
            id: NodeId::ConfigImg,
            inputs: vec![
                input("CONF_DIR", self.knobs.conf_dir.display()),
                input("content of CONF_DIR", self.facts.folder_digest(&self.knobs.conf_dir)?),
                input("origin", &origin),
            ],
            needs: vec![],
            outputs: vec![out.clone()],
            action: Action::MakeConfig { conf_dir: self.knobs.conf_dir.clone(), origin, epoch: self.facts.epoch(), out },
        }))
    }

    fn persist_img(&mut self) -> NodeId {
        let out = self.installer("persist.img");
        self.add(Node {
            id: NodeId::PersistImg,
            inputs: vec![],
            needs: vec![],
            outputs: vec![out.clone()],
            action: Action::MakePersist { out },
        })
    }

    fn firmware(&mut self) -> Result<NodeId> {
        let name = &self.facts.profile().firmware_package;
        let package = self.package(name, self.knobs.arch, &mut Vec::new())?;
        let image = ImageRef { reference: self.facts.package(name)?.reference, arch: self.knobs.arch };
        let out = self.installer("firmware");
        let files: Vec<String> = self.facts.profile().firmware_files.clone();
        Ok(self.add(Node {
            id: NodeId::Firmware,
            inputs: vec![],
            needs: vec![need(&package, "the firmware is in it")],
            outputs: files.iter().map(|file| out.join(file)).collect(),
            action: Action::ExportFirmware { image, out, files },
        }))
    }

    fn live_raw(&mut self) -> Result<NodeId> {
        let needs = vec![
            need(&self.rootfs_img()?, "the content of IMGA, and of the ESP"),
            need(&self.config_img()?, "the content of CONFIG"),
            need(&self.persist_img(), "the start of P3"),
        ];
        let parts = self.facts.profile().live_parts.clone();
        let out = self.build_dir().join("live.raw");
        Ok(self.add(Node {
            id: NodeId::LiveRaw,
            inputs: vec![input("partitions", parts.join(" "))],
            needs,
            outputs: vec![out.clone()],
            action: Action::MakeDisk {
                rootfs: self.installer("rootfs.img"),
                config: self.installer("config.img"),
                persist: self.installer("persist.img"),
                parts,
                epoch: self.facts.epoch(),
                out,
            },
        }))
    }

    /// The live disk, the firmware that `run` boots it with, and the links.
    fn live(&mut self, format: ImageFormat) -> Result<Vec<NodeId>> {
        let raw = self.live_raw()?;
        let firmware = self.firmware()?;
        let current = self.current();
        let disk = if format == ImageFormat::Raw { raw } else { self.converted(format, &raw) };
        Ok(vec![firmware, current, disk])
    }

    fn converted(&mut self, format: ImageFormat, raw: &NodeId) -> NodeId {
        let name = match format {
            ImageFormat::Gcp => "live.img.tar.gz".to_owned(),
            other => format!("live.{other}"),
        };
        let out = self.build_dir().join(name);
        let size_mib = self.knobs.media_size;
        self.add(Node {
            id: NodeId::Live(format),
            inputs: vec![input("MEDIA_SIZE", size_mib)],
            needs: vec![need(raw, "the disk")],
            outputs: vec![out.clone()],
            action: Action::ConvertDisk { raw: self.build_dir().join("live.raw"), format, size_mib, out },
        })
    }

    fn current(&mut self) -> NodeId {
        let link = self.facts.dist().join(self.knobs.arch.as_str()).join("current");
        let target = PathBuf::from(self.facts.version());
        self.add(Node {
            id: NodeId::Current,
            inputs: vec![input("version", self.facts.version())],
            needs: vec![],
            outputs: vec![link.clone()],
            action: Action::Link { link, target },
        })
    }
}
