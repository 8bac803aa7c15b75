//! Disks in files: what is written, what is kept, and what a broken-off installation leaves.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::fake_tests::rootfs;
use std::{fs, path::Path};

const GIB: u64 = 1 << 30;

fn config(server: &str) -> Tree {
    let mut tree = Tree::new();
    tree.insert("server", Node::file(0o644, 1, Content::from(server))).unwrap();
    tree.insert("DevicePortConfig/usb.json", Node::file(0o644, 1, Content::from("{}"))).unwrap();
    tree
}

fn job<'a>(rootfs: &Content, server: &str) -> Installation<'a> {
    Installation {
        rootfs: rootfs.clone(),
        config: config(server),
        keep_rootfs: false,
        keep_config: false,
        persist: Persist::New,
        random_guids: false,
        now: 1_800_000_000,
        say: &|_| {},
    }
}

fn install(target: &Target, job: &Installation<'_>) -> Result<()> {
    super::install(target, job, prepare(target, job)?)
}

/// A disk that was used for something else: noise where tables and file systems begin.
fn disk(folder: &Path, name: &str, size: u64, sector: u32) -> Target {
    let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(folder.join(name)).unwrap();
    file.set_len(size).unwrap();
    for at in [0, MIB, 37 * MIB, 338 * MIB, 638 * MIB, size - MIB].into_iter().filter(|at| *at < size) {
        file.write_all_at(&vec![0xa5; 1 << 20], at).unwrap();
    }
    Target::new(file, sector).unwrap()
}

fn partitions(target: &Target) -> Vec<(u32, String, u64, u64)> {
    let table = target.table().unwrap().unwrap();
    assert_eq!(table.problems, Vec::<String>::new());
    table
        .entries
        .iter()
        .map(|entry| {
            let (start, len) = target.bytes(entry);
            (entry.number, entry.name.clone(), start >> 20, len >> 20)
        })
        .collect()
}

fn find(target: &Target, number: u32) -> GptEntry {
    target.table().unwrap().unwrap().entries.into_iter().find(|entry| entry.number == number).unwrap()
}

fn server(target: &Target) -> Vec<u8> {
    let (start, len) = target.bytes(&find(target, CONFIG));
    let image = target.image().unwrap();
    let tree = read_volume(&Window::new(&image, start, len).unwrap()).unwrap();
    let Kind::File { content, .. } = &tree.get("server").unwrap().kind else { unreachable!() };
    content.read_all().unwrap()
}

#[test]
fn disks_of_both_sector_sizes_have_the_partitions_of_a_live_disk() {
    let folder = tempfile::tempdir().unwrap();
    let image = rootfs(folder.path(), "one");
    for sector in [512, 4096] {
        let target = disk(folder.path(), &format!("disk{sector}"), 2 * GIB, sector);
        install(&target, &job(&image, "zed.example")).unwrap();
        let found = partitions(&target);
        let places: Vec<(u32, &str, u64, u64)> =
            found.iter().map(|(number, name, start, len)| (*number, name.as_str(), *start, *len)).collect();
        let wanted =
            [(1, "EFI System", 1, 36), (2, "IMGA", 38, 300), (3, "IMGB", 338, 300), (4, "CONFIG", 37, 1), (9, "P3", 638, 2048 - 638 - 1)];
        assert_eq!(places, wanted, "{sector}");
        assert_eq!(server(&target), b"zed.example");
        let guid = find(&target, IMGA).uuid.to_string();
        assert_eq!(guid, "ad6871ee-31f9-4cf3-9e09-6f7a25c30052");
        let image = target.image().unwrap();
        let (esp, len) = target.bytes(&find(&target, ESP));
        let files = read_volume(&Window::new(&image, esp, len).unwrap()).unwrap();
        assert!(files.get("EFI/BOOT/BOOTX64.EFI").is_some());
        let mut sector_size = [0; 2];
        target.file.read_exact_at(&mut sector_size, esp + 11).unwrap();
        assert_eq!(u32::from(u16::from_le_bytes(sector_size)), sector);
        // Nothing of the old file systems is where somebody looks for one.
        for at in [338 * MIB, 638 * MIB] {
            let mut bytes = vec![0xff; 4096];
            target.file.read_exact_at(&mut bytes, at).unwrap();
            assert!(bytes.iter().all(|byte| *byte == 0), "{sector}: {at}");
        }
    }
}

#[test]
fn kept_slots_keep_their_state() {
    let folder = tempfile::tempdir().unwrap();
    let image = rootfs(folder.path(), "one");
    let target = disk(folder.path(), "disk", 2 * GIB, 512);
    install(&target, &job(&image, "a")).unwrap();
    // B runs, and A failed its trial: as zboot writes it.
    let mut table = recipes::installed(&InstalledDisk::default(), true, 2 * GIB, 512, 0).unwrap();
    for part in &mut table.parts {
        match part.number {
            IMGA => part.attributes = 0x003 << 48,
            IMGB => part.attributes = 0x102 << 48,
            _ => {}
        }
    }
    disk::layout(table).unwrap().write_tables(&target.file).unwrap();
    install(&target, &Installation { keep_rootfs: true, ..job(&image, "b") }).unwrap();
    assert_eq!([find(&target, IMGA), find(&target, IMGB)].map(|entry| entry.attributes >> 48), [0x003, 0x102]);
    let (image, (start, len)) = (target.image().unwrap(), target.bytes(&find(&target, ESP)));
    let esp = read_volume(&Window::new(&image, start, len).unwrap()).unwrap();
    let Kind::File { content, .. } = &esp.get("EFI/BOOT/grubenv").unwrap().kind else { unreachable!() };
    let block = String::from_utf8(content.read_all().unwrap()).unwrap();
    assert_eq!(block.len(), 1024);
    assert!(block.starts_with("# GRUB Environment Block\nORDER=A B\nA_OK=0\nA_TRY=0\nB_OK=1\nB_TRY=0\n####"), "{block}");
}

#[test]
fn what_is_skipped_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (rootfs(folder.path(), "first"), rootfs(folder.path(), "second"));
    let target = disk(folder.path(), "disk", 2 * GIB, 512);
    let skip = Installation { keep_config: true, ..job(&second, "b") };
    let error = format!("{:#}", install(&target, &skip).unwrap_err());
    assert_eq!(error, "eve_install_skip_config: the disk has no partition 4 (CONFIG) to keep");
    let skip = Installation { persist: Persist::Keep, ..job(&second, "b") };
    let error = format!("{:#}", install(&target, &skip).unwrap_err());
    assert_eq!(error, "eve_install_skip_persist: the disk has no partition 9 (P3) to keep");
    install(&target, &job(&first, "a")).unwrap();
    let p3 = target.bytes(&find(&target, P3)).0;
    target.file.write_all_at(b"data", p3 + 1024).unwrap();

    install(&target, &Installation { keep_config: true, persist: Persist::Keep, ..job(&second, "b") }).unwrap();
    let mut data = [0; 4];
    target.file.read_exact_at(&mut data, p3 + 1024).unwrap();
    assert_eq!((&data, server(&target)), (b"data", b"a".to_vec()));
    check_image(&target, &find(&target, IMGA), &second).unwrap();

    install(&target, &Installation { keep_rootfs: true, ..job(&first, "c") }).unwrap();
    check_image(&target, &find(&target, IMGA), &second).unwrap();
    assert_eq!(server(&target), b"c");
    target.file.read_exact_at(&mut data, p3 + 1024).unwrap();
    assert_eq!(data, [0; 4]);

    // A live disk of another version may have its P3 elsewhere.
    let mut table = recipes::installed(&InstalledDisk::default(), true, 2 * GIB, 512, 0).unwrap();
    table.parts.swap(1, 2);
    disk::layout(table).unwrap().write_tables(&target.file).unwrap();
    let error = format!("{:#}", install(&target, &Installation { keep_rootfs: true, ..job(&first, "d") }).unwrap_err());
    assert!(error.contains("partition 2 (IMGA) of the disk is in sectors 75776 to 690175, and not in 77824 to"), "{error}");
}

#[test]
fn a_broken_off_installation_leaves_nothing_that_boots_and_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let image = rootfs(folder.path(), "one");
    for keep in [false, true] {
        let target = disk(folder.path(), &format!("disk{keep}"), 2 * GIB, 512);
        install(&target, &job(&image, "a")).unwrap();
        let persist = if keep { Persist::Keep } else { Persist::New };
        // The file goes away while it is copied, as the power might.
        let lost = Content::Path { path: folder.path().join("one"), len: image.len() + 1 };
        let error = format!("{:#}", install(&target, &Installation { persist, ..job(&lost, "b") }).unwrap_err());
        assert!(error.starts_with("cannot write partition 2 `IMGA`: `") && error.contains("during the build"), "{error}");
        let esp = match target.table().unwrap() {
            None => None,
            Some(table) => {
                let entry = table.entries.iter().find(|entry| entry.number == ESP).cloned();
                entry.map(|entry| {
                    let image = target.image().unwrap();
                    read_volume(&Window::new(&image, target.bytes(&entry).0, target.bytes(&entry).1).unwrap()).is_ok()
                })
            }
        };
        assert_eq!(esp, keep.then_some(false));
        install(&target, &Installation { persist, ..job(&image, "b") }).unwrap();
        assert_eq!(server(&target), b"b");
    }
}

#[test]
fn what_the_disk_does_not_hold_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let image = rootfs(folder.path(), "one");
    let target = disk(folder.path(), "disk", 2 * GIB, 512);
    install(&target, &job(&image, "a")).unwrap();
    let imga = find(&target, IMGA);
    target.file.write_all_at(b"?", target.bytes(&imga).0 + 100).unwrap();
    let error = check_image(&target, &imga, &image).unwrap_err().to_string();
    assert!(error.starts_with("IMGA: the disk does not hold what was written to it at byte "), "{error}");
    let error = check_volume(&target, &find(&target, CONFIG), &config("b")).unwrap_err().to_string();
    assert_eq!(error, "CONFIG: the disk does not hold the files that were written to it");
    check_volume(&target, &find(&target, CONFIG), &config("a")).unwrap();
    let error = check_table(&target, &[imga]).unwrap_err().to_string();
    assert!(error.starts_with("the disk does not hold the partition table that was written to it"), "{error}");
}

#[test]
fn guids_may_be_random_and_p3_on_a_disk_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let image = rootfs(folder.path(), "one");
    let target = disk(folder.path(), "disk", least_size(false), 512);
    install(&target, &Installation { random_guids: true, persist: Persist::Elsewhere, ..job(&image, "a") }).unwrap();
    let table = target.table().unwrap().unwrap();
    assert_eq!(table.entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(table.entries.iter().all(|entry| !entry.uuid.to_string().starts_with("ad6871ee")));
    let other = disk(folder.path(), "other", GIB, 4096);
    install_persist(&other, false).unwrap();
    assert_eq!(partitions(&other), [(9, "P3".to_owned(), 1, 1022)]);
    let uuid = find(&other, P3).uuid;
    install_persist(&other, true).unwrap();
    assert_ne!(find(&other, P3).uuid, uuid);
    let small = disk(folder.path(), "small", 638 * MIB, 512);
    assert!(format!("{:#}", install(&small, &job(&image, "a")).unwrap_err()).contains("no space is left for partition 9 `P3`"));
}

#[test]
fn a_configuration_that_does_not_fit_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let image = rootfs(folder.path(), "one");
    let target = disk(folder.path(), "disk", 2 * GIB, 4096);
    let mut many = Tree::new();
    for number in 0..300 {
        many.insert(format!("F{number}"), Node::file(0o644, 1, Content::from("x"))).unwrap();
    }
    let error = format!("{:#}", install(&target, &Installation { config: many, ..job(&image, "a") }).unwrap_err());
    assert!(error.starts_with("cannot make the partition `conf`: the files do not fit"), "{error}");
    let mut first = [0; 4];
    target.file.read_exact_at(&mut first, 0).unwrap();
    assert_eq!(first, [0xa5; 4]);
}
