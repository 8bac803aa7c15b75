//! The report of an installation: a folder named after the machine on the medium's inventory, with the log, the hardware and the TPM.

use crate::disks::Disk;
use anyhow::{Context as _, Result};
use std::{cell::RefCell, fmt::Write as _, fs, io::Read as _, os::unix::fs::OpenOptionsExt as _, path::Path};

/// The lines that were printed on the console.
#[derive(Default)]
pub struct Log(RefCell<String>);

impl Log {
    /// Prints a line and keeps it.
    pub fn say(&self, line: &str) {
        println!("installer: {line}");
        self.keep(line);
    }

    /// Keeps a line without printing it.
    pub fn keep(&self, line: &str) {
        let mut text = self.0.borrow_mut();
        text.push_str(line);
        text.push('\n');
    }

    /// All lines.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.borrow().clone()
    }
}

/// The serial number in the firmware's tables, if the maker wrote one there.
#[must_use]
pub fn hardware_serial(root: &Path) -> Option<String> {
    let text = fs::read_to_string(root.join("sys/class/dmi/id/product_serial")).ok()?;
    let text = text.trim();
    let empty = ["", "0", "none", "not specified", "not applicable", "default string", "system serial number", "to be filled by o.e.m."];
    (!empty.contains(&text.to_ascii_lowercase().as_str())).then(|| text.to_owned())
}

/// The folder of a machine with this serial number, as FAT can store it.
#[must_use]
pub fn folder_name(serial: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let name: String = serial.chars().map(|letter| if plain(letter) { letter } else { '_' }).take(64).collect();
    let name = name.trim_matches('.');
    if name.is_empty() { "unknown".to_owned() } else { name.to_owned() }
}

/// Writes the files of a report into `folder`: texts by their names.
pub fn write(folder: &Path, files: &[(&str, String)]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The machine below the root folder `root` (`/`): model, processor, memory, disks, network cards, devices.
#[must_use]
pub fn hardware(root: &Path, disks: &[Disk]) -> String {
    let mut text = String::new();
    section(&mut text, "machine");
    let dmi = root.join("sys/class/dmi/id");
    for field in [
        "sys_vendor",
        "product_name",
        "product_version",
        "product_serial",
        "product_uuid",
        "board_vendor",
        "board_name",
        "bios_vendor",
        "bios_version",
        "bios_date",
    ] {
        if let Ok(value) = fs::read_to_string(dmi.join(field)) {
            line(&mut text, field, &value);
        }
    }
    section(&mut text, "processor");
    let processors = fs::read_to_string(root.join("proc/cpuinfo")).unwrap_or_default();
    let count = processors.lines().filter(|line| line.starts_with("processor")).count();
    line(&mut text, "count", &count.to_string());
    for field in processors.lines().take_while(|line| !line.is_empty()) {
        let (name, value) = field.split_once(':').unwrap_or((field, ""));
        if ["model name", "vendor_id", "flags", "Features", "isa"].contains(&name.trim()) {
            line(&mut text, name.trim(), value);
        }
    }
    section(&mut text, "memory");
    for field in fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default().lines().take(3) {
        text.push_str(field);
        text.push('\n');
    }
    section(&mut text, "disks");
    for disk in disks {
        let parts: Vec<String> = disk.partitions.iter().map(|(number, _, name)| format!("{number} {name}")).collect();
        let _ = writeln!(
            text,
            "{}: {} bytes, sectors of {}, {:?}{}; partitions: {}",
            disk.name,
            disk.size,
            disk.sector,
            disk.bus,
            if disk.is_medium() { ", the medium" } else { "" },
            if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
        );
    }
    section(&mut text, "network");
    for name in names(&root.join("sys/class/net")) {
        let address = fs::read_to_string(root.join("sys/class/net").join(&name).join("address")).unwrap_or_default();
        line(&mut text, &name, &address);
    }
    section(&mut text, "PCI devices (vendor, device, class)");
    for name in names(&root.join("sys/bus/pci/devices")) {
        let field = |field: &str| {
            fs::read_to_string(root.join("sys/bus/pci/devices").join(&name).join(field)).unwrap_or_default().trim().to_owned()
        };
        line(&mut text, &name, &format!("{} {} {}", field("vendor"), field("device"), field("class")));
    }
    text
}

/// The TPM below `root`: its version and its PCRs; a line that says so if there is none.
#[must_use]
pub fn tpm(root: &Path) -> String {
    let tpm = root.join("sys/class/tpm/tpm0");
    let Ok(version) = fs::read_to_string(tpm.join("tpm_version_major")) else { return "no TPM\n".to_owned() };
    let mut text = String::new();
    line(&mut text, "version", &version);
    for bank in names(&tpm).into_iter().filter(|name| name.starts_with("pcr-")) {
        section(&mut text, &bank);
        let mut registers = names(&tpm.join(&bank));
        registers.sort_by_key(|name| name.parse::<u32>().unwrap_or(u32::MAX));
        for register in registers {
            let value = fs::read_to_string(tpm.join(&bank).join(&register)).unwrap_or_default();
            line(&mut text, &register, &value);
        }
    }
    text
}

/// The kernel's messages so far.
#[must_use]
pub fn kernel_log() -> String {
    // Each read gives one message, and would wait for the next one after the last.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let Ok(mut messages) = fs::OpenOptions::new().read(true).custom_flags(nonblocking).open("/dev/kmsg") else { return String::new() };
    let (mut text, mut buffer) = (String::new(), [0; 8192]);
    loop {
        match messages.read(&mut buffer) {
            Ok(0) => return text,
            Ok(count) => {
                let message = String::from_utf8_lossy(&buffer[..count]);
                // `priority,number,microseconds,flags;text`, then continuations.
                let (head, body) = message.split_once(';').unwrap_or(("", &message));
                let micros: u64 = head.split(',').nth(2).and_then(|field| field.parse().ok()).unwrap_or(0);
                let _ = writeln!(text, "[{:6}.{:06}] {}", micros / 1_000_000, micros % 1_000_000, body.lines().next().unwrap_or_default());
            }
            // Messages that were overwritten while we read.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            Err(_) => return text,
        }
    }
}

fn section(text: &mut String, title: &str) {
    let _ = writeln!(text, "{}[{title}]", if text.is_empty() { "" } else { "\n" });
}

fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name}: {}", value.trim());
}

/// Names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_serial_number_becomes_a_folder() {
        for (serial, folder) in [("31415926", "31415926"), ("VMware-56 4d/..", "VMware-56_4d_"), ("..", "unknown"), ("", "unknown")] {
            assert_eq!(folder_name(serial), folder, "{serial}");
        }
        let root = tempfile::tempdir().unwrap();
        let dmi = root.path().join("sys/class/dmi/id");
        fs::create_dir_all(&dmi).unwrap();
        for (text, serial) in [("31415926\n", Some("31415926")), ("Not Specified\n", None), ("\n", None)] {
            fs::write(dmi.join("product_serial"), text).unwrap();
            assert_eq!(hardware_serial(root.path()).as_deref(), serial);
        }
    }

    #[test]
    fn hardware_and_tpm_are_read_from_sys() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(tpm(root.path()), "no TPM\n");
        put("sys/class/dmi/id/sys_vendor", "QEMU\n");
        put("proc/cpuinfo", "processor\t: 0\nmodel name\t: X\nflags\t: vmx sse\n\nprocessor\t: 1\n");
        put("sys/class/net/eth0/address", "52:54:00:12:34:56\n");
        put("sys/bus/pci/devices/0000:00:02.0/vendor", "0x1234\n");
        put("sys/class/tpm/tpm0/tpm_version_major", "2\n");
        put("sys/class/tpm/tpm0/pcr-sha256/10", "AA\n");
        put("sys/class/tpm/tpm0/pcr-sha256/9", "BB\n");
        let text = hardware(root.path(), &[]);
        for wanted in ["sys_vendor: QEMU\n", "count: 2\n", "flags: vmx sse\n", "eth0: 52:54:00:12:34:56\n", "0000:00:02.0: 0x1234"] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        assert_eq!(tpm(root.path()), "version: 2\n\n[pcr-sha256]\n9: BB\n10: AA\n");
    }
}
