//! One row for each program of others that xtask may start: its purpose, the least version with the reason, how it prints its version,
//! and the packages that contain it. Starts no process: `version` asks for versions, `apt` installs, `commands::doctor` shows.

/// Defines the enum [`Tool`] and the table of its rows.
macro_rules! tools {
    ($($tool:ident = $info:expr;)*) => {
        /// A program of others.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum Tool { $($tool),* }

        impl Tool {
            /// All tools, in the order in which `doctor` shows them.
            pub const ALL: &'static [Self] = &[$(Self::$tool),*];
        }

        static TABLE: &[Info] = &[$($info),*];
    };
}

/// Work that needs tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum For {
    /// Build `live`.
    Live,
    /// Run it in a virtual machine.
    Run,
    /// `cargo xtask test`: programs of others that check our images.
    Test,
    /// `cargo xtask bench`: programs that we measure ourselves against.
    Bench,
    /// The engine `linuxkit`.
    Linuxkit,
}
use For::{Bench, Linuxkit, Live, Run, Test};

/// A version by its numbers: `[7, 2, 22]`.
pub type Version = [u32; 3];

/// The names of the packages that contain a tool; empty if no package does.
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
    /// The name in messages.
    pub name: &'static str,
    /// The program's file name.
    pub binary: &'static str,
    /// What it is needed for: a verb phrase after "to".
    pub purpose: &'static str,
    /// Least version as people write it, and why.
    pub minimum: Option<(&'static str, &'static str)>,
    /// Arguments that make it print its version.
    pub version_args: &'static [&'static str],
    /// The text before the version in that output.
    pub version_after: &'static str,
    /// The packages that contain it.
    pub packages: Packages,
    /// A file of one of the packages that is needed together with the program; without it the tool counts as missing.
    pub file: Option<&'static str>,
    /// The work that needs it.
    pub needs: &'static [For],
    /// The work can go on without it, with a notice.
    pub optional: bool,
}

/// A row of a program with this file name, in no package, that prints its version with `--version`.
const fn tool(name: &'static str, purpose: &'static str, needs: &'static [For]) -> Info {
    let packages = Packages { debian: &[], fedora: &[], brew: &[] };
    Info {
        name,
        binary: name,
        purpose,
        minimum: None,
        version_args: &["--version"],
        version_after: "",
        packages,
        file: None,
        needs,
        optional: false,
    }
}

impl Info {
    const fn packages(mut self, debian: &'static [&'static str], fedora: &'static [&'static str], brew: &'static [&'static str]) -> Self {
        self.packages = Packages { debian, fedora, brew };
        self
    }

    /// It prints its version after `text` when it gets `args`; without `args` it has no way to print it.
    const fn version(mut self, args: &'static [&'static str], text: &'static str) -> Self {
        (self.version_args, self.version_after) = (args, text);
        self
    }

    const fn since(mut self, version: &'static str, reason: &'static str) -> Self {
        self.minimum = Some((version, reason));
        self
    }

    const fn binary(mut self, file: &'static str) -> Self {
        self.binary = file;
        self
    }

    /// It is of use only together with this file, on machines whose packages have it.
    const fn with_file(mut self, file: &'static str) -> Self {
        self.file = if cfg!(all(target_os = "linux", target_arch = "x86_64")) { Some(file) } else { None };
        self
    }

    const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

const VERSION: &[&str] = &["--version"];

tools! {
    Git = tool("git", "know the version and the tags of packages", &[Live, Run, Test])
        .packages(&["git"], &["git"], &["git"]).version(VERSION, "git version ").since("2.11", "the first with `status --porcelain=v2`");
    QemuImg = tool("qemu-img", "give a machine that is run here a disk; other formats", &[Run, Test])
        .packages(&["qemu-utils"], &["qemu-img"], &["qemu"]).version(VERSION, "version ")
        .since("5.1", "the first that reads qcow2 with zstd");
    QemuIo = tool("qemu-io", "give a machine that is run here a login", &[Run, Test])
        .packages(&["qemu-utils"], &["qemu-img"], &["qemu"]).version(VERSION, "version ");
    QemuAmd64 = tool("qemu-system-x86_64", "run amd64 images", &[Run, Test])
        .packages(&["qemu-system-x86"], &["qemu-system-x86-core"], &["qemu"]).version(VERSION, "version ")
        .since("5.1", "the first that reads qcow2 with zstd");
    QemuArm64 = tool("qemu-system-aarch64", "run arm64 images", &[Test])
        .packages(&["qemu-system-arm"], &["qemu-system-aarch64-core"], &["qemu"]).version(VERSION, "version ")
        .since("5.1", "the first that reads qcow2 with zstd").optional();
    QemuRiscv64 = tool("qemu-system-riscv64", "run riscv64 images", &[Test])
        .packages(&["qemu-system-misc"], &["qemu-system-riscv-core"], &["qemu"]).version(VERSION, "version ")
        .since("5.1", "the first that reads qcow2 with zstd").optional();
    Swtpm = tool("swtpm", "give the virtual machine a TPM", &[Run, Test])
        .packages(&["swtpm", "swtpm-tools"], &["swtpm", "swtpm-tools"], &["swtpm"]).version(VERSION, "version ")
        .since("0.1", "the first release with a TPM 2 behind a socket");
    Ssh = tool("ssh", "log into the virtual machine", &[Test])
        .packages(&["openssh-client"], &["openssh-clients"], &["openssh"]).version(&["-V"], "OpenSSH_");
    Unshare = tool("unshare", "look into the sandbox of RUN steps by hand", &[Test])
        .packages(&["util-linux"], &["util-linux"], &[]).version(VERSION, "util-linux ").optional();
    Sgdisk = tool("sgdisk", "check partition tables", &[Test]).packages(&["gdisk"], &["gdisk"], &["gptfdisk"]).version(&["-V"], "version ");
    // It prints its version only while it checks a file system.
    FsckVfat = tool("fsck.vfat", "check FAT file systems", &[Test])
        .packages(&["dosfstools"], &["dosfstools"], &["dosfstools"]).version(&[], "");
    Mcopy = tool("mtools", "read FAT file systems", &[Test])
        .packages(&["mtools"], &["mtools"], &["mtools"]).version(VERSION, "mtools) ").binary("mcopy");
    Unsquashfs = tool("unsquashfs", "check squashfs", &[Test])
        .packages(&["squashfs-tools"], &["squashfs-tools"], &["squashfs"]).version(&["-version"], "version ");
    Mksquashfs = tool("mksquashfs", "be measured against our squashfs writer", &[Bench])
        .packages(&["squashfs-tools"], &["squashfs-tools"], &["squashfs"]).version(&["-version"], "version ");
    E2fsck = tool("e2fsck", "check ext4", &[Test]).packages(&["e2fsprogs"], &["e2fsprogs"], &["e2fsprogs"]).version(&["-V"], "e2fsck ");
    Xorriso = tool("xorriso", "check ISO images", &[Test]).packages(&["xorriso"], &["xorriso"], &["xorriso"]).version(VERSION, "xorriso ");
    Genimage = tool("genimage", "be measured against our disk writer", &[Bench]).packages(&["genimage"], &["genimage"], &["genimage"]);
    Shellcheck = tool("shellcheck", "check shell scripts", &[Test])
        .packages(&["shellcheck"], &["ShellCheck"], &["shellcheck"]).version(VERSION, "version: ");
    Isoinfo = tool("isoinfo", "read ISO images", &[Test])
        .packages(&["genisoimage"], &["genisoimage"], &["cdrtools"]).version(VERSION, "isoinfo ").optional();
    Sfdisk = tool("sfdisk", "print partition tables", &[Test])
        .packages(&["fdisk"], &["util-linux"], &[]).version(VERSION, "util-linux ").optional();
    GrubFstest = tool("grub-fstest", "read squashfs as the boot loader does", &[Test])
        .packages(&["grub-common"], &["grub2-tools-extra"], &[]).version(VERSION, "grub-fstest (GRUB) ").optional();
    Cpio = tool("cpio", "read the installer's initrd", &[Test])
        .packages(&["cpio"], &["cpio"], &["cpio"]).version(VERSION, "cpio (GNU cpio) ").optional();
    Skopeo = tool("skopeo", "read the image cache", &[Test])
        .packages(&["skopeo"], &["skopeo"], &["skopeo"]).version(VERSION, "version ").optional();
    DockerRegistry = tool("docker-registry", "test the team's cache with a registry of its own", &[Test, Bench])
        .packages(&["docker-registry"], &["docker-distribution"], &[]).version(VERSION, "github.com/docker/distribution ").optional();
    Zstd = tool("zstd", "apply deltas as others do", &[Test]).packages(&["zstd"], &["zstd"], &["zstd"]).version(VERSION, "bit) v").optional();
    Zsh = tool("zsh", "test its completions", &[Test]).packages(&["zsh"], &["zsh"], &["zsh"]).version(VERSION, "zsh ").optional();
    Fish = tool("fish", "test its completions", &[Test]).packages(&["fish"], &["fish"], &["fish"]).version(VERSION, "version ").optional();
    Man = tool("man", "show manual pages", &[Test]).packages(&["man-db"], &["man-db"], &["man-db"]).version(VERSION, "man ").optional();
    Tmux = tool("tmux", "look at the progress that a terminal shows", &[Test])
        .packages(&["tmux"], &["tmux"], &["tmux"]).version(&["-V"], "tmux ").optional();
    Chromium = tool("chromium", "use the page of `cargo xtask report` as a person does", &[Test])
        .packages(&["chromium"], &["chromium"], &[]).version(VERSION, "Chromium ").optional();
    Busybox = tool("busybox", "run the scripts of pkg/ in the guest's shell", &[Test])
        .packages(&["busybox-static"], &["busybox"], &[]).version(&["--help"], "BusyBox v").optional();
    Make = tool("make", "test the Makefile that forwards to us", &[Test])
        .packages(&["make"], &["make"], &["make"]).version(VERSION, "GNU Make ").optional();
    Docker = tool("docker", "build packages with the engine linuxkit", &[Linuxkit])
        .packages(&["docker.io"], &["moby-engine"], &["docker"]).version(VERSION, "version ").optional();
    Dockerd = tool("dockerd", "test the tool images in docker, with a daemon of the tests' own", &[Test])
        .packages(&["docker.io", "iptables"], &["moby-engine", "iptables"], &[]).version(VERSION, "version ").optional();
    Linuxkit = tool("linuxkit", "build packages and root file systems with the engine linuxkit", &[Linuxkit])
        .packages(&[], &[], &["linuxkit"]).version(&["version"], "version ").optional();
    DockerCompose = tool("docker-compose", "run the microservices without a machine", &[])
        .packages(&["docker-compose"], &["docker-compose"], &["docker-compose"]).version(VERSION, "version ").optional();
    Gcloud = tool("gcloud", "look for images in Google's cloud", &[]).version(VERSION, "SDK ").optional();
    Prlctl = tool("prlctl", "run images in Parallels Desktop", &[]).version(VERSION, "version ").optional();
    Prlsrvctl = tool("prlsrvctl", "lead a port to a machine in Parallels Desktop", &[]).version(VERSION, "version ").optional();
    VBoxManage = tool("VBoxManage", "run images in VirtualBox", &[]).packages(&["virtualbox"], &["VirtualBox"], &["virtualbox"]).optional();
    Curl = tool("curl", "fetch files from servers with https", &[Test])
        .packages(&["curl"], &["curl"], &["curl"]).version(VERSION, "curl ").optional();
    Gpgv = tool("gpgv", "check the signatures of Debian's archives when pins are renewed", &[Test])
        .packages(&["gpgv"], &["gnupg2"], &["gnupg"]).version(VERSION, "gpgv (GnuPG) ").optional();
    Gpg = tool("gpg", "read the keys of Debian's archives that this repository keeps", &[Test])
        .packages(&["gpg"], &["gnupg2"], &["gnupg"]).version(VERSION, "gpg (GnuPG) ").optional();
    MkfsBtrfs = tool("mkfs.btrfs", "build on btrfs", &[Test])
        .packages(&["btrfs-progs"], &["btrfs-progs"], &[]).version(VERSION, "btrfs-progs v").optional();
    Disorderfs = tool("disorderfs", "build on a file system with folders in a shuffled order", &[Test])
        .packages(&["disorderfs"], &[], &[]).version(VERSION, "disorderfs version: ").optional();
    Openssl = tool("openssl", "sign provenance and check its signature", &[Test])
        .packages(&["openssl"], &["openssl"], &["openssl"]).version(&["version"], "OpenSSL ").optional();
    Sbverify = tool("sbverify", "check signatures of EFI programs in the tests, beside a firmware with Secure Boot", &[Test])
        .packages(&["sbsigntool", "ovmf", "systemd-boot-efi"], &["sbsigntools", "edk2-ovmf", "systemd-boot-unsigned"], &["sbsigntools", "edk2-ovmf"]).version(VERSION, "sbverify ")
        .with_file("/usr/lib/systemd/boot/efi/linuxx64.efi.stub").optional();
    SignEfiSigList = tool("sign-efi-sig-list", "compare signed variables of UEFI in the tests", &[Test])
        .packages(&["efitools"], &["efitools"], &["efitools"]).version(VERSION, "sign-efi-sig-list ").optional();
    Veritysetup = tool("veritysetup", "compare trees of dm-verity in the tests", &[Test])
        .packages(&["cryptsetup-bin"], &["veritysetup"], &["cryptsetup"]).version(VERSION, "veritysetup ").optional();
    Cargo = tool("cargo", "run the tests of this repository", &[Test])
        .packages(&["cargo"], &["cargo"], &["rust"]).version(VERSION, "cargo ");
    Python = tool("python3", "run the conformance harness and SPDX's validator", &[Test])
        .packages(&["python3", "python3-venv"], &["python3"], &["python"]).version(VERSION, "Python ").optional();
    Go = tool("go", "build tools from source, and fetch the sources of Go modules", &[Test])
        .packages(&["golang-go"], &["golang"], &["go"]).version(&["version"], "go version go").optional();
    GoSources = tool("go-sources-and-licenses", "collect the sources of Go programs", &[]).optional();
    Adam = tool("adam", "talk to the controller of a test (github.com/lf-edge/adam)", &[]).version(&[], "").optional();
}

impl Tool {
    /// Its row of the table.
    #[must_use]
    pub fn info(self) -> &'static Info {
        &TABLE[self as usize]
    }

    /// Its name in `XTASK_TOOL_…`: `QEMU_SYSTEM_X86_64`.
    #[must_use]
    pub fn variable(self) -> String {
        self.info().name.replace(['-', '.'], "_").to_uppercase()
    }

    /// The tool whose [`variable`](Self::variable) is `name`.
    #[must_use]
    pub fn from_variable(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|tool| tool.variable() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_names_one_tool() {
        for tool in Tool::ALL {
            assert_eq!(Tool::from_variable(&tool.variable()), Some(*tool));
        }
        assert_eq!(Tool::from_variable("QEMU_SYSTEM_X86_64"), Some(Tool::QemuAmd64));
        assert_eq!(Tool::FsckVfat.variable(), "FSCK_VFAT");
    }
}
