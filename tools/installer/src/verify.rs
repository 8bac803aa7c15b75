//! The checks of a machine after an installation, as lines of a summary: `ok: …` or `FAILED: …`. The script that starts the program checks
//! the network first, because that needs a DHCP client, and leaves its lines in a folder.

use crate::disks::Disk;
use anyhow::{Context as _, Result};
use rustix::fs::Advice;
use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::Path,
    time::Instant,
};

/// Lines that the script wrote, a file for each network card.
pub const NETWORK: &str = "/run/eve/verification";
/// Pieces that are read of each disk, over its whole length, and their size in bytes.
const PIECES: u64 = 64;
const PIECE: usize = 1 << 20;
/// Least memory in KiB: 1 GiB, less what firmware and kernel take.
const LEAST_MEMORY: u64 = 900 << 10;

/// The lines of all checks on the machine below `root` (`/`).
#[must_use]
pub fn check(root: &Path, disks: &[Disk]) -> Vec<String> {
    let mut lines = vec![processor(root), memory(root), tpm(root)];
    for disk in disks {
        lines.push(match read_all_over(&root.join("dev").join(&disk.name), disk.size) {
            Ok(speed) => format!("ok: storage {}: {PIECES} MiB read at {speed} MiB/s", disk.name),
            Err(error) => format!("FAILED: storage {}: {error:#}", disk.name),
        });
    }
    lines.extend(network(&root.join(NETWORK.trim_start_matches('/'))));
    lines
}

/// The number of failed checks.
#[must_use]
pub fn failures(lines: &[String]) -> usize {
    lines.iter().filter(|line| line.starts_with("FAILED")).count()
}

fn processor(root: &Path) -> String {
    let flags = fs::read_to_string(root.join("proc/cpuinfo")).unwrap_or_default();
    let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
    match (has("vmx") || has("svm"), root.join("dev/kvm").exists()) {
        (_, true) => "ok: processor: runs virtual machines (/dev/kvm)".to_owned(),
        (true, false) => "ok: processor: can run virtual machines; this installer's kernel did not load KVM".to_owned(),
        (false, false) => "FAILED: processor: no virtualization, or switched off in the firmware".to_owned(),
    }
}

fn memory(root: &Path) -> String {
    let text = fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    match total {
        Some(total) if total >= LEAST_MEMORY => format!("ok: memory: {} MiB", total >> 10),
        Some(total) => format!("FAILED: memory: {} MiB, less than {}", total >> 10, LEAST_MEMORY >> 10),
        None => "FAILED: memory: the kernel does not tell its size".to_owned(),
    }
}

fn tpm(root: &Path) -> String {
    match fs::read_to_string(root.join("sys/class/tpm/tpm0/tpm_version_major")) {
        Ok(version) if version.trim() == "2" => "ok: TPM: version 2".to_owned(),
        Ok(version) => format!("FAILED: TPM: version {}, not 2", version.trim()),
        Err(_) => "FAILED: TPM: none".to_owned(),
    }
}

/// Reads pieces of a disk; MiB per second.
fn read_all_over(device: &Path, size: u64) -> Result<u64> {
    let file = File::open(device).with_context(|| format!("cannot open {}", device.display()))?;
    // What the installation left in memory tells nothing about the disk.
    let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
    let since = Instant::now();
    let mut buffer = vec![0; PIECE];
    let piece = PIECE as u64;
    for number in 0..PIECES {
        let at = size.saturating_sub(piece) / PIECES * number / piece * piece;
        file.read_exact_at(&mut buffer, at).with_context(|| format!("cannot read at byte {at}"))?;
    }
    let milliseconds = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
    Ok(PIECES * 1000 / milliseconds)
}

fn network(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut lines: Vec<String> =
        entries.filter_map(|entry| fs::read_to_string(entry.path()).ok()).map(|text| text.trim().to_owned()).collect();
    lines.sort();
    if lines.is_empty() {
        lines.push("FAILED: network: no card".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::disks::Bus;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn disk(name: &str) -> Disk {
        Disk { name: name.into(), size: 100 << 20, sector: 512, read_only: false, mounted: vec![], bus: Bus::Inside, partitions: vec![] }
    }

    #[test]
    fn a_good_machine_passes_and_each_fault_is_a_line() {
        let root = tempfile::tempdir().unwrap();
        let bad = check(root.path(), &[disk("sda")]);
        assert_eq!(failures(&bad), 5, "{bad:?}");
        assert!(bad[3].starts_with("FAILED: storage sda: cannot open "), "{bad:?}");
        put(root.path(), "proc/cpuinfo", "flags : sse svm\n");
        put(root.path(), "proc/meminfo", "MemTotal:        4000000 kB\n");
        put(root.path(), "sys/class/tpm/tpm0/tpm_version_major", "2\n");
        put(root.path(), "run/eve/verification/eth0", "ok: network eth0: a lease by DHCP\n");
        File::create(root.path().join("dev-sda")).unwrap();
        put(root.path(), "dev/sda", "");
        File::options().write(true).open(root.path().join("dev/sda")).unwrap().set_len(100 << 20).unwrap();
        let good = check(root.path(), &[disk("sda")]);
        assert_eq!(failures(&good), 0, "{good:?}");
        assert!(good[3].starts_with("ok: storage sda: 64 MiB read at "), "{good:?}");
        File::options().write(true).open(root.path().join("dev/sda")).unwrap().set_len(90 << 20).unwrap();
        put(root.path(), "proc/meminfo", "MemTotal:        400000 kB\n");
        assert_eq!(failures(&check(root.path(), &[disk("sda")])), 2);
    }
}
