//! Runs EVE's virtual machine in QEMU: [`VmSpec`] describes it, `argv` renders it as QEMU's arguments, `accel` finds the acceleration,
//! `setup` has the caller's choices and looks before the start, `switch` starts it, `machine` watches and ends it, `console` reads its serial port and `share` passes it on, `lock` keeps other machines
//! from its disk and its TPM, `verdict` says what the guest thinks of its boot, `record` lists the machines that run. child starts the processes; diskimage reads the disks. xtask chooses
//! disks, firmware and options.

pub mod accel;
pub mod argv;
pub mod as_make;
mod base;
pub mod console;
mod ending;
pub mod getty;
mod lock;
pub mod machine;
pub mod qmp;
mod record;
pub mod session;
pub mod setup;
pub mod share;
mod stall;
mod switch;
mod terminal;
pub mod text;
mod tpm;
pub mod verdict;
mod watch;

pub use accel::Accel;
pub use as_make::AsMake;
pub use base::Base;
pub use console::Echo;
pub use lock::MachineLock;
pub use record::{Machines, Record};
pub use session::{Outcome, VmRequest, run_vm};
pub use setup::Setup;
pub use verdict::NotReady;

use common::{Arch, words};
use std::path::PathBuf;

/// The hardware of the guest. Devices that every machine has are only in `argv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmSpec {
    /// The caller's choices.
    pub setup: Setup,
    /// The acceleration.
    pub accel: Accel,
    /// The control socket of a TPM emulator.
    pub tpm_socket: Option<PathBuf>,
    /// The other end of the serial port.
    pub serial: Serial,
    /// The file descriptor, in QEMU, of a listening socket for QMP.
    pub qmp: Option<i32>,
    /// The same for its events. If given, QEMU ends when the guest restarts the machine.
    pub events: Option<i32>,
}

/// UEFI for the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// Read-only code, and variables that the guest writes.
    Flash {
        /// The code.
        code: PathBuf,
        /// The variables.
        vars: PathBuf,
    },
    /// One file with both; variables are lost at the end.
    Bios(PathBuf),
    /// RISC-V: U-Boot, which has UEFI's services, above OpenSBI. Variables are lost at the end.
    UBoot {
        /// The supervisor's interface to the machine.
        opensbi: PathBuf,
        /// What it starts.
        u_boot: PathBuf,
    },
}

/// The source of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// An image.
    Image,
    /// An image of a CD.
    Cd,
    /// A folder that QEMU shows as a FAT volume with this label. The guest writes into the folder.
    Folder(&'static str),
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The image or the folder.
    pub path: PathBuf,
    /// Its source.
    pub medium: Medium,
    /// QEMU's format: `qcow2`, `raw`, `vdi`, or `vvfat` for a folder.
    pub format: String,
    /// How it is connected.
    pub bus: DiskBus,
    /// Whether to discard the guest's writes at the end.
    pub discard_writes: bool,
    /// The size of its sectors in bytes.
    pub sector: Sector,
}

words! {
    /// The size of a disk's sectors in bytes.
    Sector {
        /// That of most disks.
        Small = "512",
        /// That of some NVMe disks.
        Large = "4096",
    }
}

impl Disk {
    /// An image that keeps what the guest writes.
    pub fn image(path: impl Into<PathBuf>, format: impl Into<String>, bus: DiskBus) -> Self {
        Self { path: path.into(), medium: Medium::Image, format: format.into(), bus, discard_writes: false, sector: Sector::Small }
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

/// A network that QEMU makes for a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserNetwork {
    /// The network, `192.168.1.0/24`.
    pub network: String,
    /// The first address that DHCP assigns.
    pub first_address: String,
}

impl UserNetwork {
    /// The networks of EVE's virtual machine.
    #[must_use]
    pub fn usual() -> [Self; 2] {
        [1, 2].map(|number| Self { network: format!("192.168.{number}.0/24"), first_address: format!("192.168.{number}.10") })
    }
}

/// A network card in QEMU's own network with DHCP and NAT, or on a tap device of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Net {
    /// Its name in QEMU.
    pub id: String,
    /// The network, `192.168.1.0/24`.
    pub network: String,
    /// The first address that DHCP assigns.
    pub first_address: String,
    /// TCP ports of this machine's loopback, each with the port of the guest to which it is forwarded.
    pub forwards: Vec<(u16, u16)>,
    /// The tap device to use instead of QEMU's network.
    pub tap: Option<String>,
    /// The boot server for the guest.
    pub netboot: Option<Netboot>,
}

/// QEMU's boot server (TFTP).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netboot {
    /// The folder with its files.
    pub folder: PathBuf,
    /// The name of the file to boot.
    pub file: String,
    /// Who asks the server for the file.
    pub loader: NetLoader,
}

/// The program that boots from a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetLoader {
    /// The firmware.
    Firmware,
    /// iPXE in the network card's ROM. It also runs scripts.
    Ipxe,
}

impl Net {
    /// The two cards of EVE's virtual machine. The first one has the choices of `setup`; a tap device is the first, and in the Makefile's
    /// machine the second.
    fn pair(setup: &Setup) -> [Self; 2] {
        let net = |at: usize| Self {
            id: format!("eth{at}"),
            network: setup.networks[at].network.clone(),
            first_address: setup.networks[at].first_address.clone(),
            forwards: vec![],
            tap: setup.tap.clone().filter(|_| (at == 1) == setup.as_make.is_some()),
            netboot: None,
        };
        let forwards = setup.ssh_port.map(|port| (port, 22)).into_iter().collect();
        [Self { forwards, netboot: setup.netboot.clone(), ..net(0) }, net(1)]
    }
}

/// The other end of the guest's serial port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serial {
    /// The user's terminal, which QEMU controls (Ctrl-A is its escape), and a log file if given.
    Terminal(Option<PathBuf>),
    /// QEMU's standard streams, which are pipes to this process.
    Pipes,
}

words! {
    /// How a disk is connected.
    DiskBus {
        /// virtio-blk.
        Virtio = "virtio",
        /// AHCI (SATA).
        Ahci = "ahci",
        /// NVMe.
        Nvme = "nvme",
        /// virtio-scsi.
        Scsi = "scsi",
        /// USB storage.
        Usb = "usb",
    }
}

impl DiskBus {
    /// The bus of a plain `-drive` in QEMU's default machine of the architecture, which the original Makefile used.
    #[must_use]
    pub const fn usual(arch: Arch) -> Self {
        match arch {
            Arch::Amd64 => Self::Ahci,
            Arch::Arm64 | Arch::Riscv64 => Self::Virtio,
        }
    }
}
