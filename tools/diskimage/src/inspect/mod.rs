//! Identifies the content of an image file by its bytes, never by its name. Damaged content is part of the report; only I/O
//! errors of the file itself are errors.

mod display;
mod ext;
mod iso;
mod probe;
#[cfg(test)]
mod tests;

use crate::{
    container::{self, Container},
    fat,
    gpt::{self, Gpt, MbrEntry},
    qcow2,
    read_at::{FileImage, ReadAt, Window},
    squashfs, verity,
};
use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    path::Path,
};

/// Content of an image; `Display` prints aligned tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Size in bytes of the file, the partition, or the disk inside a qcow2.
    pub size: u64,
    /// Content.
    #[serde(flatten)]
    pub contents: Contents,
}

/// Known types of content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Contents {
    /// A disk with a GUID partition table.
    Gpt {
        /// GUID of the disk.
        disk_guid: gpt::Guid,
        /// Partitions in disk order.
        partitions: Vec<Partition>,
        /// MBR records: one for a protective MBR, more for a hybrid MBR.
        mbr: Vec<MbrEntry>,
        /// Errors in the table.
        problems: Vec<String>,
        /// Remarks that are not errors.
        notes: Vec<String>,
    },
    /// A disk with an MBR only.
    Mbr {
        /// Records of the MBR.
        mbr: Vec<MbrEntry>,
    },
    /// A qcow2 file.
    Qcow2 {
        /// Version of the format: 2 or 3.
        version: u32,
        /// Size of a cluster in bytes.
        cluster_size: u64,
        /// Compression of clusters.
        compression: qcow2::Compression,
        /// The backing file that it names, whose bytes are part of the disk.
        #[serde(skip_serializing_if = "Option::is_none")]
        backing: Option<String>,
        /// The disk inside.
        disk: Box<Report>,
    },
    /// Another container of a disk.
    Container {
        /// Its format.
        format: String,
        /// The disk inside.
        disk: Box<Report>,
    },
    /// Content of a known format that is not looked into.
    Unread {
        /// Name of the format.
        format: String,
        /// Why.
        reason: String,
    },
    /// A FAT volume.
    Fat {
        /// Width of a table entry.
        bits: fat::Bits,
        /// Label.
        label: String,
        /// Serial number as `1234-ABCD`.
        volume_id: String,
        /// Number of files.
        files: u64,
        /// Total size of the files in bytes.
        bytes: u64,
        /// Files and directories; omitted for a partition.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        entries: Vec<fat::Entry>,
    },
    /// A squashfs.
    Squashfs {
        /// Name of the compressor.
        compression: String,
        /// Inodes.
        inodes: u32,
        /// Size of a block in bytes.
        block_size: u32,
        /// Size of the file system in bytes.
        used: u64,
        /// Creation time: Unix timestamp.
        mtime: u32,
        /// What the signed block behind it says of its dm-verity; the signature is not checked.
        #[serde(skip_serializing_if = "Option::is_none")]
        verity: Option<verity::RootStatement>,
        /// Sums of folders, down to the second level; omitted for a partition.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        folders: Vec<Folder>,
    },
    /// An ext2, ext3 or ext4.
    Ext {
        /// Label.
        label: String,
        /// UUID.
        uuid: gpt::Guid,
        /// Size of the file system in bytes.
        bytes: u64,
        /// Free space in bytes.
        free: u64,
        /// Entries of the root directory; omitted for a partition.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        entries: Vec<Top>,
    },
    /// An ISO 9660.
    Iso {
        /// Label.
        label: String,
        /// Size of the volume in bytes.
        bytes: u64,
        /// Whether it has a UEFI boot record.
        uefi: bool,
        /// Entries of the root directory; omitted for a partition.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        entries: Vec<Top>,
    },
    /// A tar archive.
    Tar {
        /// Number of files, directories and links.
        entries: u64,
        /// Total size of their contents in bytes.
        bytes: u64,
    },
    /// A compressed file; its content is not inspected.
    Compressed {
        /// `gzip`, `xz` or `zstd`.
        format: String,
    },
    /// A known format whose bytes are wrong.
    Broken {
        /// Name of the format.
        format: String,
        /// Cause of the error.
        problem: String,
    },
    /// The first MiB is zeros.
    Blank,
    /// Unknown content.
    Unknown,
}

/// A folder of a file system, with everything below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Folder {
    /// Path from the root.
    pub path: String,
    /// Number of files, links and devices.
    pub files: u64,
    /// Uncompressed size of the files in bytes; hard links count once.
    pub bytes: u64,
}

/// A file or directory in the root of a file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Top {
    /// File name.
    pub name: String,
    /// Whether it is a directory.
    pub directory: bool,
    /// Size of the file in bytes; 0 for a directory.
    pub size: u64,
}

impl Report {
    /// The first thing that is wrong with the image or with anything in it.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match &self.contents {
            Contents::Broken { format, problem } => Some(format!("{format}: {problem}")),
            Contents::Qcow2 { disk, .. } | Contents::Container { disk, .. } => disk.problem(),
            Contents::Gpt { partitions, problems, .. } => {
                let of_partition = |partition: &Partition| Some(format!("{}: {}", partition.entry.name, partition.content.problem()?));
                problems.first().cloned().or_else(|| partitions.iter().find_map(of_partition))
            }
            _ => None,
        }
    }

    /// The format of the image, or of the one in its container, if nothing here reads it.
    #[must_use]
    pub fn unread(&self) -> Option<&str> {
        match &self.contents {
            Contents::Unread { format, .. } => Some(format),
            Contents::Qcow2 { disk, .. } | Contents::Container { disk, .. } => disk.unread(),
            _ => None,
        }
    }
}

/// A partition and its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// Entry in the GPT.
    #[serde(flatten)]
    pub entry: gpt::GptEntry,
    /// Content.
    pub content: Report,
}

/// Where an image was found. It limits the work that a hostile image can cause: disks inside (possibly overlapping) partitions
/// are not inspected, and nested containers only up to [`MOST_CONTAINERS`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A file, inside this number of containers.
    Alone(u32),
    /// A partition.
    Partition,
}

const MOST_CONTAINERS: u32 = 3;
/// Maximum number of partitions to inspect.
const MOST_PARTITIONS: usize = gpt::ENTRIES as usize;

/// Inspects the file or block device at `path`.
pub fn inspect(path: &Path) -> Result<Report> {
    let file = File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
    if file.metadata()?.is_dir() {
        bail!("`{}` is a directory, not an image", path.display());
    }
    let image = FileImage::new(file.try_clone()?)?;
    let report = match Container::of(&image)? {
        Some(Container::Qcow2) => match container::backing_of(path, &image) {
            Ok(None) => look(&image, Place::Alone(0)),
            Ok(Some(base)) => {
                let contents = look_into_qcow2(&image, Place::Alone(0), Some(base)).unwrap_or_else(|error| broken("qcow2", &error));
                Ok(Report { size: image.size(), contents })
            }
            Err(error) => Ok(Report { size: image.size(), contents: broken("qcow2", &error) }),
        },
        _ => look(&image, Place::Alone(0)),
    };
    let mut report = report.with_context(|| format!("cannot inspect `{}`", path.display()))?;
    if let Contents::Squashfs { folders, .. } = &mut report.contents {
        match squashfs::Reader::open(file).and_then(|reader| reader.list()) {
            Ok(entries) => *folders = folders_of(&entries),
            Err(error) => report.contents = broken("squashfs", &error),
        }
    }
    Ok(report)
}

/// Sums up the entries of a file system by the first two parts of their paths.
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

/// Inspects an open image.
pub fn inspect_image(source: &dyn ReadAt) -> Result<Report> {
    look(source, Place::Alone(0))
}

fn look(source: &dyn ReadAt, place: Place) -> Result<Report> {
    Ok(Report { size: source.size(), contents: recognise(source, place)? })
}

fn recognise(source: &dyn ReadAt, place: Place) -> Result<Contents> {
    let magic = probe::start(source)?;
    match Container::of(source)? {
        Some(Container::Qcow2) => return Ok(look_into_qcow2(source, place, None).unwrap_or_else(|error| broken("qcow2", &error))),
        // The end of a disk or partition belongs to whatever is at its start.
        Some(Container::FixedVhd) if place == Place::Partition => {}
        Some(container) => return Ok(look_into(container, source, place).unwrap_or_else(|error| broken(container.name(), &error))),
        None => {}
    }
    if let Some(found) = probe::simple(&magic, source) {
        return Ok(found);
    }
    let all = place != Place::Partition;
    if probe::is_ext(&magic) {
        return Ok(ext::look(source, all).unwrap_or_else(|error| broken("ext2/3/4", &error)));
    }
    if iso::is_iso(source) {
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

/// The place of the disk in a container at `place`; the reason if it is not looked into.
fn place_inside(place: Place) -> Result<Place, String> {
    match place {
        Place::Alone(depth) if depth < MOST_CONTAINERS => Ok(Place::Alone(depth + 1)),
        Place::Alone(_) => Err(format!("inside {MOST_CONTAINERS} other containers")),
        Place::Partition => Err("inside a partition".into()),
    }
}

fn unread(format: &str, reason: String) -> Contents {
    Contents::Unread { format: format.into(), reason }
}

fn look_into_qcow2(source: &dyn ReadAt, place: Place, base: Option<Box<dyn ReadAt>>) -> Result<Contents> {
    let within = match place_inside(place) {
        Ok(within) => within,
        Err(reason) => return Ok(unread("qcow2", reason)),
    };
    let backing = qcow2::backing(source)?.map(|backing| String::from_utf8_lossy(&backing.name).into_owned());
    let reader = qcow2::Reader::read(source, base)?;
    let (version, cluster_size, compression) = (reader.version(), reader.cluster_size(), reader.compression());
    Ok(Contents::Qcow2 { version, cluster_size, compression, backing, disk: Box::new(look(&reader, within)?) })
}

fn look_into(container: Container, source: &dyn ReadAt, place: Place) -> Result<Contents> {
    match place_inside(place) {
        Err(reason) => Ok(unread(container.name(), reason)),
        Ok(_) if !container.is_read() => Ok(unread(container.name(), "no reader for this format".into())),
        Ok(within) => {
            let disk = container::inside(container, source, None)?;
            Ok(Contents::Container { format: container.name().into(), disk: Box::new(look(disk.as_ref(), within)?) })
        }
    }
}

fn look_into_disk(source: &dyn ReadAt, gpt: Gpt, place: Place) -> Result<Contents> {
    if place == Place::Partition {
        return Ok(unread("GPT disk", "inside a partition".into()));
    }
    let (sector, mut entries) = (gpt.sector, gpt.entries);
    entries.sort_by_key(|entry| (entry.first_lba, entry.number));
    let partitions = entries.into_iter().enumerate().map(|(index, entry)| {
        let sectors = entry.last_lba.saturating_sub(entry.first_lba).saturating_add(1);
        let (start, len) = (entry.first_lba.saturating_mul(sector), sectors.saturating_mul(sector));
        if index >= MOST_PARTITIONS {
            let contents = unread("partition", format!("after {MOST_PARTITIONS} other partitions"));
            return Partition { entry, content: Report { size: len, contents } };
        }
        let content = Window::new(source, start, len).and_then(|window| look(&window, Place::Partition));
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
