//! Installers in QEMU: what they write boots, and what cannot be installed is said in one line.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{
    Xtask,
    machine::{self, LIMIT, VERSION, free_port, turn},
    repository, scratch, tool, wants,
};
use std::path::{Path, PathBuf};

/// Places on installer.raw, and on a disk that it installed, in MiB.
const CONFIG_OF_MEDIUM: u64 = 337;
const INVENTORY: u64 = 338;
const CONFIG_OF_TARGET: u64 = 37;

fn ready() -> bool {
    if !machine::ready("qemu-system-x86_64") {
        return false;
    }
    // Programs are compiled for this machine's architecture only.
    if std::env::consts::ARCH != "x86_64" {
        skips::skipped("the installer's test boots amd64, and its program is compiled for this machine's architecture");
        return false;
    }
    wants("mcopy", "mtools")
}

fn xtask() -> Xtask {
    machine::xtask("amd64").env("IMAGE_FORMAT", "raw").env("MEDIA_SIZE", "2048")
}

/// `dist/amd64/<version>/NAME`.
fn built(name: &str) -> PathBuf {
    machine::folder("amd64", VERSION).join(name)
}

/// The name that mtools has for a volume at `mebibytes` in a disk.
fn volume(disk: &Path, mebibytes: u64) -> String {
    format!("{}@@{}", disk.display(), mebibytes << 20)
}

/// A copy of the medium whose CONFIG a person changed.
fn changed_medium(from: &Path, at: u64, grub_cfg: &str) -> PathBuf {
    let stick = scratch().join(from.file_name().unwrap());
    tool("cp", &["--sparse=always", from.to_str().unwrap(), stick.to_str().unwrap()]);
    for (name, text) in [("grub.cfg", grub_cfg), ("server", "changed.example\n")] {
        let file = scratch().join(name);
        std::fs::write(&file, text).unwrap();
        tool("mcopy", &["-o", "-i", &volume(&stick, at), file.to_str().unwrap(), &format!("::/{name}")]);
    }
    stick
}

/// Runs the verb until the console prints `until`; the line with it.
fn boot(verb: &str, name: &str, until: &str, more: &[&str]) -> String {
    let log = scratch().join(format!("{name}.log"));
    let port = free_port().to_string();
    let words = [verb, "--until", until, "--timeout", LIMIT, "--serial-log", log.to_str().unwrap(), "--ssh-port", &port];
    xtask().args(words).args(more).ok();
    let console = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
    let line = console.lines().rfind(|line| line.contains(until)).unwrap_or_else(|| panic!("no {until} in {console}"));
    line.trim().to_owned()
}

#[test]
fn a_changed_stick_installs_on_large_sectors_although_the_power_went_and_the_result_boots() {
    if !ready() {
        return;
    }
    // All write the same target.img.
    let _turn = turn();
    xtask().args(["installer-raw"]).ok();
    let grub = "set_global eve_install_disk nvme0n1\nset_global dom0_extra_args \"$dom0_extra_args eve_soft_serial=test-1\"\n";
    let stick = changed_medium(&built("installer.raw"), CONFIG_OF_MEDIUM, grub);
    let medium = ["--medium", stick.to_str().unwrap()];
    let disk = ["--target-bus", "nvme", "--target-sector", "4096"];

    // The power goes while the root file system is written.
    boot("run-installer-raw", "installer-lost", "installer: writing IMGA", &[&medium[..], &disk].concat());
    let line = boot("run-installer-raw", "installer", "EVE-INSTALLED", &[&medium[..], &disk, &["--again", "--tpm"]].concat());
    assert_eq!(line, format!("EVE-INSTALLED {VERSION}-kvm-amd64 disk=nvme0n1 report=test-1"));
    let report = |name: &str| tool("mtype", &["-i", &volume(&stick, INVENTORY), &format!("::/test-1/{name}")]);
    assert!(report("installer.log").contains("installed and read back"), "{}", report("installer.log"));
    assert!(report("hardware.txt").contains("product_serial: 31415926"), "{}", report("hardware.txt"));
    assert!(report("hardware.txt").contains("nvme0n1: 2147483648 bytes, sectors of 4096"), "{}", report("hardware.txt"));
    assert!(report("tpm.txt").contains("[pcr-sha256]"), "{}", report("tpm.txt"));
    let installed = built("target.img");
    let config = |name: &str| tool("mtype", &["-i", &volume(&installed, CONFIG_OF_TARGET), &format!("::/{name}")]);
    assert_eq!((config("server").as_str(), config("soft_serial").trim()), ("changed.example\n", "test-1"));

    let line = boot("run-target", "target", "EVE-READY", &[&disk[..], &["--tpm"]].concat());
    assert!(line.starts_with(&format!("EVE-READY {VERSION}-kvm-amd64")) && line.contains(" persist=new"), "{line}");
}

#[test]
fn a_machine_without_a_disk_to_install_on_says_why() {
    if !ready() {
        return;
    }
    // All write the same target.img.
    let _turn = turn();
    xtask().args(["installer-raw"]).ok();
    let line = boot("run-installer-raw", "installer-small", "EVE-FAILED", &["MEDIA_SIZE=512"]);
    let small = "it has 512 MiB, less than the needed 895";
    let medium = "it is the medium of this installer";
    let wanted =
        |first: &str, second: &str| format!("EVE-FAILED install: disk: there is no disk to install on (sda: {first}; sdb: {second})");
    // Linux finds the two disks at the same time and names them as they come.
    assert!(line == wanted(small, medium) || line == wanted(medium, small), "{line}");
}

#[test]
fn a_cd_installs_and_a_verification_reports_its_checks() {
    if !ready() {
        return;
    }
    // All write the same target.img.
    let _turn = turn();
    xtask().args(["installer-iso"]).ok();
    xtask().args(["verification-raw"]).ok();
    let line = boot("run-installer-iso", "installer-iso", "EVE-INSTALLED", &[]);
    assert_eq!(line, format!("EVE-INSTALLED {VERSION}-kvm-amd64 disk=sda"));

    let words = "set_global dom0_extra_args \"eve_soft_serial=test-2\"\n";
    let stick = changed_medium(&built("verification.raw"), CONFIG_OF_MEDIUM, words);
    let line = boot("run-verification-raw", "verification", "EVE-INSTALLED", &["--medium", stick.to_str().unwrap(), "--tpm"]);
    let summary = Xtask::new(&repository()).within(&scratch()).args(["extract-verification-info", stick.to_str().unwrap()]).ok();
    // Linux finds the stick and the disk at the same time and names them as they come.
    let disk = if line.contains("disk=sdb ") { "sdb" } else { "sda" };
    let storage = format!("ok: storage {disk}: 64 MiB read at");
    for wanted in ["ok: memory: ", "ok: TPM: version 2", &storage, "ok: network eth0: DHCP answers"] {
        assert!(summary.contains(wanted), "{wanted}: {summary}");
    }
    // QEMU's processor has virtualization for the guest or not, as this machine's allows.
    let found = if summary.contains("FAILED: processor: ") { "1-failed" } else { "ok" };
    assert_eq!(line, format!("EVE-INSTALLED {VERSION}-kvm-amd64 disk={disk} verification={found} report=test-2"));
}

#[test]
fn a_server_installs_by_the_firmwares_network_boot() {
    if !ready() {
        return;
    }
    // All write the same target.img.
    let _turn = turn();
    xtask().args(["installer-net"]).ok();
    let line = boot("run-installer-net", "installer-net", "EVE-INSTALLED", &[]);
    assert_eq!(line, format!("EVE-INSTALLED {VERSION}-kvm-amd64 disk=sda"));
}
