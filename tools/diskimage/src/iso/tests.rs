//! Compares the writer with xorriso, isoinfo and the kernel.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use filetree::{Content, Kind, Meta, Node};
use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
    process::Command,
};

const CLOCK: i64 = 1_684_000_001;

fn options() -> Options {
    Options { label: "EVE_INSTALLER".into(), mtime: CLOCK }
}

fn bytes(len: usize) -> Content {
    Content::from((0..len).map(|n| (n * 31 + len) as u8).collect::<Vec<u8>>())
}

/// Content of an installer, and edge cases: empty, exactly one block, deep, long and similar names, links, a full directory.
fn tree(many: usize) -> Tree {
    let mut tree = Tree::new();
    for (path, len) in [
        ("EFI/BOOT/BOOTX64.EFI", 70_000),
        ("rootfs.img", 3 << 20),
        ("boot/.uuid", 33),
        ("boot/.boot_repository", 0),
        ("block", 2048),
        ("a/b/c/d/e/f/g/h/i/j/deep", 7),
        ("A long File-Name (with) späces.and.more.txt", 3),
    ] {
        tree.insert(path, Node::file(0o600, 5, bytes(len))).unwrap();
    }
    tree.insert("hollow", Node::dir(0o700, 0)).unwrap();
    tree.insert("program", Node::file(0o711, 0, bytes(11))).unwrap();
    for len in [130, 131, 132, 139, 140, 141, 142, 200, 255] {
        tree.insert(format!("{}/{}", "d".repeat(len), "n".repeat(len)), Node::file(0o644, 0, bytes(len))).unwrap();
    }
    for name in ["one", "two"] {
        tree.insert(name, Node { meta: Meta::root(0o644, 0), kind: Kind::File { content: bytes(5000), link: Some(3) } }).unwrap();
    }
    for (name, target) in [("abs", "/EFI/BOOT".to_owned()), ("up", "../../x/./y".into()), ("long", format!("{0}/{0}/{0}", "l".repeat(200)))]
    {
        tree.insert(name, Node { meta: Meta::root(0o777, 0), kind: Kind::Symlink(target.into_bytes()) }).unwrap();
    }
    for n in 0..many {
        tree.insert(format!("many/file with a number {n:05}"), Node::file(0o644, CLOCK, bytes(n % 3))).unwrap();
    }
    tree
}

fn efi() -> fat::Layout {
    let mut tree = Tree::new();
    tree.insert("EFI/BOOT/BOOTX64.EFI", Node::file(0o644, 0, bytes(70_000))).unwrap();
    let options = fat::Options { size: 576 << 10, label: String::new(), volume_id: 1, mtime: 0, sector: 512, bits: fat::Bits::Auto };
    fat::layout(&tree, &options).unwrap()
}

/// Writes into a file with larger, dirty content.
fn write(tree: &Tree, efi: Option<fat::Layout>, path: &Path) -> Layout {
    let layout = layout(tree, efi, &options()).unwrap();
    File::create(path).unwrap().write_all(&vec![0xa5; 8 << 20]).unwrap();
    layout.write(&File::options().write(true).open(path).unwrap()).unwrap();
    assert_eq!(path.metadata().unwrap().len(), layout.size());
    layout
}

/// Runs a foreign tool; prints a message and returns `None` if it is missing.
fn foreign(command: &mut Command) -> Option<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let Ok(output) = command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").output() else {
        skips::missing(&name, "xorriso genisoimage");
        return None;
    };
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {text}");
    Some(text)
}

fn mounted(image: &Path, folder: &Path, look: impl FnOnce(&Path) + std::panic::UnwindSafe) {
    let at = folder.join("mounted");
    fs::create_dir_all(&at).unwrap();
    let mount = Command::new("mount").args(["-t", "iso9660", "-o", "loop,ro"]).arg(image).arg(&at).output();
    if !mount.as_ref().is_ok_and(|output| output.status.success()) {
        skips::refused(&format!("the kernel cannot mount ISO 9660 here, xorriso unpacks: {mount:?}"));
        let to = folder.join("unpacked");
        let _ = fs::remove_dir_all(&to);
        if foreign(Command::new("xorriso").args(["-osirrox", "on", "-indev"]).arg(image).args(["-extract", "/"]).arg(&to)).is_some() {
            look(&to);
        }
        return;
    }
    let result = std::panic::catch_unwind(|| look(&at));
    Command::new("umount").arg(&at).status().unwrap();
    result.unwrap();
}

fn compare(tree: &Tree, at: &Path) {
    tree.walk(&mut |path, node| {
        let on_disk = at.join(std::ffi::OsStr::from_bytes(path));
        let name = String::from_utf8_lossy(path).into_owned();
        let found = on_disk.symlink_metadata().unwrap_or_else(|error| panic!("{name}: {error}"));
        let mode = match &node.kind {
            Kind::File { content, .. } => {
                assert!(fs::read(&on_disk).unwrap() == content.read_all().unwrap(), "{name}");
                if name == "program" { 0o100_755 } else { 0o100_644 }
            }
            Kind::Dir(children) => {
                assert_eq!(fs::read_dir(&on_disk).unwrap().count(), children.len(), "{name}");
                0o040_755
            }
            Kind::Symlink(target) => {
                assert_eq!(fs::read_link(&on_disk).unwrap().as_os_str().as_bytes(), target);
                0o120_777
            }
            other => panic!("{other:?}"),
        };
        assert_eq!((found.mode(), found.uid(), found.gid()), (mode, 0, 0), "{name}");
        // xorriso unpacks links without their times.
        assert!(found.mtime() == CLOCK || found.is_symlink(), "{name}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn the_kernel_and_foreign_tools_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for many in [0, 500] {
        let tree = tree(many);
        write(&tree, Some(efi()), &path);
        mounted(&path, folder.path(), |at| compare(&tree, at));
        if let Some(text) = foreign(Command::new("isoinfo").args(["-R", "-f", "-i"]).arg(&path)) {
            let mut wanted = Vec::new();
            tree.walk(&mut |path, _| {
                wanted.push(format!("/{}", String::from_utf8_lossy(path)));
                Ok(())
            })
            .unwrap();
            wanted.remove(0);
            wanted.sort();
            let mut listed: Vec<String> = text.lines().map(str::to_owned).collect();
            listed.sort();
            assert_eq!(listed, wanted);
        }
    }
}

#[test]
fn the_boot_record_leads_to_the_fat_volume() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    write(&tree(3), Some(efi()), &path);
    let mut command = Command::new("xorriso");
    command.arg("-indev").arg(&path).args(["-report_el_torito", "plain", "-pvd_info", "-find", "/boot", "-exec", "lsdl"]);
    let Some(text) = foreign(&mut command) else { return };
    let line = text.lines().find(|line| line.starts_with("El Torito boot img")).unwrap();
    let fields: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(fields[4..11], [":", "1", "UEFI", "y", "none", "0x0000", "0x00"], "{text}");
    assert_eq!(fields[11], "1152", "{text}");
    assert!(text.contains("Volume Id    : EVE_INSTALLER") && text.contains("Creation Time: 2023051317464100"), "{text}");
    assert!(text.contains("-rw-r--r--    1 0        0              33 May 13  2023 '/boot/.uuid'"), "{text}");
    let start: u64 = fields[12].parse().unwrap();
    let image = crate::FileImage::new(File::open(&path).unwrap()).unwrap();
    let window = crate::Window::new(&image, start * BLOCK, 576 << 10).unwrap();
    let entries = fat::Reader::open(&window).unwrap().entries().unwrap();
    assert_eq!(entries.last().unwrap().path, "EFI/BOOT/BOOTX64.EFI");
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    write(&tree(10), None, &a);
    layout(&tree(10), None, &options()).unwrap().write(&File::create(&b).unwrap()).unwrap();
    assert!(fs::read(&a).unwrap() == fs::read(&b).unwrap());
}

#[test]
fn what_an_iso_cannot_hold_is_refused_by_name() {
    let error = |path: &str, kind: Kind| {
        let mut tree = Tree::new();
        tree.insert(path, Node { meta: Meta::root(0o644, 0), kind }).unwrap();
        format!("{:#}", layout(&tree, None, &options()).unwrap_err())
    };
    assert_eq!(
        error("dev/null", Kind::CharDevice { major: 1, minor: 3 }),
        "cannot store `/dev/null` in an ISO: it is neither a file, a folder nor a symbolic link"
    );
    let large = Content::Path { path: "/large".into(), len: 1 << 32 };
    assert_eq!(
        error("large", Kind::File { content: large, link: None }),
        "cannot store `/large` in an ISO: it has 4294967296 bytes; the limit of an ISO is 4294967295"
    );
    assert!(error("link", Kind::Symlink(vec![b'x'; 250])).contains("a component of the link's target has 250 bytes"));
    assert!(error("link", Kind::Symlink(b"abc/".repeat(1000))).contains("name and target take"));
    assert!(error(&"n".repeat(256), Kind::Dir(filetree::Children::new())).contains("the name has 256 bytes"));
    for label in ["eve", "A B", &"X".repeat(33)] {
        let error = layout(&Tree::new(), None, &Options { label: label.into(), mtime: 0 }).unwrap_err().to_string();
        assert!(error.starts_with(&format!("invalid ISO label `{label}`: at most 32 ")), "{error}");
    }
}
