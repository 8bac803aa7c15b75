//! Compares the writer with dosfstools, mtools, the kernel and our reader.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::FileImage;
use filetree::{Content, Kind, Meta, Node};
use std::{fs::File, io::Write as _, path::Path, process::Command};

const CLOCK: u32 = 1_684_000_001;

fn options(size: u64, bits: Bits) -> Options {
    Options { size, label: "EVE".into(), volume_id: 0x1234_abcd, mtime: CLOCK, sector: 512, bits }
}

fn file(bytes: Vec<u8>) -> Node {
    Node::file(0o644, 0, Content::from(bytes))
}

/// Content of a configuration or an ESP, and edge cases: empty, exactly one cluster, deep, long and non-ASCII names, a full
/// directory.
fn tree(many: usize) -> Tree {
    let mut tree = Tree::new();
    for (path, len) in [
        ("server", 20),
        ("EFI/BOOT/BOOTX64.EFI", 70_000),
        ("EFI/BOOT/grub.cfg", 512),
        ("empty", 0),
        ("origin.2023-05-13.0.0.0-master-1234abcd", 0),
        ("a name with spaces.json", 2048),
        ("Überraschung/日本語.txt", 2049),
        ("astral 😀", 3),
        ("deep/er/and/deeper/file", 1),
    ] {
        let bytes = (0..len).map(|n: usize| (n * 31 + path.len()) as u8).collect();
        tree.insert(path, file(bytes)).unwrap();
    }
    tree.insert("hollow", Node::dir(0o755, 0)).unwrap();
    for n in 0..many {
        tree.insert(format!("many/file number {n:04}"), file(vec![b'x'; n % 3])).unwrap();
    }
    tree
}

/// Writes into a file with larger, dirty content.
fn write(layout: &Layout, path: &Path) {
    let mut old = File::create(path).unwrap();
    old.write_all(&vec![0xa5; usize::try_from(layout.size()).unwrap() + 4096]).unwrap();
    layout.write(&File::options().write(true).open(path).unwrap()).unwrap();
    assert_eq!(path.metadata().unwrap().len(), layout.size());
}

/// Runs a foreign tool; prints a message and returns `None` if it is missing.
fn foreign(command: &mut Command) -> Option<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.env("LC_ALL", "C.UTF-8").env("MTOOLS_SKIP_CHECK", "1").env("TZ", "UTC").output();
    let Ok(output) = output else {
        skips::missing(&name, "dosfstools mtools");
        return None;
    };
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {text}");
    Some(text)
}

fn files_of(tree: &Tree) -> Vec<(String, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    tree.walk(&mut |path, node| {
        let bytes = match &node.kind {
            Kind::File { content, .. } => Some(content.read_all()?),
            _ => None,
        };
        all.push((String::from_utf8(path.to_vec())?, bytes));
        Ok(())
    })
    .unwrap();
    all.remove(0);
    all.sort_by(|a, b| a.0.split('/').cmp(b.0.split('/')));
    all
}

#[test]
fn nothing_and_empty_files_are_a_volume_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for (number, names) in [&[][..], &["one"], &["one", "b long name.json", "sub/three"]].into_iter().enumerate() {
        for (size, bits) in [(32 << 10, Bits::Fat12), (1 << 20, Bits::Auto), (20 << 20, Bits::Auto), (36 << 20, Bits::Auto)] {
            let mut tree = Tree::new();
            names.iter().for_each(|name| tree.insert(name, file(Vec::new())).unwrap());
            for label in ["EVE", ""] {
                let layout = layout(&tree, &Options { label: label.into(), ..options(size, bits) }).unwrap();
                write(&layout, &path);
                let image = FileImage::new(File::open(&path).unwrap()).unwrap();
                let entries = Reader::open(&image).unwrap().entries().unwrap();
                assert_eq!(entries.iter().map(|entry| entry.path.clone()).collect::<Vec<_>>(), paths_of(&tree), "{number} {size}");
                foreign(Command::new("fsck.vfat").args(["-n", "-v"]).arg(&path));
                // mdir fails on an empty folder.
                let mtool = if names.is_empty() { "minfo" } else { "mdir" };
                foreign(Command::new(mtool).arg("-i").arg(&path).arg("::"));
            }
        }
    }
}

fn paths_of(tree: &Tree) -> Vec<String> {
    files_of(tree).into_iter().map(|(path, _)| path).collect()
}

#[test]
fn every_width_is_read_by_everyone() {
    let folder = tempfile::tempdir().unwrap();
    for (size, bits, want, many) in [
        (1 << 20, Bits::Auto, Bits::Fat12, 40),
        (2880 << 9, Bits::Fat12, Bits::Fat12, 40),
        (7 << 20, Bits::Fat12, Bits::Fat12, 1000),
        (20 << 20, Bits::Auto, Bits::Fat16, 1000),
        (36 << 20, Bits::Fat16, Bits::Fat16, 1000),
        (36 << 20, Bits::Auto, Bits::Fat32, 1000),
        (300 << 20, Bits::Auto, Bits::Fat32, 1000),
    ] {
        let tree = tree(many);
        let layout = layout(&tree, &options(size, bits)).unwrap();
        assert_eq!(layout.bits(), want, "{size} {bits:?}");
        let path = folder.path().join("image");
        write(&layout, &path);

        let image = FileImage::new(File::open(&path).unwrap()).unwrap();
        let reader = Reader::open(&image).unwrap();
        assert_eq!((reader.bits(), reader.volume_id(), reader.label().unwrap().as_str()), (want, 0x1234_abcd, "EVE"));
        let read: Vec<_> = reader
            .entries()
            .unwrap()
            .into_iter()
            .map(|e| (e.path.clone(), (!e.directory).then(|| reader.read(&e, u32::MAX).unwrap())))
            .collect();
        assert_eq!(read, files_of(&tree), "{size} {bits:?}");

        if let Some(text) = foreign(Command::new("fsck.vfat").args(["-n", "-v"]).arg(&path)) {
            assert!(!text.contains("differ") && !text.contains("wrong"), "{text}");
            let count = format!("{} files, ", 1 + files_of(&tree).len());
            assert!(text.contains(&count), "{count}: {text}");
        }
        check_mtools(&path, &tree, folder.path());
        check_kernel(&path, &tree, folder.path());
    }
}

fn check_mtools(image: &Path, tree: &Tree, folder: &Path) {
    let Some(text) = foreign(Command::new("mdir").arg("-i").arg(image).arg("::/EFI/BOOT")) else { return };
    assert!(text.contains("GRUB     CFG       512 2023-05-13  17:46  grub.cfg"), "{text}");
    assert!(text.contains("BOOTX64  EFI     70000 2023-05-13  17:46 \n"), "{text}");
    let to = folder.join("mcopied");
    std::fs::create_dir(&to).unwrap();
    foreign(Command::new("mcopy").arg("-s").arg("-i").arg(image).arg("::*").arg(&to));
    // mtools supports only the first 65536 Unicode characters.
    check_folder(&to, tree, |path| path.is_ascii() || path.starts_with('Ü'));
    std::fs::remove_dir_all(&to).unwrap();
}

fn check_kernel(image: &Path, tree: &Tree, folder: &Path) {
    let at = folder.join("mounted");
    std::fs::create_dir_all(&at).unwrap();
    let mount = Command::new("mount").args(["-t", "vfat", "-o", "loop,ro,utf8"]).arg(image).arg(&at).output();
    if !mount.as_ref().is_ok_and(|output| output.status.success()) {
        skips::refused(&format!("the kernel cannot mount FAT here: {mount:?}"));
        return;
    }
    let result = std::panic::catch_unwind(|| check_folder(&at, tree, |_| true));
    Command::new("umount").arg(&at).status().unwrap();
    result.unwrap();
}

fn check_folder(folder: &Path, tree: &Tree, spelled: fn(&str) -> bool) {
    for (path, bytes) in files_of(tree).into_iter().filter(|(path, _)| spelled(path)) {
        let on_disk = folder.join(&path);
        match bytes {
            Some(bytes) => assert!(std::fs::read(&on_disk).is_ok_and(|read| read == bytes), "{path}"),
            None => assert!(on_disk.is_dir(), "{path}"),
        }
    }
    let mut seen = 0;
    let mut pending = vec![folder.to_owned()];
    while let Some(at) = pending.pop() {
        for entry in std::fs::read_dir(at).unwrap().flatten() {
            seen += 1;
            if entry.file_type().unwrap().is_dir() {
                pending.push(entry.path());
            }
        }
    }
    assert_eq!(seen, files_of(tree).len());
}

#[test]
fn what_does_not_fit_is_told_in_bytes() {
    let mut tree = Tree::new();
    tree.insert("big", file(vec![1; 1 << 20])).unwrap();
    let error = |tree: &Tree, options: &Options| layout(tree, options).unwrap_err();
    assert_eq!(
        error(&tree, &options(1 << 20, Bits::Auto)).to_string(),
        "the files do not fit: they need 1048576 bytes in clusters of 2048, a FAT volume of 1048576 bytes has 1028096 for files"
    );
    let mut full = Tree::new();
    full.insert("big", file(vec![1; 1_028_096])).unwrap();
    assert_eq!(layout(&full, &options(1 << 20, Bits::Auto)).unwrap().free(), 0);
    let mut crowd = Tree::new();
    (0..300).for_each(|n| crowd.insert(format!("a long name {n}"), file(Vec::new())).unwrap());
    assert_eq!(
        error(&crowd, &options(1 << 20, Bits::Auto)).to_string(),
        "the directory `/` needs 891 entries (long names need several), more than 512"
    );
}

#[test]
fn what_fat_cannot_hold_is_refused_by_name() {
    let small = options(1 << 20, Bits::Auto);
    let error = |path: &str, node: Node, options: &Options| {
        let mut tree = Tree::new();
        tree.insert("dir/README", file(Vec::new())).unwrap();
        tree.insert(path, node).unwrap();
        format!("{:#}", layout(&tree, options).unwrap_err())
    };
    let special = |kind| Node { meta: Meta::root(0o777, 0), kind };
    assert_eq!(
        error("dir/link", special(Kind::Symlink(b"README".to_vec())), &small),
        "`/dir/link` is a symbolic link, which FAT does not support"
    );
    assert_eq!(
        error("null", special(Kind::CharDevice { major: 1, minor: 3 }), &small),
        "`/null` is a character device, which FAT does not support"
    );
    assert_eq!(
        error("dir/readme", file(Vec::new()), &small),
        "cannot store the directory `/dir`: `README` and `readme` differ only in case, which FAT ignores"
    );
    assert_eq!(
        error("dir/a:b", file(Vec::new()), &small),
        "cannot store the directory `/dir`: the name `a:b` contains ':', which FAT does not allow"
    );
    for (label, size, bits, want) in [
        ("eve", 1 << 20, Bits::Auto, "invalid FAT label `eve`: at most 11 upper-case ASCII letters, digits and some punctuation"),
        (
            "TWELVE CHARS",
            1 << 20,
            Bits::Auto,
            "invalid FAT label `TWELVE CHARS`: at most 11 upper-case ASCII letters, digits and some punctuation",
        ),
        ("EVE", 1000, Bits::Auto, "invalid FAT volume size of 1000 bytes: it must be a multiple of 512 and at least 32768"),
        ("EVE", 1 << 20, Bits::Fat32, "a volume of 1048576 bytes cannot be Fat32"),
        ("EVE", 1 << 20, Bits::Fat16, "a volume of 1048576 bytes cannot be Fat16"),
    ] {
        let options = Options { label: label.into(), ..options(size, bits) };
        assert_eq!(layout(&Tree::new(), &options).unwrap_err().to_string(), want);
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_and_holes() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = tempfile::tempdir().unwrap();
    let layout = layout(&tree(3), &options(36 << 20, Bits::Auto)).unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    write(&layout, &a);
    layout.write(&File::create(&b).unwrap()).unwrap();
    assert!(std::fs::read(&a).unwrap() == std::fs::read(&b).unwrap());
    assert!(b.metadata().unwrap().blocks() * 512 < 1 << 20, "the free space is not a hole");
}

#[test]
fn a_hostile_volume_is_an_error_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    write(&layout(&tree(3), &options(1 << 20, Bits::Auto)).unwrap(), &path);
    let good = std::fs::read(&path).unwrap();
    // Boot sector, tables, root directory and clusters, damaged one byte at a time.
    for at in (0..62).chain(510..512 + 64).chain((3584..3584 + 2048).step_by(7)).chain((20_000..40_000).step_by(13)) {
        for value in [0, 1, 2, 0x7f, 0xff] {
            let mut bad = good.clone();
            bad[at] = value;
            let bad = &bad[..];
            let Ok(reader) = Reader::open(&bad) else { continue };
            let _ = reader.label();
            for entry in reader.entries().unwrap_or_default() {
                let _ = reader.read(&entry, 1 << 20);
            }
        }
    }
}

#[test]
fn a_directory_in_itself_and_a_short_image_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let mut tree = Tree::new();
    tree.insert("A/B/C", file(vec![1])).unwrap();
    write(&layout(&tree, &options(1 << 20, Bits::Auto)).unwrap(), &path);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(11).position(|window| window == b"B          ").unwrap();
    bytes[at + 26] = 2; // the first cluster of `B` is that of `A`
    let error = Reader::open(&&bytes[..]).unwrap().entries().unwrap_err().to_string();
    assert_eq!(error, "the directory `A/B` has two parents");
    let error = Reader::open(&&bytes[..1 << 19]).err().unwrap().to_string();
    assert_eq!(error, "the FAT volume has 1048576 bytes, more than the image's 524288");
}

#[test]
fn small_letters_that_others_mark_in_the_short_name_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let (path, from) = (folder.path().join("image"), folder.path().join("from"));
    write(&layout(&Tree::new(), &options(1 << 20, Bits::Auto)).unwrap(), &path);
    std::fs::write(&from, "x").unwrap();
    for name in ["grub.cfg", "server", "README.txt", "notes.TXT", "Mixed.cfg", "UPPER.CFG"] {
        if foreign(Command::new("mcopy").arg("-i").arg(&path).arg(&from).arg(format!("::/{name}"))).is_none() {
            return;
        }
    }
    let bytes = std::fs::read(&path).unwrap();
    let entries = Reader::open(&&bytes[..]).unwrap().entries().unwrap();
    let names: Vec<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(names, ["Mixed.cfg", "README.txt", "UPPER.CFG", "grub.cfg", "notes.TXT", "server"]);
}
