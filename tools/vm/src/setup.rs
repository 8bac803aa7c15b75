//! The choices of a caller for a machine, and what can be checked of them before anything starts: files and the port.

use super::{AsMake, Disk, Firmware, Netboot, UserNetwork};
use anyhow::{Result, bail};
use common::{Arch, error::usage};
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
};

/// The choices of a caller for a machine; all else follows from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The guest's architecture.
    pub arch: Arch,
    /// Whether to run without acceleration.
    pub no_accel: bool,
    /// The processor model, by QEMU's name; `None` for the one that suits the acceleration.
    pub cpu: Option<String>,
    /// Number of processors; `None` for the one that suits the acceleration.
    pub cpus: Option<u32>,
    /// Memory in MiB.
    pub memory: u64,
    /// Whether the firmware describes the machine by a device tree alone, as Xen on arm64 wants it.
    pub device_tree: bool,
    /// The firmware. Each start uses a new copy of the variables, because they store the disk's place.
    pub firmware: Firmware,
    /// Whether only the firmware may write its variables, as a firmware with Secure Boot wants it. Only a PC can do that (SMM).
    pub protects_variables: bool,
    /// The disks, in boot order.
    pub disks: Vec<Disk>,
    /// A folder that the guest sees as one more disk.
    pub conf_part: Option<PathBuf>,
    /// The port of this machine that is forwarded to the guest's ssh.
    pub ssh_port: Option<u16>,
    /// The networks of its two cards.
    pub networks: [UserNetwork; 2],
    /// The tap device for a network card, instead of QEMU's network: for the first, in the Makefile's machine for the second.
    pub tap: Option<String>,
    /// The boot server in the first network.
    pub netboot: Option<Netboot>,
    /// The folder with the state of the TPM; `None` for no TPM.
    pub tpm: Option<PathBuf>,
    /// The machine's serial number, by which a controller knows it.
    pub serial_number: String,
    /// A file for the output of the serial port.
    pub serial_log: Option<PathBuf>,
    /// A file for the output of QEMU and swtpm.
    pub tool_log: Option<PathBuf>,
    /// If given, the machine is that of lf-edge/eve's Makefile, with the same arguments.
    pub as_make: Option<AsMake>,
}

/// The serial number of a machine that got none, as in EVE's Makefile.
const SERIAL_NUMBER: &str = "31415926";

impl Setup {
    /// A machine with firmware and memory (MiB), but without disks, and with defaults for all else.
    #[must_use]
    pub fn new(arch: Arch, firmware: Firmware, memory: u64) -> Self {
        Self {
            arch,
            no_accel: false,
            cpu: None,
            cpus: None,
            memory,
            device_tree: false,
            firmware,
            protects_variables: false,
            disks: vec![],
            conf_part: None,
            ssh_port: None,
            networks: UserNetwork::usual(),
            tap: None,
            netboot: None,
            tpm: None,
            serial_number: SERIAL_NUMBER.to_owned(),
            serial_log: None,
            tool_log: None,
            as_make: None,
        }
    }

    /// The port of this machine that is forwarded to the guest's ssh; a tap device has none.
    #[must_use]
    pub fn forwarded_port(&self) -> Option<u16> {
        self.ssh_port.filter(|_| self.tap.is_none() || self.as_make.is_some())
    }
}

/// Fails on everything that can be checked before anything is changed: missing files, a port in use.
pub fn check(setup: &Setup) -> Result<()> {
    check_files(setup)?;
    setup.forwarded_port().map_or(Ok(()), check_port)
}

fn check_files(setup: &Setup) -> Result<()> {
    let firmware: Vec<&Path> = match &setup.firmware {
        Firmware::Flash { code, vars } => vec![code, vars],
        Firmware::Bios(path) => vec![path],
        Firmware::UBoot { opensbi, u_boot } => vec![opensbi, u_boot],
    };
    let kernel = setup.as_make.iter().filter_map(|make| make.kernel.as_deref());
    let files = firmware.into_iter().chain(kernel).chain(setup.disks.iter().map(|disk| disk.path.as_path()));
    let missing: Vec<String> = files.filter(|path| !path.exists()).map(|path| path.display().to_string()).collect();
    if !missing.is_empty() {
        bail!("cannot run the machine: {} is missing\nhint: cargo xtask live", missing.join(" and "));
    }
    Ok(())
}

/// Fails if the port is taken, before QEMU fails with an error that names no knob.
fn check_port(port: u16) -> Result<()> {
    TcpListener::bind(("127.0.0.1", port)).map(drop).map_err(|error| {
        usage(format!(
            "cannot use port {port} of this machine for the guest's ssh: {error}\nhint: is another virtual machine running? \
             --ssh-port N or SSH_PORT=N chooses another port"
        ))
    })
}
