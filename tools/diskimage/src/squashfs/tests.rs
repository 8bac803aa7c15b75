//! Round trips, and what unsquashfs, GRUB and the kernel say of our images.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use filetree::{Content, Kind, Meta, Node};
use std::{fs::File, process::Command};

const BLOCK: usize = 128 << 10;

/// Bytes that do not compress, the same every time.
fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    (0..length)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        })
        .collect()
}

fn file(bytes: Vec<u8>) -> Node {
    Node::file(0o644, 1_600_000_000, Content::from(bytes))
}

/// A tree with everything that the format can hold.
fn tree() -> Tree {
    let mut tree = Tree::new();
    let mut put = |path: &str, node: Node| tree.insert(path, node).unwrap();
    for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 5] {
        put(&format!("sizes/{length}"), file(noise(length, length as u64)));
        put(&format!("text/{length}"), file(b"all work and no play ".iter().copied().cycle().take(length).collect()));
    }
    let mut holes = vec![0; 4 * BLOCK];
    holes[2 * BLOCK] = 7;
    put("holes", file(holes));
    put("zeros", file(vec![0; 2 * BLOCK]));
    put("twin-a", file(noise(5000, 1)));
    put("twin-b", file(noise(5000, 1)));
    let mut linked = file(b"three names".to_vec());
    if let Kind::File { link, .. } = &mut linked.kind {
        *link = Some(3);
    }
    for name in ["link/a", "link/b", "link/c"] {
        put(name, linked.clone());
    }
    let mut capable = file(b"#!".to_vec());
    capable.meta.xattrs.insert("security.capability".into(), vec![1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    capable.meta.xattrs.insert("user.note".into(), b"x".to_vec());
    put("bin/ping", capable.clone());
    capable.meta.mode = 0o4755;
    put("bin/ping6", capable);
    put("bin/sh", Node { meta: Meta::root(0o777, 5), kind: Kind::Symlink(b"busybox".to_vec()) });
    put("dev/null", Node { meta: Meta::root(0o666, 0), kind: Kind::CharDevice { major: 1, minor: 3 } });
    put("dev/vda44", Node { meta: Meta { uid: 0, gid: 6, ..Meta::root(0o660, 0) }, kind: Kind::BlockDevice { major: 254, minor: 44 } });
    put("dev/pipe", Node { meta: Meta::root(0o600, 0), kind: Kind::Fifo });
    put("home/u", Node { meta: Meta { uid: 100_000, gid: 70_000, ..Meta::root(0o700, 9) }, kind: Kind::Dir(Default::default()) });
    for number in 0..3000 {
        put(&format!("many/a file with a longer name {number}"), file(number.to_string().into_bytes()));
    }
    tree
}

fn options(compressor: Compressor, threads: usize) -> Options {
    Options { compressor, threads, mtime: 1_700_000_000, ..Options::default() }
}

fn compressors() -> [Compressor; 3] {
    [Compressor::Xz { bcj: vec![] }, Compressor::Xz { bcj: vec![Bcj::X86, Bcj::Arm] }, Compressor::Gzip]
}

fn written(folder: &std::path::Path, tree: &Tree, options: &Options) -> std::path::PathBuf {
    let path = folder.join("image");
    let mut out = File::options().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
    let summary = write(tree, options, &mut out).unwrap();
    assert_eq!(path.metadata().unwrap().len(), summary.bytes);
    path
}

fn describe(tree: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    tree.walk(&mut |path, node| {
        let kind = match &node.kind {
            Kind::Dir(_) => "dir".to_owned(),
            Kind::File { content, link } => format!("file {:x?} {}", sum(&content.read_all()?), link.is_some()),
            other => format!("{other:?}"),
        };
        lines.push(format!("{} {:?} {kind}", String::from_utf8_lossy(path), node.meta));
        Ok(())
    })
    .unwrap();
    lines
}

fn sum(bytes: &[u8]) -> (usize, u64) {
    (bytes.len(), bytes.iter().fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte))))
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let tree = tree();
    for compressor in compressors() {
        let path = written(folder.path(), &tree, &options(compressor.clone(), 3));
        let reader = Reader::open(File::open(path).unwrap()).unwrap();
        assert_eq!(describe(&reader.subtree("").unwrap()), describe(&tree), "{compressor:?}");
        assert_eq!(reader.read_file("twin-b", 1 << 20).unwrap(), noise(5000, 1));
        assert_eq!(reader.superblock().mtime, 1_700_000_000);
    }
}

#[test]
fn the_bytes_do_not_depend_on_the_threads_or_on_what_lay_there() {
    let folder = tempfile::tempdir().unwrap();
    let tree = tree();
    let mut images = Vec::new();
    for threads in [1, 2, 7] {
        std::fs::write(folder.path().join("image"), vec![0xff; 8 << 20]).unwrap();
        images.push(std::fs::read(written(folder.path(), &tree, &options(Compressor::Gzip, threads))).unwrap());
    }
    assert!(images[0] == images[1] && images[1] == images[2]);
}

fn here(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        eprintln!("SKIPPED: {program} is not on this machine (cargo xtask doctor --install)");
    }
    there
}

fn stdout(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

#[test]
fn unsquashfs_agrees() {
    if !here("unsquashfs") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let tree = tree();
    for compressor in compressors() {
        let path = written(folder.path(), &tree, &options(compressor, 2));
        let list = stdout(Command::new("unsquashfs").args(["-lln", "-UTC"]).arg(&path));
        for line in [
            "crw-rw-rw- 0/0                   1,  3 1970-01-01 00:00 squashfs-root/dev/null",
            "brw-rw---- 0/6                 254, 44 1970-01-01 00:00 squashfs-root/dev/vda44",
            "drwx------ 100000/70000 ",
            "-rwsr-xr-x 0/0                 2 2020-09-13 12:26 squashfs-root/bin/ping6",
            "squashfs-root/bin/sh -> busybox",
        ] {
            assert!(list.contains(line), "{line}\n{list}");
        }
        assert_eq!(list.matches("squashfs-root/many/").count(), 3000);
        let content = Command::new("unsquashfs").arg("-cat").arg(&path).args(["sizes/393221", "holes"]).output().unwrap().stdout;
        let mut holes = vec![0; 4 * BLOCK];
        holes[2 * BLOCK] = 7;
        assert!(content == [noise(3 * BLOCK + 5, 3 * BLOCK as u64 + 5), holes].concat());
    }
}

#[test]
fn grub_reads_it() {
    if !here("grub-fstest") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let tree = tree();
    for compressor in compressors() {
        let path = written(folder.path(), &tree, &options(compressor.clone(), 2));
        let list = stdout(Command::new("grub-fstest").arg(&path).args(["ls", "/sizes"]));
        assert!(list.contains("131073"), "{compressor:?}: {list}");
        for (name, bytes) in
            [("sizes/393221", noise(3 * BLOCK + 5, 3 * BLOCK as u64 + 5)), ("twin-b", noise(5000, 1)), ("link/c", b"three names".to_vec())]
        {
            let out = folder.path().join("out");
            stdout(Command::new("grub-fstest").arg(&path).args(["cp", &format!("/{name}"), out.to_str().unwrap()]));
            assert!(std::fs::read(out).unwrap() == bytes, "{compressor:?}: {name}");
        }
    }
}

#[test]
fn the_kernel_mounts_it() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("mnt");
    std::fs::create_dir(&place).unwrap();
    let path = written(folder.path(), &tree(), &options(Compressor::Xz { bcj: vec![Bcj::X86] }, 2));
    let mounted = Command::new("mount")
        .args(["-t", "squashfs", "-o", "loop,ro"])
        .arg(&path)
        .arg(&place)
        .output()
        .is_ok_and(|out| out.status.success());
    if !mounted {
        eprintln!("SKIPPED: this kernel does not mount squashfs here, or we are not root");
        return;
    }
    let same = std::fs::read(place.join("sizes/393221")).is_ok_and(|bytes| bytes == noise(3 * BLOCK + 5, 3 * BLOCK as u64 + 5));
    let count = std::fs::read_dir(place.join("many")).map(Iterator::count);
    stdout(Command::new("umount").arg(&place));
    assert!(same && count.unwrap() == 3000);
}

#[test]
fn a_damaged_image_is_an_error_and_nothing_worse() {
    let folder = tempfile::tempdir().unwrap();
    let mut small = Tree::new();
    for name in ["a/b/c", "a/d", "e"] {
        small.insert(name, file(noise(3000, 2))).unwrap();
    }
    let path = written(folder.path(), &small, &options(Compressor::Gzip, 1));
    let whole = std::fs::read(path).unwrap();
    let open = |bytes: &[u8]| -> Result<usize> {
        let path = folder.path().join("damaged");
        std::fs::write(&path, bytes)?;
        let reader = Reader::open(File::open(path)?)?;
        let entries = reader.list()?;
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::File) {
            reader.read_file(&entry.path, 1 << 20)?;
        }
        Ok(entries.len())
    };
    assert_eq!(open(&whole).unwrap(), 6);
    for length in [0, 50, 95, 96, 2000] {
        assert!(open(&whole[..length]).is_err(), "cut to {length}");
    }
    // Every byte of the superblock and of the tables, wrong in several ways: an error or another list, never a panic.
    let used = usize::try_from(u64::from_le_bytes(whole[40..48].try_into().unwrap())).unwrap();
    let tables = used - 400..used;
    for at in (0..96).chain(tables) {
        for value in [0, 0xff, 0x80, whole[at] ^ 1] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            let _ = open(&bytes);
        }
    }
}

#[test]
fn what_the_format_cannot_hold_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut out = File::options().read(true).write(true).create(true).truncate(true).open(folder.path().join("x")).unwrap();
    let mut tree = Tree::new();
    let mut node = file(vec![1]);
    node.meta.xattrs.insert("system.posix_acl_access".into(), vec![1]);
    tree.insert("etc/acl", node).unwrap();
    let error = write(&tree, &Options::default(), &mut out).unwrap_err().to_string();
    assert_eq!(error, "`etc/acl` has the extended attribute `system.posix_acl_access`, which squashfs cannot hold");
    let error = write(&Tree::new(), &Options { block_size: 5000, ..Options::default() }, &mut out).unwrap_err().to_string();
    assert!(error.starts_with("a squashfs block has a power of two"), "{error}");
}
