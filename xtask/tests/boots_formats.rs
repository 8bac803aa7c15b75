//! Images of other formats than the usual one boot: a root file system that is an ext4, and the quick round of LIVE_UPDATE.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{
    machine::{Machine, disk, folder, ready, turn, xtask},
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
