//! A firmware that holds keys of `keys init` starts the GRUB of the image when `sign` has signed it with db, and no other one.

use crate::common::{
    machine::{image, ready, turn, xtask},
    scratch, wants,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// Debian's OVMF with Secure Boot, and variables without keys.
const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// What a busy computer needs under emulation.
const LIMIT: Duration = Duration::from_secs(600);

/// A machine that ends with the test.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_firmware_with_ones_own_keys_starts_what_is_signed() {
    if !ready("qemu-system-x86_64") || !wants("openssl", "openssl") {
        return;
    }
    if !Path::new(CODE).is_file() || !Path::new(VARIABLES).is_file() {
        skips::missing(CODE, "ovmf");
        return;
    }
    let folder = scratch().join("secure-boot");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    // The test's folder is below target/, and keys in the tree are refused.
    let safe = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.join(name).display().to_string();
    let [keys, others] = ["keys", "others"].map(|name| safe.path().join(name).display().to_string());
    for keys in [&keys, &others] {
        xtask("amd64").args(["keys", "init", "--keys", keys]).ok();
    }
    xtask("amd64").args(["keys", "enrol", "--keys", &keys, "--firmware", VARIABLES, "--out", &at("vars.fd")]).ok();
    let disks = disks(&folder, &keys, &others);
    let console = {
        let _turn = turn();
        let mut machine = start(&folder, &disks);
        wait_for(&mut machine, &folder.join("console.log"), "EVE-FAILED boot: no slot of ")
    };
    let refused = console.matches("Access Denied").count();
    assert!(refused == 3 && console.matches("Welcome to GRUB!").count() == 1, "{refused} are refused:\n{console}");
    fs::remove_dir_all(folder).unwrap();
}

/// Folders for disks with the image's GRUB: without signature, signed and then changed, signed by others, signed.
fn disks(folder: &Path, keys: &str, others: &str) -> [PathBuf; 4] {
    let grub = format!("{}:IMGA:/EFI/BOOT/BOOTX64.EFI", image("amd64").with_file_name("live.raw").display());
    let taken = folder.join("grub");
    xtask("amd64").args(["inspect", &grub, "--out", taken.to_str().unwrap()]).ok();
    let grub = if taken.is_dir() { taken.join("BOOTX64.EFI") } else { taken };
    ["unsigned", "changed", "others", "signed"].map(|name| {
        let disk = folder.join(name);
        let file = disk.join("EFI/BOOT/BOOTX64.EFI");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::copy(&grub, &file).unwrap();
        let by = if name == "others" { others } else { keys };
        if name != "unsigned" {
            xtask("amd64").args(["sign", file.to_str().unwrap(), "--keys", by]).ok();
        }
        if name == "changed" {
            let mut bytes = fs::read(&file).unwrap();
            bytes[0x8000] ^= 1;
            fs::write(&file, bytes).unwrap();
        }
        disk
    })
}

fn start(folder: &Path, disks: &[PathBuf]) -> Started {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-nodefaults", "-machine", "q35,smm=on,accel=tcg", "-cpu", "max", "-m", "512", "-display", "none", "-no-reboot"]);
    qemu.args(["-global", "ICH9-LPC.disable_s3=1", "-global", "driver=cfi.pflash01,property=secure,value=on"]);
    qemu.args(["-drive", &format!("if=pflash,unit=0,format=raw,readonly=on,file={CODE}")]);
    qemu.args(["-drive", &format!("if=pflash,unit=1,format=raw,file={}", folder.join("vars.fd").display())]);
    qemu.args(["-serial", &format!("file:{}", folder.join("console.log").display())]);
    for (index, disk) in disks.iter().enumerate() {
        qemu.args(["-drive", &format!("if=none,id=disk{index},format=vvfat,dir={}", disk.display())]);
        qemu.args(["-device", &format!("virtio-blk-pci,drive=disk{index},bootindex={}", index + 1)]);
    }
    Started(qemu.stdin(Stdio::null()).spawn().unwrap())
}

/// The console, when `text` is on it.
fn wait_for(machine: &mut Started, console: &Path, text: &str) -> String {
    let start = Instant::now();
    loop {
        let said = fs::read(console).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        if said.contains(text) {
            return said;
        }
        assert!(machine.0.try_wait().unwrap().is_none() && start.elapsed() < LIMIT, "no `{text}`:\n{said}");
        sleep(Duration::from_millis(500));
    }
}
