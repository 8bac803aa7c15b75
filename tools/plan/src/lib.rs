//! The plan: a graph of nodes, each of which makes named artifacts from named inputs. A pure value: it is printed, drawn
//! and run, and nothing in here starts a process or writes a file.

mod display;
mod facts;
pub mod pins;
mod profile;
mod targets;
#[cfg(test)]
mod tests;

pub use facts::{Composed, Facts, PackageFacts, Release};
pub use pins::Pin;
pub use profile::{Detect, FILE as PROFILE, Profile, Value};
pub use targets::{Goal, plan_goal};

use common::Arch;
pub use common::PackageWork;
use diskimage::recipes::IsoKind;
use knobs::{Compression, ImageFormat, RootfsFormat};
use std::{fmt, path::PathBuf};

/// Which engine makes the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// In this process.
    Native,
    /// By docker and linuxkit.
    Linuxkit,
}

impl EngineKind {
    /// The word on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Linuxkit => "linuxkit",
        }
    }
}

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

/// A package to be made, pushed or listed.
#[derive(Clone, Debug)]
pub struct PackageJob {
    /// Its name: the folder below `pkg/`.
    pub name: String,
    /// The folder with the Dockerfile.
    pub dir: PathBuf,
    /// The image that comes out.
    pub image: ImageRef,
    /// The name of the build.yml.
    pub build_yml: String,
    /// The Dockerfile, where the package has only a template of it: there while docker reads it, for git does not ignore it.
    pub dockerfile: Option<String>,
    /// What is done.
    pub work: PackageWork,
    /// The tag to use instead of linuxkit's own, where a person or a variant says so.
    pub hash: Option<String>,
    /// The release's tag that a pushed image gets too.
    pub release: Option<String>,
    /// Options that replace those two.
    pub options: Vec<String>,
    /// Build although the image exists.
    pub force: bool,
    /// docker must know it too.
    pub docker_load: bool,
    /// For which machines.
    pub platforms: Vec<Arch>,
    /// Remove dangling images afterwards.
    pub prune: bool,
}

/// What a node does, with all it needs to know. Paths are absolute. A `tool` is the image that does it, for an engine that does
/// such things in containers.
#[derive(Clone, Debug)]
pub enum Action {
    /// Writes a small text file.
    WriteText {
        /// Where.
        path: PathBuf,
        /// What.
        text: String,
    },
    /// Builds a package into the image cache, or pushes it.
    BuildPackage(PackageJob),
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
        /// Where linuxkit is started: relative sources of the yml's `files` lie below it.
        sources: PathBuf,
        /// A file that stands for the kernel in the tar.
        kernel: Option<PathBuf>,
        /// What is in an older tar need not be looked up again.
        update: bool,
        /// The tar.
        out: PathBuf,
    },
    /// rootfs.tar → squashfs or ext4.
    PackRootfs {
        /// The tar.
        tar: PathBuf,
        /// `rootfs.img`.
        out: PathBuf,
        /// A link to it under its versioned name.
        link: Option<PathBuf>,
        /// Which file system.
        format: RootfsFormat,
        /// How to compress.
        compression: Compression,
        /// The most bytes that fit on the partition.
        limit: u64,
        /// Seconds since the epoch for what has no time of its own.
        epoch: i64,
        /// mkrootfs-*.
        tool: Option<ImageRef>,
    },
    /// conf/ → FAT.
    MakeConfig {
        /// The folder.
        conf_dir: PathBuf,
        /// Files and folders of it; none for all that it holds.
        files: Vec<String>,
        /// The version that the origin file names.
        version: String,
        /// The empty file that tells where the configuration came from.
        origin: String,
        /// Seconds since the epoch for all files.
        epoch: i64,
        /// The image.
        out: PathBuf,
        /// mkconf.
        tool: Option<ImageRef>,
    },
    /// A mebibyte of zeros: enough to have the partition formatted on the first boot.
    MakePersist {
        /// The image.
        out: PathBuf,
    },
    /// Takes files and folders out of a package's image.
    ExportParts {
        /// The package's name.
        package: String,
        /// Its image.
        image: ImageRef,
        /// The folder that they go to.
        out: PathBuf,
        /// Their names below the image's root.
        entries: Vec<String>,
        /// The image may have to be fetched or built first.
        fetch: bool,
    },
    /// Copies the content of folders of the tree, and of a folder of artifacts.
    CopyFiles {
        /// From where, later ones over earlier ones.
        from: Vec<PathBuf>,
        /// To where.
        to: PathBuf,
    },
    /// Parts → a disk with a partition table.
    MakeDisk(DiskJob),
    /// A USB stick for a device's port configuration or its dumps.
    MakeStick(StickJob),
    /// Parts → an ISO that boots the installer.
    MakeIso {
        /// Whether it installs.
        kind: IsoKind,
        /// The installer's own root file system, where it has one: then the ISO holds that, and no parts.
        tar: Option<PathBuf>,
        /// The folder of the parts.
        parts: PathBuf,
        /// Seconds since the epoch for what has no time of its own.
        epoch: i64,
        /// The ISO.
        out: PathBuf,
        /// mkimage-iso-efi.
        tool: Option<ImageRef>,
    },
    /// Parts → a tar with what a netboot needs.
    MakeNet {
        /// The ISO that is booted, where it holds everything.
        iso: Option<PathBuf>,
        /// The folder of the parts.
        parts: PathBuf,
        /// Seconds since the epoch for what has no time of its own.
        epoch: i64,
        /// The tar.
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
        /// Seconds since the epoch for what has no time of its own.
        epoch: i64,
        /// Whether a format that can compress does.
        compressed: bool,
        /// The id of a Parallels disk.
        uuid: String,
        /// The image.
        out: PathBuf,
    },
    /// A file of a tar, by itself.
    TakeOut {
        /// The tar.
        tar: PathBuf,
        /// The file's name in it.
        entry: String,
        /// The file.
        out: PathBuf,
    },
    /// rootfs.tar → its bill of materials, by syft.
    MakeSbom {
        /// The tar.
        tar: PathBuf,
        /// syft's settings.
        config: PathBuf,
        /// syft's image.
        image: String,
        /// The SPDX document.
        out: PathBuf,
    },
    /// Builds or pushes the image that holds everything.
    BuildEve(EveJob),
    /// Points a link at a folder beside it.
    Link {
        /// The link.
        link: PathBuf,
        /// Its target, relative.
        target: PathBuf,
    },
}

impl Action {
    /// The image whose container does it, for an engine that works so.
    #[must_use]
    pub fn tool(&self) -> Option<&ImageRef> {
        match self {
            Self::PackRootfs { tool, .. } | Self::MakeConfig { tool, .. } | Self::MakeIso { tool, .. } => tool.as_ref(),
            Self::MakeDisk(job) => job.tool.as_ref(),
            Self::MakeStick(job) => job.tool.as_ref(),
            _ => None,
        }
    }
}

/// A disk to be made.
#[derive(Clone, Debug)]
pub struct DiskJob {
    /// Which.
    pub kind: DiskKind,
    /// The folder of the parts: rootfs.img, config.img, persist.img and more.
    pub parts: PathBuf,
    /// Which partitions, in order; a word may hold several names.
    pub words: Vec<String>,
    /// The disk's size.
    pub bytes: u64,
    /// The disk is there, and a tool container may look at what is on it.
    pub keep: bool,
    /// The tool container makes the file, as large as it must be.
    pub grows: bool,
    /// The platform, where the tool container is told.
    pub platform: Option<String>,
    /// The board, when its boot loader must be on the disk.
    pub board: Option<String>,
    /// Seconds since the epoch for the ESP's files.
    pub epoch: i64,
    /// The disk.
    pub out: PathBuf,
    /// mkimage-raw-efi and its like.
    pub tool: Option<ImageRef>,
}

/// A USB stick to be made.
#[derive(Clone, Debug)]
pub struct StickJob {
    /// With a folder for a device's dump.
    pub dump: bool,
    /// With a folder for a device's identity.
    pub identity: bool,
    /// The port configuration, `usb.json`.
    pub config: Option<PathBuf>,
    /// The stick's size.
    pub bytes: u64,
    /// The image, or the block device.
    pub out: PathBuf,
    /// Whether it is a block device.
    pub device: bool,
    /// Seconds since the epoch for all files.
    pub epoch: i64,
    /// mkimage-raw-efi.
    pub tool: Option<ImageRef>,
}

/// The image that holds everything.
#[derive(Clone, Debug)]
pub struct EveJob {
    /// The folder of all artifacts: the build's context.
    pub context: PathBuf,
    /// Files that are copied into it: from, to.
    pub copies: Vec<(PathBuf, PathBuf)>,
    /// The Dockerfile's text.
    pub dockerfile: String,
    /// What is done.
    pub work: PackageWork,
    /// Tag and release of each call, in order.
    pub calls: Vec<(String, Option<String>)>,
    /// For which machine.
    pub arch: Arch,
    /// Build although the image exists.
    pub force: bool,
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

    /// Has the goals' packages built although their images exist.
    pub fn force_goals(&mut self) {
        for node in &mut self.nodes {
            if let (true, Action::BuildPackage(job)) = (self.goals.contains(&node.id), &mut node.action) {
                job.force = true;
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
