//! A delta gives the new image, to the real zstd too; a wrong or damaged one is refused.
#![allow(clippy::unwrap_used, clippy::panic)]

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

/// The guest's program, with checks of memory and arithmetic that end it; none where there is no compiler with them.
fn guest_program(folder: &tempfile::TempDir) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pkg/gpt-tools/eve-delta.c");
    let program = path(folder, "eve-delta");
    let flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-D_FILE_OFFSET_BITS=64"];
    let checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    let Ok(output) = Command::new("gcc").args(flags).args(checks).arg(source).arg("-o").arg(&program).output() else {
        skips::missing("gcc", "gcc");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(program)
}

/// What the guest's program prints, if it succeeds; otherwise its error, which must be its own.
fn in_the_guest(program: &Path, old: &Path, delta: &Path) -> Result<Vec<u8>, String> {
    let output = Command::new(program).arg(old).arg(delta).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        Some(0) => Ok(output.stdout),
        Some(1) if error.lines().count() == 1 && error.starts_with(&format!("{} ", delta.display())) => Err(error),
        _ => panic!("{}: {error}", output.status),
    }
}

#[test]
fn the_guests_program_refuses_what_is_damaged_and_reads_nothing_beyond() {
    const TRIES: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    let [old, new, delta, ours] = ["old", "new", "delta", "ours"].map(|name| path(&folder, name));
    let Some(program) = guest_program(&folder) else { return };
    let mut random = Random(4);
    let first = random.bytes(90_000);
    let second = random.edited(reversed(&first));
    // The guest's old image is at the beginning of a larger partition, whose other bytes are not the image's.
    std::fs::write(&new, &second).unwrap();
    std::fs::write(&old, &first).unwrap();
    make(&old, &new, &delta).unwrap();
    let good = std::fs::read(&delta).unwrap();
    let partition = path(&folder, "partition");
    std::fs::write(&partition, [&first[..], &[0xaa; 70_000]].concat()).unwrap();
    assert!(in_the_guest(&program, &partition, &delta).unwrap() == second);
    let mut refused = 0;
    for round in 0..TRIES {
        let mut bad = good.clone();
        // The headers are where damage hurts: those at the start, and the sizes at the end.
        let reach = [bad.len(), 60][round % 2];
        for _ in 0..=random.next(3) {
            let at = random.next(reach);
            let at = if random.next(4) == 0 { bad.len() - 1 - at } else { at };
            bad[at] ^= 1 << random.next(8);
        }
        if round % 10 == 0 {
            bad.truncate(random.next(bad.len()));
        }
        std::fs::write(&delta, &bad).unwrap();
        let guest = in_the_guest(&program, &partition, &delta);
        refused += usize::from(guest.is_err());
        // What it lets pass has other bytes, which the digest tells; what we take, it takes.
        if apply(&delta, &old, &ours).is_ok() {
            assert!(guest.unwrap() == std::fs::read(&ours).unwrap(), "round {round}");
        } else if bad.get(..good.len() - TRAILER) != good.get(..good.len() - TRAILER) {
            // The digests in the last lines are the caller's.
            assert!(guest.map_or(true, |image| image != second), "round {round}");
        }
    }
    assert!(refused > TRIES / 4, "{refused}");
}

/// The pieces of `bytes`, the last one first.
fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(4000).rev().flatten().copied().collect()
}

#[test]
fn the_new_image_comes_back_from_us_the_guest_and_zstd() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new, delta, ours, theirs] = ["old", "new", "delta", "ours", "theirs"].map(|name| path(&folder, name));
    let (zstd, guest) = (zstd(), guest_program(&folder));
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
        if let Some(guest) = &guest {
            assert!(in_the_guest(guest, &old, &delta).unwrap() == second, "round {round}");
        }
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
