//! Trees with everything that the format supports, and their comparison.
#![allow(clippy::unwrap_used, clippy::panic)]

mod foreign;
mod grub;
mod hostile;
mod round_trip;

use super::*;
use filetree::{Content, Kind, Meta, Node};
use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

const BLOCK: usize = 128 << 10;
/// Lengths around block boundaries.
const LENGTHS: [usize; 8] = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK, 3 * BLOCK + 5];

/// Reproducible incompressible bytes.
fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    (0..length)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        })
        .collect()
}

fn holes() -> Vec<u8> {
    let mut bytes = vec![0; 4 * BLOCK];
    bytes[2 * BLOCK] = 7;
    bytes
}

/// Machine code: a part of this program.
fn code() -> Vec<u8> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let text = maps.lines().find(|line| line.contains(" r-xp ")).unwrap();
    let offset = usize::from_str_radix(text.split_whitespace().nth(2).unwrap(), 16).unwrap();
    let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    bytes[offset..offset + 5 * BLOCK + 1].to_vec()
}

fn file(bytes: impl Into<Vec<u8>>) -> Node {
    Node::file(0o644, 1_600_000_000, Content::from(bytes.into()))
}

fn node(mode: u32, kind: Kind) -> Node {
    Node { meta: Meta::root(mode, 1_500_000_000), kind }
}

/// Every type of node and content.
fn tree() -> Tree {
    let mut tree = Tree::new();
    tree.root.meta.mtime = 1_400_000_000;
    let mut put = |path: &str, node: Node| tree.insert(path, node).unwrap();
    for length in LENGTHS {
        put(&format!("sizes/{length}"), file(noise(length, length as u64)));
        put(&format!("text/{length}"), file(b"all work and no play ".iter().copied().cycle().take(length).collect::<Vec<u8>>()));
    }
    put("code", file(code()));
    put("holes", file(holes()));
    put("zeros", file(vec![0; 2 * BLOCK]));
    put("twin-a", file(noise(5000, 1)));
    put("twin-b", file(noise(5000, 1)));
    let mut linked = file("three names");
    if let Kind::File { link, .. } = &mut linked.kind {
        *link = Some(3);
    }
    for name in ["link/a", "link/b", "link/c"] {
        put(name, linked.clone());
    }
    let mut capable = file("#!");
    capable.meta.xattrs.insert("security.capability".into(), [&[1, 0, 0, 2, 0, 0x20][..], &[0; 14]].concat());
    put("bin/ping", capable.clone());
    capable.meta.mode = 0o4755;
    capable.meta.xattrs.insert("user.note".into(), b"x".to_vec());
    put("bin/ping6", capable);
    // A long value, stored once, on every node type that may have it.
    let long = |mut node: Node, name: &str| {
        node.meta.xattrs.insert(format!("trusted.{name}"), noise(700, 4));
        node
    };
    put("long/dir", long(node(0o1777, Kind::Dir(Default::default())), "one"));
    put("long/file", long(file(vec![]), "two"));
    put("long/link", long(node(0o777, Kind::Symlink(b"../nowhere".to_vec())), "three"));
    put("long/null", long(node(0o666, Kind::CharDevice { major: 1, minor: 3 }), "four"));
    put("long/pipe", long(node(0o600, Kind::Fifo), "five"));
    put("bin/sh", node(0o777, Kind::Symlink(b"busybox".to_vec())));
    put("dev/null", node(0o666, Kind::CharDevice { major: 1, minor: 3 }));
    put("dev/far", node(0o660, Kind::BlockDevice { major: 259, minor: 70_000 }));
    put("dev/pipe", node(0o600, Kind::Fifo));
    put("home/u", Node { meta: Meta { uid: 100_000, gid: 4_000_000_000, ..Meta::root(0o700, 9) }, kind: Kind::Dir(Default::default()) });
    for number in 0..600 {
        put(&format!("many/{number}"), file(number.to_string()));
    }
    tree
}

fn options(compressor: Compressor, threads: usize) -> Options {
    Options { compressor, threads, mtime: 1_700_000_000, ..Options::default() }
}

fn compressors() -> [Compressor; 3] {
    [Compressor::Xz { bcj: vec![] }, Compressor::Xz { bcj: vec![Bcj::X86, Bcj::Arm] }, Compressor::Gzip]
}

fn written(folder: &Path, tree: &Tree, options: &Options) -> PathBuf {
    let path = folder.join("image");
    let mut out = File::options().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
    let summary = write(tree, options, &mut out).unwrap();
    assert_eq!(path.metadata().unwrap().len(), summary.bytes);
    assert_eq!(summary.bytes % 4096, 0);
    path
}

fn read(path: &Path) -> Tree {
    let mut spool = filetree::Spool::new_in(path.parent().unwrap()).unwrap();
    Reader::open(File::open(path).unwrap()).unwrap().tree(&mut spool).unwrap()
}

/// One line per path, with hard link ids replaced by their first path.
fn describe(tree: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    let mut first: HashMap<u64, String> = HashMap::new();
    tree.walk(&mut |path, node| {
        let path = String::from_utf8_lossy(path).into_owned();
        let kind = match &node.kind {
            Kind::Dir(_) => "dir".to_owned(),
            Kind::File { content, link } => {
                let link = link.map(|link| first.entry(link).or_insert_with(|| path.clone()).clone());
                format!("file {:x?} {link:?}", sum(&content.read_all()?))
            }
            other => format!("{other:?}"),
        };
        lines.push(format!("{path} {:?} {kind}", node.meta));
        Ok(())
    })
    .unwrap();
    lines
}

fn sum(bytes: &[u8]) -> (usize, u64) {
    (bytes.len(), bytes.iter().fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte))))
}

/// Fails with the first differing lines only.
fn assert_same(left: &Tree, right: &Tree, what: &str) {
    let (left, right) = (describe(left), describe(right));
    let differ: Vec<_> = left.iter().zip(&right).filter(|(left, right)| left != right).take(5).collect();
    assert!(differ.is_empty() && left.len() == right.len(), "{what}: {} and {} paths, {differ:#?}", left.len(), right.len());
}

fn here(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        skips::missing(program, if program == "grub-fstest" { "grub-common" } else { "squashfs-tools" });
    }
    there
}

fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skips::skipped(skips::Lack::Privilege, "only root can make devices and owners");
    }
    root
}

fn stdout(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {text}");
    text
}
