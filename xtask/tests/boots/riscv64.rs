//! riscv64: built on this machine from Debian 13, and booted in QEMU by U-Boot and GRUB until the guest says that it is ready.

use crate::common::{
    Xtask,
    machine::{LIMIT, disk, free_port, turn},
    repository, scratch, skip_boots, wants,
};

/// Debian 13 is renewed every two or three months, and the replaced versions leave the mirrors. The build fails with these words then.
const GONE: &str = "no mirror has ";

#[test]
fn riscv64_is_built_here_and_boots() {
    if let Some(why) = skip_boots() {
        skips::skipped(skips::Lack::Request, why);
        return;
    }
    if !wants("qemu-system-riscv64", "qemu-system-misc") {
        return;
    }
    let xtask = || Xtask::new(&repository()).env("ROOTFS_VERSION", "boot-test").env("ZARCH", "riscv64");
    let built = xtask().args(["live"]).output();
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    if let Some(line) = said.lines().find(|line| line.contains(GONE) && line.contains("riscv64")) {
        skips::skipped(skips::Lack::Unpackaged, &format!("{line} `cargo xtask pins --arch riscv64` renews them"));
        return;
    }
    assert!(built.status.success(), "{said}");
    let disk = disk(&repository().join("dist/riscv64/boot-test/live.qcow2"), "riscv64");
    let _turn = turn();
    let (log, port) = (scratch().join("riscv64.log"), free_port().to_string());
    let words = ["run", "--disk", disk.to_str().unwrap(), "--memory", "1024", "--ssh-port", &port, "--serial-log", log.to_str().unwrap()];
    let booted = xtask().args(words).args(["--until", "EVE-READY", "--timeout", LIMIT]).output();
    let console = String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
    assert!(booted.status.success(), "{}\n{console}", String::from_utf8_lossy(&booted.stderr));
    // The program that started the kernel, and the kernel.
    for text in ["U-Boot 20", "/File(BOOTRISCV64.EFI)", "-riscv64 "] {
        assert!(console.contains(text), "no `{text}`:\n{console}");
    }
    let line = console.lines().rev().find(|line| line.contains("EVE-READY")).unwrap();
    assert!(line.contains("persist=new"), "{line}");
}
