//! What is in an image file: recognised by its bytes, never by its name. What is broken is reported, and is no failure of
//! the looking; only a file that cannot be read is.

mod display;
mod ext;
mod iso;
mod probe;
#[cfg(test)]
mod tests;

use crate::{
    fat,
    gpt::{self, Gpt, MbrEntry, SECTOR},
    qcow2,
    read_at::{FileImage, ReadAt, Window},
    squashfs,
};
use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    path::Path,
};

/// What is in an image; `Display` gives it as an aligned table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Bytes of the file, of the partition, or of the disk inside a qcow2.
    pub size: u64,
    /// What they are.
    #[serde(flatten)]
    pub contents: Contents,
}

/// The kinds of contents that are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Contents {
    /// A disk with a GUID partition table.
    Gpt {
        /// Identity of the disk.
        disk_guid: gpt::Guid,
        /// Partitions in the order in which they lie on the disk.
        partitions: Vec<Partition>,
        /// Records of the MBR: one for a protective MBR, more for a hybrid.
        mbr: Vec<MbrEntry>,
        /// What is wrong with the table.
        problems: Vec<String>,
        /// What is told of the table besides.
        notes: Vec<String>,
    },
    /// A disk with an MBR alone.
    Mbr {
        /// Its records.
        mbr: Vec<MbrEntry>,
    },
    /// A qcow2 file.
    Qcow2 {
        /// Version of the format.
        version: u32,
        /// Bytes of a cluster.
        cluster_size: u64,
        /// How compressed clusters are packed.
        compression: qcow2::Compression,
        /// The disk inside.
        disk: Box<Report>,
    },
    /// A FAT volume.
    Fat {
        /// Width of the table's entries.
        bits: fat::Bits,
        /// Label.
        label: String,
        /// Serial number, as tools write it.
        volume_id: String,
        /// Number of files.
        files: u64,
        /// Bytes of the files.
        bytes: u64,
        /// Files and directories; none when the volume is a partition, where only the numbers matter.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        entries: Vec<fat::Entry>,
    },
    /// A squashfs.
    Squashfs {
        /// Name of the compressor.
        compression: String,
        /// Inodes.
        inodes: u32,
        /// Bytes of a block.
        block_size: u32,
        /// Bytes that the file system takes.
        used: u64,
        /// When it was made, seconds since the epoch.
        mtime: u32,
        /// What its folders hold, down to the second level; none when the image is a partition.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        folders: Vec<Folder>,
    },
    /// An ext2, ext3 or ext4.
    Ext {
        /// Label.
        label: String,
        /// Identity.
        uuid: gpt::Guid,
        /// Bytes of the file system.
        bytes: u64,
        /// Bytes that are free in it.
        free: u64,
        /// What lies in its root; none when it is a partition.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        entries: Vec<Top>,
    },
    /// An ISO 9660.
    Iso {
        /// Label.
        label: String,
        /// Bytes of the volume.
        bytes: u64,
        /// Whether it has a boot record for UEFI.
        uefi: bool,
        /// What lies in its root; none when it is a partition.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        entries: Vec<Top>,
    },
    /// A tar archive.
    Tar {
        /// Files, directories and links.
        entries: u64,
        /// Bytes of their contents.
        bytes: u64,
    },
    /// A compressed file; it is not unpacked.
    Compressed {
        /// `gzip`, `xz` or `zstd`.
        format: String,
    },
    /// Something known that cannot be read.
    Broken {
        /// What it seems to be.
        format: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Zeros, as far as was looked: the first MiB.
    Blank,
    /// Nothing that is known.
    Unknown,
}

/// A folder of a file system with all below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Folder {
    /// Path from the root.
    pub path: String,
    /// Files, links and devices.
    pub files: u64,
    /// Bytes of the files, before compression; a hard link counts once.
    pub bytes: u64,
}

/// A file or directory in the root of a file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Top {
    /// Its name.
    pub name: String,
    /// Whether it is a directory.
    pub directory: bool,
    /// Bytes of the file; 0 for a directory.
    pub size: u64,
}

/// A partition and what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// Its entry.
    #[serde(flatten)]
    pub entry: gpt::GptEntry,
    /// What is in it.
    pub content: Report,
}

/// Where an image was found, which bounds the work that a hostile one can cause: disks in partitions, which may all
/// overlap, are not looked into, and a qcow2 in a qcow2 only so often.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A file by itself, inside so many qcow2.
    Alone(u32),
    /// A partition.
    Partition,
}

const MOST_QCOW2: u32 = 3;
/// Partitions of one disk that are looked into.
const MOST_PARTITIONS: usize = gpt::ENTRIES as usize;

/// Looks at the image at `path`: a file, or a block device.
pub fn inspect(path: &Path) -> Result<Report> {
    let file = File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
    if file.metadata()?.is_dir() {
        bail!("`{}` is a directory, not an image", path.display());
    }
    let mut report = inspect_image(&FileImage::new(file.try_clone()?)?).with_context(|| format!("cannot inspect `{}`", path.display()))?;
    if let Contents::Squashfs { folders, .. } = &mut report.contents {
        match squashfs::Reader::open(file).and_then(|reader| reader.list()) {
            Ok(entries) => *folders = folders_of(&entries),
            Err(error) => report.contents = broken("squashfs", &error),
        }
    }
    Ok(report)
}

/// Sums the entries of a file system by the first two parts of their paths.
fn folders_of(entries: &[squashfs::Entry]) -> Vec<Folder> {
    let mut folders: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut counted = HashSet::new();
    for entry in entries.iter().filter(|entry| entry.kind != squashfs::EntryKind::Dir) {
        let path = String::from_utf8_lossy(&entry.path);
        let parts: Vec<&str> = path.split('/').collect();
        let folder = parts[..parts.len().saturating_sub(1).min(2)].join("/");
        let sum = folders.entry(folder).or_default();
        sum.0 += 1;
        if entry.kind == squashfs::EntryKind::File && counted.insert(entry.inode) {
            sum.1 += entry.size;
        }
    }
    folders.into_iter().map(|(path, (files, bytes))| Folder { path, files, bytes }).collect()
}

/// Looks at an image that is already open.
pub fn inspect_image(source: &dyn ReadAt) -> Result<Report> {
    look(source, Place::Alone(0))
}

fn look(source: &dyn ReadAt, place: Place) -> Result<Report> {
    Ok(Report { size: source.size(), contents: recognise(source, place)? })
}

fn recognise(source: &dyn ReadAt, place: Place) -> Result<Contents> {
    let magic = probe::start(source)?;
    if magic.starts_with(b"QFI\xfb") {
        return Ok(look_into_qcow2(source, place).unwrap_or_else(|error| broken("qcow2", &error)));
    }
    if let Some(found) = probe::simple(&magic, source) {
        return Ok(found);
    }
    let all = place != Place::Partition;
    if probe::is_ext(&magic) {
        return Ok(ext::look(source, all).unwrap_or_else(|error| broken("ext2/3/4", &error)));
    }
    if probe::is_iso(source) {
        return Ok(iso::look(source, all).unwrap_or_else(|error| broken("ISO 9660", &error)));
    }
    match gpt::read(source) {
        Ok(Some(gpt)) => return look_into_disk(source, gpt, place),
        Ok(None) => {}
        Err(error) => return Ok(broken("GPT", &error)),
    }
    match look_into_fat(source, place) {
        Ok(found) => return Ok(found),
        Err(error) if probe::seems_fat(&magic) => return Ok(broken("FAT", &error)),
        Err(_) => {}
    }
    match gpt::read_mbr(source)? {
        Some(mbr) if !mbr.is_empty() => Ok(Contents::Mbr { mbr }),
        _ if probe::is_blank(source)? => Ok(Contents::Blank),
        _ => Ok(Contents::Unknown),
    }
}

fn broken(format: &str, error: &anyhow::Error) -> Contents {
    Contents::Broken { format: format.into(), problem: format!("{error:#}") }
}

fn look_into_qcow2(source: &dyn ReadAt, place: Place) -> Result<Contents> {
    let depth = match place {
        Place::Alone(depth) if depth < MOST_QCOW2 => depth,
        Place::Alone(_) => bail!("inside {MOST_QCOW2} others: not looked into"),
        Place::Partition => bail!("inside a partition: not looked into"),
    };
    let reader = qcow2::Reader::open(source)?;
    let (version, cluster_size, compression) = (reader.version(), reader.cluster_size(), reader.compression());
    Ok(Contents::Qcow2 { version, cluster_size, compression, disk: Box::new(look(&reader, Place::Alone(depth + 1))?) })
}

fn look_into_disk(source: &dyn ReadAt, mut gpt: Gpt, place: Place) -> Result<Contents> {
    if place == Place::Partition {
        gpt.entries.clear();
        gpt.problems.push("inside a partition: not looked into".into());
    }
    let mut entries = gpt.entries;
    entries.sort_by_key(|entry| (entry.first_lba, entry.number));
    let partitions = entries.into_iter().enumerate().map(|(index, entry)| {
        let sectors = entry.last_lba.saturating_sub(entry.first_lba).saturating_add(1);
        let (start, len) = (entry.first_lba.saturating_mul(SECTOR), sectors.saturating_mul(SECTOR));
        let content = Window::new(source, start, len).and_then(|window| {
            if index >= MOST_PARTITIONS {
                bail!("behind {MOST_PARTITIONS} others: not looked into");
            }
            look(&window, Place::Partition)
        });
        let content = content.unwrap_or_else(|error| Report { size: len, contents: broken("partition", &error) });
        Partition { entry, content }
    });
    let partitions = partitions.collect();
    let mbr = gpt::read_mbr(source)?.unwrap_or_default();
    Ok(Contents::Gpt { disk_guid: gpt.disk_guid, partitions, mbr, problems: gpt.problems, notes: gpt.notes })
}

fn look_into_fat(source: &dyn ReadAt, place: Place) -> Result<Contents> {
    let reader = fat::Reader::open(source)?;
    let id = reader.volume_id();
    let volume_id = format!("{:04X}-{:04X}", id >> 16, id & 0xffff);
    let mut entries = reader.entries()?;
    let files = entries.iter().filter(|entry| !entry.directory).count() as u64;
    let bytes = entries.iter().map(|entry| u64::from(entry.size)).sum();
    if place == Place::Partition {
        entries = Vec::new();
    }
    Ok(Contents::Fat { bits: reader.bits(), label: reader.label()?, volume_id, files, bytes, entries })
}
