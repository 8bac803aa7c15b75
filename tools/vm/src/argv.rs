//! Renders a [`VmSpec`] as the arguments of `qemu-system-…`. The devices are those of the machine in EVE's Makefile.

use super::{Accel, Disk, DiskBus, Firmware, Medium, Net, NetLoader, Sector, Serial, VmSpec, accel};
use common::Arch;
use std::{ffi::OsString, path::Path};

/// QEMU's arguments.
#[must_use]
pub fn render(spec: &VmSpec) -> Vec<OsString> {
    let mut argv = Argv(Vec::new());
    // Ignore the user's configuration of QEMU.
    argv.word("-no-user-config");
    argv.word("-nodefaults");
    machine(&mut argv, spec);
    argv.pair("-m", spec.setup.memory.to_string());
    argv.pair("-smp", spec.setup.cpus.unwrap_or(spec.accel.usual_cpus()).to_string());
    if spec.setup.arch != Arch::Riscv64 {
        argv.pair("-smbios", format!("type=1,serial={}", spec.setup.serial_number));
    }
    argv.pair("-display", "none");
    if spec.setup.arch == Arch::Amd64 {
        // Guests for a PC need a graphics card, although nobody sees it.
        argv.pair("-vga", "std");
    }
    argv.pair("-rtc", "base=utc,clock=rt");
    firmware(&mut argv, &spec.setup.firmware);
    if spec.setup.protects_variables {
        argv.pair("-global", "driver=cfi.pflash01,property=secure,value=on");
        // The firmware's way back from suspend to memory has no protection.
        argv.pair("-global", "ICH9-LPC.disable_s3=1");
    }
    argv.pair("-device", "nec-usb-xhci,id=xhci");
    let conf_part = spec.setup.conf_part.as_ref().map(|folder| Disk::folder(folder, "CONF", DiskBus::usual(spec.setup.arch)));
    for (index, disk) in spec.setup.disks.iter().chain(&conf_part).enumerate() {
        add_disk(&mut argv, spec.setup.arch, index, disk);
    }
    for net in &Net::pair(&spec.setup) {
        add_net(&mut argv, net);
    }
    watchdog(&mut argv, spec.setup.arch);
    if let Some(socket) = &spec.tpm_socket {
        add_tpm(&mut argv, spec.setup.arch, socket);
    }
    serial(&mut argv, &spec.serial);
    if let Some(fd) = spec.qmp {
        argv.pair("-chardev", format!("socket,id=qmp,fd={fd},server=on,wait=off"));
        argv.pair("-mon", "chardev=qmp,mode=control");
    }
    if let Some(fd) = spec.events {
        argv.pair("-chardev", format!("socket,id=events,fd={fd},server=on,wait=off"));
        argv.pair("-mon", "chardev=events,mode=control");
        argv.word("-no-reboot");
        // The guest starts when somebody reads the events.
        argv.word("-S");
    }
    argv.0
}

pub(super) struct Argv(pub(super) Vec<OsString>);

impl Argv {
    fn word(&mut self, word: &str) {
        self.0.push(word.into());
    }

    pub(super) fn all(&mut self, words: &[String]) {
        self.0.extend(words.iter().map(OsString::from));
    }

    pub(super) fn pair(&mut self, option: &str, value: impl Into<OsString>) {
        self.0.push(option.into());
        self.0.push(value.into());
    }
}

/// `prefix` and a path as the last value of an option, with doubled commas in the path.
pub(super) fn with_path(prefix: &str, path: &Path) -> OsString {
    let mut bytes = prefix.as_bytes().to_vec();
    for &byte in path.as_os_str().as_encoded_bytes() {
        bytes.extend(std::iter::repeat_n(byte, if byte == b',' { 2 } else { 1 }));
    }
    use std::os::unix::ffi::OsStringExt as _;
    OsString::from_vec(bytes)
}

fn machine(argv: &mut Argv, spec: &VmSpec) {
    let device_tree = if spec.setup.device_tree { ",acpi=off" } else { "" };
    let smm = if spec.setup.protects_variables { ",smm=on" } else { "" };
    argv.pair("-machine", accel::machine_type(spec.setup.arch, spec.accel) + device_tree + smm);
    // The firmware with Secure Boot prints nothing on `qemu64`.
    let usual = if spec.setup.protects_variables && spec.accel == Accel::Tcg { "max" } else { spec.accel.usual_cpu(spec.setup.arch) };
    argv.pair("-cpu", spec.setup.cpu.as_deref().unwrap_or(usual));
    if (spec.setup.arch, spec.accel) == (Arch::Amd64, Accel::Kvm) {
        argv.pair("-device", "intel-iommu,intremap=on,caching-mode=on,aw-bits=48");
    }
}

fn firmware(argv: &mut Argv, firmware: &Firmware) {
    match firmware {
        Firmware::Flash { code, vars } => {
            argv.pair("-drive", with_path("if=pflash,unit=0,format=raw,readonly=on,file=", code));
            argv.pair("-drive", with_path("if=pflash,unit=1,format=raw,file=", vars));
        }
        Firmware::Bios(path) => argv.pair("-bios", path.as_os_str()),
        Firmware::UBoot { opensbi, u_boot } => {
            argv.pair("-bios", opensbi.as_os_str());
            argv.pair("-kernel", u_boot.as_os_str());
        }
    }
}

fn add_disk(argv: &mut Argv, arch: Arch, index: usize, disk: &Disk) {
    let snapshot = if disk.discard_writes { ",snapshot=on" } else { "" };
    let prefix = match disk.medium {
        Medium::Image => format!("if=none,id=disk{index},format={}{snapshot},file=", disk.format),
        Medium::Cd => format!("if=none,id=disk{index},media=cdrom,readonly=on,format=raw,file="),
        Medium::Folder(label) => format!("if=none,id=disk{index},format=vvfat,rw=on,label={label},dir="),
    };
    argv.pair("-drive", with_path(&prefix, &disk.path));
    let device = match disk.bus {
        DiskBus::Virtio => format!("virtio-blk-pci,drive=disk{index}"),
        DiskBus::Ahci => {
            // A PC's chipset has an AHCI controller.
            let bus = if arch == Arch::Amd64 { format!("ide.{index}") } else { format!("ahci{index}.0") };
            if arch != Arch::Amd64 {
                argv.pair("-device", format!("ich9-ahci,id=ahci{index}"));
            }
            let kind = if disk.medium == Medium::Cd { "ide-cd" } else { "ide-hd" };
            format!("{kind},bus={bus},drive=disk{index}")
        }
        DiskBus::Nvme => format!("nvme,serial=disk{index},drive=disk{index}"),
        DiskBus::Scsi => {
            argv.pair("-device", format!("virtio-scsi-pci,id=scsi{index}"));
            format!("scsi-hd,bus=scsi{index}.0,drive=disk{index}")
        }
        DiskBus::Usb => format!("usb-storage,bus=xhci.0,drive=disk{index}"),
    };
    let sector = if disk.sector == Sector::Large { ",logical_block_size=4096,physical_block_size=4096" } else { "" };
    argv.pair("-device", format!("{device}{sector},bootindex={index}"));
}

fn add_net(argv: &mut Argv, net: &Net) {
    if let Some(tap) = &net.tap {
        argv.pair("-netdev", tap_netdev(&net.id, tap));
        argv.pair("-device", format!("virtio-net-pci,netdev={},romfile=", net.id));
        return;
    }
    let mut value = format!("user,id={},net={},dhcpstart={}", net.id, net.network, net.first_address);
    for (here, there) in &net.forwards {
        // Listen on loopback only: the guest lets root log in.
        value.push_str(&format!(",hostfwd=tcp:127.0.0.1:{here}-:{there}"));
    }
    let mut value = OsString::from(value);
    // QEMU's ROM for the card is iPXE. Without a ROM the firmware does not try to boot from the card, which would take a minute.
    let has_rom = net.netboot.as_ref().is_some_and(|netboot| netboot.loader == NetLoader::Ipxe);
    let mut device = format!("virtio-net-pci,netdev={}{}", net.id, if has_rom { "" } else { ",romfile=" });
    if let Some(netboot) = &net.netboot {
        value.push(with_path(",tftp=", &netboot.folder));
        value.push(with_path(",bootfile=", Path::new(&netboot.file)));
        // UEFI has its own driver for the card; boot from it after the disks.
        device.push_str(",bootindex=99");
    }
    argv.pair("-netdev", value);
    argv.pair("-device", device);
}

/// The value of `-netdev` for a tap device, which the user has already set up.
fn tap_netdev(id: &str, tap: &str) -> String {
    format!("tap,id={id},ifname={tap},script=no,downscript=no")
}

fn watchdog(argv: &mut Argv, arch: Arch) {
    if arch == Arch::Amd64 {
        // By default the chipset's watchdog may not reset the machine.
        argv.pair("-global", "ICH9-LPC.noreboot=false");
    }
    argv.pair("-watchdog-action", "reset");
}

pub(super) fn add_tpm(argv: &mut Argv, arch: Arch, socket: &Path) {
    argv.pair("-chardev", with_path("socket,id=chrtpm,path=", socket));
    argv.pair("-tpmdev", "emulator,id=tpm0,chardev=chrtpm");
    let device = if arch == Arch::Amd64 { "tpm-tis" } else { "tpm-tis-device" };
    argv.pair("-device", format!("{device},tpmdev=tpm0"));
}

fn serial(argv: &mut Argv, serial: &Serial) {
    match serial {
        Serial::Terminal(log) => {
            let options = "stdio,id=serial0,mux=on,signal=off";
            match log {
                // The caller has emptied the log.
                Some(log) => argv.pair("-chardev", with_path(&format!("{options},logappend=on,logfile="), log)),
                None => argv.pair("-chardev", options),
            }
            argv.pair("-mon", "chardev=serial0,mode=readline");
        }
        Serial::Pipes => {
            argv.pair("-chardev", "stdio,id=serial0,mux=off,signal=off");
            argv.pair("-monitor", "none");
        }
    }
    argv.pair("-serial", "chardev:serial0");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Netboot, Setup};

    fn spec(arch: Arch, accel: Accel, bus: DiskBus, tpm: bool) -> VmSpec {
        let firmware = match arch {
            Arch::Riscv64 => Firmware::UBoot { opensbi: "/fw/opensbi.bin".into(), u_boot: "/fw/u-boot.bin".into() },
            _ => Firmware::Flash { code: "/fw/OVMF_CODE.fd".into(), vars: "/run/vars.fd".into() },
        };
        let setup =
            Setup { disks: vec![Disk::image("/dist/live.qcow2", "qcow2", bus)], ssh_port: Some(2222), ..Setup::new(arch, firmware, 4096) };
        VmSpec {
            setup,
            accel,
            tpm_socket: tpm.then(|| "/run/tpm.sock".into()),
            serial: Serial::Pipes,
            qmp: Some(7),
            events: (accel == Accel::Tcg).then_some(8),
        }
    }

    #[test]
    fn a_machine_without_acpi_has_a_device_tree_alone() {
        let mut spec = spec(Arch::Arm64, Accel::Tcg, DiskBus::Virtio, false);
        assert!(!show(&spec).contains("acpi=off"));
        spec.setup.device_tree = true;
        assert!(show(&spec).contains("\n-machine virt,accel=tcg,usb=off,virtualization=true,acpi=off\n"), "{}", show(&spec));
    }

    #[test]
    fn a_firmware_with_secure_boot_keeps_its_variables_from_the_guest() {
        let mut spec = spec(Arch::Amd64, Accel::Tcg, DiskBus::Virtio, false);
        let usual = show(&spec);
        spec.setup.protects_variables = true;
        let text = show(&spec);
        let more: Vec<&str> = text.lines().filter(|line| !usual.contains(&format!("{line}\n"))).collect();
        let machine = "-machine q35,accel=tcg,usb=off,smm=on";
        let secure = "-global driver=cfi.pflash01,property=secure,value=on";
        assert_eq!(more, [machine, "-cpu max", secure, "-global ICH9-LPC.disable_s3=1"], "{text}");
    }

    /// One option a line.
    fn show(spec: &VmSpec) -> String {
        let mut text = String::new();
        for word in render(spec) {
            let word = word.into_string().unwrap();
            text.push_str(if word.starts_with('-') { "\n" } else { " " });
            text.push_str(&word);
        }
        text.trim_start().to_owned() + "\n"
    }

    #[test]
    fn the_machines_are_those_of_the_golden_files() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/golden");
        for arch in [Arch::Amd64, Arch::Arm64, Arch::Riscv64] {
            for accel in [Accel::Tcg, Accel::Kvm] {
                if (arch, accel) == (Arch::Riscv64, Accel::Kvm) {
                    continue;
                }
                let mut text = show(&spec(arch, accel, DiskBus::usual(arch), true));
                for &bus in DiskBus::ALL {
                    let words = show(&spec(arch, accel, bus, false));
                    let disk: Vec<&str> =
                        words.lines().filter(|line| line.contains("disk0") || line.contains("ahci") || line.contains("scsi")).collect();
                    text.push_str(&format!("\n# {bus}\n{}\n", disk.join("\n")));
                }
                let path = folder.join(format!("{arch}-{}.txt", accel.as_str()));
                if std::env::var_os("XTASK_BLESS").is_some() {
                    std::fs::write(&path, &text).unwrap();
                }
                let golden = std::fs::read_to_string(&path).unwrap_or_default();
                assert_eq!(text, golden, "{}: XTASK_BLESS=1 writes it anew", path.display());
            }
        }
    }

    #[test]
    fn a_network_boot_is_the_firmwares_or_that_of_the_cards_rom() {
        let mut spec = spec(Arch::Amd64, Accel::Tcg, DiskBus::Ahci, false);
        for (loader, rom) in [(NetLoader::Firmware, ",romfile="), (NetLoader::Ipxe, "")] {
            spec.setup.netboot = Some(Netboot { folder: "/a,b".into(), file: "x.cfg".into(), loader });
            let text = show(&spec);
            assert!(text.contains(&format!("-device virtio-net-pci,netdev=eth0{rom},bootindex=99\n")), "{text}");
            assert!(text.contains(",tftp=/a,,b,bootfile=x.cfg\n") && text.contains("netdev=eth1,romfile=\n"), "{text}");
        }
    }

    #[test]
    fn without_a_tpm_there_is_no_tpm_argument_and_commas_in_paths_are_doubled() {
        let mut spec = spec(Arch::Amd64, Accel::Tcg, DiskBus::Virtio, false);
        spec.setup.disks[0].path = "/a,b/live.raw".into();
        spec.setup.disks[0].discard_writes = true;
        spec.serial = Serial::Terminal(Some("/x,y.log".into()));
        let text = show(&spec);
        assert!(!text.contains("tpm"));
        assert!(text.contains("-drive if=none,id=disk0,format=qcow2,snapshot=on,file=/a,,b/live.raw\n"), "{text}");
        assert!(text.contains("-chardev stdio,id=serial0,mux=on,signal=off,logappend=on,logfile=/x,,y.log\n"), "{text}");
    }
}
