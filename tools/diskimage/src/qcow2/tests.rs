//! Compares the reader with qemu-img, and reads damaged files.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::FileImage;
use std::{fs::File, os::unix::fs::FileExt as _, path::Path, process::Command};

/// A raw disk with text, noise, holes and an odd size.
fn raw(folder: &Path) -> Vec<u8> {
    let mut bytes = vec![0; (9 << 20) + 512];
    let mut noise = 1_u64;
    for (at, byte) in bytes.iter_mut().enumerate() {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = match at >> 18 {
            0..=3 => (noise >> 33) as u8,
            5..=9 | 36 => (at / 1000) as u8,
            _ => 0,
        };
    }
    std::fs::write(folder.join("disk.raw"), &bytes).unwrap();
    bytes
}

fn qemu_img(folder: &Path, arguments: &[&str]) -> bool {
    match Command::new("qemu-img").args(arguments).current_dir(folder).output() {
        Ok(output) => {
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            true
        }
        Err(_) => {
            skips::missing("qemu-img", "qemu-utils");
            false
        }
    }
}

fn open(path: &Path) -> Result<Reader<FileImage>> {
    Reader::open(FileImage::new(File::open(path)?)?)
}

#[test]
fn what_qemu_img_writes_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let want = raw(folder.path());
    let path = folder.path().join("disk.qcow2");
    for (options, packed, compression) in [
        ("compat=0.10", false, Compression::Zlib),
        ("compat=0.10", true, Compression::Zlib),
        ("compat=1.1,cluster_size=512", false, Compression::Zlib),
        ("compat=1.1,cluster_size=4096", true, Compression::Zlib),
        ("compat=1.1,cluster_size=2M,compression_type=zstd", true, Compression::Zstd),
        ("compression_type=zstd", true, Compression::Zstd),
        ("lazy_refcounts=on,preallocation=metadata", false, Compression::Zlib),
    ] {
        let mut arguments = vec!["convert", "-f", "raw", "-O", "qcow2", "-o", options];
        arguments.extend(packed.then_some("-c"));
        arguments.extend(["disk.raw", "disk.qcow2"]);
        if !qemu_img(folder.path(), &arguments) {
            return;
        }
        // The disk may grow after the conversion, like live.qcow2.
        if !options.contains("preallocation") {
            qemu_img(folder.path(), &["resize", "disk.qcow2", "40G"]);
        }
        let reader = open(&path).unwrap();
        assert_eq!(reader.compression(), compression);
        let mut read = vec![1; want.len()];
        reader.read_at(&mut read, 0).unwrap();
        assert!(read == want, "{options}");
        let mut some = vec![1; 3000];
        reader.read_at(&mut some, (1 << 20) + 300_001).unwrap();
        assert!(some[..] == want[(1 << 20) + 300_001..][..3000], "{options}");
        if reader.size() > 40 << 29 {
            reader.read_at(&mut some, (40 << 30) - 3000).unwrap();
            assert!(some.iter().all(|byte| *byte == 0));
        }
        let size = reader.size();
        assert_eq!(
            reader.read_at(&mut some, size - 1).unwrap_err().to_string(),
            format!("3000 bytes at {} exceed the disk of {size} bytes", size - 1)
        );
    }
}

#[test]
fn what_is_not_supported_is_named() {
    let folder = tempfile::tempdir().unwrap();
    raw(folder.path());
    let error = |name: &str| format!("{:#}", open(&folder.path().join(name)).err().unwrap());
    if !qemu_img(folder.path(), &["create", "-q", "-f", "qcow2", "-b", "disk.raw", "-F", "raw", "backed.qcow2"]) {
        return;
    }
    assert_eq!(error("backed.qcow2"), "the qcow2 file has a backing file `disk.raw`, which is not supported here");
    // With the backing file, reads pass through; bytes beyond its end are zero.
    assert!(qemu_img(folder.path(), &["resize", "-q", "backed.qcow2", "+1M"]));
    let file = |name: &str| FileImage::new(std::fs::File::open(folder.path().join(name)).unwrap()).unwrap();
    let (whole, base) = (std::fs::read(folder.path().join("disk.raw")).unwrap(), Box::new(file("disk.raw")));
    let reader = Reader::open_over(file("backed.qcow2"), base).unwrap();
    let mut read = vec![1; whole.len() + 5000];
    reader.read_at(&mut read, 0).unwrap();
    assert!(read[..whole.len()] == whole && read[whole.len()..].iter().all(|byte| *byte == 0));
    qemu_img(folder.path(), &["create", "-q", "-f", "qcow2", "-o", "data_file=data.raw", "external.qcow2", "1M"]);
    assert_eq!(error("external.qcow2"), "the qcow2 file keeps its data in another file");
    qemu_img(folder.path(), &["create", "-q", "-f", "qcow2", "-o", "extended_l2=on", "extended.qcow2", "1M"]);
    assert_eq!(error("extended.qcow2"), "the qcow2 file has extended second-level entries");
    // qemu-img benchmarks its key derivation for encryption, which fails on some machines; the header's field suffices.
    qemu_img(folder.path(), &["create", "-q", "-f", "qcow2", "luks.qcow2", "1M"]);
    let luks = File::options().write(true).open(folder.path().join("luks.qcow2")).unwrap();
    luks.write_all_at(&2_u32.to_be_bytes(), 32).unwrap();
    assert_eq!(error("luks.qcow2"), "the qcow2 file is encrypted (method 2)");
    assert_eq!(error("disk.raw"), "the file is not a qcow2 of version 2 or 3");
    std::fs::write(folder.path().join("short"), b"QFI\xfb").unwrap();
    assert!(error("short").starts_with("the file is too short for a qcow2 header"));
}

#[test]
fn a_broken_file_is_an_error_and_takes_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    raw(folder.path());
    let path = folder.path().join("disk.qcow2");
    if !qemu_img(folder.path(), &["convert", "-f", "raw", "-O", "qcow2", "-c", "disk.raw", "disk.qcow2"]) {
        return;
    }
    let patched = |at: u64, bytes: &[u8]| {
        let other = folder.path().join("bad.qcow2");
        std::fs::copy(&path, &other).unwrap();
        File::options().write(true).open(&other).unwrap().write_all_at(bytes, at).unwrap();
        open(&other)
    };
    assert_eq!(
        patched(24, &u64::MAX.to_be_bytes()).err().unwrap().to_string(),
        "a qcow2 disk of 18446744073709551615 bytes needs a first-level table of 34359738368 entries; the file has 1, and the limit is 4194304"
    );
    assert_eq!(patched(20, &63_u32.to_be_bytes()).err().unwrap().to_string(), "unsupported qcow2 cluster size of 2^63 bytes");
    assert!(patched(40, &u64::MAX.to_be_bytes()).err().unwrap().to_string().contains("first-level table is outside the qcow2 file"));
    let mut bytes = vec![0; 1 << 20];
    let good = std::fs::read(&path).unwrap();
    let l1 = u64::from_be_bytes(good[40..48].try_into().unwrap());
    let l2 = u64::from_be_bytes(good[l1 as usize..][..8].try_into().unwrap()) & OFFSET;
    for (at, value) in [(l1, u64::MAX), (l2, u64::MAX), (l2, OFFSET), (l2, COMPRESSED), (l2, u64::MAX >> 1)] {
        let reader = patched(at, &value.to_be_bytes()).unwrap();
        let _ = reader.read_at(&mut bytes, 0);
    }
    let reader = patched(l2, &(COMPRESSED | l1).to_be_bytes()).unwrap();
    assert!(reader.read_at(&mut bytes, 0).unwrap_err().to_string().starts_with(&format!("the compressed cluster at {l1} is damaged")));
}
