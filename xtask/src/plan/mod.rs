//! The plan: a graph of nodes, each of which makes named artifacts from named inputs. A pure value: it is printed, drawn
//! and run, and nothing in here starts a process or writes a file.

mod display;
mod targets;
#[cfg(test)]
mod tests;

pub use targets::{Facts, Goal, PackageFacts, plan_goal};

use crate::knobs::{Arch, Compression, ImageFormat};
use std::{fmt, path::PathBuf};

/// A node's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeId {
    /// `installer/eve_version`.
    Version,
    /// A package of the tree for one architecture.
    Package(String, Arch),
    /// The resolved linuxkit yml of the root file system.
    RootfsYml,
    /// `rootfs.tar`.
    RootfsTar,
    /// `installer/rootfs.img`.
    RootfsImg,
    /// `installer/config.img`.
    ConfigImg,
    /// `installer/persist.img`.
    PersistImg,
    /// `installer/firmware/`: what the virtual machine boots with.
    Firmware,
    /// `live.raw`.
    LiveRaw,
    /// The live disk in another format.
    Live(ImageFormat),
    /// The link `dist/<arch>/current`.
    Current,
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version => f.write_str("version"),
            Self::Package(name, arch) => write!(f, "pkg/{name} [{arch}]"),
            Self::RootfsYml => f.write_str("rootfs.yml"),
            Self::RootfsTar => f.write_str("rootfs.tar"),
            Self::RootfsImg => f.write_str("rootfs.img"),
            Self::ConfigImg => f.write_str("config.img"),
            Self::PersistImg => f.write_str("persist.img"),
            Self::Firmware => f.write_str("firmware"),
            Self::LiveRaw => f.write_str("live.raw"),
            Self::Live(format) => write!(f, "live.{format}"),
            Self::Current => f.write_str("current"),
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

/// What a node does, with all it needs to know. Paths are absolute.
#[derive(Clone, Debug)]
pub enum Action {
    /// Writes a small text file.
    WriteText {
        /// Where.
        path: PathBuf,
        /// What.
        text: String,
    },
    /// Builds a package into the image cache.
    BuildPackage {
        /// Its name: the folder below `pkg/`.
        name: String,
        /// The folder with the Dockerfile.
        dir: PathBuf,
        /// The image that comes out.
        image: ImageRef,
        /// The name of the build.yml.
        build_yml: String,
    },
    /// Replaces the `*_TAG` names in a template.
    ResolveYml {
        /// `images/rootfs.yml.in`.
        template: PathBuf,
        /// The resolved file.
        out: PathBuf,
        /// Its text.
        text: String,
    },
    /// yml → rootfs.tar.
    ComposeRootfs {
        /// The resolved yml.
        yml: PathBuf,
        /// The images that it names and this tree makes.
        images: Vec<ImageRef>,
        /// For which machine.
        arch: Arch,
        /// The tar.
        out: PathBuf,
    },
    /// rootfs.tar → squashfs.
    PackRootfs {
        /// The tar.
        tar: PathBuf,
        /// The image under its versioned name.
        out: PathBuf,
        /// `rootfs.img`, a link to it.
        link: PathBuf,
        /// How to compress.
        compression: Compression,
        /// The most bytes that fit on the partition.
        limit: u64,
        /// Seconds since the epoch for what has no time of its own.
        epoch: i64,
    },
    /// conf/ → FAT.
    MakeConfig {
        /// The folder.
        conf_dir: PathBuf,
        /// The empty file that tells where the configuration came from.
        origin: String,
        /// Seconds since the epoch for all files.
        epoch: i64,
        /// The image.
        out: PathBuf,
    },
    /// A mebibyte of zeros: enough to have the partition formatted on the first boot.
    MakePersist {
        /// The image.
        out: PathBuf,
    },
    /// Takes the firmware out of pkg/uefi.
    ExportFirmware {
        /// The package's image.
        image: ImageRef,
        /// The folder.
        out: PathBuf,
        /// The files wanted, below the image's root.
        files: Vec<String>,
    },
    /// Parts → a disk with a partition table.
    MakeDisk {
        /// rootfs.img.
        rootfs: PathBuf,
        /// config.img.
        config: PathBuf,
        /// persist.img.
        persist: PathBuf,
        /// Which partitions, in order.
        parts: Vec<String>,
        /// Seconds since the epoch for the ESP's files.
        epoch: i64,
        /// The disk.
        out: PathBuf,
    },
    /// A disk in another format.
    ConvertDisk {
        /// The raw disk.
        raw: PathBuf,
        /// Into what.
        format: ImageFormat,
        /// The disk's size in the end.
        size_mib: u64,
        /// The image.
        out: PathBuf,
    },
    /// Points a link at a folder beside it.
    Link {
        /// The link.
        link: PathBuf,
        /// Its target, relative.
        target: PathBuf,
    },
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

/// One step.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// What it does.
    pub action: Action,
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

    /// Adds a node unless it is there already; what it needs must have been added before.
    pub fn add(&mut self, node: Node) {
        if self.node(&node.id).is_none() {
            debug_assert!(node.needs.iter().all(|need| self.node(&need.id).is_some()), "{} comes before what it needs", node.id);
            self.nodes.push(node);
        }
    }
}
