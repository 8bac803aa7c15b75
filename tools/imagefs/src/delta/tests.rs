//! A delta gives the new image, to the real zstd too; a wrong or damaged one is refused.
#![allow(clippy::unwrap_used)]

use super::*;
use std::{os::unix::fs::MetadataExt as _, path::PathBuf, process::Command};

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below.max(1)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next(256) as u8).collect()
    }

    /// `bytes` with a few pieces changed, moved, added, removed or zeroed.
    fn edited(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.next(6) {
            let (at, len) = (self.next(bytes.len() + 1), self.next(3000));
            let end = (at + len).min(bytes.len());
            match self.next(5) {
                0 => bytes[at..end].fill(0),
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let new = self.bytes(len);
                    bytes.splice(at..at, new);
                }
                3 => {
                    let moved: Vec<u8> = bytes.drain(at..end).collect();
                    let to = self.next(bytes.len() + 1);
                    bytes.splice(to..to, moved);
                }
                _ => (at..end).step_by(97).for_each(|at| bytes[at] ^= 1),
            }
        }
        bytes
    }
}

fn path(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}

fn zstd() -> bool {
    let found = Path::new("/usr/bin/zstd").exists();
    if !found {
        skips::missing("zstd", "zstd");
    }
    found
}

#[test]
fn the_new_image_comes_back_from_us_and_from_zstd() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new, delta, ours, theirs] = ["old", "new", "delta", "ours", "theirs"].map(|name| path(&folder, name));
    let zstd = zstd();
    let mut random = Random(1);
    for round in 0..40 {
        let len = [0, 1, 63, 64, 100, 5000, 131_071, 131_072, 131_155, 400_000][round % 10];
        let first = random.bytes(len);
        let second = if round % 7 == 6 { random.bytes(len / 2) } else { random.edited(first.clone()) };
        std::fs::write(&old, &first).unwrap();
        std::fs::write(&new, &second).unwrap();
        let made = make(&old, &new, &delta).unwrap();
        assert_eq!(made, read(&delta).unwrap());
        assert_eq!(apply(&delta, &old, &ours).unwrap(), made);
        assert!(std::fs::read(&ours).unwrap() == second, "round {round}");
        if zstd {
            // zstd takes no empty file as a prefix.
            let prefix = (!first.is_empty()).then(|| format!("--patch-from={}", old.display()));
            let read = Command::new("zstd").args(["-d", "-q", "-f", "--long=31"]).args(prefix).arg(&delta).arg("-o").arg(&theirs).output();
            let read = read.unwrap();
            assert!(read.status.success(), "round {round}: {}", String::from_utf8_lossy(&read.stderr));
            assert!(std::fs::read(&theirs).unwrap() == second, "round {round}");
        }
    }
}

#[test]
fn a_small_change_is_a_small_delta_wherever_it_moved() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new, delta, theirs] = ["old", "new", "delta", "theirs"].map(|name| path(&folder, name));
    let mut random = Random(2);
    let first = random.bytes(6 << 20);
    // Half of it comes first, 1,000 bytes are new, and everything after them is at another place.
    let mut second = [&first[3 << 20..], &first[..3 << 20]].concat();
    let piece = random.bytes(1000);
    second.splice(777_777..777_777, piece);
    std::fs::write(&old, &first).unwrap();
    std::fs::write(&new, &second).unwrap();
    let made = make(&old, &new, &delta).unwrap();
    assert!(made.size < 2500, "{}", made.size);
    if zstd() {
        let mut command = Command::new("zstd");
        command.args(["-q", "-f"]).arg(format!("--patch-from={}", old.display())).arg(&new).arg("-o").arg(&theirs);
        assert!(command.status().unwrap().success());
        let zstd = theirs.metadata().unwrap().len();
        assert!(made.size < zstd + 1500, "ours {} zstd's {zstd}", made.size);
    }
}

#[test]
fn holes_stay_holes() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new, delta, ours] = ["old", "new", "delta", "ours"].map(|name| path(&folder, name));
    let mut random = Random(3);
    for (path, seed) in [(&old, 10_000), (&new, 12_000)] {
        let file = File::create(path).unwrap();
        file.write_all_at(&Random(9).bytes(1 << 20), 1 << 20).unwrap();
        file.write_all_at(&random.bytes(seed), 20 << 20).unwrap();
        file.set_len(64 << 20).unwrap();
    }
    let made = make(&old, &new, &delta).unwrap();
    assert!(made.size < 12_000 + 4000, "{}", made.size);
    apply(&delta, &old, &ours).unwrap();
    assert!(sha256_of(&ours).unwrap() == sha256_of(&new).unwrap());
    assert!(ours.metadata().unwrap().blocks() * 512 < 3 << 20, "the holes are on the disk");
}

#[test]
fn another_image_and_damage_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new, delta, out] = ["old", "new", "delta", "out"].map(|name| path(&folder, name));
    let mut random = Random(4);
    let first = random.bytes(300_000);
    std::fs::write(&old, &first).unwrap();
    let piece = random.bytes(5000);
    std::fs::write(&new, [&first[..100_000], &piece, &first[101_000..]].concat()).unwrap();
    let made = make(&old, &new, &delta).unwrap();
    let error = apply(&delta, &new, &out).unwrap_err().to_string();
    assert!(error.contains(&format!("the delta names {}; it is the new image already", made.old.sha256)), "{error}");
    let error = apply(&old, &old, &out).unwrap_err().to_string();
    assert!(error.ends_with("is no delta: it does not end with the digests of two images"), "{error}");
    let whole = std::fs::read(&delta).unwrap();
    let damaged = path(&folder, "damaged");
    for round in 0..300 {
        let mut bytes = whole.clone();
        let at = random.next(bytes.len() - TRAILER - 8);
        match round % 3 {
            0 => bytes[at] ^= 1 << random.next(8),
            1 => drop(bytes.drain(at..at + 1)),
            _ => bytes[13 + round / 3 % 100] = random.next(256) as u8,
        }
        if bytes == whole {
            continue;
        }
        std::fs::write(&damaged, bytes).unwrap();
        let error = format!("{:#}", apply(&damaged, &old, &out).unwrap_err());
        assert!(!error.is_empty());
        assert!(!out.exists(), "a file has its name though its digest is wrong");
    }
    if zstd() {
        // zstd's own patch names no images; with a trailer it is told from ours.
        let mut command = Command::new("zstd");
        command.args(["-q", "-f"]).arg(format!("--patch-from={}", old.display())).arg(&new).arg("-o").arg(&damaged);
        assert!(command.status().unwrap().success());
        let foreign = [std::fs::read(&damaged).unwrap(), trailer(&made.old, &made.new)].concat();
        std::fs::write(&damaged, foreign).unwrap();
        let error = format!("{:#}", apply(&damaged, &old, &out).unwrap_err());
        assert!(error.contains("written by another program") && error.contains("hint: zstd -d --long=31 --patch-from="), "{error}");
    }
    let empty = path(&folder, "empty");
    std::fs::write(&empty, "").unwrap();
    assert!(format!("{:#}", read(&empty).unwrap_err()).contains("is no delta"));
    assert!(make(&path(&folder, "nothing"), &new, &out).unwrap_err().to_string().contains("cannot open"));
}
