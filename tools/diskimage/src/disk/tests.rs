//! Compares the writer with sgdisk, sfdisk and fdisk, and checks the refusals.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::eve::{self, Kind};
use filetree::{Node, Tree};
use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Runs a foreign tool; prints a message and returns `None` if it is missing.
fn foreign(program: &str, arguments: &[&str], image: &Path, stdin: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).arg(image).env("LC_ALL", "C").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        skips::missing(program, "gdisk fdisk");
        return None;
    };
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {text}");
    Some(text)
}

/// The disk of `kinds` with a source for each, written over larger, dirty content.
fn write_disk(folder: &Path, kinds: &[Kind], size: u64) -> PathBuf {
    let sources = kinds.iter().map(|kind| (*kind, source(*kind, size))).collect();
    let layout = layout(eve::table(sources, size).unwrap()).unwrap();
    let path = folder.join("disk.raw");
    let mut file = File::create(&path).unwrap();
    file.write_all(&vec![0xa5; 3 << 20]).unwrap();
    file.set_len(size + 12345).unwrap();
    file.write_all_at(&[0xa5; 40000], size - 30000).unwrap();
    layout.write(&file).unwrap();
    assert_eq!(path.metadata().unwrap().len(), size);
    path
}

fn source(kind: Kind, disk: u64) -> Source {
    let fat = |label: &str| {
        let mut tree = Tree::new();
        tree.insert("EFI/BOOT/BOOTX64.EFI", Node::file(0o644, 0, Content::from(vec![7; 5000]))).unwrap();
        let options = fat::Options {
            size: kind.size(disk),
            label: label.into(),
            volume_id: 1,
            mtime: 1_684_000_000,
            sector: 512,
            bits: fat::Bits::Auto,
        };
        Source::Fat(fat::layout(&tree, &options).unwrap())
    };
    match kind {
        Kind::Efi | Kind::Installer | Kind::Verification | Kind::Conf | Kind::ConfWin => fat("EVE"),
        Kind::InventoryWin => fat("INVENTORY"),
        Kind::UsbConf => fat("EVEDPC"),
        Kind::Imga => Source::Image(Content::from(vec![b'r'; 5 << 20])),
        Kind::Imgb => Source::Empty,
        Kind::Persist => Source::Image(Content::from(vec![0; 1 << 20])),
    }
}

const CASES: [(&str, &[Kind], u64); 5] = [
    ("live", eve::LIVE, eve::DISK_SIZE),
    ("installer", eve::INSTALLER, eve::DISK_SIZE),
    ("verification", eve::VERIFICATION, eve::VERIFICATION_DISK_SIZE),
    ("installed", eve::INSTALLED, 8192 << 20),
    ("usb_conf", &[Kind::UsbConf], 204_800 << 10),
];

#[test]
fn sgdisk_and_sfdisk_agree_with_the_golden_dumps() {
    let folder = tempfile::tempdir().unwrap();
    for (name, kinds, size) in CASES {
        let path = write_disk(folder.path(), kinds, size);
        if let Some(text) = foreign("sgdisk", &["-v"], &path, "") {
            assert!(text.contains("No problems found."), "{name}: {text}");
        }
        let (Some(gpt), Some(mbr)) = (foreign("sfdisk", &["-d"], &path, ""), foreign("sfdisk", &["-Y", "dos", "-d"], &path, "")) else {
            return;
        };
        let dump = format!("{gpt}\n{mbr}").replace(path.to_str().unwrap(), "disk");
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.sfdisk"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &dump).unwrap();
        }
        assert_eq!(dump, std::fs::read_to_string(&golden).unwrap(), "{name}: UPDATE_GOLDEN=1 cargo test -p diskimage writes it anew");
    }
}

/// Makes the same tables with sgdisk, and the MBR with fdisk like lf-edge/eve, and compares all bytes.
#[test]
fn the_tables_are_those_of_sgdisk_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    for (name, kinds, size) in CASES {
        let path = write_disk(folder.path(), kinds, size);
        let table = eve::table(kinds.iter().map(|kind| (*kind, Source::Empty)).collect(), size).unwrap();
        let ours = layout(table.clone()).unwrap();
        let other = folder.path().join("other.raw");
        File::create(&other).unwrap().set_len(size).unwrap();
        let mut arguments = vec!["--clear".to_owned(), format!("--disk-guid={}", table.disk_guid)];
        for entry in ours.entries() {
            let number = entry.number;
            arguments.push(format!("--new={number}:{}:{}", entry.first_lba, entry.last_lba));
            arguments.push(format!("--typecode={number}:{}", entry.type_guid));
            arguments.push(format!("--partition-guid={number}:{}", entry.uuid));
            arguments.push(format!("--change-name={number}:{}", entry.name));
            let bits = (0..64).filter(|bit| entry.attributes >> bit & 1 == 1);
            arguments.extend(bits.map(|bit| format!("--attributes={number}:set:{bit}")));
        }
        if !table.hybrid.is_empty() {
            let numbers: String = table.hybrid.iter().map(|record| format!("{}:", record.number)).collect();
            arguments.push(format!("--hybrid={numbers}EE"));
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if foreign("sgdisk", &arguments, &other, "").is_none() {
            return;
        }
        // fdisk asks for the number only if there are several records, including the protective one.
        if !table.hybrid.is_empty() && foreign("fdisk", &[], &other, "M\na\n1\nt\n1\nc\nw\nq\n").is_none() {
            return;
        }
        let (a, b) = (File::open(&path).unwrap(), File::open(&other).unwrap());
        for (start, len) in [(0, 34 * 512), (size - 33 * 512, 33 * 512)] {
            let (mut left, mut right) = (vec![0; len], vec![0; len]);
            a.read_exact_at(&mut left, start).unwrap();
            b.read_exact_at(&mut right, start).unwrap();
            let differs = left.iter().zip(&right).position(|(a, b)| a != b);
            assert_eq!(differs, None, "{name}: {:02x?} {:02x?}", &left[440..512], &right[440..512]);
        }
    }
}

#[test]
fn contents_stand_in_their_partitions_and_the_rest_is_a_hole() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = write_disk(folder.path(), eve::LIVE, eve::DISK_SIZE);
    let disk = File::open(&path).unwrap();
    let byte = |offset: u64| {
        let mut byte = [0];
        disk.read_exact_at(&mut byte, offset).unwrap();
        byte[0]
    };
    let imga = 77824 * 512;
    assert_eq!((byte(imga), byte(imga + (5 << 20) - 1), byte(imga + (5 << 20))), (b'r', b'r', 0));
    assert!(path.metadata().unwrap().blocks() * 512 < 8 << 20, "free space is not a hole");
}

fn part(number: u32, size: u64) -> Part {
    let (type_guid, uuid) = (Guid(1), Guid(u128::from(number) + 100));
    Part { number, name: format!("P{number}"), type_guid, uuid, attributes: 0, size: Size::Bytes(size), source: Source::Empty }
}

fn disk(parts: Vec<Part>) -> Table {
    Table {
        disk_guid: Guid(1),
        sector: 512,
        size: 10 << 20,
        first_lba: 2048,
        parts,
        hybrid: Vec::new(),
        boot_code: Vec::new(),
        blobs: Vec::new(),
    }
}

#[test]
fn each_refusal_says_what_and_how_much() {
    let error = |table: Table| layout(table).unwrap_err().to_string();
    let mut table = disk(vec![part(1, 4 << 20), part(7, 6 << 20)]);
    assert_eq!(error(table.clone()), "the disk is too small: it has 10485760 bytes and needs 11551232");
    // The size in the error message suffices, to the byte.
    table.size = 11_551_232;
    layout(table.clone()).unwrap();
    table.size -= 512;
    assert_eq!(
        error(table),
        "partition 7 `P7` (bytes 5242880 to 11534336) and the backup GPT (bytes 11533824 to 11550720) overlap on a disk of 11550720 bytes"
    );

    let mut table = disk(vec![part(1, 1 << 20)]);
    table.parts[0].source = Source::Image(Content::from(vec![0; (1 << 20) + 1]));
    assert_eq!(error(table), "the image for partition 1 `P1` has 1048577 bytes, more than the partition's 1048576");

    assert_eq!(
        error(disk(vec![part(1, 1), part(1, 1)])),
        "two partitions have the number 1 or the GUID 00000000-0000-0000-0000-000000000065: `P1` and `P1`"
    );
    for number in [0, 129] {
        assert!(error(disk(vec![part(number, 1)])).contains("the number must be 1 to 128"));
    }
    assert_eq!(error(disk(vec![part(1, 0)])), "invalid size of partition 1 `P1`: 0 bytes");
    assert_eq!(error(disk(vec![part(1, u64::MAX)])), "invalid size of partition 1 `P1`: 18446744073709551615 bytes");

    let mut table = disk(vec![part(1, 1), part(2, 1)]);
    table.parts[0].size = Size::Rest;
    assert_eq!(error(table), "partition 1 `P1` takes the rest of the disk, but is not the last partition");
    let mut table = disk(vec![part(1, 9 << 20), part(2, 1)]);
    table.parts[1].size = Size::Rest;
    assert_eq!(error(table), "no space is left for partition 2 `P2` on the disk of 10485760 bytes");

    let mut table = disk(vec![part(1, 1)]);
    table.first_lba = 32;
    assert_eq!(
        error(table),
        "the GPT (bytes 512 to 17408) and partition 1 `P1` (bytes 16384 to 1064960) overlap on a disk of 10485760 bytes"
    );
    let mut table = disk(vec![part(1, 1)]);
    table.hybrid = vec![MbrRecord { number: 2, kind: 0x0c, bootable: true }];
    assert_eq!(error(table.clone()), "the hybrid MBR refers to partition 2, which does not exist");
    table.hybrid = vec![MbrRecord { number: 1, kind: 0x0c, bootable: true }; 4];
    assert_eq!(error(table), "4 partitions for a hybrid MBR, which has room for 3");
    let table = Table { boot_code: vec![0; 447], ..disk(Vec::new()) };
    assert_eq!(error(table), "the boot code has 447 bytes, more than the 446 of an MBR");
    for size in [1000, 512 * 60] {
        assert!(error(Table { size, ..disk(Vec::new()) }).contains("it must be a multiple of 512 with room for two partition tables"));
    }
}

#[test]
fn bios_grub_and_board_blobs_have_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.raw");
    let mut table = eve::table(vec![(Kind::Efi, Source::Empty)], 64 << 20).unwrap();
    let (boot, core) = (vec![0xb0; 512], vec![0xc0; 30_000]);
    eve::add_bios_grub(&mut table, &boot, &core).unwrap();
    layout(table.clone()).unwrap().write(&File::create(&path).unwrap()).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!((bytes[445], bytes[446], &bytes[92..100]), (0xb0, 0x80, &34_u64.to_le_bytes()[..]));
    assert_eq!(&bytes[34 * 512 + 500..34 * 512 + 508], &35_u64.to_le_bytes());
    assert_eq!((bytes[34 * 512], bytes[34 * 512 + 29_999], bytes[34 * 512 + 30_000]), (0xc0, 0xc0, 0));

    eve::add_imx8_blob(&mut table, Content::from(vec![0x1b; 2 << 20]), 32);
    let error = layout(table.clone()).unwrap_err().to_string();
    assert_eq!(
        error,
        "GRUB's core image for BIOS (bytes 17408 to 47408) and the i.MX8 boot blob (bytes 32768 to 2129920) overlap on a disk of 67108864 bytes"
    );
    table.blobs.remove(0);
    assert_eq!(layout(table).unwrap().entries()[0].first_lba, 16384);
}

#[test]
fn kinds_are_read_by_their_words() {
    assert_eq!("inventory_win".parse::<Kind>().unwrap(), Kind::InventoryWin);
    let error = "efy".parse::<Kind>().unwrap_err().to_string();
    assert!(error.starts_with("unknown partition kind `efy`: expected one of efi, imga, imgb, conf, conf_win, persist"), "{error}");
    let two = vec![(Kind::UsbConf, Source::Empty), (Kind::Efi, Source::Empty)];
    assert_eq!(eve::table(two, 1 << 30).unwrap_err().to_string(), "a usb_conf partition must be the only one on its disk");
    let twice = vec![(Kind::Efi, Source::Empty), (Kind::Installer, Source::Empty)];
    let error = layout(eve::table(twice, 1 << 30).unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("two partitions have the number 1 or the GUID ad6871ee-31f9-4cf3-9e09-6f7a25c300a1: "), "{error}");
}
