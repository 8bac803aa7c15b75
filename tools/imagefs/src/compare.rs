//! What differs between two file systems: packages, Debian packages, files, sizes, and the lines of configuration.

use crate::{
    open::ImageContents,
    packages::{debian_packages, images_of},
    source::Shared,
    texts::line_changes,
    volume::Volume,
};
use anyhow::{Context as _, Result};
use diskimage::{
    ReadAt as _,
    squashfs::{Entry, EntryKind},
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Files whose changed lines are shown: they hold the kernel's command line.
const TEXTS: &[&str] = &["grub.cfg", "grub-hv.cfg", "cmdline"];
/// Where a root file system has GRUB's configuration, and its tar the command line alone.
const GRUB: &str = "EFI/BOOT/grub.cfg";
const CMDLINE: &str = "boot/cmdline";
/// Limit of a text whose lines are compared, in bytes.
const MOST_TEXT: u64 = 1 << 20;
/// Bytes that are compared at once.
const CHUNK: u64 = 1 << 20;

/// A package with its tag or version in the old and in the new file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Package {
    /// The name.
    pub name: String,
    /// In the old one; none if it is new.
    pub old: Option<String>,
    /// In the new one; none if it is gone.
    pub new: Option<String>,
}

/// How a file differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Changed {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It has other bytes, another target or another type.
    Content,
    /// It has another mode, owner or other attributes.
    Attributes,
}

/// A file, folder or link that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// The path.
    pub path: String,
    /// How it differs.
    pub change: Changed,
    /// Its size before, in bytes.
    pub old_size: u64,
    /// Its size now, in bytes.
    pub new_size: u64,
}

/// What differs between two file systems.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Images with another tag.
    pub packages: Vec<Package>,
    /// Debian packages with another version.
    pub debian: Vec<Package>,
    /// The kernel's command line, if it differs: old and new.
    pub command_line: Option<(String, String)>,
    /// Files, in the order of paths.
    pub files: Vec<FileChange>,
    /// The changed lines of configuration, by path.
    pub lines: Vec<(String, Vec<String>)>,
    /// Bytes of all files: old and new.
    pub bytes: (u64, u64),
    /// Size of the squashfs: old and new, if both are one.
    pub stored: Option<(u64, u64)>,
    /// What could not be compared, a sentence each. If there is any, the two may differ.
    pub not_compared: Vec<String>,
}

impl Comparison {
    /// Whether everything was compared and nothing differs.
    #[must_use]
    pub fn is_same(&self) -> bool {
        let lists = [self.packages.is_empty(), self.debian.is_empty(), self.files.is_empty(), self.lines.is_empty()];
        lists == [true; 4] && self.command_line.is_none() && self.not_compared.is_empty()
    }

    /// Puts `prefix` in front of the paths.
    #[must_use]
    pub fn below(mut self, prefix: &str) -> Self {
        self.files.iter_mut().for_each(|file| file.path.insert_str(0, prefix));
        self.lines.iter_mut().for_each(|(path, _)| path.insert_str(0, prefix));
        self
    }

    /// Adds what differs in another part of the image.
    pub fn add(&mut self, other: Self) {
        self.packages.extend(other.packages);
        self.debian.extend(other.debian);
        self.files.extend(other.files);
        self.lines.extend(other.lines);
        self.not_compared.extend(other.not_compared);
        self.command_line = self.command_line.take().or(other.command_line);
        self.bytes = (self.bytes.0 + other.bytes.0, self.bytes.1 + other.bytes.1);
        self.stored = match (self.stored, other.stored) {
            (Some(one), Some(two)) => Some((one.0 + two.0, one.1 + two.1)),
            (one, two) => one.or(two),
        };
    }
}

/// Packages that differ, of two lists of names with tags or versions. A name may have several.
#[must_use]
pub fn package_changes(old: &[(String, String)], new: &[(String, String)]) -> Vec<Package> {
    let group = |list: &[(String, String)]| {
        let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, tag) in list {
            groups.entry(name.clone()).or_default().insert(tag.clone());
        }
        groups.into_iter().map(|(name, tags)| (name, tags.into_iter().collect::<Vec<_>>().join(", "))).collect::<BTreeMap<_, _>>()
    };
    let (old, new) = (group(old), group(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let package = |name: &String| Package { name: name.clone(), old: old.get(name).cloned(), new: new.get(name).cloned() };
    names.into_iter().map(package).filter(|package| package.old != package.new).collect()
}

/// What differs between `old` and `new`. `texts` shows the changed lines of every text, as for the configuration.
pub fn compare(old: &Volume, new: &Volume, texts: bool) -> Result<Comparison> {
    let images = |volume: &Volume| -> Vec<(String, String)> { images_of(volume).iter().map(|one| split_image(&one.image)).collect() };
    let debian = |volume: &Volume| -> Result<Vec<(String, String)>> {
        Ok(debian_packages(volume)?.into_iter().map(|record| (record.name, record.version)).collect())
    };
    let mut found = Comparison {
        packages: package_changes(&images(old), &images(new)),
        debian: package_changes(&debian(old)?, &debian(new)?),
        command_line: Some((command_line(old), command_line(new))).filter(|(old, new)| old != new),
        bytes: (bytes(old), bytes(new)),
        stored: old.squashfs().zip(new.squashfs()).map(|(old, new)| (old.superblock().bytes_used, new.superblock().bytes_used)),
        ..Comparison::default()
    };
    let before: HashMap<&[u8], &Entry> = old.entries().iter().map(|entry| (&entry.path[..], entry)).collect();
    for entry in new.entries() {
        let Some(was) = before.get(&entry.path[..]) else {
            found.files.push(change(Changed::Added, None, Some(entry)));
            continue;
        };
        let same = has_same_data(old, was, new, entry).with_context(|| format!("cannot compare `/{}`", name(entry)))?;
        if !same {
            found.files.push(change(Changed::Content, Some(was), Some(entry)));
        } else if !has_same_meta(was, entry) {
            found.files.push(change(Changed::Attributes, Some(was), Some(entry)));
        }
    }
    let after: BTreeSet<&[u8]> = new.entries().iter().map(|entry| &entry.path[..]).collect();
    found.files.extend(
        old.entries().iter().filter(|entry| !after.contains(&entry.path[..])).map(|entry| change(Changed::Removed, Some(entry), None)),
    );
    found.files.sort_by(|a, b| a.path.cmp(&b.path));
    for file in &found.files {
        let base = file.path.rsplit('/').next().unwrap_or_default();
        if file.change != Changed::Attributes && (texts || TEXTS.contains(&base)) {
            let lines = line_changes(&text(old, &file.path), &text(new, &file.path));
            if !lines.is_empty() {
                found.lines.push((file.path.clone(), lines));
            }
        }
    }
    Ok(found)
}

/// What differs between two partitions of this name, or two whole images: their files, or their bytes where no file system is read.
pub fn compare_contents(name: &str, old: &ImageContents, new: &ImageContents, texts: bool) -> Result<Comparison> {
    let mut found = Comparison::default();
    match (old, new) {
        (ImageContents::Files(old), ImageContents::Files(new)) => {
            let prefix = if name.is_empty() { String::new() } else { format!("{name}:") };
            found = compare(old, new, texts)?.below(&prefix);
        }
        (ImageContents::Bytes(old, _), ImageContents::Bytes(new, _)) => {
            if !has_same_bytes(old, new).with_context(|| format!("cannot compare the bytes of `{name}`"))? {
                let (old_size, new_size) = (old.size(), new.size());
                found.files.push(FileChange { path: name.to_owned(), change: Changed::Content, old_size, new_size });
            }
        }
        (ImageContents::Unread(reason), _) | (_, ImageContents::Unread(reason)) => {
            found.not_compared.push(format!("`{name}` cannot be read: {reason}"));
        }
        (ImageContents::Files(volume), ImageContents::Bytes(_, reason)) => {
            found.not_compared.push(format!("`{name}` is a {} on the old side only; on the new one {reason}", volume.format()));
        }
        (ImageContents::Bytes(_, reason), ImageContents::Files(volume)) => {
            found.not_compared.push(format!("`{name}` is a {} on the new side only; on the old one {reason}", volume.format()));
        }
    }
    Ok(found)
}

fn has_same_bytes(old: &Shared, new: &Shared) -> Result<bool> {
    if old.size() != new.size() {
        return Ok(false);
    }
    let (mut one, mut two) = (vec![0; usize::try_from(CHUNK)?], vec![0; usize::try_from(CHUNK)?]);
    let mut at = 0;
    while at < old.size() {
        let count = usize::try_from(CHUNK.min(old.size() - at))?;
        old.read_at(&mut one[..count], at)?;
        new.read_at(&mut two[..count], at)?;
        if one[..count] != two[..count] {
            return Ok(false);
        }
        at += count as u64;
    }
    Ok(true)
}

fn name(entry: &Entry) -> String {
    String::from_utf8_lossy(&entry.path).into_owned()
}

fn change(change: Changed, old: Option<&Entry>, new: Option<&Entry>) -> FileChange {
    let size = |entry: Option<&Entry>| entry.map_or(0, |entry| entry.size);
    FileChange { path: format!("/{}", old.or(new).map(name).unwrap_or_default()), change, old_size: size(old), new_size: size(new) }
}

/// Bytes of all files; hard links count once.
fn bytes(volume: &Volume) -> u64 {
    let mut seen = BTreeSet::new();
    volume.entries().iter().filter(|entry| entry.kind == EntryKind::File && seen.insert(entry.inode)).map(|entry| entry.size).sum()
}

/// The text of a file for [`line_changes`]; empty if it is none.
fn text(volume: &Volume, path: &str) -> String {
    let entry = volume.get(path.trim_start_matches('/').as_bytes()).filter(|entry| entry.kind == EntryKind::File);
    entry.and_then(|entry| String::from_utf8(volume.read(entry, MOST_TEXT).ok()?).ok()).unwrap_or_default()
}

/// The kernel's command line that the build wrote into the image.
fn command_line(volume: &Volume) -> String {
    let grub = volume.text(GRUB).unwrap_or_default();
    let line =
        grub.lines().find_map(|line| line.trim().strip_prefix("set linuxkit_cmdline=")).map(|line| line.trim_matches('"').to_owned());
    line.or_else(|| volume.text(CMDLINE)).unwrap_or_default()
}

/// The name and the tag of an image.
#[must_use]
pub fn split_image(image: &str) -> (String, String) {
    let name = image.strip_prefix("docker.io/").unwrap_or(image);
    let at = name.rfind(':').filter(|at| !name[*at..].contains('/')).unwrap_or(name.len());
    (name[..at].to_owned(), name[at..].trim_start_matches(':').to_owned())
}

fn has_same_meta(one: &Entry, two: &Entry) -> bool {
    let relevant = |entry: &Entry| (entry.meta.mode, entry.meta.uid, entry.meta.gid);
    relevant(one) == relevant(two) && one.meta.xattrs == two.meta.xattrs
}

fn has_same_data(old: &Volume, was: &Entry, new: &Volume, entry: &Entry) -> Result<bool> {
    if was.kind != entry.kind || was.size != entry.size {
        return Ok(false);
    }
    if entry.kind != EntryKind::File || entry.size == 0 {
        return Ok(true);
    }
    if let (Some(one), Some(two)) = (old.squashfs(), new.squashfs()) {
        return one.has_same_bytes(&one.stored(&was.path)?, two, &two.stored(&entry.path)?);
    }
    let digest = |volume: &Volume, entry: &Entry| -> Result<_> {
        let mut hash = Hash(Sha256::new());
        volume.copy(entry, &mut hash)?;
        Ok(hash.0.finalize())
    };
    Ok(digest(old, was)? == digest(new, entry)?)
}

struct Hash(Sha256);

impl std::io::Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
