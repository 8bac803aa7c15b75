//! Compares the writer with e2fsprogs and the kernel.
#![allow(clippy::unwrap_used)]

use super::*;
use filetree::{Content, Meta, Node};
use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
    process::Command,
};

const CLOCK: i64 = 1_684_000_001;

fn options(size: u64) -> Options {
    Options { label: "eve_rootfs".into(), uuid: Guid(0xad6871ee_31f9_4cf3_9e09_6f7a25c30060), mtime: 1_684_000_001, size }
}

fn node(kind: Kind) -> Node {
    Node { meta: Meta { uid: 70_000, gid: 100_001, ..Meta::root(0o6755, CLOCK) }, kind }
}

fn bytes(len: usize) -> Content {
    Content::from((0..len).map(|n| (n * 31 + len) as u8).collect::<Vec<u8>>())
}

/// All node types, and edge cases: empty, exactly one block, short and long links, times before 1970 and after 2038.
fn tree(many: usize) -> Tree {
    let mut tree = Tree::new();
    tree.root.meta = Meta::root(0o751, CLOCK);
    for (path, len) in [("empty", 0), ("one", 1), ("block", 4096), ("blocks", 8193), ("bin/sh", 1 << 20), ("deep/er/and/deeper", 3)] {
        tree.insert(path, Node::file(0o640, CLOCK, bytes(len))).unwrap();
    }
    tree.insert("setuid", node(Kind::File { content: bytes(5), link: None })).unwrap();
    for (path, mtime) in [("old", -5), ("new", 1 << 32), ("newest", (1 << 34) - (1 << 31) - 1)] {
        tree.insert(path, Node::file(0o600, mtime, bytes(9))).unwrap();
    }
    for name in ["hard/a", "hard/b", "c"] {
        tree.insert(name, node(Kind::File { content: bytes(10_000), link: Some(7) })).unwrap();
    }
    for len in [1, 59, 60, 4095] {
        tree.insert(format!("link{len}"), node(Kind::Symlink(vec![b'x'; len]))).unwrap();
    }
    tree.insert("dev/null", node(Kind::CharDevice { major: 1, minor: 3 })).unwrap();
    tree.insert("dev/large", node(Kind::BlockDevice { major: 259, minor: 70_000 })).unwrap();
    tree.insert("dev/pipe", node(Kind::Fifo)).unwrap();
    tree.insert("n".repeat(255), Node::dir(0o1777, CLOCK)).unwrap();
    for n in 0..many {
        tree.insert(format!("many/file with a number {n:05}"), Node::file(0o644, CLOCK, bytes(n % 3))).unwrap();
    }
    let mut with = |path: &str, attributes: &[(&str, &[u8])]| {
        let mut node = Node::file(0o644, CLOCK, bytes(3));
        node.meta.xattrs = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        tree.insert(path, node).unwrap();
    };
    with("xattr/inside", &[("user.a", b"1"), ("security.capability", &[1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])]);
    with("xattr/block", &[("user.empty", b""), ("user.long", &[7; 3000]), ("trusted.overlay.opaque", b"y")]);
    let acl = [&[2, 0, 0, 0][..], &[1, 0, 6, 0, 255, 255, 255, 255], &[2, 0, 7, 0, 5, 0, 0, 0], &[4, 0, 4, 0, 255, 255, 255, 255]].concat();
    let acl = [&acl[..], &[16, 0, 7, 0, 255, 255, 255, 255], &[32, 0, 4, 0, 255, 255, 255, 255]].concat();
    with("xattr/acl", &[("system.posix_acl_access", &acl)]);
    tree
}

/// Writes into a file with larger, dirty content.
fn write(tree: &Tree, size: u64, path: &Path) -> Layout {
    let layout = layout(tree, &options(size)).unwrap();
    File::create(path).unwrap().write_all(&vec![0xa5; 8 << 20]).unwrap();
    layout.write(&File::options().write(true).open(path).unwrap()).unwrap();
    assert_eq!(path.metadata().unwrap().len(), size);
    layout
}

/// Runs a foreign tool; prints a message and returns `None` if it is missing.
fn foreign(command: &mut Command) -> Option<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let Ok(output) = command.env("LC_ALL", "C").env("TZ", "UTC").env("PATH", path).output() else {
        skips::missing(&name, "e2fsprogs");
        return None;
    };
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {text}");
    Some(text)
}

fn check_e2fsck(image: &Path) {
    let Some(text) = foreign(Command::new("e2fsck").args(["-f", "-n"]).arg(image)) else { return };
    assert!(!text.contains("Fix?") && !text.contains("FIXED") && !text.contains("IGNORED"), "{text}");
}

/// Calls `look` with the mounted image.
fn mounted(image: &Path, folder: &Path, look: impl FnOnce(&Path) + std::panic::UnwindSafe) {
    let at = folder.join("mounted");
    fs::create_dir_all(&at).unwrap();
    let mount = Command::new("mount").args(["-t", "ext4", "-o", "loop,ro"]).arg(image).arg(&at).output();
    if !mount.as_ref().is_ok_and(|output| output.status.success()) {
        skips::refused(&format!("the kernel cannot mount ext4 here: {mount:?}"));
        return;
    }
    let result = std::panic::catch_unwind(|| look(&at));
    Command::new("umount").arg(&at).status().unwrap();
    result.unwrap();
}

/// Compares everything that Linux shows with the tree.
fn compare(tree: &Tree, at: &Path) {
    let mut links = std::collections::HashMap::new();
    tree.walk(&mut |path, node| {
        let on_disk: PathBuf = at.join(std::ffi::OsStr::from_bytes(path));
        let found = on_disk.symlink_metadata().unwrap();
        let name = String::from_utf8_lossy(path).into_owned();
        let kind = match &node.kind {
            Kind::File { content, link } => {
                assert!(fs::read(&on_disk).unwrap() == content.read_all().unwrap(), "{name}");
                assert!(link.is_none_or(|link| *links.entry(link).or_insert(found.ino()) == found.ino()), "{name}");
                assert_eq!(found.blocks() % 8, 0);
                0o100_000
            }
            Kind::Dir(children) => {
                let extra = if path.is_empty() { 1 } else { 0 };
                assert_eq!(fs::read_dir(&on_disk).unwrap().count(), children.len() + extra, "{name}");
                0o040_000
            }
            Kind::Symlink(target) => {
                assert_eq!(fs::read_link(&on_disk).unwrap().as_os_str().as_bytes(), target);
                0o120_000
            }
            Kind::CharDevice { major, minor } => {
                assert_eq!(found.rdev(), rustix::fs::makedev(*major, *minor), "{name}");
                0o020_000
            }
            Kind::BlockDevice { major, minor } => {
                assert_eq!(found.rdev(), rustix::fs::makedev(*major, *minor), "{name}");
                0o060_000
            }
            Kind::Fifo => 0o010_000,
        };
        let meta = &node.meta;
        assert_eq!(found.mode(), kind | meta.mode, "{name}");
        assert_eq!((found.uid(), found.gid(), found.mtime()), (meta.uid, meta.gid, meta.mtime), "{name}");
        for (key, value) in &meta.xattrs {
            let mut buffer = [0; 4096];
            let len = rustix::fs::lgetxattr(&on_disk, key, &mut buffer).unwrap();
            assert_eq!(&buffer[..len], &value[..], "{name} {key}");
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn e2fsck_and_the_kernel_read_every_kind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    for (size, many) in [(8 << 20, 10), (64 << 20, 2000), (300 << 20, 100), ((128 << 20) + 8192, 10)] {
        let tree = tree(many);
        let layout = write(&tree, size, &path);
        check_e2fsck(&path);
        mounted(&path, folder.path(), |at| compare(&tree, at));
        let Some(text) = foreign(Command::new("dumpe2fs").arg("-h").arg(&path)) else { continue };
        let has = |key: &str, value: &str| {
            assert!(text.lines().any(|line| line.starts_with(key) && line.trim_end().ends_with(value)), "{key} {value}: {text}");
        };
        has("Filesystem volume name:", "eve_rootfs");
        has("Filesystem UUID:", "ad6871ee-31f9-4cf3-9e09-6f7a25c30060");
        has("Free blocks:", &(layout.free() / BLOCK).to_string());
    }
}

/// Files across superblock copies, and with more extents than an inode holds.
#[test]
fn large_files_are_in_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let (path, large) = (folder.path().join("image"), folder.path().join("large"));
    let file = File::create(&large).unwrap();
    file.set_len((900 << 20) + 5).unwrap();
    for at in (0..900).step_by(60) {
        file.write_all_at(format!("here is {at:04}").as_bytes(), at << 20).unwrap();
    }
    let mut tree = tree(5);
    for name in ["a", "b/large"] {
        tree.insert(name, Node::file(0o644, CLOCK, Content::of_path(&large).unwrap())).unwrap();
    }
    write(&tree, 2 << 30, &path);
    assert!(path.metadata().unwrap().blocks() * 512 < 50 << 20, "the holes were written");
    check_e2fsck(&path);
    mounted(&path, folder.path(), |at| {
        for name in ["a", "b/large"] {
            let file = File::open(at.join(name)).unwrap();
            assert_eq!(file.metadata().unwrap().len(), (900 << 20) + 5);
            for at in (0..900).step_by(60) {
                let mut bytes = [0; 12];
                file.read_exact_at(&mut bytes, at << 20).unwrap();
                assert_eq!(bytes, format!("here is {at:04}").as_bytes());
            }
        }
    });
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let tree = tree(100);
    write(&tree, 20 << 20, &a);
    layout(&tree, &options(20 << 20)).unwrap().write(&File::create(&b).unwrap()).unwrap();
    assert!(fs::read(&a).unwrap() == fs::read(&b).unwrap());
}

#[test]
fn what_does_not_fit_is_told_in_bytes_and_by_name() {
    let error = |path: &str, node: Node, size: u64| {
        let mut tree = Tree::new();
        tree.insert(path, node).unwrap();
        format!("{:#}", layout(&tree, &options(size)).unwrap_err())
    };
    let file = |len| Node::file(0o644, 0, bytes(len));
    let text = error("big", file(2 << 20), 1 << 20);
    assert!(text.starts_with("the files do not fit: they need ") && text.ends_with(" bytes, the ext4 has 1048576"), "{text}");
    assert_eq!(error("a", file(1), 1000), "invalid ext4 size of 1000 bytes: it must be a multiple of 4096, from 1 MiB to 16 TiB");
    assert_eq!(
        error(&format!("dir/{}", "n".repeat(256)), file(1), 1 << 20),
        format!("cannot store `/dir/{}` in an ext4: the name has 256 bytes, more than 255", "n".repeat(256))
    );
    assert_eq!(
        error("l", node(Kind::Symlink(vec![b'x'; 4096])), 1 << 20),
        "cannot store `/l` in an ext4: the target of a symbolic link must have 1 to 4095 bytes, not 4096"
    );
    let with = |name: &str, value: &[u8]| {
        let mut node = file(1);
        node.meta.xattrs.insert(name.into(), value.to_vec());
        error("x", node, 1 << 20)
    };
    assert_eq!(with("odd", b""), "cannot store `/x` in an ext4: ext4 does not support the extended attribute `odd`");
    assert!(with("user.x", &[0; 5000]).contains("5001 bytes, more than a block of 4096"));
    assert!(with("system.posix_acl_access", &[1]).contains("the ACL is not of version 2"));
    let label = Options { label: "seventeen letters".into(), ..options(1 << 20) };
    let error = layout(&Tree::new(), &label).unwrap_err().to_string();
    assert_eq!(error, "invalid ext4 label `seventeen letters`: at most 16 bytes");
}

#[test]
fn usage_is_what_du_says() {
    let tree = tree(10);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let layout = write(&tree, 16 << 20, &path);
    // In addition: three attribute blocks etc.
    let used = (16 << 20) - layout.free();
    assert!(used > disk_usage(&tree) && used - disk_usage(&tree) < 1 << 20, "{used} {}", disk_usage(&tree));
}
