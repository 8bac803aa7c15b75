//! A virtual machine as a value, and its life: `VmSpec` says what it has, `argv` renders that for QEMU, `accel` finds out what
//! this machine can do for it, `machine` starts and ends it, `console` reads its serial port. Processes start in `tools`.

pub mod accel;
pub mod argv;
pub mod as_make;
pub mod console;
pub mod getty;
pub mod machine;
pub mod qmp;
pub mod session;

pub use accel::Accel;
pub use as_make::AsMake;
pub use console::Echo;
pub use machine::Setup;
pub use session::{Outcome, VmRequest, run_vm};

use common::Arch;
use std::{fmt, path::PathBuf, str::FromStr};

/// What hardware the guest sees. Devices that are always the same stand in `argv` only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmSpec {
    /// The guest's architecture.
    pub arch: Arch,
    /// Who runs its instructions.
    pub accel: Accel,
    /// QEMU's name of the processor; `None` is what suits `accel`.
    pub cpu: Option<String>,
    /// Number of processors; `None` is what suits `accel`.
    pub cpus: Option<u32>,
    /// Memory in MiB.
    pub memory: u64,
    /// What it boots with.
    pub firmware: Firmware,
    /// Disks in the order in which the firmware tries them.
    pub disks: Vec<Disk>,
    /// A folder that the guest sees as one more disk.
    pub conf_part: Option<PathBuf>,
    /// Network cards.
    pub nets: Vec<Net>,
    /// The control socket of a TPM emulator.
    pub tpm: Option<PathBuf>,
    /// Where the serial port leads.
    pub serial: Serial,
    /// A listening socket, by its descriptor in QEMU, where QEMU takes commands in its machine protocol.
    pub qmp: Option<i32>,
}

/// UEFI for the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// Code that is only read, and variables that the guest writes: a copy of the machine's own.
    Flash {
        /// The code.
        code: PathBuf,
        /// The variables.
        vars: PathBuf,
    },
    /// One file with both, which forgets its variables.
    Bios(PathBuf),
}

/// What a disk is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// An image.
    Image,
    /// An image of a CD.
    Cd,
    /// A folder that QEMU shows as a FAT volume with this label; what the guest writes goes into the folder.
    Folder(&'static str),
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The image or the folder.
    pub path: PathBuf,
    /// Which of the two.
    pub medium: Medium,
    /// `qcow2`, `raw`, `vdi`; a folder is a raw disk to the guest.
    pub format: String,
    /// How the guest reaches it.
    pub bus: DiskBus,
    /// What the guest writes is forgotten when it ends.
    pub discard_writes: bool,
}

impl Disk {
    /// An image that keeps what the guest writes.
    pub fn image(path: impl Into<PathBuf>, format: impl Into<String>, bus: DiskBus) -> Self {
        Self { path: path.into(), medium: Medium::Image, format: format.into(), bus, discard_writes: false }
    }

    /// A CD.
    pub fn cd(path: impl Into<PathBuf>) -> Self {
        Self { medium: Medium::Cd, ..Self::image(path, "raw", DiskBus::Ahci) }
    }

    /// A folder as a FAT volume.
    pub fn folder(path: impl Into<PathBuf>, label: &'static str, bus: DiskBus) -> Self {
        Self { medium: Medium::Folder(label), ..Self::image(path, "vvfat", bus) }
    }
}

/// A network card behind a network of QEMU's own, with DHCP and a way out; or on a tap device of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Net {
    /// Its name in QEMU.
    pub id: String,
    /// The network, `192.168.1.0/24`.
    pub network: String,
    /// The first address that is given out.
    pub first_address: String,
    /// TCP ports of this machine's loopback that lead to the guest's.
    pub forwards: Vec<(u16, u16)>,
    /// The tap device that replaces all of that.
    pub tap: Option<String>,
    /// What a guest that boots from the network gets.
    pub netboot: Option<Netboot>,
}

/// A boot server of QEMU's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netboot {
    /// Its files.
    pub folder: PathBuf,
    /// The name of the one to boot.
    pub file: String,
}

impl Net {
    /// The two cards that EVE's virtual machine has; `ssh_port` of this machine leads to the guest's ssh.
    #[must_use]
    pub fn usual_pair(ssh_port: Option<u16>) -> Vec<Self> {
        let net = |number: u8, forwards| Self {
            id: format!("eth{}", number - 1),
            network: format!("192.168.{number}.0/24"),
            first_address: format!("192.168.{number}.10"),
            forwards,
            tap: None,
            netboot: None,
        };
        vec![net(1, ssh_port.map(|port| (port, 22)).into_iter().collect()), net(2, vec![])]
    }
}

/// Where the guest's serial port leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serial {
    /// To the person's terminal, which QEMU takes over; Ctrl-A is its escape. Also into the file, if there is one.
    Terminal(Option<PathBuf>),
    /// To QEMU's standard streams, which are pipes of ours.
    Pipes,
}

/// How a disk is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum DiskBus {
    Virtio,
    Ahci,
    Nvme,
    Scsi,
    Usb,
}

impl DiskBus {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Virtio, Self::Ahci, Self::Nvme, Self::Scsi, Self::Usb];

    /// What a plain `-drive` is on QEMU's machine of that architecture, and so in the original.
    #[must_use]
    pub const fn usual(arch: Arch) -> Self {
        match arch {
            Arch::Amd64 => Self::Ahci,
            Arch::Arm64 | Arch::Riscv64 => Self::Virtio,
        }
    }

    /// Its word on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Virtio => "virtio",
            Self::Ahci => "ahci",
            Self::Nvme => "nvme",
            Self::Scsi => "scsi",
            Self::Usb => "usb",
        }
    }
}

impl fmt::Display for DiskBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for DiskBus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::as_str).join(", ");
        Self::ALL.into_iter().find(|bus| bus.as_str() == text).ok_or_else(|| format!("`{text}` is none of {names}"))
    }
}
