//! Sizes of a file system by package and by folder; for a squashfs also what they take in the image.

use crate::{
    packages::{DebianRecord, Owners, debian_packages},
    volume::Volume,
};
use anyhow::Result;
use diskimage::squashfs::{Entry, EntryKind, Reader, Stored};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};

/// A part of the file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Part {
    /// The image, or the folder.
    pub name: String,
    /// How many files; hard links count once.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their bytes in a squashfs: compressed, and blocks that several files share count once, for the first. A fragment block is divided by
    /// the bytes that files have in it.
    pub stored: Option<u64>,
}

/// The sizes of a file system.
#[derive(Clone, Debug, Serialize)]
pub struct Sizes {
    /// The format.
    pub format: String,
    /// All files.
    pub total: Part,
    /// The squashfs as a whole, with inodes, directories and tables.
    pub image: Option<u64>,
    /// By image, the largest first; empty if the file system has no list of images.
    pub packages: Vec<Part>,
    /// Whether the image of every file is known.
    pub packages_complete: bool,
    /// Why that of some is not.
    pub packages_unknown: Option<String>,
    /// By folder, the largest first.
    pub folders: Vec<Part>,
    /// Debian packages: name, version, and what their records declare, in bytes.
    pub debian: Vec<(String, String, Option<u64>)>,
}

/// The size of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSize<'v> {
    /// Its path, without a leading `/`.
    pub path: &'v [u8],
    /// The image that it comes from.
    pub owner: &'v str,
    /// Its bytes.
    pub bytes: u64,
    /// Its bytes in a squashfs, as in [`Part::stored`].
    pub stored: Option<u64>,
}

/// The sizes of all files of `volume`; hard links count once, for the first.
pub fn measure_files<'v>(volume: &'v Volume, owners: &'v Owners) -> Result<Vec<FileSize<'v>>> {
    let shares = volume.squashfs().map(shares).transpose()?;
    let mut seen = HashSet::new();
    let files = volume.entries().iter().filter(|entry| entry.kind == EntryKind::File && seen.insert(entry.inode));
    let file = |entry: &'v Entry| FileSize {
        path: &entry.path,
        owner: owners.owner(&entry.path),
        bytes: entry.size,
        stored: shares.as_ref().map(|shares| shares.get(&entry.path).copied().unwrap_or_default()),
    };
    Ok(files.map(file).collect())
}

/// Measures `volume`, with folders down to `depth` levels.
pub fn measure(volume: &Volume, owners: &Owners, depth: usize) -> Result<Sizes> {
    let (mut packages, mut folders) = (BTreeMap::new(), BTreeMap::new());
    let mut total = Part { name: "total".into(), stored: volume.squashfs().map(|_| 0), ..Part::default() };
    for file in measure_files(volume, owners)? {
        for part in [
            &mut total,
            packages.entry(file.owner.to_owned()).or_insert_with(Part::default),
            folders.entry(folder_of(file.path, depth)).or_insert_with(Part::default),
        ] {
            part.files += 1;
            part.bytes += file.bytes;
            if let Some(stored) = file.stored {
                *part.stored.get_or_insert(0) += stored;
            }
        }
    }
    let known = crate::images_of(volume);
    let packages = if known.is_empty() && owners.unknown.is_some() { Vec::new() } else { sorted(packages) };
    let record = |record: DebianRecord| (record.name, record.version, record.declared_kib.map(|kib| kib << 10));
    let mut debian: Vec<_> = debian_packages(volume)?.into_iter().map(record).collect();
    debian.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.cmp(b)));
    Ok(Sizes {
        format: volume.format().to_owned(),
        total,
        image: volume.squashfs().map(|reader| reader.superblock().bytes_used),
        packages,
        packages_complete: owners.unknown.is_none(),
        packages_unknown: owners.unknown.clone(),
        folders: sorted(folders),
        debian,
    })
}

fn sorted(parts: BTreeMap<String, Part>) -> Vec<Part> {
    let mut parts: Vec<Part> = parts.into_iter().map(|(name, part)| Part { name, ..part }).collect();
    parts.sort_by(|a, b| (b.stored, b.bytes).cmp(&(a.stored, a.bytes)).then_with(|| a.name.cmp(&b.name)));
    parts
}

/// The folder of a file, down to `depth` levels: `/usr/lib`.
fn folder_of(path: &[u8], depth: usize) -> String {
    let text = String::from_utf8_lossy(path);
    let parts: Vec<&str> = text.split('/').collect();
    format!("/{}", parts[..parts.len().saturating_sub(1).min(depth)].join("/"))
}

/// The stored bytes of each file.
fn shares(reader: &Reader) -> Result<HashMap<Vec<u8>, u64>> {
    let files: Vec<(Entry, Stored)> = reader.list_stored()?.into_iter().filter_map(|(entry, stored)| Some((entry, stored?))).collect();
    let fragments = reader.fragments()?;
    let mut blocks = HashSet::new();
    let mut tails = HashSet::new();
    let mut used: HashMap<u32, u64> = HashMap::new();
    for (_, stored) in &files {
        for tail in stored.tail.iter().filter(|tail| tails.insert((tail.fragment, tail.offset))) {
            *used.entry(tail.fragment).or_default() += tail.len;
        }
    }
    tails.clear();
    let mut shares = HashMap::new();
    for (entry, stored) in files {
        let mut share: u64 = stored.blocks.iter().filter(|run| run.len > 0 && blocks.insert(run.at)).map(|run| u64::from(run.len)).sum();
        if let Some(tail) = stored.tail.filter(|tail| tails.insert((tail.fragment, tail.offset))) {
            let block = fragments.get(tail.fragment as usize).map_or(0, |run| u64::from(run.len));
            share += block * tail.len / used.get(&tail.fragment).copied().unwrap_or(1).max(1);
        }
        shares.insert(entry.path, share);
    }
    Ok(shares)
}
