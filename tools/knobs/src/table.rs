//! Every knob that a person may set, declared once: the command line, the environment, `xtask.toml`, `summary` and
//! the reference page all come from this table.

/// What values a knob takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// A folder or file, relative to the tree's root unless absolute.
    Path,
    /// A whole number from `least` to `most`.
    Number {
        /// Smallest value.
        least: u64,
        /// Largest value.
        most: u64,
        /// What it counts.
        unit: &'static str,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Yes or no.
    Switch,
    /// Text that no output may show: tokens.
    Secret,
}

/// One knob.
#[derive(Debug)]
pub struct Decl {
    /// Its name in the environment, after `make` and in `xtask.toml`: the old Makefile's where it had one.
    pub name: &'static str,
    /// Further names that mean the same.
    pub aliases: &'static [&'static str],
    /// Its flag, without `--`.
    pub flag: &'static str,
    /// Its values.
    pub kind: Kind,
    /// Its value when nobody sets it; an empty text means unset or computed, and then `help` says from what.
    pub default: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// The verbs whose `--help` shows it; empty means all that build.
    pub verbs: &'static [&'static str],
}

const RUN: &[&str] = &[
    "run",
    "run-target",
    "run-installer-raw",
    "run-installer-iso",
    "run-installer-net",
    "run-verification-raw",
    "run-rootfs",
    "run-grub",
    "run-build-vm",
    "build-vm",
];
const BUILD: &[&str] = &[];
const PUSH: &[&str] = &["pkg", "pkgs", "eve"];
const PROXY: &[&str] = &["run-proxy"];
const PARALLELS: &[&str] = &["run-live-parallels", "live-parallels"];
const VIRTUALBOX: &[&str] = &["run-live-vb"];
const GCP: &[&str] = &["run-live-gcp", "live-gcp-upload"];
const BUILD_VM: &[&str] = &["build-vm"];
const EXPORT: &[&str] = &["cache-export", "cache-export-docker-load", "cache-export-docker-load-all"];
const GO: &[&str] = &["build-tools", "proto", "shell", "test-pillar", "pillar"];

const CPUS: Kind = Kind::Number { least: 1, most: 1024, unit: "processors" };
const MEMORY: Kind = Kind::Number { least: 128, most: 1024 * 1024, unit: "MiB" };

const fn decl(
    name: &'static str,
    flag: &'static str,
    kind: Kind,
    default: &'static str,
    verbs: &'static [&'static str],
    help: &'static str,
) -> Decl {
    Decl { name, aliases: &[], flag, kind, default, help, verbs }
}

/// The knobs, in the order in which `summary` and the reference page list them.
pub const TABLE: &[Decl] = &[
    decl("ROOTFS_VERSION", "rootfs-version", Kind::Text, "", BUILD, "version of the image; from git when unset"),
    decl(
        "ZARCH",
        "zarch",
        Kind::Choice(&["amd64", "arm64", "riscv64"]),
        "",
        BUILD,
        "architecture of the image; the machine's own when unset",
    ),
    decl("HV", "hv", Kind::Text, "kvm", BUILD, "hypervisor flavour of the root file system; the tree says which there are"),
    Decl {
        name: "IMAGE_FORMAT",
        aliases: &["IMG_FORMAT"],
        flag: "image-format",
        kind: Kind::Choice(&["qcow2", "raw", "vdi", "parallels", "gcp"]),
        default: "qcow2",
        help: "format of the live image",
        verbs: BUILD,
    },
    decl("ROOTFS_FORMAT", "rootfs-format", Kind::Choice(&["squash", "ext4"]), "squash", BUILD, "file system of rootfs.img"),
    decl(
        "ROOTFS_COMPRESSION",
        "rootfs-compression",
        Kind::Choice(&["xz", "gzip"]),
        "xz",
        BUILD,
        "compressor of a squashfs rootfs.img: xz is small, gzip is fast to make",
    ),
    decl("CONF_DIR", "conf-dir", Kind::Path, "conf", BUILD, "folder with the configuration that goes into config.img"),
    decl(
        "MEDIA_SIZE",
        "media-size",
        Kind::Number { least: 1, most: 16 * 1024 * 1024, unit: "MiB" },
        "32768",
        BUILD,
        "size of the final disk, in MiB",
    ),
    decl("DEV", "dev", Kind::Switch, "n", BUILD, "development build: packages with a build-dev.yml use it, and the version ends in -dev"),
    decl("EVE_HASH", "eve-hash", Kind::Text, "", BUILD, "tag to give every package instead of its hash"),
    decl("DEBIAN_MIRROR", "debian-mirror", Kind::Text, "", BUILD, "URI of the Debian archive; from the machine's apt sources when unset"),
    decl(
        "DEBIAN_SECURITY_MIRROR",
        "debian-security-mirror",
        Kind::Text,
        "",
        BUILD,
        "URI of Debian's security archive; from the machine's apt sources when unset",
    ),
    decl(
        "INSTALL_TOOLS",
        "install-tools",
        Kind::Choice(&["auto", "never"]),
        "auto",
        BUILD,
        "whether a missing tool is installed where that needs no question (root and apt), or only named",
    ),
    decl("TPM", "tpm", Kind::Switch, "n", RUN, "give the virtual machine a TPM"),
    decl("NOACCEL", "no-accel", Kind::Switch, "n", RUN, "do not use hardware acceleration"),
    decl(
        "QEMU_MEMORY",
        "memory",
        Kind::Number { least: 128, most: 1024 * 1024, unit: "MiB" },
        "4096",
        RUN,
        "memory of the virtual machine, in MiB",
    ),
    decl(
        "SSH_PORT",
        "ssh-port",
        Kind::Number { least: 1, most: 65535, unit: "port" },
        "2222",
        RUN,
        "port of this machine that leads to the virtual machine's ssh",
    ),
    decl(
        "INSTALLER_IMG_FORMAT",
        "installer-image-format",
        Kind::Choice(&["raw", "iso", "net"]),
        "raw",
        BUILD,
        "what plain `installer` makes: as the tree has it, or an ISO or a netboot's tar",
    ),
    decl(
        "VERIFICATION_IMG_FORMAT",
        "verification-image-format",
        Kind::Choice(&["raw"]),
        "raw",
        BUILD,
        "format of the verification image: there is one only",
    ),
    decl("PLATFORM", "platform", Kind::Text, "", BUILD, "board that the image is for, such as imx8mq_evk; generic when unset"),
    decl("KERNEL_TAG", "kernel-tag", Kind::Text, "", BUILD, "image of the kernel, for a tree that takes it from elsewhere"),
    decl(
        "KERNEL_CONFIG_FLAVOR",
        "kernel-config-flavor",
        Kind::Text,
        "",
        BUILD,
        "configuration of that kernel, as in the names of its images",
    ),
    decl("KERNEL_IMAGE", "kernel-image", Kind::Path, "", BUILD, "file that stands for the kernel in rootfs.tar, to try one out"),
    decl(
        "LIVE_PART_SPEC",
        "live-part-spec",
        Kind::Text,
        "",
        BUILD,
        "partitions of the live disk, such as `efi efi_b conf imga`; the tree's own when unset",
    ),
    decl(
        "LIVE_UPDATE",
        "live-update",
        Kind::Switch,
        "n",
        BUILD,
        "an ext4 root file system, made of what changed, on a disk that is not compressed: a quick round while you develop",
    ),
    decl(
        "ROOTFS_DEPS",
        "rootfs-deps",
        Kind::Switch,
        "n",
        BUILD,
        "build the packages of the root file system first, instead of having them fetched",
    ),
    decl("RSTATS", "rstats", Kind::Switch, "n", BUILD, "packages with a build-rstats.yml use it, to watch resources at run time"),
    decl("DOCKER_ARCH_TAG", "docker-arch-tag", Kind::Text, "", BUILD, "architecture at the end of image tags; ZARCH when unset"),
    decl("EVE_SNAPSHOT_VERSION", "snapshot-version", Kind::Text, "0.0.0", BUILD, "first part of the version of a build that is no release"),
    decl("LINUXKIT_PKG_TARGET", "pkg-target", Kind::Choice(&["build", "push", "manifest"]), "build", PUSH, "what is done with a package"),
    decl("LINUXKIT_OPTS", "linuxkit-opts", Kind::Text, "", PUSH, "further options of `linuxkit pkg`; from EVE_HASH and EVE_REL when unset"),
    decl("EVE_REL", "eve-rel", Kind::Text, "", PUSH, "release tag that pushed packages get; from git when pushing"),
    decl("FORCE_BUILD", "force-build", Kind::Switch, "n", PUSH, "build packages although their images exist"),
    decl("PRUNE", "prune", Kind::Switch, "n", PUSH, "remove docker's dangling images after each package, EVE's or not"),
    decl("BUILDERS", "builders", Kind::Text, "", PUSH, "linuxkit's remote builders: PLATFORM=CONTEXT[,PLATFORM=CONTEXT…]"),
    decl("BUILDKIT_PROGRESS", "buildkit-progress", Kind::Text, "plain", PUSH, "how docker tells of a build's progress"),
    decl("DOCKER", "docker", Kind::Text, "docker", BUILD, "the container tool of the linuxkit engine: docker, or podman by name"),
    decl("CONF_PART", "conf-part", Kind::Path, "", RUN, "folder to give the virtual machine as a FAT disk"),
    decl("PFLASH", "pflash", Kind::Switch, "", RUN, "firmware as flash with variables; y on amd64, n elsewhere when unset"),
    decl("TAP", "tap", Kind::Text, "", RUN, "tap device of the host that the machine's first network is bridged to"),
    decl("SSH_PROXY", "ssh-proxy", Kind::Text, "-L6000:localhost:6000", PROXY, "ports to forward, in ssh's words"),
    decl(
        "SSH_KEY",
        "ssh-key-file",
        Kind::Path,
        "",
        &["run-proxy", "ssh-key"],
        "key for ssh; dist/ssh.key, where ssh-key puts it, or ssh.key in CONF_DIR when unset",
    ),
    decl("PARALLELS_UUID", "parallels-uuid", Kind::Text, "{5fbaabe3-6958-40ff-92a7-860e329aab41}", PARALLELS, "snapshot id in the bundle"),
    decl("PARALLELS_VM_NAME", "parallels-vm-name", Kind::Text, "EVE_Live", PARALLELS, "name of the machine in Parallels Desktop"),
    decl("PARALLELS_CPUS", "parallels-cpus", CPUS, "2", PARALLELS, "its processors"),
    decl("PARALLELS_MEMORY", "parallels-memory", MEMORY, "2048", PARALLELS, "its memory, in MiB"),
    decl("VB_VM_NAME", "vb-vm-name", Kind::Text, "EVE_Live", VIRTUALBOX, "name of the machine in VirtualBox"),
    decl("VB_CPUS", "vb-cpus", CPUS, "2", VIRTUALBOX, "its processors"),
    decl("VB_MEMORY", "vb-memory", MEMORY, "2048", VIRTUALBOX, "its memory, in MiB"),
    decl("CLOUD_IMG_NAME", "cloud-image-name", Kind::Text, "", GCP, "name of the image in the cloud; from the version when unset"),
    decl("CLOUD_PROJECT", "cloud-project", Kind::Text, "-project lf-edge-eve", GCP, "project, as linuxkit's option"),
    decl("CLOUD_BUCKET", "cloud-bucket", Kind::Text, "-bucket eve-live", GCP, "bucket, as linuxkit's option"),
    decl("CLOUD_INSTANCE", "cloud-instance", Kind::Text, "-zone us-west1-a -machine n1-standard-1", GCP, "instance, as linuxkit's options"),
    decl("BUILD_VM_SRC", "build-vm-src", Kind::Text, "", BUILD_VM, "URI of the build machine's disk image; Ubuntu's for ZARCH when unset"),
    decl("BUILD_VM_SSH_PUB_KEY", "build-vm-ssh-pub-key", Kind::Text, "", BUILD_VM, "public key that may log in to the build machine"),
    decl("BUILD_VM_GH_TOKEN", "build-vm-gh-token", Kind::Secret, "", BUILD_VM, "token with which the build machine registers as a runner"),
    decl("IMAGE", "image", Kind::Text, "", EXPORT, "image to export from the cache: org/name:tag"),
    decl("OUTFILE", "outfile", Kind::Path, "", EXPORT, "file to export to"),
    decl("IMAGE_NAME", "image-name", Kind::Text, "", EXPORT, "name to give the exported image"),
    decl(
        "SBOM",
        "sbom-file",
        Kind::Path,
        "",
        &["sbom", "sbom_info"],
        "the bill of materials; rootfs.spdx.json beside rootfs.img when unset",
    ),
    decl("SYFT_VERSION", "syft-version", Kind::Text, "v0.78.0", &["sbom", "eve"], "version of syft"),
    decl("VERSION", "release-version", Kind::Text, "", &["release"], "version to release: X.Y.Z or X.Y.Z-lts"),
    decl("PROTO_LANGS", "proto-langs", Kind::Text, "go python", &["proto"], "languages to generate the API for"),
    decl("GOVER", "gover", Kind::Text, "1.20.1", GO, "version of Go in the builder image"),
    decl("BUILD", "build", Kind::Text, "", GO, "`local`: the Go builder image exists, do not build it"),
    decl(
        "LINUXKIT_VERSION",
        "linuxkit-version",
        Kind::Text,
        "",
        &["build-tools"],
        "commit of linuxkit to install; the tree's pin when unset",
    ),
    decl("LINUXKIT_SOURCE", "linuxkit-source", Kind::Text, "", &["build-tools"], "git repository of linuxkit; the tree's when unset"),
    decl(
        "GOSOURCES_VERSION",
        "gosources-version",
        Kind::Text,
        "",
        &["build-tools", "gosources"],
        "commit of go-sources-and-licenses; the tree's pin when unset",
    ),
    decl("HTTP_PROXY", "http-proxy", Kind::Secret, "", GO, "proxy for plain HTTP, also inside builder images"),
    decl("HTTPS_PROXY", "https-proxy", Kind::Secret, "", GO, "proxy for HTTPS, also inside builder images"),
    decl("NO_PROXY", "no-proxy", Kind::Text, "", GO, "hosts that need no proxy"),
    decl("ALL_PROXY", "all-proxy", Kind::Secret, "", GO, "proxy for everything else"),
    decl("V", "verbose-tools", Kind::Switch, "n", BUILD, "show the tools' own output while they run"),
];

/// The declaration of `name`, which may be an alias or the flag.
#[must_use]
pub fn find(name: &str) -> Option<&'static Decl> {
    TABLE.iter().find(|decl| decl.name == name || decl.flag == name || decl.aliases.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_name_or_flag_is_declared_twice() {
        let mut seen = HashSet::new();
        for decl in TABLE {
            for name in decl.aliases.iter().chain([&decl.name, &decl.flag]) {
                assert!(seen.insert(*name), "{name} twice");
            }
        }
    }
}
