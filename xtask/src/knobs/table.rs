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

const RUN: &[&str] = &["run"];
const BUILD: &[&str] = &[];

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
    decl("HV", "hv", Kind::Choice(&["kvm", "xen", "acrn"]), "kvm", BUILD, "hypervisor flavour of the root file system"),
    Decl {
        name: "IMAGE_FORMAT",
        aliases: &["IMG_FORMAT"],
        flag: "image-format",
        kind: Kind::Choice(&["qcow2", "raw", "vdi", "parallels", "gcp"]),
        default: "qcow2",
        help: "format of the live image",
        verbs: BUILD,
    },
    decl("ROOTFS_FORMAT", "rootfs-format", Kind::Choice(&["squash"]), "squash", BUILD, "file system of rootfs.img"),
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
