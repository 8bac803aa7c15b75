//! Reports about our images and those of foreign tools, compared with golden text.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::{
    disk::{self, Source},
    eve::{self, Kind},
    verity::{RootStatement, Verity},
};
use filetree::{Content, Node, Tree};
use std::{os::unix::fs::FileExt as _, process::Command};

fn fat(size: u64) -> fat::Layout {
    let mut tree = Tree::new();
    tree.insert("EFI/BOOT/BOOTX64.EFI", Node::file(0o644, 0, Content::from(vec![7; 5000]))).unwrap();
    tree.insert("server", Node::file(0o644, 0, Content::from("zedcloud.local\n"))).unwrap();
    let options =
        fat::Options { size, label: "EVE".into(), volume_id: 0xcafe_0001, mtime: 1_684_000_000, sector: 512, bits: fat::Bits::Auto };
    fat::layout(&tree, &options).unwrap()
}

/// The start of a squashfs, enough to detect it.
fn squashfs() -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
    put(0, b"hsqs");
    put(4, &1234_u32.to_le_bytes());
    put(12, &131_072_u32.to_le_bytes());
    put(20, &[4, 0]);
    put(28, &[4, 0]);
    put(40, &4096_u64.to_le_bytes());
    bytes
}

fn write_live(path: &Path) {
    let sources = vec![
        (Kind::Efi, Source::Fat(fat(36 << 20))),
        (Kind::Conf, Source::Fat(fat(1 << 20))),
        (Kind::Imga, Source::Image(Content::from(squashfs()))),
    ];
    let layout = disk::layout(eve::table(sources, eve::DISK_SIZE).unwrap()).unwrap();
    layout.write(&File::create(path).unwrap()).unwrap();
}

fn check_golden(name: &str, text: &str) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&golden).unwrap(), "UPDATE_GOLDEN=1 cargo test -p diskimage writes it anew");
}

#[test]
fn a_live_disk_raw_and_inside_a_qcow2() {
    let folder = tempfile::tempdir().unwrap();
    let (raw, qcow2) = (folder.path().join("live.raw"), folder.path().join("live.qcow2"));
    write_live(&raw);
    let report = inspect(&raw).unwrap();
    check_golden("inspect-live.txt", &report.to_string());
    let Ok(output) = Command::new("qemu-img").args(["convert", "-c", "-f", "raw", "-O", "qcow2"]).args([&raw, &qcow2]).output() else {
        skips::missing("qemu-img", "qemu-utils");
        return;
    };
    assert!(output.status.success(), "{output:?}");
    let packed = inspect(&qcow2).unwrap();
    let Contents::Qcow2 { disk, version: 3, .. } = &packed.contents else { panic!("{packed:?}") };
    assert_eq!(**disk, report);
    assert!(packed.to_string().contains(&format!(", clusters of 64 KiB, zlib, holds 350 MiB\n{report}")), "{packed}");
}

#[test]
fn a_fat_volume_lists_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.img");
    fat(1 << 20).write(&File::create(&path).unwrap()).unwrap();
    let text = inspect(&path).unwrap().to_string();
    assert_eq!(
        text,
        "FAT12 `EVE` CAFE-0001, 1 MiB, 2 files, 5015 B\n\nbytes  file\n    -  EFI/\n    -  EFI/BOOT/\n 5000  EFI/BOOT/BOOTX64.EFI\n   15  server\n"
    );
}

#[test]
fn a_damaged_disk_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.raw");
    let problems = |damage: &dyn Fn(&File)| -> String {
        write_live(&path);
        damage(&File::options().write(true).open(&path).unwrap());
        match inspect(&path).unwrap().contents {
            Contents::Gpt { problems, .. } => problems.join("; "),
            other => format!("{other:?}"),
        }
    };
    let size = eve::DISK_SIZE;
    assert_eq!(problems(&|_| {}), "");
    // A disk enlarged by qemu-img is fine; without a backup table it is damaged.
    assert_eq!(problems(&|disk| disk.set_len(size + 512).unwrap()), "");
    assert!(inspect(&path).unwrap().to_string().contains("note: the disk was enlarged: its backup GPT is in sector 716799"));
    assert_eq!(problems(&|disk| disk.set_len(size - 512).unwrap()), "there is no backup GPT in the last sector");
    assert!(
        problems(&|disk| disk.write_all_at(&[1], 600).unwrap())
            .starts_with("the primary GPT is damaged, this is the backup: the header has the checksum")
    );
    assert!(
        problems(&|disk| disk.write_all_at(&[1], 1100).unwrap())
            .starts_with("the primary GPT is damaged, this is the backup: the entries have the checksum")
    );
    assert!(
        problems(&|disk| disk.write_all_at(&[1], size - 452).unwrap())
            .starts_with("the backup GPT is damaged: the header has the checksum")
    );
    assert_eq!(problems(&|disk| disk.write_all_at(&[0; 512], 512).unwrap()), "there is no primary GPT, this is the backup");
    let both = problems(&|disk| {
        disk.write_all_at(&[1], 600).unwrap();
        disk.write_all_at(&[1], size - 452).unwrap();
    });
    assert!(both.contains("Broken { format: \"GPT\""), "{both}");
    // Truncated within IMGA, with an intact primary table.
    write_live(&path);
    File::options().write(true).open(&path).unwrap().set_len(50 << 20).unwrap();
    let text = inspect(&path).unwrap().to_string();
    assert!(text.contains("broken partition, 300 MiB: 314572800 bytes at 39845888 exceed the image of 52428800 bytes"), "{text}");
    assert!(text.contains("problem: partition 2 from sector 77824 to 692223 is invalid on a disk of 102400 sectors"), "{text}");
}

/// Each of 128 partitions is the whole disk, which again contains 128 partitions.
#[test]
fn disks_in_disks_end() {
    let size = 1 << 20;
    let mut bytes = vec![0; size];
    let uuid = gpt::Guid(7);
    let entry = |number| gpt::GptEntry {
        number,
        name: "all\u{1b}[2J".into(),
        type_guid: uuid,
        uuid,
        first_lba: 0,
        last_lba: 2047,
        attributes: u64::MAX,
    };
    let mut entries: Vec<gpt::GptEntry> = (1..=gpt::ENTRIES).map(entry).collect();
    entries[5] = gpt::GptEntry { first_lba: u64::MAX, last_lba: 3, ..entry(6) };
    entries[6] = gpt::GptEntry { first_lba: 1, last_lba: u64::MAX, ..entry(7) };
    let table = gpt::encode_entries(&entries);
    bytes[512..1024].copy_from_slice(&gpt::encode_header(uuid, 512, 2048, false, gpt::crc32(&table)));
    bytes[1024..1024 + table.len()].copy_from_slice(&table);
    let report = inspect_image(&&bytes[..]).unwrap();
    let text = report.to_string();
    let Contents::Gpt { partitions, problems, .. } = report.contents else { panic!("{text}") };
    assert_eq!((partitions.len(), problems.len()), (128, 1 + 2 + 127), "{problems:?}");
    assert!(matches!(&partitions[0].content.contents, Contents::Unread { format, .. } if format == "GPT disk"));
    assert!(text.contains("all\\u{1b}[2J") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn other_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let summary = |bytes: &[u8]| {
        let path = folder.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        inspect(&path).unwrap().summary()
    };
    assert_eq!(summary(b""), "blank, 0 B");
    assert_eq!(summary(b"text"), "unknown, 4 B");
    assert_eq!(summary(&[0; 3000]), "blank, 3000 B");
    assert_eq!(summary(&[0x1f, 0x8b, 8, 0]), "gzip compressed, 4 B");
    let start = squashfs();
    assert_eq!(inspect_image(&&start[..]).unwrap().summary(), "squashfs, 4 KiB, xz, blocks of 128 KiB, 1234 inodes");
    assert!(summary(&start).starts_with("broken squashfs, "), "a superblock alone is no file system");
    assert_eq!(summary(&squashfs()[..4000]), "broken squashfs, 4000 B: version 4, 4096 bytes used, image of 4000 bytes");
    assert!(summary(b"QFI\xfb\0\0\0\x09").starts_with("broken qcow2, 8 B: the file is too short"));
    let mut tar = Vec::new();
    let mut tree = Tree::new();
    tree.insert("bin/sh", Node::file(0o755, 0, Content::from(vec![1; 600]))).unwrap();
    filetree::write_tar(&tree, &mut tar).unwrap();
    assert_eq!(summary(&tar), format!("tar, {}, 2 entries, 600 B", super::display::human(tar.len() as u64)));
    assert!(summary(&tar[..1500]).starts_with("broken tar, 1500 B: the tar is truncated in entry"));
    let mut ext = vec![0; 4096];
    ext[1080..1082].copy_from_slice(&[0x53, 0xef]);
    assert_eq!(summary(&ext), "broken ext2/3/4, 4 KiB: invalid size: 0 blocks of 1024 bytes in an image of 4096 bytes");
    let mut iso = vec![0; 34816];
    iso[32769..32774].copy_from_slice(b"CD001");
    assert!(summary(&iso).starts_with("broken ISO 9660, 34 KiB: the first descriptor has type 0"));
    assert!(inspect(folder.path()).unwrap_err().to_string().ends_with("is a directory, not an image"));
    assert!(inspect(&folder.path().join("none")).unwrap_err().to_string().starts_with("cannot open"));
}

fn files() -> Tree {
    let mut tree = Tree::new();
    for (path, len) in [("EFI/BOOT/BOOTX64.EFI", 5), ("rootfs.img", 70_000), (&"long".repeat(60), 7), ("empty", 0)] {
        tree.insert(path, Node::file(0o644, 0, Content::from(vec![1; len]))).unwrap();
    }
    tree
}

fn ext4() -> Vec<u8> {
    let options = crate::ext4::Options { label: "eve_rootfs".into(), uuid: gpt::Guid(7), mtime: 0, size: 2 << 20 };
    let out = tempfile::tempfile().unwrap();
    crate::ext4::layout(&files(), &options).unwrap().write(&out).unwrap();
    Content::Range { len: 2 << 20, file: out.into(), offset: 0 }.read_all().unwrap()
}

fn iso() -> Vec<u8> {
    let efi = fat::Options { size: 64 << 10, label: String::new(), volume_id: 1, mtime: 0, sector: 512, bits: fat::Bits::Auto };
    let efi = fat::layout(&Tree::new(), &efi).unwrap();
    let out = tempfile::tempfile().unwrap();
    crate::iso::layout(&files(), Some(efi), &crate::iso::Options { label: "EVE".into(), mtime: 0 }).unwrap().write(&out).unwrap();
    Content::Range { len: out.metadata().unwrap().len(), file: out.into(), offset: 0 }.read_all().unwrap()
}

#[test]
fn ext4_and_iso_are_listed() {
    let text = inspect_image(&&ext4()[..]).unwrap().to_string();
    let rows = |extra: &str| format!("bytes  file\n    -  EFI/\n    0  empty\n    7  {}\n{extra}70000  rootfs.img\n", "long".repeat(60));
    let start = "ext2/3/4 `eve_rootfs` 00000000-0000-0000-0000-000000000007, 2 MiB, ";
    assert!(text.starts_with(start) && text.ends_with(&rows("    -  lost+found/\n")), "{text}");
    let text = inspect_image(&&iso()[..]).unwrap().to_string();
    assert!(text.starts_with("ISO 9660 `EVE`, ") && text.contains(", boots by UEFI\n") && text.ends_with(&rows("")), "{text}");
}

/// mke2fs with all features, and with the features of 1995.
#[test]
fn what_mke2fs_makes_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hello"), "text").unwrap();
    for kind in ["ext2", "ext3", "ext4"] {
        let path = tempfile::NamedTempFile::new().unwrap();
        path.as_file().set_len(16 << 20).unwrap();
        let mut command = std::process::Command::new("mke2fs");
        command.args(["-q", "-t", kind, "-L", "P3", "-d"]).arg(folder.path()).arg(path.path());
        let Ok(output) = command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output() else {
            skips::missing("mke2fs", "e2fsprogs");
            return;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = inspect(path.path()).unwrap().to_string();
        assert!(text.starts_with("ext2/3/4 `P3`") && text.ends_with("    4  hello\n    -  lost+found/\n"), "{kind}: {text}");
    }
}

#[test]
fn hostile_ext4_and_iso_are_reports_and_no_more() {
    for (good, places) in [(ext4(), [1024..1400, 4096..4200, 8192..8192]), (iso(), [32768..33000, 34816..34900, 36864..45056])] {
        let inode_table = 6 * 4096 + 256;
        let more = if good.len() == 2 << 20 { inode_table..inode_table + 128 } else { 0..0 };
        for at in places.into_iter().chain([more]).flatten().step_by(3) {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = inspect_image(&&bad[..]).unwrap().to_string();
            }
        }
    }
}

#[test]
fn a_signed_squashfs_shows_its_root_hash() {
    let start = squashfs();
    let verity = Verity { data_blocks: 1, hash_start: 3, salt: [2; 32], root: [1; 32] };
    let statement = RootStatement { version: "1.0".into(), architecture: "amd64".into(), content: "ef".into(), verity };
    let block = statement.block(b"signature").unwrap();
    let signed = [&start[..], &block[..]].concat();
    let report = inspect_image(&&signed[..]).unwrap();
    assert_eq!(report.summary(), "squashfs, 4 KiB, xz, blocks of 128 KiB, 1234 inodes, dm-verity");
    let root = "01".repeat(32);
    assert!(
        report.to_string().contains(&format!("\nroot hash {root} of 1 blocks, signed as 1.0 (the signature is not checked here)\n")),
        "{report}"
    );
    let damaged = [&start[..], &block[..100], &[0; 4000]].concat();
    let said = inspect_image(&&damaged[..]).unwrap().summary();
    assert!(said.starts_with("broken squashfs, 8196 B: the statement about the root of the hashes: "), "{said}");
}
