//! The graph: nodes with their ids, inputs, needs and outputs.

use crate::{Composed, Step};
use common::Arch;
use knobs::ImageFormat;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    path::PathBuf,
};

common::words! {
    /// The kinds of raw disks.
    DiskKind { /// It runs EVE.
        Live = "live", /// It installs EVE.
        Installer = "installer", /// It installs EVE and checks it.
        Verification = "verification" }
}

/// A node's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeId {
    /// `installer/eve_version`.
    Version,
    /// A package of the tree for one architecture.
    Package(String, Arch),
    /// A package's build.yml that is generated from a template.
    BuildYml(String),
    /// `installer/eve_platform`, on trees with platforms in names.
    Platform,
    /// A resolved linuxkit yml.
    Yml(Composed),
    /// `rootfs.tar` or `installer.tar`.
    Tar(Composed),
    /// `installer/rootfs.img`.
    RootfsImg,
    /// `installer/config.img`.
    ConfigImg,
    /// `installer/persist.img`.
    PersistImg,
    /// The installer's own root file system, `installer/installer.img`.
    InstallerImg,
    /// The verification's own root file system.
    VerificationImg,
    /// Files of a package, copied beside `rootfs.img`.
    Parts(String),
    /// The firmware of virtual machines.
    Firmware,
    /// Files of the tree, copied beside a disk's parts.
    Files(DiskKind),
    /// A raw disk.
    Disk(DiskKind),
    /// The live disk in another format.
    Live(ImageFormat),
    /// The link `live.img` to the live disk that was built last.
    LiveImg,
    /// `installer.iso`.
    InstallerIso,
    /// `installer.net`.
    InstallerNet,
    /// The bill of materials.
    Sbom,
    /// The image that contains all artifacts.
    Eve,
    /// The link `dist/<arch>/current`.
    Current,
    /// The step of a helper, which works on files from the command line; with the helper's name.
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
            Self::VerificationImg => f.write_str("verification.img"),
            Self::Parts(package) => write!(f, "parts of {package}"),
            Self::Firmware => f.write_str("firmware"),
            Self::Files(kind) => write!(f, "{} files", kind.as_str()),
            Self::Disk(kind) => write!(f, "{}.raw", kind.as_str()),
            Self::Live(format) => write!(f, "live.{format}"),
            Self::LiveImg => f.write_str("live.img"),
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
    /// The id in the file names of the node's log and stamp.
    #[must_use]
    pub fn file_stem(&self) -> String {
        self.to_string().replace('/', "-").replace([' ', '[', ']'], "_").trim_end_matches('_').replace("__", "_")
    }
}

/// An image of a package: `org/image:tag` and the architecture.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageRef {
    /// The reference without an architecture.
    pub reference: String,
    /// The architecture.
    pub arch: Arch,
}

impl fmt::Display for ImageRef {
    /// As in resolved ymls: `org/image:tag-arch`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.reference, self.arch)
    }
}

/// An edge: a node needs another one, for a reason.
#[derive(Clone, Debug)]
pub struct Need {
    /// The other node.
    pub id: NodeId,
    /// The reason.
    pub reason: &'static str,
}

/// A value that a node's result depends on and that is not the output of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its name: `HV`, `conf/`.
    pub name: String,
    /// Its value, or a digest of it.
    pub value: String,
}

/// A node of the graph.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// The step that makes it.
    pub step: Step,
    /// The values that it depends on.
    pub inputs: Vec<Input>,
    /// The nodes that must be made before it.
    pub needs: Vec<Need>,
    /// The files that it makes. A package makes none: its image goes into the image cache.
    pub outputs: Vec<PathBuf>,
}

/// The nodes of a goal.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The nodes, each after those that it needs.
    pub nodes: Vec<Node>,
    /// The nodes that were requested; the last one is the main result.
    pub goals: Vec<NodeId>,
}

impl Plan {
    /// The node with this id. Looks at one after the other; [`Plan::by_id`] is for many ids.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == *id)
    }

    /// All nodes by their ids.
    #[must_use]
    pub fn by_id(&self) -> HashMap<&NodeId, &Node> {
        self.nodes.iter().map(|node| (&node.id, node)).collect()
    }

    /// Makes the goals' packages be built even if their images exist.
    pub fn force_goals(&mut self) {
        let goals: HashSet<&NodeId> = self.goals.iter().collect();
        for node in &mut self.nodes {
            if let (true, Step::BuildPackage(package)) = (goals.contains(&node.id), &mut node.step) {
                package.force = true;
            }
        }
    }
}
