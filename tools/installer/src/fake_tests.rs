//! Machines for tests: folders that look like the root folder of a machine.
#![allow(clippy::unwrap_used)]

use diskimage::{recipes, squashfs::Compressor};
use filetree::{Content, Node, Tree};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A /sys and /proc with these disks: path in /sys/devices, MiB, sector, partitions with names.
pub fn machine(disks: &[(&str, u64, u32, &[&str])], mounts: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let put = |path: PathBuf, text: &str| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    fs::create_dir_all(root.path().join("sys/block")).unwrap();
    put(root.path().join("proc/self/mountinfo"), mounts);
    for (major, (place, mebibytes, sector, partitions)) in (8..).zip(disks) {
        let path = root.path().join("sys/devices").join(place);
        let name = place.rsplit('/').next().unwrap();
        put(path.join("size"), &format!("{}\n", mebibytes << 11));
        put(path.join("queue/logical_block_size"), &format!("{sector}\n"));
        put(path.join("ro"), "0\n");
        put(path.join("dev"), &format!("{major}:0\n"));
        for (number, label) in (1..).zip(*partitions) {
            let part = path.join(format!("{name}{number}"));
            put(part.join("partition"), &format!("{number}\n"));
            put(part.join("dev"), &format!("{major}:{number}\n"));
            put(part.join("uevent"), &format!("DEVTYPE=partition\nPARTNAME={label}\n"));
        }
        std::os::unix::fs::symlink(&path, root.path().join("sys/block").join(name)).unwrap();
    }
    root
}

/// A root file system in the file `name`: a squashfs with a boot loader, and some bytes that no other name gives.
pub fn rootfs(folder: &Path, name: &str) -> Content {
    let mut tree = Tree::new();
    let noise: Vec<u8> = name.bytes().cycle().take(3 << 20).enumerate().map(|(at, byte)| byte ^ ((at * at) >> 7) as u8).collect();
    for (path, content) in
        [("EFI/BOOT/BOOTX64.EFI", b"grub".to_vec()), ("EFI/BOOT/grub.cfg", b"set linuxkit_cmdline=\n".to_vec()), ("boot/kernel", noise)]
    {
        tree.insert(path, Node::file(0o644, 1, Content::from(content))).unwrap();
    }
    tree.insert("boot/cmdline", Node::file(0o644, 1, Content::from(name))).unwrap();
    let path = folder.join(name);
    let mut file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    recipes::pack_rootfs(tree, Compressor::Gzip, 1, &mut file).unwrap();
    Content::of_path(&path).unwrap()
}

/// What is written to a variable of Secure Boot: time, length, revision and type, PKCS #7, a signature, and a list with bytes of our own.
pub fn signed(owner: u8) -> Vec<u8> {
    let pkcs7 = [0x9d, 0xd2, 0xaf, 0x4a, 0xdf, 0x68, 0xee, 0x49, 0x8a, 0xa9, 0x34, 0x7d, 0x37, 0x56, 0x65, 0xa7];
    let x509 = [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];
    [&[0; 16][..], &[26, 0, 0, 0, 0, 2, 0xf1, 0x0e], &pkcs7, b"ab", &x509, &[owner; 40]].concat()
}

/// The keys of a signed medium below the root folder: PK is of the owner 1, KEK of 2 and db of 3.
pub fn keys(root: &Path) {
    fs::create_dir_all(root.join("etc/secure-boot")).unwrap();
    for (owner, name) in (1..).zip(["PK", "KEK", "db"]) {
        fs::write(root.join("etc/secure-boot").join(format!("{name}.auth")), signed(owner)).unwrap();
    }
}
