//! Compares the archive with GNU tar and gzip.
#![allow(clippy::unwrap_used)]

use super::*;
use std::{
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
};

const MIB: u64 = 1 << 20;

fn noise(len: usize, mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A disk with data at its start, at odd offsets, in more places than a header's map has room for, and zeros outside holes.
fn disk(path: &Path, len: u64) -> File {
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap();
    file.set_len(len).unwrap();
    file.write_all_at(b"MBR", 0).unwrap();
    file.write_all_at(&noise(3 << 20, 1), MIB).unwrap();
    file.write_all_at(&"text that is easily compressed\n".repeat(50_000).into_bytes(), 5 * MIB + 777).unwrap();
    file.write_all_at(&vec![0; 1 << 20], 8 * MIB).unwrap();
    for n in 0..60 {
        file.write_all_at(&[n as u8 + 1; 3], 10 * MIB + n * (GRAIN * 2) + n).unwrap();
    }
    file.write_all_at(b"end", len - 3).unwrap();
    file
}

fn archive(disk: File, options: &Options) -> Vec<u8> {
    let mut out = Vec::new();
    let written = layout(disk, options).unwrap().write(&mut out).unwrap();
    assert_eq!(written, out.len() as u64);
    out
}

/// Whether both files have the same bytes; skips holes.
fn same(a: &File, a_len: u64, b: &File) -> bool {
    let data = |file: &File, len: u64| {
        let mut found = Vec::new();
        for region in find_data(file, len).unwrap() {
            let mut bytes = vec![0; region.len as usize];
            file.read_exact_at(&mut bytes, region.offset).unwrap();
            found.push((region, bytes));
        }
        found
    };
    data(a, a_len) == data(b, a_len)
}

#[test]
fn gnu_tar_unpacks_the_same_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    for (len, size) in [(20 * MIB, 20 * MIB), (20 * MIB, 64 * MIB), (20 * MIB + 512, 9 << 30)] {
        let bytes = archive(disk(&path, len), &Options { threads: 2, ..Options::new(size, 1_684_000_001) });
        assert!(bytes.len() < 5 << 20, "{}", bytes.len());
        std::fs::write(folder.path().join("disk.tar.gz"), &bytes).unwrap();
        let listed = Command::new("tar").args(["-tvzf", "disk.tar.gz"]).env("TZ", "UTC").current_dir(folder.path()).output();
        let Ok(listed) = listed.map(|output| String::from_utf8(output.stdout).unwrap()) else {
            skips::missing("tar", "tar");
            return;
        };
        assert_eq!(
            listed.split_whitespace().collect::<Vec<_>>(),
            ["-rw-r--r--", "root/root", &size.to_string(), "2023-05-13", "17:46", "disk.raw"]
        );
        let status = Command::new("tar").args(["-xSzf", "disk.tar.gz"]).current_dir(folder.path()).status().unwrap();
        assert!(status.success());
        let unpacked = File::open(folder.path().join("disk.raw")).unwrap();
        assert_eq!(unpacked.metadata().unwrap().len(), size);
        assert!(same(&File::open(&path).unwrap(), len, &unpacked) && find_data(&unpacked, size).unwrap().last().unwrap().offset < len);
        let gzip = Command::new("gzip").args(["-t", "disk.tar.gz"]).current_dir(folder.path()).stdout(Stdio::null()).status();
        assert!(gzip.is_ok_and(|status| status.success()));
    }
}

#[test]
fn the_bytes_depend_on_the_disks_bytes_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (sparse, full) = (folder.path().join("sparse"), folder.path().join("full"));
    let file = disk(&sparse, 20 * MIB);
    std::fs::write(&full, std::fs::read(&sparse).unwrap()).unwrap();
    let options = |threads| Options { threads, ..Options::new(40 * MIB, 7) };
    let one = archive(file, &options(1));
    assert!(one == archive(File::open(&full).unwrap(), &options(3)));
}

#[test]
fn an_empty_disk_is_a_hole() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(MIB).unwrap();
    let layout = layout(file, &Options::new(10 << 30, 0)).unwrap();
    assert_eq!(layout.data(), 0);
    let mut out = Vec::new();
    layout.write(&mut out).unwrap();
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(&out[..]).read_to_end(&mut tar).unwrap();
    assert_eq!(tar.len() as u64, RECORD);
    assert_eq!(&tar[124..136], b"00000000000\0");
    assert_eq!(&tar[386..398], &[0x80, 0, 0, 0, 0, 0, 0, 2, 0x80, 0, 0, 0]);
}

#[test]
fn sizes_that_cannot_be_are_refused_with_the_numbers() {
    let file = |len| {
        let file = tempfile::tempfile().unwrap();
        file.set_len(len).unwrap();
        file
    };
    let error = |len, size| layout(file(len), &Options::new(size, 0)).unwrap_err().to_string();
    assert_eq!(error(2 * MIB, MIB), "the image has 2097152 bytes, more than the disk's 1048576");
    assert_eq!(error(100, MIB), "a disk of 1048576 bytes from an image of 100 bytes: both must be multiples of 512");
}

#[test]
fn a_full_disk_and_a_vanished_one_are_errors() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let options = Options { threads: 3, ..Options::new(20 * MIB, 0) };
    let laid = layout(disk(&path, 20 * MIB), &options).unwrap();
    assert!(laid.write(&mut Full).unwrap_err().to_string().contains("cannot write the archive"));
    File::options().write(true).open(&path).unwrap().set_len(MIB).unwrap();
    assert!(laid.write(&mut Vec::new()).unwrap_err().to_string().contains("cannot read the disk image"));
}
