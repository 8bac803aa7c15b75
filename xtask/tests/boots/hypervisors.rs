//! Images for the hypervisors that GRUB starts before the kernel: Xen with a guest, and the entry for ACRN with a stand-in.

use crate::common::{
    Xtask,
    machine::{Machine, boot, disk, folder, ready, turn, xtask},
    repository, scratch, tool, wants,
};
use std::path::PathBuf;

/// A guest of this machine's own kernel and initrd. It says what it is, and ends. Its busybox finds its applets by /proc.
const GUEST: &str = r#"
name = "proof"
kernel = "/boot/kernel"
ramdisk = "/boot/initrd.img"
memory = 128
extra = 'console=hvc0 rdinit=/bin/busybox -- sh -c "/bin/busybox mount -t proc proc /proc; uname -a; poweroff -f"'
"#;

/// The program for a build that is soon over.
fn build(arch: &str, version: &str) -> Xtask {
    xtask(arch).env("ROOTFS_VERSION", version).env("ROOTFS_COMPRESSION", "gzip")
}

#[test]
fn xen_starts_its_first_domain_and_that_a_guest() {
    const VERSION: &str = "boot-test-xen";
    if !ready("qemu-system-x86_64") {
        return;
    }
    build("amd64", VERSION).env("HV", "xen").args(["live"]).ok();
    let _turn = turn();
    let machine = Machine::start_of(VERSION, &disk(&folder("amd64", VERSION).join("live.qcow2"), "xen"), "xen");
    let line = machine.ready_line();
    assert!(line.contains(&format!("{VERSION}-xen-amd64 hv=xen ")), "{line}");
    assert!(machine.console().contains("(XEN)"), "{}", machine.console());
    machine.ssh("xl list | grep -q '^Domain-0  *0 '");
    // With lockdown, Xen's device model could pass no PCI device to a guest.
    machine.ssh("! grep -q lockdown= /proc/cmdline && grep -q '\\[none\\]' /sys/kernel/security/lockdown");
    machine.ssh(&format!("cat > /persist/proof.cfg <<'END'{GUEST}END"));
    // The guest's console, until it ends.
    machine.ssh("xl create -c /persist/proof.cfg < /dev/null > /persist/proof.log 2>&1; grep -q '^Linux .* GNU/Linux' /persist/proof.log");
    machine.ssh("! xl list | grep -q proof");
    give_a_guest_a_disk_and_a_network_card(&machine);
}

/// A guest gets a disk in a file and a network card. It has no drivers for them, so this shows what the machine does for a guest.
fn give_a_guest_a_disk_and_a_network_card(machine: &Machine) {
    machine.ssh("mkdir -p /persist/disk && dd if=/dev/zero of=/persist/disk/image bs=1M count=1");
    let config = |more: &str| {
        format!(
            "sed 's/^name = .*/name = \"dev\"/; s/uname -a/sleep 30/' /persist/proof.cfg > /persist/dev.cfg; echo '{more}' >> /persist/dev.cfg"
        )
    };
    machine.ssh(&config(r#"vif = ["bridge=nowhere"]"#));
    machine.ssh("! xl create /persist/dev.cfg > /persist/dev.log 2>&1; grep -q 'there is no bridge nowhere' /persist/dev.log");
    machine.ssh("brctl addbr xenbr0");
    machine.ssh(&config(r#"vif = ["bridge=xenbr0"]; disk = ["/persist/disk/image,raw,xvda,rw"]"#));
    machine.ssh("xl create /persist/dev.cfg && ls /sys/class/net/xenbr0/brif | grep -q vif && losetup -a | grep -q /persist/disk/image");
    machine.ssh("xl destroy dev; sleep 5; ! losetup -a | grep -q /persist/disk/image");
}

#[test]
fn xen_starts_its_first_domain_on_arm64() {
    const VERSION: &str = "boot-test-xen";
    if !ready("qemu-system-aarch64") {
        return;
    }
    build("arm64", VERSION).env("HV", "xen").args(["live"]).ok();
    let disk = disk(&folder("arm64", VERSION).join("live.qcow2"), "xen-arm64");
    let line = boot("arm64", &disk, "xen-arm64", &["--rootfs-version", VERSION]);
    assert!(line.contains(&format!("{VERSION}-xen-arm64 hv=xen ")), "{line}");
}

/// Builds the stand-in; none where this machine cannot.
fn stand_in() -> Option<PathBuf> {
    if !wants("cc", "gcc") {
        return None;
    }
    if std::env::consts::ARCH != "x86_64" {
        skips::skipped(skips::Lack::Architecture, "the stand-in for ACRN is built by an x86 compiler");
        return None;
    }
    let out = scratch().join("acrn.bin");
    let source = repository().join("xtask/tests/acrn_stand_in.c");
    let words = "-m32 -march=i586 -O1 -Wall -Wextra -Werror -ffreestanding -fno-builtin -fno-stack-protector -fno-pic \
                 -fno-tree-loop-distribute-patterns -fno-asynchronous-unwind-tables -nostdlib -static -no-pie \
                 -Wl,-N,--build-id=none,-Ttext-segment=0x20000";
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.extend([source.to_str().unwrap(), "-o", out.to_str().unwrap()]);
    tool("cc", &words);
    Some(out)
}

#[test]
fn grub_starts_what_acrn_bin_names_with_the_kernel_and_its_initrd() {
    const VERSION: &str = "boot-test-acrn";
    if !ready("qemu-system-x86_64") {
        return;
    }
    let Some(hypervisor) = stand_in() else { return };
    build("amd64", VERSION).env("HV", "acrn").env("ACRN_BIN", hypervisor).args(["live"]).ok();
    let _turn = turn();
    let machine = Machine::start_of(VERSION, &disk(&folder("amd64", VERSION).join("live.qcow2"), "acrn"), "acrn");
    let line = machine.ready_line();
    assert!(line.contains(&format!("{VERSION}-acrn-amd64 hv=none ")), "{line}");
    let console = machine.console();
    for text in [
        "ACRN stand-in: arguments: uart=port@0x3f8",
        "ACRN stand-in: starts Linux with: console=tty0 console=ttyS0,115200 root=PARTUUID=",
        "hv=none: the image is for acrn, and the machine was started without it",
    ] {
        assert!(console.contains(text), "{text}:\n{console}");
    }
}
