//! Where everything lies below `dist/`. Names only: nothing here looks whether a file is there.

use crate::{Composed, DiskKind, NodeId};
use common::Arch;
use knobs::ImageFormat;
use std::path::{Path, PathBuf};

/// The folder `dist/` of a tree, with what belongs to no version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dist(PathBuf);

impl Dist {
    /// The name of the lock's file.
    pub const LOCK: &str = ".lock";
    /// The name of the link to the version that was made last.
    pub const CURRENT: &str = "current";

    /// Of the tree at `root`.
    #[must_use]
    pub fn of(root: &Path) -> Self {
        Self(root.join("dist"))
    }

    /// `dist/`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The file that a build locks.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.0.join(Self::LOCK)
    }

    /// Temporary files of builds.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.0.join("tmp")
    }

    /// The private key that `ssh-key` makes.
    #[must_use]
    pub fn ssh_key(&self) -> PathBuf {
        self.0.join("ssh.key")
    }

    /// The copy of the configuration that lets that key in.
    #[must_use]
    pub fn conf(&self) -> PathBuf {
        self.0.join("conf")
    }

    /// Where recorded scenarios are run.
    #[must_use]
    pub fn conformance(&self) -> PathBuf {
        self.0.join("conformance")
    }

    /// The folder of an architecture, with a folder for each version.
    #[must_use]
    pub fn arch(&self, arch: Arch) -> PathBuf {
        self.0.join(arch.as_str())
    }

    /// The link to the version that was made last.
    #[must_use]
    pub fn current_link(&self, arch: Arch) -> PathBuf {
        self.arch(arch).join(Self::CURRENT)
    }

    /// What that link leads to.
    #[must_use]
    pub fn current(&self, arch: Arch) -> Layout {
        Layout::at(self.current_link(arch))
    }

    /// One version for one architecture.
    #[must_use]
    pub fn version(&self, arch: Arch, version: &str) -> Layout {
        Layout::at(self.arch(arch).join(version))
    }

    /// The device tree that QEMU gives to a machine for arm64.
    #[must_use]
    pub fn device_tree(&self) -> PathBuf {
        self.arch(Arch::Arm64).join("dtb")
    }

    /// The disk of the machine that builds EVE.
    #[must_use]
    pub fn build_vm(&self, arch: Arch) -> PathBuf {
        self.arch(arch).join("build-vm.qcow2")
    }

    /// The disk with the settings of that machine's first boot.
    #[must_use]
    pub fn build_vm_settings(&self, arch: Arch) -> PathBuf {
        self.arch(arch).join("build-vm-ci.qcow2")
    }
}

/// The folder of one build: `dist/<arch>/<version>`, or a link to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout(PathBuf);

impl Layout {
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

    /// The record of a step that was made.
    #[must_use]
    pub fn stamp(&self, id: &NodeId) -> PathBuf {
        self.0.join(".stamps").join(format!("{}.json", id.file_stem()))
    }

    /// The log of a step or a program.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.0.join("logs").join(format!("{name}.log"))
    }

    /// The resolved yml of what is composed: in a folder `images`, as in the tree, so that linuxkit is told the same short name.
    /// `suffix` is the platform with a dash before it, in a tree that tells platforms apart.
    #[must_use]
    pub fn yml(&self, of: Composed, hv: &str, suffix: &str) -> PathBuf {
        self.0.join("images").join(format!("{}-{hv}{suffix}.yml", of.as_str()))
    }

    /// A composed root file system. The installer's is the same for all platforms.
    #[must_use]
    pub fn tar(&self, of: Composed, suffix: &str) -> PathBuf {
        let suffix = if of == Composed::Rootfs { suffix } else { "" };
        self.0.join(format!("{}{suffix}.tar", of.as_str()))
    }

    /// The folder of a disk's parts. A verification has a folder of its own.
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

    /// `installer.iso`.
    #[must_use]
    pub fn installer_iso(&self) -> PathBuf {
        self.0.join("installer.iso")
    }

    /// `installer.net`.
    #[must_use]
    pub fn installer_net(&self) -> PathBuf {
        self.0.join("installer.net")
    }

    /// The disk that a virtual machine's installer installs on.
    #[must_use]
    pub fn target(&self) -> PathBuf {
        self.0.join("target.img")
    }

    /// What a virtual machine writes: overlays and volumes.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// The state of a virtual machine's TPM.
    #[must_use]
    pub fn swtpm(&self) -> PathBuf {
        self.0.join("swtpm")
    }

    /// Logs and temporary files of the helpers that make images.
    #[must_use]
    pub fn scripts(&self) -> PathBuf {
        self.0.join("scripts")
    }

    /// The bill of materials. `suffix` is the platform's, as in [`yml`](Self::yml).
    #[must_use]
    pub fn sbom(&self, suffix: &str) -> PathBuf {
        self.part(&format!("rootfs{suffix}.spdx.json"))
    }

    /// The sources of everything in the image.
    #[must_use]
    pub fn collected_sources(&self) -> PathBuf {
        self.0.join("collected_sources.tar.gz")
    }

    /// The composition of microservices with its tags filled in.
    #[must_use]
    pub fn compose(&self) -> PathBuf {
        self.0.join("compose")
    }
}
