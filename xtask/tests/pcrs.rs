//! `pcrs` as a person types it: on a disk that is made here, and with the log of a real start.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, repository};
use diskimage::{
    FileImage, disk,
    eve::LIVE,
    gpt,
    recipes::{self, Parts, pack_rootfs},
    squashfs::Compressor,
};
use filetree::{Content, Node, Tree};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

fn pcrs(words: &[&str]) -> Xtask {
    Xtask::new(&repository()).env("ROOTFS_VERSION", "there-is-no-such-build").args(["pcrs"]).args(words)
}

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (path, text) in files {
        tree.insert(path, Node::file(0o644, 0, Content::from(*text))).unwrap();
    }
    tree
}

/// Files of CONFIG; the last is of one machine.
const CONFIG: &[(&str, &str)] = &[("server", "example\n"), ("DevicePortConfig/usb.json", "{}\n"), ("device.cert.pem", "mine\n")];

/// A live disk whose boot loader is no program. It is larger than usual, so that its partition table is another one.
fn live(folder: &Path, config: &[(&str, &str)]) -> PathBuf {
    let [root, config_image, disk] = ["rootfs.img", "config.img", "live.raw"].map(|name| folder.join(name));
    let system =
        tree(&[("EFI/BOOT/BOOTX64.EFI", "no program"), ("EFI/BOOT/grubenv", "x"), ("boot/kernel", "k"), ("boot/cmdline", "quiet")]);
    pack_rootfs(system, Compressor::Gzip, 0, &mut File::create(&root).unwrap()).unwrap();
    recipes::config(&tree(config), 0).unwrap().write(&File::create(&config_image).unwrap()).unwrap();
    let parts = Parts::default().rootfs(&root).unwrap().config(&config_image).unwrap();
    let layout = disk::layout(recipes::disk(LIVE, 360 << 20, &parts, 0).unwrap()).unwrap();
    layout.write(&File::options().read(true).write(true).create(true).truncate(true).open(&disk).unwrap()).unwrap();
    disk
}

/// The digest of the list that `pkg/measure-config` makes, by the programs that it calls.
fn measured(folder: &Path) -> String {
    let conf = folder.join("conf");
    for (path, text) in CONFIG {
        let file = conf.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let script = "find . -type f ! -name device.cert.pem | LC_ALL=C sort | while read -r file; do sha256sum \"$file\"; done | sha256sum";
    let output = Command::new("sh").args(["-c", script]).current_dir(conf).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

#[test]
fn a_disk_has_values_or_reasons_and_a_foreign_log_is_another_start() {
    let folder = tempfile::tempdir().unwrap();
    let disk = live(folder.path(), CONFIG);
    let disk = disk.to_str().unwrap();
    let policy = folder.path().join("policy.json");
    let all: serde_json::Value = serde_json::from_str(&pcrs(&[disk, "--json", "--policy", policy.to_str().unwrap()]).ok()).unwrap();
    let pcr = |number: u64| all.as_array().unwrap().iter().find(|pcr| pcr["pcr"] == number).unwrap();
    assert_eq!(pcr(2)["sha256"], "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969");
    assert_eq!(pcr(5)["events"].as_array().unwrap().len(), 2);
    assert_eq!(pcr(14)["events"][0]["what"], format!("config sha256:{}, 2 files", measured(folder.path())));
    for (number, why) in [
        (0, "--firmware FILE"),
        (1, "SMBIOS"),
        (4, "no EFI program (PE/COFF)"),
        (5, "no EFI program"),
        (13, "no EFI program"),
        (7, "--vars FILE"),
        (8, "no EFI program"),
    ] {
        let pcr = pcr(number);
        assert!(pcr["sha256"].is_null() && pcr["remark"].as_str().unwrap().contains(why), "{pcr}");
    }
    // The values of all starts: the partition table's depends on them.
    let policy: serde_json::Value = serde_json::from_str(&fs::read_to_string(policy).unwrap()).unwrap();
    assert_eq!(policy["pcrs"]["14"][0], pcr(14)["sha256"]);
    assert!(
        policy["pcrs"]["5"].is_null()
            && policy["unknown"]["5"].as_str().unwrap_or_else(|| panic!("{policy}")).contains("state of the slots"),
        "{policy}"
    );
    // Each PCR has values or a reason, and conditions belong to values.
    for number in (0..=9).chain(11..=14).map(|number| number.to_string()) {
        let [values, reason, condition] = ["pcrs", "unknown", "conditions"].map(|part| !policy[part][&number].is_null());
        assert!(values != reason && (values || !condition), "PCR {number}: {policy}");
    }
    assert_eq!(policy["starts"].as_array().unwrap().len(), 6);

    let log = folder.path().join("log");
    let packed = fs::File::open(repository().join("tools/fuzz/corpus/event-log/live.log.gz")).unwrap();
    assert!(Command::new("gzip").arg("-dc").stdin(packed).stdout(File::create(&log).unwrap()).status().unwrap().success());
    let log = log.to_str().unwrap();
    let output = pcrs(&[disk, "--log", log]).output();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(
        said.contains(" 5  different  the log has no EV_EFI_GPT_EVENT `the partition table, 3 partitions` ")
            && said.contains(" 2  as said    1 events\n"),
        "{said}"
    );
    assert!(output.status.code() == Some(1) && said.ends_with("error: PCR 5 differs from what was expected\n"), "{said}");

    let values = folder.path().join("values");
    fs::write(&values, format!("/sys/class/tpm/tpm0/pcr-sha256/2:{}\n", "1".repeat(64))).unwrap();
    let output = pcrs(&[disk, "--log", log, "--values", values.to_str().unwrap()]).output();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(" 2  different  the log gives 3d45") && said.contains("something extended it without a log"), "{said}");
    fs::write(&values, "2:11\n").unwrap();
    let (code, error) = pcrs(&[disk, "--log", log, "--values", values.to_str().unwrap()]).fails();
    assert!(code == 1 && error.contains("has the line `2:11`, which is no `N:VALUE` of 64 hex digits"), "{code}: {error}");
    for word in ["--events", "--policy=x"] {
        let (code, error) = pcrs(&[disk, "--log", log, word]).fails();
        assert!(code == 2 && error.contains("cannot be used with"), "{code}: {error}");
    }
    let (code, error) = pcrs(&[disk, "--log", disk]).fails();
    assert!(code == 1 && error.contains("no event log of a TPM 2.0"), "{code}: {error}");
}

/// The first bytes of the partition `number` of `disk`: place, and content.
fn partition(disk: &Path, number: u32) -> (u64, Vec<u8>) {
    let file = File::open(disk).unwrap();
    let table = gpt::read(&FileImage::new(file.try_clone().unwrap()).unwrap()).unwrap().unwrap();
    let start = table.entries.iter().find(|entry| entry.number == number).unwrap().first_lba * table.sector;
    let mut bytes = vec![0; 4 << 20];
    file.read_exact_at(&mut bytes, start).unwrap();
    (start, bytes)
}

#[test]
fn what_cannot_be_read_is_not_absent() {
    let folder = tempfile::tempdir().unwrap();
    let disk = live(folder.path(), &[("name of one", "x")]);
    let remark = |number: u64| {
        let all: serde_json::Value = serde_json::from_str(&pcrs(&[disk.to_str().unwrap(), "--json"]).ok()).unwrap();
        let pcr = all.as_array().unwrap().iter().find(|pcr| pcr["pcr"] == number).unwrap().clone();
        (pcr["remark"].as_str().unwrap().to_owned(), pcr["logged"].as_bool().unwrap())
    };
    let write = |at: u64, bytes: &[u8]| File::options().write(true).open(&disk).unwrap().write_all_at(bytes, at).unwrap();
    // Firmware finds /EFI/BOOT/BOOTX64.EFI in small letters, too: bits of the entry say them.
    let (start, esp) = partition(&disk, 1);
    let at = esp.windows(12).position(|bytes| bytes == b"BOOTX64 EFI\x20").unwrap();
    write(start + at as u64 + 12, &[esp[at + 12] | 0x18]);
    assert!(remark(4).0.contains("no EFI program (PE/COFF)"), "{}", remark(4).0);
    let (start, _) = partition(&disk, 1);
    write(start, &[1; 512]);
    assert!(remark(4).0.starts_with("partition 1 cannot be read here, so nobody knows what GRUB reads in it: "), "{}", remark(4).0);
    // Names that the running system may spell differently are in the list that PCR 14 is made of.
    let (start, config) = partition(&disk, 4);
    let name: Vec<u8> = "name of one".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let at = config.windows(10).position(|bytes| bytes == &name[..10]).unwrap() as u64;
    write(start + at + 2, &[0xe4]);
    assert_eq!(
        remark(14),
        ("CONFIG has the file `näme of one`: which bytes the running system makes of its name is not known here".to_owned(), false)
    );
    write(start, &[1; 512]);
    assert!(remark(14).0.starts_with("partition 4 cannot be read here") && !remark(14).1, "{}", remark(14).0);
}

#[test]
fn after_an_update_the_other_slot_is_on_trial() {
    let folder = tempfile::tempdir().unwrap();
    let disk = live(folder.path(), CONFIG);
    let disk = disk.to_str().unwrap();
    // The start after an update is another state of the slots; both slots have a system, so each has its starts, and one first of both.
    let update = folder.path().join("rootfs.img");
    let (update, policy) = (update.to_str().unwrap(), folder.path().join("update.json"));
    let all: serde_json::Value =
        serde_json::from_str(&pcrs(&[disk, "--update", update, "--json", "--policy", policy.to_str().unwrap()]).ok()).unwrap();
    assert!(all[5]["remark"].as_str().unwrap().starts_with("the partition table holds the state of the slots"), "{}", all[5]);
    let policy: serde_json::Value = serde_json::from_str(&fs::read_to_string(policy).unwrap()).unwrap();
    let starts: Vec<_> = policy["starts"].as_array().unwrap().iter().map(|start| (&start["slot"], &start["state"])).collect();
    assert!(starts.len() == 13 && starts[12].0 == "B" && starts[12].1 == "active, the other slot too", "{starts:?}");
}

#[test]
fn a_log_without_sha_256_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [disk, log] = [live(folder.path(), CONFIG), folder.path().join("log")];
    // The first entry, which says that the only bank is SHA-1's.
    let banks = [&b"Spec ID Event03\0"[..], &[0; 8], &1_u32.to_le_bytes(), &[4, 0, 20, 0], &[0]].concat();
    let size = u32::try_from(banks.len()).unwrap();
    fs::write(&log, [&[0; 4][..], &[3, 0, 0, 0], &[0; 20], &size.to_le_bytes(), &banks].concat()).unwrap();
    let (code, error) = pcrs(&[disk.to_str().unwrap(), "--log", log.to_str().unwrap()]).fails();
    assert!(code == 1 && error.contains("has no SHA-256 digests, and nothing else is compared"), "{code}: {error}");
}

#[test]
fn what_is_no_disk_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x");
    fs::write(&file, vec![0; 1 << 20]).unwrap();
    let (code, error) = pcrs(&[file.to_str().unwrap()]).fails();
    assert!(code == 1 && error.contains("is no disk with a GPT, so nothing can boot from it"), "{code}: {error}");
    let (code, error) = pcrs(&[]).fails();
    assert!(code != 0 && error.contains("nothing has been built for "), "{code}: {error}");
}
