//! Images of other formats than the usual one boot: a root file system that is an ext4, and the quick round of LIVE_UPDATE.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{
    machine::{LIMIT, Machine, disk, folder, free_port, image, ready, turn, xtask},
    tool,
};

/// The version of the image with an ext4.
const VERSION: &str = "boot-test-ext4";

#[test]
fn the_quick_round_makes_an_ext4_that_boots() {
    if !ready("qemu-system-x86_64") || !common::wants("e2fsck", "e2fsprogs") {
        return;
    }
    xtask("amd64").env("ROOTFS_VERSION", VERSION).env("LIVE_UPDATE", "y").args(["live"]).ok();
    let folder = folder("amd64", VERSION);
    tool("e2fsck", &["-f", "-n", folder.join("installer/rootfs.img").to_str().unwrap()]);
    let _turn = turn();
    let machine = Machine::start_of(VERSION, &disk(&folder.join("live.qcow2"), "ext4"), "ext4");
    let line = machine.ready_line();
    assert!(line.contains(VERSION) && line.contains("persist=new"), "{line}");
    machine.ssh("grep -q '^/dev/[^ ]* / ext4 ro[, ]' /proc/1/mounts && grep -q ' rootfstype=ext4 ' /proc/cmdline");
}

#[test]
fn rootfs_img_and_grub_boot_alone() {
    if !ready("qemu-system-x86_64") {
        return;
    }
    image("amd64");
    let _turn = turn();
    let alone = |verb: &str, until: &str, more: &[&str]| {
        let port = free_port().to_string();
        let words = [verb, "--memory", "1024", "--ssh-port", &port, "--timeout", LIMIT, "--until", until];
        xtask("amd64").args(words).args(more).ok()
    };
    // GRUB finds no slot, says so, and does not start the machine again while somebody looks.
    let console = alone("run-grub", "Escape shows GRUB's prompt", &[]);
    assert!(console.contains("EVE-FAILED boot: no "), "{console}");
    let console = alone("run-rootfs", "EVE-READY", &["--disk-bus", "virtio"]);
    let line = console.lines().find(|line| line.contains("EVE-READY")).unwrap();
    assert!(line.contains("boot-test-kvm-amd64") && line.contains("persist=new"), "{line}");
    // CONFIG asks for it, and nothing else does.
    assert!(console.contains("EVE on x86_64, /dev/ttyS0"), "{console}");
}
