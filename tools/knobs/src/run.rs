//! The knobs of machines that run an image, and those of single commands.

use crate::kinds::{OPTIONS, SECRET, SWITCH, complete};
use crate::parse::{self, Subnet};
use clap::Args;
use core::net::Ipv4Addr;
use std::path::PathBuf;

/// The virtual machine in QEMU.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Knobs of the virtual machine", mut_args = complete)]
pub struct RunKnobs {
    /// give the virtual machine a TPM
    #[arg(id = "TPM", long = "tpm", value_name = SWITCH, default_value = "n", value_parser = parse::switch)]
    pub tpm: bool,
    /// do not use hardware acceleration
    #[arg(id = "NOACCEL", long = "no-accel", value_name = SWITCH, default_value = "n", value_parser = parse::switch)]
    pub no_accel: bool,
    /// memory of the virtual machine: 128 to 1048576 MiB
    #[arg(id = "QEMU_MEMORY", long = "memory", value_name = "MIB", default_value = "4096", value_parser = parse::number(128, 1 << 20))]
    pub memory: u64,
    /// folder to attach to the virtual machine as a FAT disk
    #[arg(id = "CONF_PART", long = "conf-part", value_name = "PATH")]
    pub conf_part: Option<PathBuf>,
    /// pass the firmware as flash memory with variables; y if the tree has OVMF_CODE.fd for ZARCH when unset
    #[arg(id = "PFLASH", long = "pflash", value_name = SWITCH, value_parser = parse::switch)]
    pub pflash: Option<bool>,
    /// tap device of this machine to connect to the guest's first network card; in lf-edge/eve to the second
    #[arg(id = "TAP", long = "tap", value_name = "TEXT")]
    pub tap: Option<String>,
    /// n: the TPM has PCRs for SHA-1 only; when this changes, the TPM's state is deleted
    #[arg(id = "SHA256_BANK", long = "sha256-bank", value_name = "WORD", ignore_case = true, default_value = "y", value_parser = parse::yes_or_no())]
    pub sha256_bank: bool,
    /// file for QEMU's process id, on trees whose Makefile has one; qemu.pid in the tree's root when unset
    #[arg(id = "QEMU_PID_FILE", long = "pid-file", value_name = "PATH")]
    pub pid_file: Option<PathBuf>,
    /// first address that DHCP gives in IPS_NET1; the tenth of that network when unset
    #[arg(id = "IPS_NET1_FIRST_IP", long = "net1-first", value_name = "ADDRESS", value_parser = parse::address)]
    pub first_address1: Option<Ipv4Addr>,
    /// first address that DHCP gives in IPS_NET2; the tenth of that network when unset
    #[arg(id = "IPS_NET2_FIRST_IP", long = "net2-first", value_name = "ADDRESS", value_parser = parse::address)]
    pub first_address2: Option<Ipv4Addr>,
    /// Its networks.
    #[command(flatten)]
    pub nets: NetKnobs,
    /// Its serial number.
    #[command(flatten)]
    pub serial: SerialKnobs,
    /// The port of its ssh server.
    #[command(flatten)]
    pub port: PortKnobs,
}

/// The networks of a virtual machine.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Knobs of the virtual machine")]
pub struct NetKnobs {
    /// network of the guest's first network card
    #[arg(id = "IPS_NET1", long = "net1", value_name = "NETWORK", default_value = "192.168.1.0/24", value_parser = parse::network)]
    pub net1: Subnet,
    /// network of the guest's second network card
    #[arg(id = "IPS_NET2", long = "net2", value_name = "NETWORK", default_value = "192.168.2.0/24", value_parser = parse::network)]
    pub net2: Subnet,
}

/// The serial number of a virtual machine.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Knobs of the virtual machine")]
pub struct SerialKnobs {
    /// serial number of the virtual machine, by which a controller knows it
    #[arg(id = "QEMU_EVE_SERIAL", long = "serial-number", value_name = "TEXT", default_value = "31415926")]
    pub serial_number: String,
}

/// The port of the virtual machine's ssh server.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Knobs of the virtual machine")]
pub struct PortKnobs {
    /// port of this machine to forward to the guest's ssh: 1 to 65535
    #[arg(id = "SSH_PORT", long = "ssh-port", value_name = "PORT", default_value = "2222", value_parser = parse::port)]
    pub ssh_port: u16,
}

/// The key for ssh.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Knobs")]
pub struct KeyKnobs {
    /// private key for ssh; dist/ssh.key (made by `ssh-key`) or ssh.key in CONF_DIR when unset
    #[arg(id = "SSH_KEY", long = "ssh-key-file", value_name = "PATH")]
    pub ssh_key: Option<PathBuf>,
}

/// Ports that ssh forwards.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Knobs", mut_args = complete)]
pub struct ProxyKnobs {
    /// ports to forward: options of ssh
    #[arg(id = "SSH_PROXY", long = "ssh-proxy", value_name = OPTIONS, default_value = "-L6000:localhost:6000")]
    pub ssh_proxy: String,
}

/// The machine in Parallels Desktop.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Knobs of Parallels Desktop")]
pub struct ParallelsKnobs {
    /// name of the machine in Parallels Desktop
    #[arg(id = "PARALLELS_VM_NAME", long = "parallels-vm-name", value_name = "TEXT", default_value = "EVE_Live")]
    pub name: String,
    /// its processors: 1 to 1024
    #[arg(id = "PARALLELS_CPUS", long = "parallels-cpus", value_name = "N", default_value = "2", value_parser = parse::number(1, 1024))]
    pub cpus: u64,
    /// its memory: 128 to 1048576 MiB
    #[arg(id = "PARALLELS_MEMORY", long = "parallels-memory", value_name = "MIB", default_value = "2048", value_parser = parse::number(128, 1 << 20))]
    pub memory: u64,
}

/// The machine in VirtualBox.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Knobs of VirtualBox")]
pub struct VirtualBoxKnobs {
    /// name of the machine in VirtualBox
    #[arg(id = "VB_VM_NAME", long = "vb-vm-name", value_name = "TEXT", default_value = "EVE_Live")]
    pub name: String,
    /// its processors: 1 to 1024
    #[arg(id = "VB_CPUS", long = "vb-cpus", value_name = "N", default_value = "2", value_parser = parse::number(1, 1024))]
    pub cpus: u64,
    /// its memory: 128 to 1048576 MiB
    #[arg(id = "VB_MEMORY", long = "vb-memory", value_name = "MIB", default_value = "2048", value_parser = parse::number(128, 1 << 20))]
    pub memory: u64,
}

/// The machine in Google's cloud.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Knobs of the cloud", mut_args = complete)]
pub struct CloudKnobs {
    /// name of the image in the cloud; from the version when unset
    #[arg(id = "CLOUD_IMG_NAME", long = "cloud-image-name", value_name = "TEXT")]
    pub image_name: Option<String>,
    /// project: an option of linuxkit
    #[arg(id = "CLOUD_PROJECT", long = "cloud-project", value_name = OPTIONS, default_value = "-project lf-edge-eve")]
    pub project: String,
    /// bucket: an option of linuxkit
    #[arg(id = "CLOUD_BUCKET", long = "cloud-bucket", value_name = OPTIONS, default_value = "-bucket eve-live")]
    pub bucket: String,
    /// instance: options of linuxkit
    #[arg(id = "CLOUD_INSTANCE", long = "cloud-instance", value_name = OPTIONS, default_value = "-zone us-west1-a -machine n1-standard-1")]
    pub instance: String,
}

/// The machine that builds EVE.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Knobs of the build machine")]
pub struct BuildVmKnobs {
    /// URI of the build machine's disk image; Ubuntu's image for ZARCH when unset
    #[arg(id = "BUILD_VM_SRC", long = "build-vm-src", value_name = "URI")]
    pub source: Option<String>,
    /// public key that may log in to the build machine
    #[arg(id = "BUILD_VM_SSH_PUB_KEY", long = "build-vm-ssh-pub-key", value_name = "TEXT")]
    pub public_key: Option<String>,
    /// token that registers the build machine as a GitHub runner
    #[arg(id = "BUILD_VM_GH_TOKEN", long = "build-vm-gh-token", value_name = SECRET)]
    pub token: Option<String>,
}

/// The image of linuxkit's cache to export.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Knobs")]
pub struct ExportKnobs {
    /// image to export from the cache: org/name:tag
    #[arg(id = "IMAGE", long = "image", value_name = "TEXT")]
    pub image: Option<String>,
    /// file to export to
    #[arg(id = "OUTFILE", long = "outfile", value_name = "PATH")]
    pub outfile: Option<PathBuf>,
    /// name of the exported image
    #[arg(id = "IMAGE_NAME", long = "image-name", value_name = "TEXT")]
    pub image_name: Option<String>,
}

/// The container in which Go code is built.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Knobs of the Go builder")]
pub struct GoKnobs {
    /// version of Go in the builder image
    #[arg(id = "GOVER", long = "gover", value_name = "TEXT", default_value = "1.20.1")]
    pub go_version: String,
    /// `local`: do not build the Go builder image, it exists
    #[arg(id = "BUILD", long = "build", value_name = "TEXT")]
    pub build: Option<String>,
}

/// Tools that are built from source.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Knobs of the tools")]
pub struct ToolKnobs {
    /// commit of linuxkit to install; the tree's pin when unset
    #[arg(id = "LINUXKIT_VERSION", long = "linuxkit-version", alias = "LINUXKIT_GIT_REF", value_name = "TEXT")]
    pub linuxkit_version: Option<String>,
    /// git repository of linuxkit; the tree's when unset
    #[arg(id = "LINUXKIT_SOURCE", long = "linuxkit-source", alias = "LINUXKIT_GIT_URL", value_name = "URI")]
    pub linuxkit_source: Option<String>,
    /// folder with linuxkit's sources, which are built as they are, instead of a commit
    #[arg(id = "LINUXKIT_SRC", long = "linuxkit-src", value_name = "PATH")]
    pub linuxkit_folder: Option<PathBuf>,
    /// The tool for Go's sources.
    #[command(flatten)]
    pub gosources: GoSourcesKnobs,
}

/// The tool that collects the sources of Go modules.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Knobs of the tools")]
pub struct GoSourcesKnobs {
    /// commit of go-sources-and-licenses; the tree's pin when unset
    #[arg(id = "GOSOURCES_VERSION", long = "gosources-version", value_name = "TEXT")]
    pub gosources_version: Option<String>,
}

/// The release to prepare.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Knobs")]
pub struct ReleaseKnobs {
    /// version to release: X.Y.Z or X.Y.Z-lts
    #[arg(id = "VERSION", long = "release-version", value_name = "TEXT")]
    pub version: Option<String>,
}

/// The API's sources.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Knobs")]
pub struct ProtoKnobs {
    /// languages to generate the API for
    #[arg(id = "PROTO_LANGS", long = "proto-langs", value_name = "TEXT", default_value = "go python")]
    pub languages: String,
}
