//! Inputs of the tools, the library's results, and a comparison.
#![allow(clippy::unwrap_used, missing_docs, dead_code)]

use diskimage::{disk, eve, recipes, squashfs::Compressor};
use filetree::{Content, Node, Spool, Tree, write_tar};
use std::{
    fs::File,
    io::{Read, Seek as _},
    path::Path,
};

/// Unix timestamp: 2026-11-22.
pub const EPOCH: i64 = 1_795_305_600;

pub fn tree(files: &[(&str, &[u8])]) -> Tree {
    let mut tree = Tree::new();
    for (path, bytes) in files {
        tree.insert(path, Node::file(0o644, 1_700_000_000, Content::from(bytes.to_vec()))).unwrap();
    }
    tree
}

pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    write_tar(&tree(files), Vec::new()).unwrap()
}

pub const CONF: &[(&str, &[u8])] = &[("conf/server", b"zed.example\n"), ("conf/DevicePortConfig/override.json", b"{}")];
pub const ROOT: &[(&str, &[u8])] = &[
    ("EFI/BOOT/BOOTX64.EFI", &[0x4d; 70_000]),
    ("EFI/BOOT/grub.cfg", b"set linuxkit_cmdline=\n"),
    ("boot/cmdline", b"console=ttyS0"),
    ("boot/kernel", &[1; 200_000]),
];

/// Writes the library's result for the same inputs in this process.
pub fn by_library(write: impl FnOnce(&mut File)) -> File {
    let mut file = tempfile::tempfile().unwrap();
    write(&mut file);
    file.rewind().unwrap();
    file
}

/// Compares two files piece by piece, to limit memory.
pub fn same(mut a: impl Read, mut b: impl Read) {
    let mut at = 0;
    loop {
        let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
        (&mut a).take(1 << 20).read_to_end(&mut of_a).unwrap();
        (&mut b).take(1 << 20).read_to_end(&mut of_b).unwrap();
        if of_a != of_b {
            let first = of_a.iter().zip(&of_b).position(|(a, b)| a != b).unwrap_or(of_a.len().min(of_b.len()));
            assert_eq!(of_a.get(first), of_b.get(first), "at byte {}", at + first);
        }
        if of_a.is_empty() {
            return;
        }
        at += of_a.len();
    }
}

/// `config.img` of [`CONF`] for version 1.2.3.
pub fn config() -> File {
    by_library(|out| {
        let origin = recipes::origin_name(EPOCH, "1.2.3").unwrap();
        let tree = tree(&[("server", CONF[0].1), ("DevicePortConfig/override.json", CONF[1].1), (&origin, b"")]);
        recipes::config(&tree, EPOCH).unwrap().write(out).unwrap();
    })
}

/// `rootfs.img` of [`ROOT`].
pub fn rootfs() -> File {
    by_library(|out| {
        // From the tar, because reading it adds missing folders.
        let mut spool = Spool::new_in(&std::env::temp_dir()).unwrap();
        let tree = recipes::read_tar(&tar(ROOT)[..], &mut spool).unwrap();
        recipes::pack_rootfs(tree, Compressor::Xz { bcj: Vec::new() }, EPOCH, out).unwrap();
    })
}

/// `live.raw` of the parts in `folder`.
pub fn live(folder: &Path) -> File {
    by_library(|out| {
        let given = recipes::Parts::default().rootfs(&folder.join("rootfs.img")).unwrap().config(&folder.join("config.img")).unwrap();
        let table = recipes::disk(eve::LIVE, eve::DISK_SIZE, &given, EPOCH).unwrap();
        disk::layout(table).unwrap().write(out).unwrap();
    })
}

/// `rootfs.img` of [`ROOT`] as ext4.
pub fn ext4() -> File {
    by_library(|out| {
        let mut spool = Spool::new_in(&std::env::temp_dir()).unwrap();
        let tree = recipes::read_tar(&tar(ROOT)[..], &mut spool).unwrap();
        recipes::ext4_rootfs(tree, EPOCH).unwrap().write(out).unwrap();
    })
}

/// Files of an installer besides `rootfs.img`, `config.img` and `persist.img`.
pub const INSTALLER: &[(&str, &[u8])] = &[
    ("EFI/BOOT/BOOTX64.EFI", &[0x4d; 70_000]),
    ("grub.cfg", b"of the installer"),
    ("initrd.img", &[5; 9000]),
    ("installer.img", &[6; 9000]),
];

/// `installer.iso` of the parts in `folder`.
pub fn iso(folder: &Path) -> File {
    by_library(|out| {
        let parts = recipes::Parts::of_folder(folder, true).unwrap();
        recipes::iso(recipes::IsoKind::Installer, &parts, EPOCH).unwrap().write(out).unwrap();
    })
}

/// `installer.raw` of the parts in `folder`.
pub fn installer(folder: &Path) -> File {
    by_library(|out| {
        let parts = recipes::Parts::of_folder(folder, true).unwrap();
        let table = recipes::disk(eve::INSTALLER, eve::DISK_SIZE, &parts, EPOCH).unwrap();
        disk::layout(table).unwrap().write(out).unwrap();
    })
}

/// Writes files into `folder`.
pub fn place(folder: &Path, files: &[(&str, &[u8])]) {
    for (path, bytes) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}
