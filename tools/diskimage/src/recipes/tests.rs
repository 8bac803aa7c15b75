//! Content of the images, and errors about inputs.
#![allow(clippy::unwrap_used)]

mod installers;

use super::*;
use crate::{
    eve::{self, Kind},
    rootfs::config_tree,
};
use filetree::{Content, Node, Spool, Tree, write_tar};
use std::fs;

fn file(text: &str) -> Node {
    Node::file(0o644, 5, Content::from(text))
}

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (path, text) in files {
        tree.insert(path, file(text)).unwrap();
    }
    tree
}

fn bytes(layout: &fat::Layout) -> Vec<u8> {
    let out = tempfile::tempfile().unwrap();
    layout.write(&out).unwrap();
    Content::Range { len: out.metadata().unwrap().len(), file: out.into(), offset: 0 }.read_all().unwrap()
}

#[test]
fn a_configuration_is_the_same_from_a_folder_and_from_a_tar_of_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("DevicePortConfig")).unwrap();
    for (name, text) in [("server", "zed.example"), (".hidden", "x"), ("DevicePortConfig/.kept", "{}")] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let origin = origin_name(1_795_305_600, "1.2.3").unwrap();
    assert_eq!(origin, "origin.2026-11-22.1.2.3");
    let from_folder = bytes(&config(&config_tree(folder.path(), &origin, 9).unwrap(), 9).unwrap());
    let files = [("server", "zed.example"), ("DevicePortConfig/.kept", "{}"), (".hidden", "x")];
    for prefix in ["", "conf/", "abs/path/of/conf/"] {
        let files: Vec<(String, &str)> = files.iter().map(|(path, text)| (format!("{prefix}{path}"), *text)).collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let from_tar = config_tree_of_tar(tree(&files), &origin, 9).unwrap();
        assert!(bytes(&config(&from_tar, 9).unwrap()) == from_folder, "{prefix}");
    }
    let one = config_tree_of_tar(tree(&[("conf/server", "x")]), &origin, 9).unwrap();
    assert!(one.get("server").is_some());
}

#[test]
fn a_configuration_of_nothing_but_its_origin_is_an_image() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["", "server", "authorized_keys"] {
        if !name.is_empty() {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let image = bytes(&config(&config_tree(folder.path(), "origin.2026-11-22.1.2.3", 9).unwrap(), 9).unwrap());
        let image = &image[..];
        let entries = fat::Reader::open(&image).unwrap().entries().unwrap();
        assert!(entries.iter().any(|entry| entry.path == "origin.2026-11-22.1.2.3") && entries.iter().all(|entry| entry.size == 0));
    }
}

#[test]
fn configurations_and_versions_that_cannot_be_are_refused() {
    for files in [&[][..], &[(".hidden", "x")], &[("conf/.hidden", "x")]] {
        let error = config_tree_of_tar(tree(files), "origin", 0).unwrap_err().to_string();
        assert_eq!(error, "the tar contains no configuration files", "{files:?}");
    }
    for version in ["", "a/b", "a\nb"] {
        let error = origin_name(0, version).unwrap_err().to_string();
        assert_eq!(error, format!("invalid version `{}`: it becomes a part of a file name", version.escape_debug()));
    }
    let large = "x".repeat(1 << 20);
    let error = format!("{:#}", config(&tree(&[("large", &large)]), 0).unwrap_err());
    assert!(error.starts_with("cannot make config.img: the files do not fit: they need 1048576 bytes"), "{error}");
}

#[test]
fn a_tar_may_be_compressed_and_must_be_there() {
    let mut spool = Spool::new_in(&std::env::temp_dir()).unwrap();
    let plain = write_tar(&tree(&[("a", "text")]), Vec::new()).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &plain).unwrap();
    for tar in [plain.clone(), gzip.finish().unwrap(), [plain.clone(), vec![0; 9000]].concat()] {
        let read = read_tar(&tar[..], &mut spool).unwrap();
        assert!(read.get("a").is_some() && newest(&read).unwrap() == 5);
    }
    assert_eq!(read_tar(&[][..], &mut spool).unwrap_err().to_string(), "the input is empty: expected a tar");
    for (tar, message) in [(&[7; 3000][..], "numeric field was not a number"), (&plain[..700], "unexpected EOF")] {
        let error = format!("{:#}", read_tar(tar, &mut spool).unwrap_err());
        assert!(error.starts_with("cannot read the tar: ") && error.contains(message), "{error}");
    }
}

fn parts(more: &[(&str, &str)]) -> Parts {
    let files = [("rootfs.img", "root"), ("config.img", "conf"), ("persist.img", "p3"), ("EFI/BOOT/BOOTX64.EFI", "grub")];
    Parts::of_tree(tree(&[&files, more].concat()))
}

fn refusal(kinds: &[Kind], parts: &Parts) -> String {
    format!("{:#}", disk(kinds, eve::DISK_SIZE, parts, 0).unwrap_err())
}

#[test]
fn what_a_partition_needs_must_be_there() {
    let only_config = Parts::of_tree(tree(&[("config.img", "c")]));
    assert_eq!(refusal(&[Kind::Imga], &only_config), "the part `rootfs.img` for the partition `imga` is missing");
    assert!(refusal(&[Kind::Efi], &only_config).contains("`rootfs.img`"));
    assert!(refusal(&[Kind::Installer], &parts(&[])).contains("the part `initrd.img` for the partition"));
    assert!(refusal(&[Kind::Efi], &parts(&[("EFI/BOOT/BOOT.pc", "core")])).contains("needs EFI/BOOT/BOOT.img"));
    assert!(disk(eve::LIVE, eve::DISK_SIZE, &parts(&[("EFI/BOOT/BOOT.img", "unused")]), 0).is_ok());
}

#[test]
fn boards_and_bioses_get_their_bytes() {
    let (boot, core) = ("b".repeat(512), "c".repeat(1024));
    let parts = parts(&[
        ("EFI/BOOT/BOOT.img", &boot),
        ("EFI/BOOT/BOOT.pc", &core),
        ("boot/u-boot.bin", "u"),
        ("imx8-flash.bin", "blob"),
        ("imx8-flash.conf", "# offset=1\noffset = 64\n"),
    ]);
    assert!(parts.esp().unwrap().get("u-boot.bin").is_some());
    let table = disk(eve::LIVE, eve::DISK_SIZE, &parts, 0).unwrap();
    assert_eq!(table.blobs.iter().map(|blob| blob.offset).collect::<Vec<_>>(), [34 * 512, 64 << 10]);
    assert_eq!((table.boot_code.len(), table.first_lba), (446, 16384));
    let bad = super::tests::parts(&[("imx8-flash.bin", "blob"), ("imx8-flash.conf", "offset=x")]);
    assert!(refusal(eve::LIVE, &bad).starts_with("imx8-flash.conf: `offset=x` is not a number of KiB"));
}

#[test]
fn a_folder_of_parts_may_hold_anything_else() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("EFI/BOOT")).unwrap();
    for name in ["rootfs-1.squash", "config.img", "EFI/BOOT/BOOTX64.EFI", "other"] {
        fs::write(at(name), "x").unwrap();
    }
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, at(name)).unwrap();
    link("rootfs-1.squash", "rootfs.img");
    link("nowhere", "broken");
    let found = Parts::of_folder(folder.path(), false).unwrap();
    assert!(found.tree.get("rootfs.img").is_some() && found.tree.get("other").is_none());
    disk(eve::LIVE, eve::DISK_SIZE, &found, 0).unwrap();
    let all = Parts::of_folder(folder.path(), true).unwrap();
    assert!(matches!(&all.tree.get("broken").unwrap().kind, filetree::Kind::Symlink(target) if target == b"nowhere"));
    link("nowhere", "persist.img");
    assert!(format!("{:#}", Parts::of_folder(folder.path(), false).unwrap_err()).contains("persist.img"));
    let error = format!("{:#}", Parts::of_folder(&at("missing"), false).unwrap_err());
    assert!(error.starts_with("cannot read the parts in `") && error.contains("No such file"), "{error}");
}

#[test]
fn an_ext4_rootfs_has_its_command_line_and_room_to_spare() {
    let tree = tree(&[("EFI/BOOT/grub.cfg", "set linuxkit_cmdline=\n"), ("boot/cmdline", "quiet splash"), ("big", &"x".repeat(5 << 20))]);
    let layout = ext4_rootfs(tree, 7).unwrap();
    assert_eq!(layout.size(), Kind::Imga.size(0), "it fills its partition");
    assert!(layout.free() > 250 << 20);
    let out = tempfile::tempfile().unwrap();
    layout.write(&out).unwrap();
    let image = Content::Range { len: out.metadata().unwrap().len(), file: out.into(), offset: 0 }.read_all().unwrap();
    let wanted = b"set linuxkit_cmdline=\"quiet splash\"\n";
    assert!(image.windows(wanted.len()).any(|window| window == wanted));
}

#[test]
fn an_ext4_that_needs_more_than_imga_is_larger() {
    let mut big = Tree::new();
    let hole = tempfile::tempfile().unwrap();
    hole.set_len(320 << 20).unwrap();
    big.insert("big", Node::file(0o644, 0, Content::Range { file: hole.into(), offset: 0, len: 320 << 20 })).unwrap();
    big.insert("EFI/BOOT/grub.cfg", file("set linuxkit_cmdline=\n")).unwrap();
    big.insert("boot/cmdline", file("quiet")).unwrap();
    assert_eq!(ext4_rootfs(big, 7).unwrap().size(), 382 << 20);
}

#[test]
fn the_esp_of_an_ext4_has_its_boot_loader_and_nothing_else() {
    let tree = tree(&[
        ("EFI/BOOT/grub.cfg", "set linuxkit_cmdline=\n"),
        ("EFI/BOOT/BOOTX64.EFI", "loader"),
        ("EFI/BOOTS", "another name"),
        ("boot/cmdline", "quiet"),
    ]);
    let out = tempfile::tempfile().unwrap();
    ext4_rootfs(tree, 7).unwrap().write(&out).unwrap();
    let esp = esp_of_rootfs(out).unwrap();
    let mut files = Vec::new();
    esp.walk(&mut |path, node| {
        if let filetree::Kind::File { content, .. } = &node.kind {
            files.push((String::from_utf8_lossy(path).into_owned(), String::from_utf8(content.read_all()?)?));
        }
        Ok(())
    })
    .unwrap();
    let wanted = [("EFI/BOOT/BOOTX64.EFI", "loader"), ("EFI/BOOT/grub.cfg", "set linuxkit_cmdline=\"quiet\"\n")];
    assert_eq!(files, wanted.map(|(path, text)| (path.to_owned(), text.to_owned())));
}
