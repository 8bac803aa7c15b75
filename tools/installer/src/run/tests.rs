//! Whole installations on machines whose disks are files: every word, and every end.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::fake_tests as fake;
use diskimage::{FileImage, extract, gpt};
use filetree::{Content, Node};
use std::{
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::PathBuf,
};

/// A machine that boots from a CD, with disks of these names and MiB, and `grub_cfg` in the CD's CONFIG.
struct Fake(tempfile::TempDir);

impl Fake {
    fn new(disks: &[(&str, u64)], cmdline: &str, grub_cfg: &str) -> Self {
        let places: Vec<String> = disks.iter().map(|(name, _)| format!("pci0/ata1/{name}")).collect();
        let all: Vec<(&str, u64, u32, &[&str])> =
            places.iter().zip(disks).map(|(place, (_, size))| (place.as_str(), *size, 512, &[][..])).collect();
        let root = fake::machine(&all, "21 1 7:0 / / ro - squashfs /dev/loop0 ro\n");
        for folder in ["dev", "etc", "medium"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        for (name, size) in disks {
            let file = fs::File::create(root.path().join("dev").join(name)).unwrap();
            file.set_len(size << 20).unwrap();
            // Another system: a table and what may be a file system.
            file.write_all_at(&[0xa5; 4096], 0).unwrap();
        }
        fs::write(root.path().join("proc/cmdline"), cmdline).unwrap();
        fs::write(root.path().join("etc/eve-release"), "1.2.3-kvm-amd64\n").unwrap();
        fake::rootfs(root.path(), "rootfs.img");
        let mut config = Tree::new();
        config.insert("grub.cfg", Node::file(0o644, 1, Content::from(grub_cfg))).unwrap();
        // As DOS spells it.
        config.insert("SERVER", Node::file(0o644, 1, Content::from("of.the.medium"))).unwrap();
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(root.path().join("medium/config.img")).unwrap();
        diskimage::recipes::config(&config, 1).unwrap().write(&file).unwrap();
        Self(root)
    }

    fn disk(&self, name: &str) -> PathBuf {
        self.0.path().join("dev").join(name)
    }

    /// The line on the console.
    fn install(&self) -> String {
        install(self.0.path()).unwrap_or_else(|failure| format!("EVE-FAILED install: {failure}"))
    }

    /// The names of a disk's partitions; none without a table.
    fn partitions(&self, name: &str) -> Vec<String> {
        let table = gpt::read(&FileImage::new(fs::File::open(self.disk(name)).unwrap()).unwrap()).unwrap();
        table.map_or_else(Vec::new, |table| table.entries.into_iter().map(|entry| entry.name).collect())
    }

    /// A file of CONFIG on an installed disk.
    fn config(&self, name: &str, file: &str) -> String {
        let disk = extract::Disk::open(&self.disk(name)).unwrap();
        let tree = target::read_volume(&disk.partition("CONFIG").unwrap().unwrap()).unwrap();
        medium::text(&tree, file).unwrap()
    }

    /// Whether a disk is as it was: a few bytes at its start, and a hole.
    fn is_untouched(&self, name: &str) -> bool {
        let file = fs::File::open(self.disk(name)).unwrap();
        let mut start = [0; 4096];
        file.read_exact_at(&mut start, 0).unwrap();
        start == [0xa5; 4096] && file.metadata().unwrap().blocks() < 64
    }

    /// Whether the first and the last MiB are zeros.
    fn is_erased(&self, name: &str) -> bool {
        let file = fs::File::open(self.disk(name)).unwrap();
        let mut bytes = vec![0xff; 1 << 20];
        [0, file.metadata().unwrap().len() - (1 << 20)].into_iter().all(|at| {
            file.read_exact_at(&mut bytes, at).unwrap();
            bytes.iter().all(|byte| *byte == 0)
        })
    }
}

const SYSTEM: [&str; 5] = ["EFI System", "IMGA", "IMGB", "CONFIG", "P3"];

#[test]
fn the_first_disk_that_is_large_enough_gets_the_system_and_the_others_stay() {
    let machine = Fake::new(&[("sda", 64), ("sdb", 1024), ("sdc", 1024)], "quiet eve_soft_serial=X1 eve_install_server=my.controller", "");
    assert_eq!(machine.install(), "EVE-INSTALLED 1.2.3-kvm-amd64 disk=sdb");
    assert_eq!(machine.partitions("sdb"), SYSTEM);
    assert_eq!((machine.config("sdb", "soft_serial"), machine.config("sdb", "server")), ("X1\n".to_owned(), "my.controller\n".to_owned()));
    assert!(machine.is_untouched("sda") && machine.is_untouched("sdc"));
}

#[test]
fn p3_goes_to_the_disk_that_config_names_and_named_disks_lose_their_tables() {
    let words = "set_global eve_persist_disk sdc\nset_global eve_nuke_disks sda,sdd\n";
    let machine = Fake::new(&[("sda", 1024), ("sdb", 2048), ("sdc", 300), ("sdd", 1024)], "eve_install_disk=sdb", words);
    assert_eq!(machine.install(), "EVE-INSTALLED 1.2.3-kvm-amd64 disk=sdb persist=sdc");
    assert_eq!(machine.partitions("sdb"), SYSTEM[..4]);
    assert_eq!(machine.partitions("sdc"), ["P3"]);
    assert!(machine.is_erased("sda") && machine.is_erased("sdd"));
    assert_eq!(machine.config("sdb", "server"), "of.the.medium");
    // The second time P3 stays.
    let word = "root=x eve_install_disk=sdb eve_install_skip_persist";
    fs::write(machine.0.path().join("proc/cmdline"), word).unwrap();
    let changed = || fs::metadata(machine.disk("sdc")).unwrap().modified().unwrap();
    let before = changed();
    assert_eq!(machine.install(), "EVE-INSTALLED 1.2.3-kvm-amd64 disk=sdb persist=sdc");
    assert_eq!(changed(), before);
    fs::write(machine.0.path().join("proc/cmdline"), format!("{word} eve_nuke_disks=sdc")).unwrap();
    assert_eq!(machine.install(), "EVE-FAILED install: persist: eve_nuke_disks names sdc, of which P3 is to be kept");
    assert_eq!((machine.partitions("sdc"), changed()), (vec!["P3".to_owned()], before));
}

#[test]
fn tables_are_removed_and_reports_made_without_an_installation() {
    let machine = Fake::new(&[("sda", 64), ("sdb", 1024)], "eve_nuke_all_disks", "");
    assert_eq!(machine.install(), "EVE-NUKED sda,sdb");
    assert!(machine.is_erased("sda") && machine.is_erased("sdb"));
    let machine = Fake::new(&[("sda", 1024)], "", "set_global eve_blackbox\n");
    assert_eq!(machine.install(), "EVE-BLACKBOX");
    assert!(machine.is_untouched("sda"));
    assert_eq!(show_settings(machine.0.path()).unwrap(), "eve_blackbox=y\n");
}

#[test]
fn what_cannot_be_done_is_one_line_and_changes_nothing() {
    for (words, grub_cfg, wanted) in [
        ("eve_install_disk=sdb", "", "disk: sdb cannot be used: it has 300 MiB, less than the needed 895"),
        ("eve_install_disk=sdx", "", "disk: there is no disk sdx; disks are sda, sdb"),
        ("eve_persist_disk=sdx", "", "persist: there is no disk sdx; disks are sda, sdb"),
        ("eve_nuke_disks=sdb,sdx", "", "nuke: there is no disk sdx; disks are sda, sdb"),
        ("", "set_global eve_instal_disk sda\n", "settings: CONFIG's grub.cfg, line 1: unknown word eve_instal_disk; did you mean"),
        ("eve_install_disk=sda eve_persist_disk=sdx eve_install_skip_persist", "", "persist: there is no disk sdx; disks are sda, sdb"),
        (
            "eve_install_disk=sda eve_persist_disk=sdb eve_install_skip_persist",
            "",
            "persist: eve_install_skip_persist: sdb has no partition P3",
        ),
        ("eve_install_skip_config", "", "write: eve_install_skip_config: the disk has no partition 4 (CONFIG) to keep"),
        ("eve_install_skip_config eve_soft_serial=1", "", "config: eve_install_skip_config keeps CONFIG, so `eve_soft_serial` cannot"),
    ] {
        let machine = Fake::new(&[("sda", 1024), ("sdb", 300)], words, grub_cfg);
        let line = machine.install();
        assert!(line.starts_with("EVE-FAILED install: ") && line.contains(wanted) && !line.contains('\n'), "{line}");
        assert!(machine.is_untouched("sda") && machine.is_untouched("sdb"), "{words}");
    }
    let machine = Fake::new(&[], "", "");
    assert_eq!(machine.install(), "EVE-FAILED install: disk: there is no disk to install on (the machine has none)");
}

#[test]
fn keys_are_for_a_system_that_is_installed_and_a_firmware_that_takes_them() {
    let refused = |words: &str| {
        let machine = Fake::new(&[("sda", 1024)], words, "set_global eve_enroll_keys\n");
        let line = machine.install();
        assert!(machine.is_untouched("sda"), "{line}");
        line
    };
    for word in ["eve_blackbox", "eve_nuke_all_disks"] {
        let wanted = format!("EVE-FAILED install: enroll: {word} installs nothing that the keys are for: leave out one of the two words");
        assert_eq!(refused(word), wanted);
    }
    assert!(refused("eve_install_skip_rootfs").starts_with("EVE-FAILED install: enroll: eve_install_skip_rootfs keeps a system that"));
    let wanted = "EVE-FAILED install: enroll: this machine was not started by UEFI, so there are no variables for keys";
    assert_eq!(refused(""), wanted);
    // The firmware has them: this is a second installation.
    let machine = Fake::new(&[("sda", 1024)], "eve_enroll_keys", "");
    let root = machine.0.path();
    let mounts = "21 1 7:0 / / ro - squashfs /dev/loop0 ro\n30 21 0:25 / /sys/firmware/efi/efivars rw - efivarfs efivarfs rw\n";
    fs::write(root.join("proc/self/mountinfo"), mounts).unwrap();
    let variables = root.join("sys/firmware/efi/efivars");
    fs::create_dir_all(&variables).unwrap();
    fake::keys(root);
    let global = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
    fs::write(variables.join(format!("SetupMode-{global}")), [6, 0, 0, 0, 0]).unwrap();
    for (owner, name) in (1..).zip([format!("PK-{global}"), format!("KEK-{global}"), "db-d719b2cb-3d3a-4596-a3bc-dad00e67656f".to_owned()])
    {
        let list = fake::signed(owner).split_off(42);
        fs::write(variables.join(name), [&[0x27, 0, 0, 0], &list[..]].concat()).unwrap();
    }
    assert_eq!(machine.install(), "EVE-INSTALLED 1.2.3-kvm-amd64 disk=sda keys=present");
}
