//! The graph: nodes with their names, what goes into them and what they need.

use crate::{Composed, Step};
use common::Arch;
use knobs::ImageFormat;
use std::{fmt, path::PathBuf};

/// A disk with several of EVE's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskKind {
    /// EVE itself.
    Live,
    /// What installs it.
    Installer,
    /// What installs and checks it.
    Verification,
}

impl DiskKind {
    /// The word in file names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Installer => "installer",
            Self::Verification => "verification",
        }
    }
}

/// A node's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeId {
    /// `installer/eve_version`.
    Version,
    /// A package of the tree for one architecture.
    Package(String, Arch),
    /// A package's build.yml that is made from a template.
    BuildYml(String),
    /// `installer/eve_platform`, where the tree tells platforms apart.
    Platform,
    /// A resolved linuxkit yml.
    Yml(Composed),
    /// `rootfs.tar` and its like.
    Tar(Composed),
    /// `installer/rootfs.img`.
    RootfsImg,
    /// `installer/config.img`.
    ConfigImg,
    /// `installer/persist.img`.
    PersistImg,
    /// The installer's own root file system, `installer/installer.img`.
    InstallerImg,
    /// Files of a package that lie beside `rootfs.img`.
    Parts(String),
    /// What the virtual machine boots with.
    Firmware,
    /// Files of the tree that lie beside a disk's parts.
    Files(DiskKind),
    /// A raw disk.
    Disk(DiskKind),
    /// The live disk in another format.
    Live(ImageFormat),
    /// `installer.iso`.
    InstallerIso,
    /// `installer.net`.
    InstallerNet,
    /// The bill of materials.
    Sbom,
    /// The image that holds everything.
    Eve,
    /// The link `dist/<arch>/current`.
    Current,
    /// What a person asked for by the names of its files, with a helper's name.
    Asked(&'static str),
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version => f.write_str("version"),
            Self::Package(name, arch) => write!(f, "pkg/{name} [{arch}]"),
            Self::BuildYml(name) => write!(f, "pkg/{name}/build.yml"),
            Self::Platform => f.write_str("platform"),
            Self::Yml(of) => write!(f, "{}.yml", of.as_str()),
            Self::Tar(of) => write!(f, "{}.tar", of.as_str()),
            Self::RootfsImg => f.write_str("rootfs.img"),
            Self::ConfigImg => f.write_str("config.img"),
            Self::PersistImg => f.write_str("persist.img"),
            Self::InstallerImg => f.write_str("installer.img"),
            Self::Parts(package) => write!(f, "parts of {package}"),
            Self::Firmware => f.write_str("firmware"),
            Self::Files(kind) => write!(f, "{} files", kind.as_str()),
            Self::Disk(kind) => write!(f, "{}.raw", kind.as_str()),
            Self::Live(format) => write!(f, "live.{format}"),
            Self::InstallerIso => f.write_str("installer.iso"),
            Self::InstallerNet => f.write_str("installer.net"),
            Self::Sbom => f.write_str("sbom"),
            Self::Eve => f.write_str("eve"),
            Self::Current => f.write_str("current"),
            Self::Asked(name) => f.write_str(name),
        }
    }
}

impl NodeId {
    /// The name as part of a file name: of the node's log and stamp.
    #[must_use]
    pub fn file_stem(&self) -> String {
        self.to_string().replace('/', "-").replace([' ', '[', ']'], "_").trim_end_matches('_').replace("__", "_")
    }
}

/// An image of a package: `org/image:tag` and for which machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageRef {
    /// The reference without an architecture.
    pub reference: String,
    /// The architecture.
    pub arch: Arch,
}

impl fmt::Display for ImageRef {
    /// The form in resolved ymls: `org/image:tag-arch`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.reference, self.arch)
    }
}

/// An edge: what a node needs from another one, and why.
#[derive(Clone, Debug)]
pub struct Need {
    /// The other node.
    pub id: NodeId,
    /// What for.
    pub reason: &'static str,
}

/// A fact that a node's result depends on and that no other node makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// What it is: `HV`, `conf/`.
    pub name: String,
    /// Its value or digest.
    pub value: String,
}

/// A step with its place in the graph.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// What it does.
    pub step: Step,
    /// What it depends on.
    pub inputs: Vec<Input>,
    /// Which nodes come first.
    pub needs: Vec<Need>,
    /// The files it makes; a package makes none, its result is in the image cache.
    pub outputs: Vec<PathBuf>,
}

/// The nodes that a goal takes, each after those that it needs.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In an order in which they can run.
    pub nodes: Vec<Node>,
    /// The node that was asked for, last.
    pub goals: Vec<NodeId>,
}

impl Plan {
    /// The node with this name.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == *id)
    }

    /// Has the goals' packages built although their images exist.
    pub fn force_goals(&mut self) {
        for node in &mut self.nodes {
            if let (true, Step::BuildPackage(package)) = (self.goals.contains(&node.id), &mut node.step) {
                package.force = true;
            }
        }
    }

    /// Adds a node unless it is there already; what it needs must have been added before.
    pub fn add(&mut self, node: Node) {
        if self.node(&node.id).is_none() {
            debug_assert!(node.needs.iter().all(|need| self.node(&need.id).is_some()), "{} comes before what it needs", node.id);
            self.nodes.push(node);
        }
    }
}
