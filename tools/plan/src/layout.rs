//! The paths of everything below `dist/`. Computes paths only; reads no file.

use crate::{Composed, DiskKind, NodeId};
use common::Arch;
use knobs::ImageFormat;
use std::path::{Path, PathBuf};

/// Defines methods that return a path below the folder `self.0`.
macro_rules! paths {
    ($($(#[$doc:meta])* $name:ident = $path:literal;)*) => {
        $($(#[$doc])* #[must_use] pub fn $name(&self) -> PathBuf { self.0.join($path) })*
    };
}

/// The folder `dist/` of a tree, with the paths that do not depend on a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dist(PathBuf);

impl Dist {
    paths! {
        /// Temporary files of builds.
        spool = "tmp";
        /// The private key that `ssh-key` creates.
        ssh_key = "ssh.key";
        /// The copy of the configuration that authorizes that key.
        conf = "conf";
        /// A folder for each virtual machine: how to reach it while it runs, and what it printed.
        machines = "machines";
        /// The folder in which recorded scenarios run.
        conformance = "conformance";
    }

    /// The name of the lock file.
    pub const LOCK: &str = ".lock";
    /// The name of the link to the version that was built last.
    pub const CURRENT: &str = "current";

    /// That of the tree at `root`.
    #[must_use]
    pub fn of(root: &Path) -> Self {
        Self(root.join("dist"))
    }

    /// `dist/`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The lock file of builds.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.0.join(Self::LOCK)
    }

    /// The folder of an architecture, with one folder per version.
    #[must_use]
    pub fn arch(&self, arch: Arch) -> PathBuf {
        self.0.join(arch.as_str())
    }

    /// The link to the version that was built last.
    #[must_use]
    pub fn current_link(&self, arch: Arch) -> PathBuf {
        self.arch(arch).join(Self::CURRENT)
    }

    /// The build that this link points to.
    #[must_use]
    pub fn current(&self, arch: Arch) -> Layout {
        Layout::at(self.current_link(arch))
    }

    /// The build of one version for one architecture.
    #[must_use]
    pub fn version(&self, arch: Arch, version: &str) -> Layout {
        Layout::at(self.arch(arch).join(version))
    }

    /// The device tree for QEMU's arm64 machine.
    #[must_use]
    pub fn device_tree(&self) -> PathBuf {
        self.arch(Arch::Arm64).join("dtb")
    }

    /// The disk of the machine that builds EVE.
    #[must_use]
    pub fn build_vm(&self, arch: Arch) -> PathBuf {
        self.arch(arch).join("build-vm.qcow2")
    }

    /// The disk with the cloud-init settings of that machine.
    #[must_use]
    pub fn build_vm_settings(&self, arch: Arch) -> PathBuf {
        self.arch(arch).join("build-vm-ci.qcow2")
    }
}

/// The folder of one build: `dist/<arch>/<version>`, or a link to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout(PathBuf);

impl Layout {
    paths! {
        /// The archive of the image that contains all artifacts.
        eve_image = "eve.tar";
        /// The link to the live disk that was built last.
        live_link = "live.img";
        /// `installer.iso`.
        installer_iso = "installer.iso";
        /// `installer.net`.
        installer_net = "installer.net";
        /// The disk on which an installer in a virtual machine installs EVE.
        target = "target.img";
        /// Files that virtual machines write: overlays and volumes.
        run = "run";
        /// The state of a virtual machine's TPM.
        swtpm = "swtpm";
        /// Logs and temporary files of the helpers that make images.
        scripts = "scripts";
        /// The sources of everything in the image.
        collected_sources = "collected_sources.tar.gz";
        /// When each step of the last runs began, and how long it took.
        times = "logs/times.json";
        /// The page that `report` writes.
        report = "report.html";
        /// The docker-compose file of the microservices, with its tags filled in.
        compose = "compose";
    }

    /// The build in this folder.
    #[must_use]
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The stamp of a node.
    #[must_use]
    pub fn stamp(&self, id: &NodeId) -> PathBuf {
        self.0.join(".stamps").join(format!("{}.json", id.file_stem()))
    }

    /// The log of a node or a program.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.0.join("logs").join(format!("{name}.log"))
    }

    /// The resolved yml of a root file system, in a folder `images` as in the tree, so that linuxkit prints the same short name. `suffix`
    /// is [`Capabilities::platform_suffix`](crate::Capabilities::platform_suffix).
    #[must_use]
    pub fn yml(&self, of: Composed, hv: &str, suffix: &str) -> PathBuf {
        self.0.join("images").join(format!("{}-{hv}{suffix}.yml", of.as_str()))
    }

    /// The tar of a composed root file system. The installer's name has no suffix.
    #[must_use]
    pub fn tar(&self, of: Composed, suffix: &str) -> PathBuf {
        let suffix = if of == Composed::Rootfs { suffix } else { "" };
        self.0.join(format!("{}{suffix}.tar", of.as_str()))
    }

    /// The folder of a disk's parts. The verification disk has its own.
    #[must_use]
    pub fn parts(&self, kind: DiskKind) -> PathBuf {
        self.0.join(if kind == DiskKind::Verification { "verification" } else { "installer" })
    }

    /// A file beside rootfs.img.
    #[must_use]
    pub fn part(&self, name: &str) -> PathBuf {
        self.parts(DiskKind::Live).join(name)
    }

    /// The folder of the virtual machine's firmware.
    #[must_use]
    pub fn firmware(&self) -> PathBuf {
        self.part("firmware")
    }

    /// A raw disk.
    #[must_use]
    pub fn disk(&self, kind: DiskKind) -> PathBuf {
        self.0.join(format!("{}.raw", kind.as_str()))
    }

    /// The live disk in a format.
    #[must_use]
    pub fn live(&self, format: ImageFormat) -> PathBuf {
        self.0.join(format.row().file)
    }

    /// The bill of materials. `suffix` is the platform's, as in [`yml`](Self::yml).
    #[must_use]
    pub fn sbom(&self, suffix: &str) -> PathBuf {
        self.part(&format!("rootfs{suffix}.spdx.json"))
    }
}
