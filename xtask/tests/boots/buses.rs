//! Real machines in QEMU: the image that a person builds boots on every kind of disk, with and without a TPM, keeps its data,
//! and lets its owner in. The guest itself says when all of it holds.

use crate::common::{
    machine::{LIMIT, Machine, VERSION, boot, disk, image, ready, turn, xtask},
    scratch, tool, wants,
};
use crate::guest;

#[test]
fn boots_from_ahci_without_a_tpm() {
    if ready("qemu-system-x86_64") {
        // QEMU emulates SVM; on a real processor it depends on the host whether guests may have guests.
        let line = boot("amd64", &disk(&image("amd64"), "ahci"), "ahci", &["--disk-bus", "ahci", "--no-accel"]);
        assert!(line.ends_with("-kvm-amd64 hv=kvm tpm=no persist=new slot=A"), "{line}");
    }
}

#[test]
fn boots_from_nvme_with_a_tpm() {
    if ready("qemu-system-x86_64") {
        if !wants("swtpm", "swtpm") {
            return;
        }
        let more = ["--disk-bus", "nvme", "--tpm", "--cpu", "qemu64,-svm"];
        let image = image("amd64");
        let _turn = turn();
        let machine = Machine::start_with(LIMIT, VERSION, &disk(&image, "nvme"), "nvme", &more);
        let line = machine.ready_line();
        assert!(line.contains("hv=none tpm=yes persist=new"), "{line}");
        let console = machine.console();
        assert!(console.contains("hv=none: the processor has neither VMX nor SVM"), "{console}");
        machine.check_pcrs(&image, "nvme", &[]);
    }
}

#[test]
fn boots_from_a_usb_stick_to_which_live_raw_was_written() {
    if ready("qemu-system-x86_64") {
        xtask("amd64").args(["live-raw"]).ok();
        let (raw, stick) = (image("amd64").with_file_name("live.raw"), scratch().join("stick.raw"));
        tool("cp", &["--sparse=always", raw.to_str().unwrap(), stick.to_str().unwrap()]);
        // A stick is larger than the image.
        std::fs::File::options().write(true).open(&stick).unwrap().set_len(8 << 30).unwrap();
        let line = boot("amd64", &stick, "stick", &["--disk-bus", "usb"]);
        assert!(line.contains(" persist=new slot=A"), "{line}");
        std::fs::remove_file(stick).unwrap();
    }
}

#[test]
fn keeps_its_data_and_lets_its_owner_in_on_virtio() {
    if !ready("qemu-system-x86_64") {
        return;
    }
    let disk = disk(&image("amd64"), "virtio");
    {
        let _turn = turn();
        let machine = Machine::start(&disk, "virtio-first");
        assert!(machine.ready_line().contains("persist=new"));
        machine.ssh(
            "grep -q ' /config vfat ro' /proc/mounts && grep -q ' /persist ext4 rw' /proc/mounts && echo kept > /persist/proof && sync",
        );
        let refused = machine.try_ssh("touch /config/x");
        assert!(!refused, "/config must be mounted read-only");
        // Both networks have an address.
        machine.ssh("ip -4 addr show eth0 | grep -q 'inet ' && ip -4 addr show eth1 | grep -q 'inet '");
        machine.ssh("poweroff");
        machine.wait_for_end();
    }
    let _turn = turn();
    let machine = Machine::start(&disk, "virtio-second");
    assert!(machine.ready_line().contains("persist=kept"));
    machine.ssh("grep -q kept /persist/proof");
    guest::check_logins(&machine);
    guest::check(&machine);
}

#[test]
fn arm64_is_built_here_and_boots() {
    if ready("qemu-system-aarch64") {
        let line = boot("arm64", &disk(&image("arm64"), "arm64"), "arm64", &[]);
        assert!(line.contains("persist=new"), "{line}");
    }
}
