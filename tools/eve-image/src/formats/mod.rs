//! Formats of a disk, written from a sparse raw disk without qemu-img, which an image from scratch does not have. Clusters of zeros are
//! not stored.

mod parallels;
mod vdi;

use anyhow::{Context as _, Result, bail};
use diskimage::{gcp, qcow2, sparse};
use std::{fmt, fs::File, os::unix::fs::FileExt as _, str::FromStr};

/// A format of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFormat {
    /// The disk's bytes.
    Raw,
    /// QEMU's.
    Qcow2,
    /// VirtualBox's.
    Vdi,
    /// Parallels'.
    Parallels,
    /// Google's archive.
    Gcp,
}

const NAMES: &[(DiskFormat, &str)] = &[
    (DiskFormat::Raw, "raw"),
    (DiskFormat::Qcow2, "qcow2"),
    (DiskFormat::Vdi, "vdi"),
    (DiskFormat::Parallels, "parallels"),
    (DiskFormat::Gcp, "gcp"),
];

impl DiskFormat {
    /// What is appended to the name of a raw disk.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Gcp => "img.tar.gz",
            other => NAMES.iter().find(|(format, _)| *format == other).map_or("", |(_, name)| name),
        }
    }
}

impl fmt::Display for DiskFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(format, _)| format == self).map_or("", |(_, name)| name))
    }
}

impl FromStr for DiskFormat {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((format, _)) = NAMES.iter().find(|(_, name)| *name == text) else {
            let names: Vec<&str> = NAMES.iter().map(|(_, name)| *name).collect();
            bail!("unknown format `{text}` (known: {})", names.join(", "));
        };
        Ok(*format)
    }
}

/// Writes the raw `disk` in `format` to the empty file `out`.
pub fn write(format: DiskFormat, disk: &File, epoch: i64, out: &mut File) -> Result<()> {
    let size = disk.metadata()?.len();
    match format {
        DiskFormat::Raw => sparse_copy(disk, size, out),
        DiskFormat::Qcow2 => qcow2::write(disk, qcow2::Options { size, compress: false }, &|_, _| {}, out).map(drop),
        DiskFormat::Vdi => vdi::write(disk, size, out),
        DiskFormat::Parallels => parallels::write(disk, size, out),
        DiskFormat::Gcp => {
            let options = gcp::Options::new(size, u32::try_from(epoch).unwrap_or(0));
            gcp::layout(disk.try_clone()?, &options)?.write(out).map(drop)
        }
    }
}

fn sparse_copy(disk: &File, size: u64, out: &File) -> Result<()> {
    out.set_len(size)?;
    sparse::copy(disk, 0, size, out, 0).map(drop)
}

/// The numbers of those clusters of a disk that contain something but zeros, in order.
fn used_clusters(disk: &File, size: u64, cluster: u64) -> Result<Vec<u64>> {
    let mut buffer = vec![0; usize::try_from(cluster)?];
    let mut used = Vec::new();
    let mut next = 0;
    for extent in sparse::extents(disk, 0, size)? {
        let end = (extent.offset + extent.len).div_ceil(cluster);
        for number in (extent.offset / cluster).max(next)..end {
            let part = read_cluster(disk, size, cluster, number, &mut buffer)?;
            if part.iter().any(|byte| *byte != 0) {
                used.push(number);
            }
        }
        next = next.max(end);
    }
    Ok(used)
}

/// The bytes of a cluster; the last one may be short.
fn read_cluster<'b>(disk: &File, size: u64, cluster: u64, number: u64, buffer: &'b mut [u8]) -> Result<&'b [u8]> {
    let start = number * cluster;
    let part = &mut buffer[..usize::try_from(cluster.min(size - start))?];
    disk.read_exact_at(part, start).context("cannot read the disk")?;
    Ok(part)
}

/// Copies clusters of the disk to consecutive places of `out` from `offset` on, and makes the last one whole.
fn copy_clusters(disk: &File, size: u64, cluster: u64, used: &[u64], out: &File, offset: u64) -> Result<()> {
    let mut buffer = vec![0; usize::try_from(cluster)?];
    for (place, number) in (0..).zip(used) {
        let part = read_cluster(disk, size, cluster, *number, &mut buffer)?;
        out.write_all_at(part, offset + place * cluster).context("cannot write the disk")?;
    }
    out.set_len(offset + used.len() as u64 * cluster).context("cannot write the disk")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::{path::Path, process::Command};

    /// A disk with data at the start, in the middle, and at the very end, which is no whole cluster.
    fn disk(path: &Path) -> File {
        let disk = File::options().read(true).write(true).create_new(true).open(path).unwrap();
        disk.set_len((600 << 20) + 512 * 3).unwrap();
        disk.write_all_at(&[7; 100_000], 0).unwrap();
        disk.write_all_at(&[0; 300_000], 4 << 20).unwrap();
        disk.write_all_at(b"middle", 540 << 20).unwrap();
        disk.write_all_at(b"end", (600 << 20) + 512 * 3 - 3).unwrap();
        disk
    }

    #[test]
    fn qemu_reads_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let raw = folder.path().join("raw");
        let disk = disk(&raw);
        if Command::new("qemu-img").arg("--version").output().is_err() {
            return skips::missing("qemu-img", "qemu-utils");
        }
        for format in [DiskFormat::Qcow2, DiskFormat::Vdi, DiskFormat::Parallels] {
            let path = folder.path().join(format.to_string());
            let mut out = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
            write(format, &disk, 0, &mut out).unwrap();
            assert!(out.metadata().unwrap().len() < 8 << 20, "{format}: zeros are stored");
            let name = format.to_string();
            let qemu = |words: &[&str]| {
                let output = Command::new("qemu-img").args(words).output().unwrap();
                assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
                String::from_utf8(output.stdout).unwrap()
            };
            qemu(&["check", "-q", "-f", &name, path.to_str().unwrap()]);
            qemu(&["compare", "-q", "-f", "raw", "-F", &name, raw.to_str().unwrap(), path.to_str().unwrap()]);
            let info = qemu(&["info", "-f", &name, "--output", "json", path.to_str().unwrap()]);
            assert!(info.contains(&format!("\"virtual-size\": {}", disk.metadata().unwrap().len())), "{info}");
        }
    }

    #[test]
    fn an_empty_disk_has_no_clusters() {
        let folder = tempfile::tempdir().unwrap();
        let disk = File::create_new(folder.path().join("x")).unwrap();
        disk.set_len(1 << 20).unwrap();
        assert!(used_clusters(&disk, 1 << 20, 1 << 16).unwrap().is_empty());
        let error = "vhd".parse::<DiskFormat>().unwrap_err().to_string();
        assert!(error.starts_with("unknown format `vhd` (known: "), "{error}");
    }
}
