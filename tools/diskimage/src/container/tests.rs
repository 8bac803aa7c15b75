#![allow(clippy::unwrap_used)]
use super::*;
use std::{os::unix::fs::FileExt as _, path::PathBuf, process::Command};

const SIZE: usize = 5 << 20;

/// A disk with bytes at its start, across a boundary of blocks, and at its end.
fn disk() -> Vec<u8> {
    let mut disk = vec![0; SIZE];
    disk[..4].copy_from_slice(b"head");
    disk[(3 << 20) - 3..(3 << 20) + 3].copy_from_slice(b"middle");
    disk[SIZE - 4..].copy_from_slice(b"tail");
    disk
}

/// Runs qemu-img in `folder`; false if it is not installed.
fn qemu_img(folder: &Path, words: &[&str]) -> bool {
    match Command::new("qemu-img").args(words).current_dir(folder).output() {
        Ok(output) => {
            assert!(output.status.success(), "{words:?}: {output:?}");
            true
        }
        Err(_) => {
            skips::missing("qemu-img", "qemu-utils");
            false
        }
    }
}

fn read(path: &Path) -> Vec<u8> {
    let disk = open(path).unwrap();
    let mut bytes = vec![0; usize::try_from(disk.size()).unwrap()];
    disk.read_at(&mut bytes, 0).unwrap();
    bytes
}

fn refusal(path: &Path) -> String {
    format!("{:#}", open(path).err().unwrap())
}

#[test]
fn what_qemu_img_writes_is_read_and_what_is_not_read_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { dir.path().join(name) };
    std::fs::write(at("disk.raw"), disk()).unwrap();
    for (options, container) in [
        ("vdi", Container::Vdi),
        ("vdi -o static=on", Container::Vdi),
        ("parallels", Container::Parallels),
        ("parallels -o cluster_size=64k", Container::Parallels),
        ("qcow2 -c", Container::Qcow2),
        ("vpc -o subformat=fixed,force_size=on", Container::FixedVhd),
        ("vpc -o force_size=on", Container::Vhd),
        ("vhdx", Container::Vhdx),
        ("vmdk", Container::Vmdk),
        ("vmdk -o zeroed_grain=on", Container::Vmdk),
        ("vmdk -o subformat=twoGbMaxExtentSparse", Container::SplitVmdk),
        ("vmdk -o subformat=monolithicFlat", Container::SplitVmdk),
        ("vmdk -o subformat=streamOptimized", Container::CompressedVmdk),
        ("qed", Container::Qed),
    ] {
        let words: Vec<&str> = ["convert", "-f", "raw", "-O"].into_iter().chain(options.split(' ')).chain(["disk.raw", "image"]).collect();
        if !qemu_img(dir.path(), &words) {
            return;
        }
        assert_eq!(Container::of(&open_file(&at("image")).unwrap()).unwrap(), Some(container), "{options}");
        if container.is_read() {
            assert!(read(&at("image")) == disk(), "{options}: other bytes");
        } else {
            let text = refusal(&at("image"));
            assert!(text.contains(" is not read\nhint: qemu-img convert -f "), "{options}: {text}");
        }
    }
    assert_eq!(Container::of(&open_file(&at("disk.raw")).unwrap()).unwrap(), None);
}

#[test]
fn overlays_are_read_through_their_bases() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { dir.path().join(name) };
    // The base looks like a qcow2, but the overlay says that it is raw.
    let mut bytes = disk();
    bytes[..4].copy_from_slice(b"QFI\xfb");
    std::fs::write(at("disk.raw"), &bytes).unwrap();
    std::fs::create_dir(at("run")).unwrap();
    let create =
        |base: &str, format: &str, out: &str| qemu_img(&at("run"), &["create", "-q", "-f", "qcow2", "-F", format, "-b", base, out]);
    if !create("./../disk.raw", "raw", "one.qcow2") || !create("one.qcow2", "qcow2", "two.qcow2") {
        return;
    }
    assert!(read(&at("run/two.qcow2")) == bytes);
    qemu_img(&at("run"), &["rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "two.qcow2", "two.qcow2"]);
    assert!(refusal(&at("run/two.qcow2")).contains("more than 8 images on top of each other"));
    qemu_img(&at("run"), &["rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", "nbd:localhost:1", "two.qcow2"]);
    assert!(refusal(&at("run/two.qcow2")).contains("`nbd:localhost:1` is no file"));
    std::fs::remove_file(at("disk.raw")).unwrap();
    assert!(refusal(&at("run/one.qcow2")).contains("cannot read the backing file `./../disk.raw`"));
}

#[test]
fn damaged_tables_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    std::fs::write(dir.path().join("disk.raw"), disk()).unwrap();
    // Damage: bytes at a place of the header, and the error.
    for (format, at, bytes, wanted) in [
        ("vdi", 0x170, vec![0xff; 8], "needs a table of"),
        ("vdi", 0x178, vec![0; 4], "blocks of 0 bytes are not read"),
        ("vdi", 0x154, vec![0xff; 4], "the table of blocks is outside the file"),
        ("vdi", 0x158, vec![0xff; 4], "a block is outside the file"),
        ("parallels", 28, vec![0xff; 4], "are not read"),
        ("parallels", 64, vec![0xff; 4], "a block is outside the file"),
        ("parallels", 32, vec![0; 4], "the file has 0"),
    ] {
        if !qemu_img(dir.path(), &["convert", "-f", "raw", "-O", format, "disk.raw", "image"]) {
            return;
        }
        File::options().write(true).open(&path).unwrap().write_all_at(&bytes, at).unwrap();
        let mut start = [0; 512];
        let text = format!("{:#}", open(&path).and_then(|disk| disk.read_at(&mut start, 0)).unwrap_err());
        assert!(text.contains(wanted), "{format} {at}: {text}");
    }
}
