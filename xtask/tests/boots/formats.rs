//! Images of other formats than the usual one boot: a root file system that is an ext4, and the quick round of LIVE_UPDATE. An
//! update may be such a root file system, too.

use crate::common::{
    machine::{LIMIT, Machine, disk, folder, free_port, image, ready, turn, xtask},
    tool,
};

/// The version of the image with an ext4.
const VERSION: &str = "boot-test-ext4";

#[test]
fn the_quick_round_makes_an_ext4_that_boots() {
    if !ready("qemu-system-x86_64") || !crate::common::wants("e2fsck", "e2fsprogs") {
        return;
    }
    xtask("amd64").env("ROOTFS_VERSION", VERSION).env("LIVE_UPDATE", "y").args(["live"]).ok();
    let folder = folder("amd64", VERSION);
    tool("e2fsck", &["-f", "-n", folder.join("installer/rootfs.img").to_str().unwrap()]);
    let _turn = turn();
    let disk = disk(&folder.join("live.qcow2"), "ext4");
    let machine = Machine::start_for("1500", VERSION, &disk, "ext4");
    let line = machine.ready_line();
    assert!(line.contains(VERSION) && line.contains("persist=new"), "{line}");
    machine.ssh("grep -q '^/dev/[^ ]* / ext4 ro[, ]' /proc/1/mounts && grep -q ' rootfstype=ext4 ' /proc/cmdline");
    // What runs in slot A is a good update for slot B, and half of it is none.
    machine.ssh(
        "cd /persist; dd if=/dev/vda2 of=next.img bs=1M; head -c 20000000 next.img > bad.img; \
         ! eve update bad.img > said 2>&1 && grep -q 'is truncated: its ext4 has' said && test $(zboot partstate IMGB) = unused",
    );
    machine.ssh("eve update /persist/next.img && test $(zboot partstate IMGB) = updating");
    // Not a restart: under emulation the ESP's GRUB hangs now and then after the restart of a machine whose slots are ext4, and again after
    // each reset, until QEMU is started anew. The same disk then boots.
    machine.ssh("poweroff");
    machine.wait_for_end();
    let machine = Machine::start_for("1500", VERSION, &disk, "ext4-slot-b");
    let line = machine.ready_line();
    assert!(line.contains(" slot=B") && line.contains("persist=kept"), "{line}");
    machine.ssh("grep -q ' rootfstype=ext4 ' /proc/cmdline && test $(zboot partstate IMGB) = active");
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
