//! The same bytes whatever file system a build runs on: order of folders, link counts and inodes reach no image.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, clone_tree, scratch, skip_boots, wants};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A program and its Debian package.
type Program = (&'static str, &'static str);

/// File systems: the name, the commands to mount one on $M with the file $F, and the program among them that not every machine has.
const FILE_SYSTEMS: &[(&str, &str, Option<Program>)] = &[
    ("tmpfs", "mount -t tmpfs -o size=3g tmpfs $M", None),
    ("btrfs", "truncate -s 3G $F; mkfs.btrfs -q $F; mount -o loop $F $M", Some(("mkfs.btrfs", "btrfs-progs"))),
    // Two of them: each has its own seed for the order of names in a folder.
    ("ext4", "truncate -s 3G $F; mkfs.ext4 -q $F; mount -o loop $F $M", Some(("mkfs.ext4", "e2fsprogs"))),
    ("ext4-again", "truncate -s 3G $F; mkfs.ext4 -q $F; mount -o loop $F $M", Some(("mkfs.ext4", "e2fsprogs"))),
    (
        "overlayfs",
        "mount -t tmpfs -o size=3g tmpfs $M; mkdir $M/low $M/up $M/work
         mount -t overlay -o lowerdir=$M/low,upperdir=$M/up,workdir=$M/work overlay $M",
        None,
    ),
    // Each reading of a folder gives another order, and sizes in blocks are too large by one.
    ("disorderfs", "mkdir $F; disorderfs --quiet --multi-user=yes --shuffle-dirents=yes $F $M", Some(("disorderfs", "disorderfs"))),
];

/// A mounted file system, unmounted when this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// `None` if this machine cannot mount it.
    fn new(at: &Path, commands: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let file = at.with_extension("image");
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
        let done = Command::new("sh").args(["-ec", commands]).env("PATH", path).env("M", at).env("F", &file).output().unwrap();
        done.status.success().then(|| Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // overlayfs has another file system below it.
        while Command::new("umount").arg(&self.0).output().is_ok_and(|done| done.status.success()) {}
        let below = self.0.with_extension("image");
        let _ = fs::remove_file(&below).or_else(|_| fs::remove_dir_all(&below));
    }
}

/// Builds the kernel's image with everything that is written in `folder`; the digest of its manifest.
fn build(tree: &Path, folder: &Path) -> String {
    let dist = tree.join("dist");
    let _ = fs::remove_file(&dist);
    let (own, cache) = (folder.join("dist"), folder.join("images"));
    fs::create_dir_all(&own).unwrap();
    std::os::unix::fs::symlink(&own, &dist).unwrap();
    let downloads =
        std::env::var("XDG_CACHE_HOME").map_or_else(|_| Path::new(&std::env::var("HOME").unwrap()).join(".cache"), PathBuf::from);
    Xtask::new(tree).env("XDG_CACHE_HOME", downloads).env("LINUXKIT_CACHE", &cache).env("ZARCH", "amd64").args(["pkg", "kernel"]).ok();
    let log = fs::read_to_string(cache.join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&log).unwrap();
    let name =
        |image: &serde_json::Value| image["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap_or_default().to_owned();
    let kernel = index["manifests"].as_array().unwrap().iter().find(|image| name(image).contains("/eve-kernel:"));
    kernel.unwrap_or_else(|| panic!("{log}"))["digest"].as_str().unwrap().to_owned()
}

#[test]
fn the_kernel_has_the_same_bytes_on_every_file_system() {
    if let Some(why) = skip_boots() {
        return skips::skipped(skips::Lack::Request, why);
    }
    let tree = scratch().join("file-systems-tree");
    clone_tree(&tree);
    let folder = scratch().join("file-systems");
    let _ = fs::remove_dir_all(&folder);
    let usual = build(&tree, &folder);
    let _ = fs::remove_dir_all(&folder);
    for (name, commands, takes) in FILE_SYSTEMS {
        if takes.is_some_and(|(program, package)| !wants(program, package)) {
            continue;
        }
        let Some(mounted) = Mounted::new(&folder.join(name), commands) else {
            skips::refused(&format!("this machine cannot mount {name}"));
            continue;
        };
        assert_eq!(build(&tree, &mounted.0), usual, "{name}");
    }
    let _ = fs::remove_dir_all(&folder);
}
