//! qemu-img and the reader here see in what is written what the raw disk has.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    FileImage,
    disk::{self, Source},
    eve::{self, Kind},
    fat,
    qcow2::Reader,
    sparse,
};
use filetree::{Content, Node, Tree};
use std::{path::Path, process::Command};

/// Bytes that no compressor makes smaller.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// What has the superblock of a squashfs of all its bytes, and then noise, text and zeros.
fn squashfs(len: usize) -> Vec<u8> {
    let mut bytes = noise(len);
    bytes[..96].fill(0);
    bytes[..4].copy_from_slice(b"hsqs");
    bytes[40..48].copy_from_slice(&(len as u64).to_le_bytes());
    bytes[1_200_000..1_600_000].fill(b'x');
    bytes[1_700_000..1_900_000].fill(0);
    bytes
}

/// A live disk at `path`, of 350 MiB, whose root file system has `len` bytes.
fn live(path: &Path, len: usize) -> File {
    let disk = File::options().read(true).write(true).create_new(true).open(path).unwrap();
    layout(Content::from(squashfs(len))).write(&disk).unwrap();
    disk
}

/// That of the root file system `root`.
fn layout(root: Content) -> disk::Layout {
    let mut tree = Tree::new();
    tree.insert("EFI/BOOT/BOOTX64.EFI", Node::file(0o644, 0, Content::from(noise(300_000)))).unwrap();
    tree.insert("server", Node::file(0o644, 0, Content::from("zedcloud.local\n".repeat(30_000).into_bytes()))).unwrap();
    let fat = |size| {
        let options = fat::Options { size, label: "EVE".into(), volume_id: 1, mtime: 0, sector: 512, bits: fat::Bits::Auto };
        Source::Fat(fat::layout(&tree, &options).unwrap())
    };
    let sources = vec![(Kind::Efi, fat(36 << 20)), (Kind::Conf, fat(1 << 20)), (Kind::Imga, Source::Image(root))];
    disk::layout(eve::table(sources, eve::DISK_SIZE).unwrap()).unwrap()
}

fn written(disk: &File, path: &Path, options: Options) -> Vec<u8> {
    let out = File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap();
    let copies = write(disk, options, &|_, _| {}, &out).unwrap();
    let bytes = std::fs::read(path).unwrap();
    for Copied { from, to, len } in copies {
        let mut wanted = vec![0; len as usize];
        disk.read_exact_at(&mut wanted, from).unwrap();
        assert!(bytes[to as usize..][..wanted.len()] == wanted, "{len} bytes from {from} to {to}");
    }
    bytes
}

#[test]
fn qemu_reads_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (raw, path) = (folder.path().join("live.raw"), folder.path().join("live.qcow2"));
    // Ends in the middle of a cluster.
    let disk = live(&raw, (5 << 20) + 30_000);
    let has = disk.metadata().unwrap().len();
    for options in [Options { size: 32 << 30, compress: true }, Options { size: has, compress: false }] {
        let bytes = written(&disk, &path, options);
        let least = 5 << 20;
        assert!(bytes.len() > least && bytes.len() < least + if options.compress { 3 << 19 } else { 3 << 20 }, "{}", bytes.len());
        let reader = Reader::open(FileImage::new(File::open(&path).unwrap()).unwrap()).unwrap();
        assert_eq!(reader.size(), options.size);
        for extent in sparse::extents(&disk, 0, has).unwrap() {
            let (mut ours, mut theirs) = (vec![0; extent.len as usize], vec![1; extent.len as usize]);
            reader.read_at(&mut ours, extent.offset).unwrap();
            disk.read_exact_at(&mut theirs, extent.offset).unwrap();
            assert!(ours == theirs, "{extent:?}");
        }
        let qemu = |words: &[&str]| match Command::new("qemu-img").args(words).args([&path]).output() {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{words:?}: {said}");
                said
            }
            Err(_) => {
                skips::missing("qemu-img", "qemu-utils");
                String::new()
            }
        };
        let check = qemu(&["check", "-f", "qcow2"]);
        if check.is_empty() {
            continue;
        }
        assert!(check.starts_with("No errors were found on the image."), "no leaked clusters either: {check}");
        assert_eq!(check.contains("% compressed clusters") && !check.contains(" 0.00% compressed"), options.compress, "{check}");
        // The larger disk has zeros behind the raw one's end.
        qemu(&["compare", "-f", "raw", "-F", "qcow2", raw.to_str().unwrap()]);
    }
}

#[test]
fn a_squashfs_is_copied_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let len = 3 << 20;
    let disk = live(&folder.path().join("live.raw"), len);
    let bytes = written(&disk, &folder.path().join("live.qcow2"), Options { size: 1 << 30, compress: true });
    assert!(bytes[1 << 16..][..len] == squashfs(len), "also text and zeros in it, in the order of the disk");
    // Its own number of bytes ends it: what lies behind is deflated.
    disk.write_all_at(&(1_u64 << 20).to_le_bytes(), range_of_squashfs(&disk).start * CLUSTER + 40).unwrap();
    let shorter = written(&disk, &folder.path().join("shorter.qcow2"), Options { size: 1 << 30, compress: true });
    assert_eq!(range_of_squashfs(&disk).count(), 16);
    assert!(shorter.len() < bytes.len(), "the zeros and the text at its end take no room");
}

fn range_of_squashfs(disk: &File) -> Range<u64> {
    packed_ranges(&PartedDisk::of_file(disk).unwrap()).unwrap().pop().unwrap()
}

#[test]
fn holes_and_clusters_of_zeros_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let disk = live(&folder.path().join("live.raw"), 2 << 20);
    let has = usize::try_from(disk.metadata().unwrap().len()).unwrap();
    let options = Options { size: 1 << 30, compress: true };
    let sparse = written(&disk, &folder.path().join("one"), options);
    let mut all = vec![0; has];
    disk.read_exact_at(&mut all, 0).unwrap();
    let full = folder.path().join("full.raw");
    std::fs::write(&full, &all).unwrap();
    assert!(written(&File::open(&full).unwrap(), &folder.path().join("two"), options) == sparse);
    // Without a table of partitions everything is deflated.
    all[512..1024].fill(0);
    let end = has - 512;
    all[end..].fill(0);
    std::fs::write(&full, &all).unwrap();
    assert!(packed_ranges(&PartedDisk::of_file(&File::open(&full).unwrap()).unwrap()).unwrap().is_empty());
}

#[test]
fn a_disk_does_not_shrink_and_an_empty_one_has_no_clusters() {
    let folder = tempfile::tempdir().unwrap();
    let disk = File::options().read(true).write(true).create_new(true).open(folder.path().join("raw")).unwrap();
    disk.set_len(1 << 20).unwrap();
    let out = File::create(folder.path().join("out")).unwrap();
    let error = write(&disk, Options { size: 1 << 19, compress: true }, &|_, _| {}, &out).unwrap_err().to_string();
    assert_eq!(error, "a disk of 1048576 bytes does not fit into 524288");
    let bytes = written(&disk, &folder.path().join("out"), Options { size: 1 << 20, compress: true });
    assert_eq!(bytes.len() as u64, 4 * CLUSTER, "the header, the first-level table, and the reference counts with their table");
}

#[test]
fn a_disk_of_parts_gives_the_bytes_of_the_whole_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (root, out) = (folder.path().join("rootfs.img"), folder.path().join("live.qcow2"));
    // One ends with a cluster, one within, and one claims more bytes than it has.
    for (len, claims) in [(3 << 20, 3 << 20), ((2 << 20) + 12_345, (2 << 20) + 12_345), ((2 << 20) + 4096, 5_u64 << 20)] {
        let mut bytes = squashfs(len);
        bytes[40..48].copy_from_slice(&claims.to_le_bytes());
        // The last one has holes where zeros were.
        let file = File::create(&root).unwrap();
        file.set_len(len as u64).unwrap();
        file.write_all_at(&bytes[..1_600_000], 0).unwrap();
        file.write_all_at(&bytes[1_900_000..], 1_900_000).unwrap();
        bytes[1_600_000..1_900_000].fill(0);
        let whole = folder.path().join("live.raw");
        let _ = std::fs::remove_file(&whole);
        let disk = File::options().read(true).write(true).create_new(true).open(&whole).unwrap();
        let of_parts = layout(Content::of_path(&root).unwrap());
        of_parts.write(&disk).unwrap();
        let parted = of_parts.write_parted(tempfile::tempfile().unwrap()).unwrap();
        let mut places = vec![0; 300_000];
        parted.read_at(&mut places, (37 << 20) + 50_000).unwrap();
        let mut wanted = vec![1; 300_000];
        disk.read_exact_at(&mut wanted, (37 << 20) + 50_000).unwrap();
        assert!(places == wanted);
        for compress in [true, false] {
            let options = Options { size: 1 << 30, compress };
            let from_raw = written(&disk, &out, options);
            let file = File::options().read(true).write(true).create(true).truncate(true).open(&out).unwrap();
            let copies = write_parted(&parted, options, &|_, _| {}, &file).unwrap();
            assert!(std::fs::read(&out).unwrap() == from_raw, "{len} bytes, {claims} claimed, compress {compress}");
            assert_eq!(copies.is_empty(), !compress);
        }
    }
    std::fs::write(&root, b"other").unwrap();
    let error = layout_of_changed(&root).unwrap_err().to_string();
    assert!(error.ends_with("changed from 5 to 7 bytes during the build"), "{error}");
}

/// A root file system that changes between layout and disk.
fn layout_of_changed(root: &Path) -> Result<PartedDisk> {
    let before = layout(Content::of_path(root)?);
    std::fs::write(root, b"another")?;
    before.write_parted(tempfile::tempfile()?)
}
