//! What each target takes: from knobs and facts of the tree to nodes. One function a node.

mod disks;
mod eve;
mod packages;
mod rootfs;

use super::{Action, Composed, DiskKind, Facts, ImageRef, Input, Need, Node, NodeId, PackageWork, Plan};
use anyhow::Result;
use knobs::{ImageFormat, Knobs};
use std::path::PathBuf;

/// What a person can ask for, without its knobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Some packages for the target architecture.
    Packages(Vec<String>, PackageWork),
    /// The same without what the tree builds before them though no Dockerfile says so.
    PackagesAlone(Vec<String>, PackageWork),
    /// build.yml of packages that have a template for it.
    BuildYmls(Vec<String>),
    /// `rootfs.tar`.
    RootfsTar,
    /// `rootfs.img`.
    Rootfs,
    /// `config.img`.
    Config,
    /// Files of packages beside `rootfs.img`, by the names that the profile gives them.
    Parts(Vec<&'static str>),
    /// What a virtual machine boots with.
    Firmware,
    /// The live disk in one format, with what a virtual machine boots it with.
    Live(ImageFormat),
    /// The live disk in one format, as a target names it.
    LiveDisk(ImageFormat),
    /// A raw disk that installs.
    Disk(DiskKind),
    /// `installer.iso`.
    InstallerIso,
    /// `installer.net`.
    InstallerNet,
    /// `installer.img`.
    InstallerImg,
    /// The installer's own root file system as a tar.
    InstallerTar,
    /// The bill of materials.
    Sbom,
    /// The image that holds everything.
    Eve,
}

/// The plan of one goal.
pub fn plan_goal(goal: &Goal, knobs: &Knobs, facts: &dyn Facts) -> Result<Plan> {
    let mut planner = Planner { knobs, facts, plan: Plan::default() };
    let goals = match goal {
        Goal::Packages(names, work) => planner.packages(names, *work, true)?,
        Goal::PackagesAlone(names, work) => planner.packages(names, *work, false)?,
        Goal::BuildYmls(names) => planner.build_ymls(names)?,
        Goal::RootfsTar => vec![planner.tar(Composed::Rootfs)?],
        Goal::Rootfs => planner.then_current(Planner::rootfs_img)?,
        Goal::Config => vec![planner.config_img()?],
        Goal::Parts(entries) => planner.parts(entries)?,
        Goal::Firmware => vec![planner.firmware()?],
        Goal::Live(format) => planner.live(*format, true)?,
        // Where firmware is fetched from a registry, a disk that is named for another use goes without.
        Goal::LiveDisk(format) => planner.live(*format, !facts.profile().packages.published)?,
        Goal::Disk(kind) => planner.then_current(|planner| planner.disk(*kind))?,
        Goal::InstallerIso => planner.then_current(Planner::installer_iso)?,
        Goal::InstallerNet => planner.then_current(Planner::installer_net)?,
        Goal::InstallerImg => planner.installer_part()?,
        Goal::InstallerTar => planner.installer_tar()?,
        Goal::Sbom => vec![planner.sbom()?],
        Goal::Eve => planner.eve()?,
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
    /// The time that goes into an image for what has none of its own.
    fn time(&self) -> Input {
        input("time", self.facts.epoch())
    }

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

    /// `installer/eve_platform`, for the image that installs itself; all boards of a family have one there.
    fn platform(&mut self) -> Option<NodeId> {
        if !self.facts.profile().tree.platforms {
            return None;
        }
        let path = self.installer("eve_platform");
        let family = if self.knobs.platform.contains("imx8") { "imx8" } else { &self.knobs.platform };
        let text = format!("{family}\n");
        Some(self.add(Node {
            id: NodeId::Platform,
            inputs: vec![input("PLATFORM", family)],
            needs: vec![],
            outputs: vec![path.clone()],
            action: Action::WriteText { path, text },
        }))
    }

    /// What a target makes, and then the link to it.
    fn then_current(&mut self, made: impl FnOnce(&mut Self) -> Result<NodeId>) -> Result<Vec<NodeId>> {
        let made = made(self)?;
        Ok(vec![self.current(&made), made])
    }

    /// `dist/<arch>/current`, once `made` is there: what it leads to can be run.
    fn current(&mut self, made: &NodeId) -> NodeId {
        let link = self.facts.dist().join(self.knobs.arch.as_str()).join("current");
        let target = PathBuf::from(self.facts.version());
        self.add(Node {
            id: NodeId::Current,
            inputs: vec![input("version", self.facts.version())],
            needs: vec![need(made, "it leads to what was made last")],
            outputs: vec![link.clone()],
            action: Action::Link { link, target },
        })
    }

    /// The image of the package that does a step in a container, and its node where this tree must build it first.
    fn tool(&mut self, package: &str, needs: &mut Vec<Need>) -> Result<Option<ImageRef>> {
        if !self.facts.uses_containers() {
            return Ok(None);
        }
        if !self.facts.profile().packages.published {
            needs.push(need(&self.package(package, self.knobs.host_arch, &mut Vec::new())?, "its image does the work"));
        }
        Ok(Some(ImageRef { reference: self.facts.package(package)?.plain, arch: self.knobs.host_arch }))
    }
}

/// What a tool's image says for the stamp: another tool may make another artifact.
fn tool_input(tool: Option<&ImageRef>) -> Option<Input> {
    tool.map(|image| input("tool", &image.reference))
}
