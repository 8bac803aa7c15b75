//! What each foreign tool is for, since which version it does that, how it tells its version, and who packages it.
//! Nothing is run here: `version` asks, `apt` installs, `commands::doctor` shows.

/// A program of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Tool {
    Git,
    QemuImg,
    QemuIo,
    QemuAmd64,
    QemuArm64,
    QemuRiscv64,
    Swtpm,
    Ssh,
    Unshare,
    Sgdisk,
    FsckVfat,
    Mcopy,
    Unsquashfs,
    Mksquashfs,
    E2fsck,
    Xorriso,
    Genimage,
    Shellcheck,
    Isoinfo,
    Sfdisk,
    GrubFstest,
    Cpio,
    Skopeo,
    Busybox,
    Make,
    Docker,
    Dockerd,
    Linuxkit,
    DockerCompose,
    Gcloud,
    Prlctl,
    Prlsrvctl,
    VBoxManage,
    Curl,
    Adam,
    Cargo,
    Python,
    Go,
    GoSources,
}

/// What tools are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum For {
    /// Building `live`.
    Live,
    /// Running it in a virtual machine.
    Run,
    /// `cargo xtask test`: foreign tools that look at our images.
    Test,
    /// `cargo xtask bench`: the tools that we measure ourselves against.
    Bench,
    /// The engine `linuxkit`.
    Linuxkit,
}

/// A version by its numbers: `[7, 2, 22]`.
pub type Version = [u32; 3];

/// The names of packages; empty where there is none.
#[derive(Debug)]
pub struct Packages {
    /// On Debian and Ubuntu.
    pub debian: &'static [&'static str],
    /// On Fedora.
    pub fedora: &'static [&'static str],
    /// In Homebrew.
    pub brew: &'static [&'static str],
}

/// One row of the table.
#[derive(Debug)]
pub struct Info {
    /// How people call it.
    pub name: &'static str,
    /// The program's file name.
    pub binary: &'static str,
    /// What it is needed for: a verb phrase after "to".
    pub purpose: &'static str,
    /// Least version as people write it, and why.
    pub minimum: Option<(&'static str, &'static str)>,
    /// Arguments that make it print its version.
    pub version_args: &'static [&'static str],
    /// What stands before the version in that text.
    pub version_after: &'static str,
    /// Who packages it.
    pub packages: Packages,
    /// What wants it.
    pub needs: &'static [For],
    /// The work can go on without it, with a word about it.
    pub optional: bool,
}

const fn packages(debian: &'static [&'static str], fedora: &'static [&'static str], brew: &'static [&'static str]) -> Packages {
    Packages { debian, fedora, brew }
}

/// A row that is the same name everywhere.
const fn row(name: &'static str, purpose: &'static str, packages: Packages, needs: &'static [For]) -> Info {
    Info { name, binary: name, purpose, minimum: None, version_args: &["--version"], version_after: "", packages, needs, optional: false }
}

use For::{Bench, Linuxkit, Live, Run, Test};

/// All tools, in the order in which `doctor` shows them.
pub const TABLE: &[(Tool, Info)] = &[
    (
        Tool::Git,
        Info {
            minimum: Some(("2.11", "the first with `status --porcelain=v2`")),
            version_after: "git version ",
            ..row("git", "know the version and the tags of packages", packages(&["git"], &["git"], &["git"]), &[Live, Run, Test])
        },
    ),
    (
        Tool::QemuImg,
        Info {
            minimum: Some(("5.1", "the first with compression_type=zstd in qcow2")),
            version_after: "version ",
            ..row("qemu-img", "make qcow2 of the raw disk", packages(&["qemu-utils"], &["qemu-img"], &["qemu"]), &[Live, Run, Test])
        },
    ),
    (
        Tool::QemuIo,
        Info {
            version_after: "version ",
            ..row("qemu-io", "give a machine that is run here a login", packages(&["qemu-utils"], &["qemu-img"], &["qemu"]), &[Run, Test])
        },
    ),
    (
        Tool::QemuAmd64,
        Info {
            minimum: Some(("5.1", "the first that reads qcow2 with zstd")),
            version_after: "version ",
            ..row(
                "qemu-system-x86_64",
                "run amd64 images",
                packages(&["qemu-system-x86"], &["qemu-system-x86-core"], &["qemu"]),
                &[Run, Test],
            )
        },
    ),
    (
        Tool::QemuArm64,
        Info {
            minimum: Some(("5.1", "the first that reads qcow2 with zstd")),
            version_after: "version ",
            optional: true,
            ..row(
                "qemu-system-aarch64",
                "run arm64 images",
                packages(&["qemu-system-arm"], &["qemu-system-aarch64-core"], &["qemu"]),
                &[Test],
            )
        },
    ),
    (
        Tool::QemuRiscv64,
        Info {
            version_after: "version ",
            optional: true,
            ..row("qemu-system-riscv64", "run riscv64 images", packages(&["qemu-system-misc"], &["qemu-system-riscv-core"], &["qemu"]), &[])
        },
    ),
    (
        Tool::Swtpm,
        Info {
            minimum: Some(("0.1", "the first release with a TPM 2 behind a socket")),
            version_after: "version ",
            ..row(
                "swtpm",
                "give the virtual machine a TPM",
                packages(&["swtpm", "swtpm-tools"], &["swtpm", "swtpm-tools"], &["swtpm"]),
                &[Run, Test],
            )
        },
    ),
    (
        Tool::Ssh,
        Info {
            version_args: &["-V"],
            version_after: "OpenSSH_",
            ..row("ssh", "log into the virtual machine", packages(&["openssh-client"], &["openssh-clients"], &["openssh"]), &[Test])
        },
    ),
    (
        Tool::Unshare,
        Info {
            optional: true,
            version_after: "util-linux ",
            ..row("unshare", "look into the sandbox of RUN steps by hand", packages(&["util-linux"], &["util-linux"], &[]), &[Test])
        },
    ),
    (
        Tool::Sgdisk,
        Info {
            version_args: &["-V"],
            version_after: "version ",
            ..row("sgdisk", "check partition tables", packages(&["gdisk"], &["gdisk"], &["gptfdisk"]), &[Test])
        },
    ),
    (
        Tool::FsckVfat,
        Info {
            // It tells its version only when it checks something.
            version_args: &[],
            ..row("fsck.vfat", "check FAT file systems", packages(&["dosfstools"], &["dosfstools"], &["dosfstools"]), &[Test])
        },
    ),
    (
        Tool::Mcopy,
        Info {
            binary: "mcopy",
            version_after: "mtools) ",
            ..row("mtools", "read FAT file systems", packages(&["mtools"], &["mtools"], &["mtools"]), &[Test])
        },
    ),
    (
        Tool::Unsquashfs,
        Info {
            version_args: &["-version"],
            version_after: "version ",
            ..row("unsquashfs", "check squashfs", packages(&["squashfs-tools"], &["squashfs-tools"], &["squashfs"]), &[Test])
        },
    ),
    (
        Tool::Mksquashfs,
        Info {
            version_args: &["-version"],
            version_after: "version ",
            ..row(
                "mksquashfs",
                "be measured against our squashfs writer",
                packages(&["squashfs-tools"], &["squashfs-tools"], &["squashfs"]),
                &[Bench],
            )
        },
    ),
    (
        Tool::E2fsck,
        Info {
            version_args: &["-V"],
            version_after: "e2fsck ",
            ..row("e2fsck", "check ext4", packages(&["e2fsprogs"], &["e2fsprogs"], &["e2fsprogs"]), &[Test])
        },
    ),
    (
        Tool::Xorriso,
        Info {
            version_after: "xorriso ",
            ..row("xorriso", "check ISO images", packages(&["xorriso"], &["xorriso"], &["xorriso"]), &[Test])
        },
    ),
    (
        Tool::Genimage,
        row("genimage", "be measured against our disk writer", packages(&["genimage"], &["genimage"], &["genimage"]), &[Bench]),
    ),
    (
        Tool::Shellcheck,
        Info {
            version_after: "version: ",
            ..row("shellcheck", "check the guest's scripts", packages(&["shellcheck"], &["ShellCheck"], &["shellcheck"]), &[Test])
        },
    ),
    (
        Tool::Isoinfo,
        Info {
            optional: true,
            version_after: "isoinfo ",
            ..row("isoinfo", "read ISO images", packages(&["genisoimage"], &["genisoimage"], &["cdrtools"]), &[Test])
        },
    ),
    (
        Tool::Sfdisk,
        Info {
            optional: true,
            version_after: "util-linux ",
            ..row("sfdisk", "print partition tables", packages(&["fdisk"], &["util-linux"], &[]), &[Test])
        },
    ),
    (
        Tool::GrubFstest,
        Info {
            optional: true,
            version_after: "grub-fstest (GRUB) ",
            ..row("grub-fstest", "read squashfs as the boot loader does", packages(&["grub-common"], &["grub2-tools-extra"], &[]), &[Test])
        },
    ),
    (
        Tool::Cpio,
        Info {
            optional: true,
            version_after: "cpio (GNU cpio) ",
            ..row("cpio", "read the installer's initrd", packages(&["cpio"], &["cpio"], &["cpio"]), &[Test])
        },
    ),
    (
        Tool::Skopeo,
        Info {
            optional: true,
            version_after: "version ",
            ..row("skopeo", "read the image cache", packages(&["skopeo"], &["skopeo"], &["skopeo"]), &[Test])
        },
    ),
    (
        Tool::Busybox,
        Info {
            optional: true,
            version_args: &["--help"],
            version_after: "BusyBox v",
            ..row("busybox", "run the scripts of pkg/ in the guest's shell", packages(&["busybox-static"], &["busybox"], &[]), &[Test])
        },
    ),
    (
        Tool::Make,
        Info {
            optional: true,
            version_after: "GNU Make ",
            ..row("make", "test the Makefile that forwards to us", packages(&["make"], &["make"], &["make"]), &[Test])
        },
    ),
    (
        Tool::Docker,
        Info {
            optional: true,
            version_after: "version ",
            ..row("docker", "build packages with the engine linuxkit", packages(&["docker.io"], &["moby-engine"], &["docker"]), &[Linuxkit])
        },
    ),
    (
        Tool::Dockerd,
        Info {
            optional: true,
            version_after: "version ",
            ..row(
                "dockerd",
                "test the tool images in docker, with a daemon of the tests' own",
                packages(&["docker.io", "iptables"], &["moby-engine", "iptables"], &[]),
                &[Test],
            )
        },
    ),
    (
        Tool::Linuxkit,
        Info {
            optional: true,
            version_args: &["version"],
            version_after: "version ",
            ..row(
                "linuxkit",
                "build packages and root file systems with the engine linuxkit",
                packages(&[], &[], &["linuxkit"]),
                &[Linuxkit],
            )
        },
    ),
    (
        Tool::DockerCompose,
        Info {
            optional: true,
            version_after: "version ",
            ..row(
                "docker-compose",
                "run the microservices without a machine",
                packages(&["docker-compose"], &["docker-compose"], &["docker-compose"]),
                &[],
            )
        },
    ),
    (
        Tool::Gcloud,
        Info { optional: true, version_after: "SDK ", ..row("gcloud", "look for images in Google's cloud", packages(&[], &[], &[]), &[]) },
    ),
    (
        Tool::Prlctl,
        Info {
            optional: true,
            version_after: "version ",
            ..row("prlctl", "run images in Parallels Desktop", packages(&[], &[], &[]), &[])
        },
    ),
    (
        Tool::Prlsrvctl,
        Info {
            optional: true,
            version_after: "version ",
            ..row("prlsrvctl", "lead a port to a machine in Parallels Desktop", packages(&[], &[], &[]), &[])
        },
    ),
    (
        Tool::VBoxManage,
        Info {
            optional: true,
            ..row("VBoxManage", "run images in VirtualBox", packages(&["virtualbox"], &["VirtualBox"], &["virtualbox"]), &[])
        },
    ),
    (
        Tool::Curl,
        Info {
            optional: true,
            version_after: "curl ",
            ..row("curl", "fetch the build machine's disk image", packages(&["curl"], &["curl"], &["curl"]), &[Test])
        },
    ),
    (
        Tool::Cargo,
        Info {
            version_after: "cargo ",
            ..row("cargo", "run the tests of this repository", packages(&["cargo"], &["cargo"], &["rust"]), &[Test])
        },
    ),
    (
        Tool::Python,
        Info {
            binary: "python3",
            version_after: "Python ",
            optional: true,
            ..row("python3", "run the conformance harness", packages(&["python3"], &["python3"], &["python"]), &[])
        },
    ),
    (
        Tool::Go,
        Info {
            version_args: &["version"],
            version_after: "go version go",
            optional: true,
            ..row(
                "go",
                "build tools from source, and fetch the sources of Go modules",
                packages(&["golang-go"], &["golang"], &["go"]),
                &[For::Test],
            )
        },
    ),
    (
        Tool::GoSources,
        Info { optional: true, ..row("go-sources-and-licenses", "collect the sources of Go programs", packages(&[], &[], &[]), &[]) },
    ),
    (
        Tool::Adam,
        Info {
            version_args: &[],
            optional: true,
            ..row("adam", "talk to the controller of a test (github.com/lf-edge/adam)", packages(&[], &[], &[]), &[])
        },
    ),
];

impl Tool {
    /// Its row of the table.
    #[must_use]
    pub fn info(self) -> &'static Info {
        TABLE.iter().find(|(tool, _)| *tool == self).map(|(_, info)| info).expect("every tool has a row, see the test")
    }

    /// Its name in `XTASK_TOOL_…`: `QEMU_SYSTEM_X86_64`.
    #[must_use]
    pub fn variable(self) -> String {
        self.info().name.replace(['-', '.'], "_").to_uppercase()
    }

    /// The tool of that name.
    #[must_use]
    pub fn from_variable(name: &str) -> Option<Self> {
        TABLE.iter().map(|(tool, _)| *tool).find(|tool| tool.variable() == name)
    }

    /// The tools that `need` wants, in the table's order.
    pub fn needed_for(need: For) -> impl Iterator<Item = Self> {
        TABLE.iter().filter(move |(_, info)| info.needs.contains(&need)).map(|(tool, _)| *tool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_one_row() {
        let tools: std::collections::BTreeSet<Tool> = TABLE.iter().map(|(tool, _)| *tool).collect();
        assert_eq!(tools.len(), TABLE.len(), "a tool has two rows");
        // The last of the enum: its number says how many there are.
        assert_eq!(TABLE.len(), Tool::GoSources as usize + 1, "a tool has no row, or another is last");
        assert_eq!(Tool::from_variable("QEMU_SYSTEM_X86_64"), Some(Tool::QemuAmd64));
        assert_eq!(Tool::FsckVfat.variable(), "FSCK_VFAT");
    }
}
