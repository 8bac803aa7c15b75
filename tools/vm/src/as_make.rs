//! Renders a [`VmSpec`] as the QEMU arguments of lf-edge/eve's Makefile, in the same order. What differs between the Makefile of 2023 and
//! later ones comes from the tree's profile. Used for a tree of lf-edge/eve, whose
//! developers know that machine and have scripts for its socket. docs/DEVIATIONS.md lists the corrected faults.

use super::{
    Accel, Disk, Firmware, Medium, Net, Setup, VmSpec,
    argv::{Argv, add_tpm, with_path},
};
use common::Arch;
use std::{ffi::OsString, path::PathBuf};

/// What the Makefile's machine has in addition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsMake {
    /// The tree: QEMU's working directory, and the folder of its QMP socket.
    pub root: PathBuf,
    /// The folder with the device tree, for a guest whose GRUB reads it from a disk.
    pub dtb: Option<PathBuf>,
    /// The program that a machine without UEFI starts first.
    pub kernel: Option<PathBuf>,
    /// The Makefile's way to write the disks.
    pub disks: Disks,
    /// The arguments that not every Makefile has.
    pub own: OwnArguments,
}

/// Arguments of one Makefile, by their places between the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnArguments {
    /// The number of processors; 4 if unset.
    pub processors: Option<u32>,
    /// Before the memory.
    pub first: Vec<String>,
    /// After the number of processors.
    pub after_processors: Vec<String>,
    /// After the firmware.
    pub after_firmware: Vec<String>,
    /// After the QMP socket.
    pub after_qmp: Vec<String>,
    /// After the processor's model, without acceleration.
    pub emulated: Vec<String>,
}

/// The ways in which the Makefile's targets write their disks. All mean the same to QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disks {
    /// Before all other arguments.
    First,
    /// After all other arguments.
    Last,
    /// After all other arguments, the last disk with the id `uefi-disk`.
    LastNamed,
    /// After all other arguments, the format before the file.
    LastFormatFirst,
    /// Both of the above.
    LastNamedFormatFirst,
}

impl AsMake {
    /// QEMU's QMP socket.
    #[must_use]
    pub fn qmp_socket(&self) -> PathBuf {
        self.root.join("qmp.sock")
    }
}

/// QEMU's arguments.
#[must_use]
pub fn render(spec: &VmSpec, more: &AsMake) -> Vec<OsString> {
    let mut argv = Argv(Vec::new());
    if more.disks == Disks::First {
        disks(&mut argv, spec, more);
    }
    let own = &more.own;
    argv.all(&own.first);
    argv.pair("-m", spec.setup.memory.to_string());
    argv.pair("-smp", spec.setup.cpus.or(own.processors).unwrap_or(4).to_string());
    argv.all(&own.after_processors);
    match &spec.setup.firmware {
        Firmware::Flash { code, vars } => {
            argv.pair("-drive", with_path("if=pflash,format=raw,unit=0,readonly,file=", code));
            argv.pair("-drive", with_path("if=pflash,format=raw,unit=1,file=", vars));
        }
        Firmware::Bios(path) => argv.pair("-bios", path.as_os_str()),
        // That Makefile has QEMU's own OpenSBI.
        Firmware::UBoot { u_boot, .. } => argv.pair("-kernel", u_boot.as_os_str()),
    }
    argv.all(&own.after_firmware);
    argv.pair("-serial", "mon:stdio");
    argv.pair("-global", "ICH9-LPC.noreboot=false");
    argv.pair("-watchdog-action", "reset");
    argv.pair("-rtc", "base=utc,clock=rt");
    for net in &Net::pair(&spec.setup) {
        add_net(&mut argv, net);
    }
    argv.pair("-device", "nec-usb-xhci,id=xhci");
    let mut qmp = with_path("unix:", &more.qmp_socket());
    qmp.push(",server,wait=off");
    argv.pair("-qmp", qmp);
    argv.all(&own.after_qmp);
    acceleration(&mut argv, spec);
    if spec.accel == Accel::Tcg {
        argv.all(&own.emulated);
    }
    board(&mut argv, spec, more);
    if let Some(folder) = &spec.setup.conf_part {
        let mut value = with_path("file=fat:rw:", folder);
        value.push(",format=raw");
        argv.pair("-drive", value);
    }
    if let Some(socket) = &spec.tpm_socket {
        add_tpm(&mut argv, spec.setup.arch, socket);
    }
    if more.disks != Disks::First {
        disks(&mut argv, spec, more);
    }
    argv.0
}

/// QEMU's arguments to write the machine's device tree to `dtb` instead of starting the machine.
#[must_use]
pub fn render_dump(spec: &VmSpec, more: &AsMake, dtb: &std::path::Path) -> Vec<OsString> {
    let setup = Setup { disks: vec![], ..spec.setup.clone() };
    let mut argv = Argv(render(&VmSpec { setup, ..spec.clone() }, more));
    argv.pair("-machine", with_path("dumpdtb=", dtb));
    argv.0
}

fn add_net(argv: &mut Argv, net: &Net) {
    match &net.tap {
        Some(tap) => {
            argv.pair("-netdev", format!("tap,id={},ifname={tap},script=", net.id));
            argv.pair("-device", format!("virtio-net-pci,netdev={},csum=off,guest_csum=off,romfile=", net.id));
            return;
        }
        None => {
            let mut value = OsString::from(format!("user,id={},net={},dhcpstart={}", net.id, net.network, net.first_address));
            for (here, there) in &net.forwards {
                value.push(format!(",hostfwd=tcp::{here}-:{there}"));
            }
            if let Some(netboot) = &net.netboot {
                value.push(with_path(",tftp=", &netboot.folder));
                // The Makefile's path ends in a slash.
                value.push("/,bootfile=");
                value.push(&netboot.file);
            }
            argv.pair("-netdev", value);
        }
    }
    argv.pair("-device", format!("virtio-net-pci,netdev={},romfile=", net.id));
}

fn acceleration(argv: &mut Argv, spec: &VmSpec) {
    let (machines, cpu): (&[&str], &str) = match (spec.setup.arch, spec.accel) {
        (Arch::Amd64, Accel::Kvm) => {
            (&["q35,accel=kvm,usb=off,dump-guest-core=off", "kernel-irqchip=split"], "host,invtsc=on,kvmclock=off")
        }
        (Arch::Amd64, Accel::Hvf) => (&["q35,accel=hvf,usb=off"], "kvm64,kvmclock=off"),
        (Arch::Amd64, Accel::Tcg) => (&["q35"], "SandyBridge"),
        (Arch::Arm64, Accel::Tcg) => (&["virt,virtualization=true"], "cortex-a57"),
        (Arch::Arm64, Accel::Hvf) => (&["virt,accel=hvf,usb=off"], "host"),
        (Arch::Arm64, Accel::Kvm) => (&["virt,accel=kvm,usb=off,dump-guest-core=off"], "host"),
        (Arch::Riscv64, _) => (&["virt"], "rv64"),
    };
    argv.pair("-machine", machines[0]);
    argv.pair("-cpu", spec.setup.cpu.as_deref().unwrap_or(cpu));
    for more in &machines[1..] {
        argv.pair("-machine", *more);
    }
    if (spec.setup.arch, spec.accel) == (Arch::Amd64, Accel::Kvm) {
        argv.pair("-device", "intel-iommu,intremap=on,caching-mode=on,aw-bits=48");
    }
}

fn board(argv: &mut Argv, spec: &VmSpec, more: &AsMake) {
    if spec.setup.arch == Arch::Riscv64 {
        if let Some(kernel) = &more.kernel {
            argv.pair("-kernel", kernel.as_os_str());
        }
        argv.pair("-device", "virtio-blk,drive=uefi-disk");
        return;
    }
    argv.pair("-smbios", format!("type=1,serial={}", spec.setup.serial_number));
    if let Some(folder) = &more.dtb {
        let mut value = with_path("file=fat:rw:", folder);
        value.push("/,label=QEMU_DTB,format=vvfat");
        argv.pair("-drive", value);
    }
}

fn disks(argv: &mut Argv, spec: &VmSpec, more: &AsMake) {
    for (index, disk) in spec.setup.disks.iter().enumerate() {
        let is_last = index + 1 == spec.setup.disks.len();
        let named = is_last && matches!(more.disks, Disks::LastNamed | Disks::LastNamedFormatFirst);
        let format_first = matches!(more.disks, Disks::LastFormatFirst | Disks::LastNamedFormatFirst);
        if disk.medium == Medium::Cd {
            argv.pair("-cdrom", disk.path.as_os_str());
            argv.pair("-boot", "d");
        } else {
            argv.pair("-drive", drive(disk, named, format_first));
        }
    }
}

fn drive(disk: &Disk, named: bool, format_first: bool) -> OsString {
    let id = if named { ",id=uefi-disk" } else { "" };
    let format = &disk.format;
    let (label, prefix) = match disk.medium {
        Medium::Folder(label) => (format!(",label={label}"), "file=fat:rw:"),
        Medium::Image | Medium::Cd => (String::new(), "file="),
    };
    if format_first {
        return with_path(&format!("format={format}{id}{label},{prefix}"), &disk.path);
    }
    let mut value = with_path(prefix, &disk.path);
    if label.is_empty() {
        value.push(format!(",format={format}{id}"));
    } else {
        value.push(format!("{label}{id},format={format}"));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Serial, UserNetwork};

    #[test]
    fn a_tap_device_is_the_second_card_and_the_networks_are_those_that_were_asked_for() {
        let make = AsMake { root: "/eve".into(), dtb: None, kernel: None, disks: Disks::Last, own: OwnArguments::default() };
        let mut setup = Setup::new(Arch::Amd64, Firmware::Bios("/OVMF.fd".into()), 4096);
        (setup.ssh_port, setup.as_make) = (Some(2222), Some(make.clone()));
        setup.networks[0] = UserNetwork { network: "10.1.0.0/24".to_owned(), first_address: "10.1.0.5".to_owned() };
        let spec = |setup: &Setup| VmSpec {
            setup: setup.clone(),
            accel: Accel::Tcg,
            tpm_socket: None,
            serial: Serial::Pipes,
            qmp: None,
            events: None,
        };
        let words = |setup: &Setup| {
            let words = render(&spec(setup), &make);
            words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        let first =
            "-netdev user,id=eth0,net=10.1.0.0/24,dhcpstart=10.1.0.5,hostfwd=tcp::2222-:22 -device virtio-net-pci,netdev=eth0,romfile=";
        let second = "-netdev user,id=eth1,net=192.168.2.0/24,dhcpstart=192.168.2.10 -device virtio-net-pci,netdev=eth1,romfile=";
        assert!(words(&setup).contains(&format!("{first} {second} ")), "{}", words(&setup));
        setup.tap = Some("tap0".to_owned());
        let tap = "-netdev tap,id=eth1,ifname=tap0,script= -device virtio-net-pci,netdev=eth1,csum=off,guest_csum=off,romfile=";
        assert!(words(&setup).contains(&format!("{first} {tap} ")), "{}", words(&setup));
        assert_eq!(setup.forwarded_port(), Some(2222));
    }
}
