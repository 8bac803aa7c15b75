//! Finds what `FILE:PARTITION:PATH` names: through containers, partitions, compressed files, and images inside of images.

use crate::{
    source::{self, Shared},
    volume::Volume,
};
use anyhow::{Context as _, Result, bail};
use common::error::did_you_mean;
use diskimage::{
    FileImage, ReadAt as _,
    container::{self, Container},
    gpt,
    squashfs::EntryKind,
};
use std::{
    fs::File,
    path::{Path, PathBuf},
};

/// How deep images may be nested: containers, compressed files and images in each other.
const MOST_DEPTH: u32 = 8;
/// How many names an error lists.
const MOST_LISTED: usize = 20;

/// A file, and the way into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The file.
    pub file: PathBuf,
    /// The steps from there: a partition, or a path, and then a path in the image at that path, and so on.
    pub steps: Vec<String>,
}

impl Spec {
    /// Parses `FILE[:STEP…]`; `path` is more steps. The file's own name may contain colons: the longest name that exists counts.
    #[must_use]
    pub fn parse(text: &str, path: Option<&str>) -> Self {
        let ends = std::iter::once(text.len()).chain(text.rmatch_indices(':').map(|(at, _)| at));
        let end = ends.into_iter().find(|end| Path::new(&text[..*end]).exists());
        let end = end.or_else(|| text.find(':')).unwrap_or(text.len());
        let steps = text[end..].split(':').skip(1).chain(path.into_iter().flat_map(|path| path.split(':')));
        Self { file: PathBuf::from(&text[..end]), steps: steps.map(str::to_owned).collect() }
    }
}

/// What a [`Spec`] names.
pub enum LookedUp {
    /// The file as a whole: there are no steps.
    Whole,
    /// An entry of a file system, by its path with links followed.
    Entry(Box<Volume>, Vec<u8>),
}

/// An open image.
pub(crate) enum Opened {
    Volume(Box<Volume>),
    Disk(Shared, Vec<Partition>),
}

/// A partition.
pub(crate) struct Partition {
    number: u32,
    name: String,
    start: u64,
    len: u64,
}

impl Partition {
    fn title(&self) -> String {
        if self.name.is_empty() { self.number.to_string() } else { format!("{} ({})", self.name, self.number) }
    }
}

/// Finds what `spec` names.
pub fn look_up(spec: &Spec) -> Result<LookedUp> {
    if spec.steps.is_empty() {
        return Ok(LookedUp::Whole);
    }
    let mut shown = spec.file.display().to_string();
    let mut at = open(&spec.file)?;
    let mut steps = &spec.steps[..];
    loop {
        match at {
            Opened::Disk(disk, partitions) => {
                let [name, rest @ ..] = steps else {
                    bail!("`{shown}` is a disk\nhint: name a partition of it: {}", titles(&partitions));
                };
                let part = find_partition(&shown, &partitions, name)?;
                shown = format!("{shown}:{name}");
                at = open_source(disk.part(part.start, part.len)?, &shown, Place::Partition)?;
                steps = rest;
            }
            Opened::Volume(volume) => {
                let (path, rest) = find_path(&volume, &shown, steps)?;
                if rest.is_empty() {
                    return Ok(LookedUp::Entry(volume, path));
                }
                let entry = volume.get(&path).context("a path that was found is there")?;
                shown = format!("{shown}:/{}", String::from_utf8_lossy(&path));
                if entry.kind != EntryKind::File {
                    bail!("`{shown}` is no file, so nothing is in it");
                }
                at = open_source(volume.inside(entry)?, &shown, Place::Alone)?;
                steps = rest;
            }
        }
    }
}

/// Opens the image at `path` as a file system: its own, or that of the partition `name`.
pub fn open_file(path: &Path, name: Option<&str>) -> Result<Volume> {
    let shown = path.display().to_string();
    match (open(path)?, name) {
        (Opened::Volume(volume), _) => Ok(*volume),
        (Opened::Disk(_, partitions), None) => {
            bail!("`{shown}` is a disk\nhint: name a partition of it: {}", titles(&partitions))
        }
        (Opened::Disk(disk, partitions), Some(name)) => {
            let part = find_partition(&shown, &partitions, name)?;
            match open_source(disk.part(part.start, part.len)?, &format!("{shown}:{name}"), Place::Partition)? {
                Opened::Volume(volume) => Ok(*volume),
                Opened::Disk(..) => bail!("the partition `{name}` of `{shown}` is a disk itself, which is not read"),
            }
        }
    }
}

/// What is in an image or a partition.
pub enum ImageContents {
    /// A file system.
    Files(Box<Volume>),
    /// Bytes in which no file system is read, and why.
    Bytes(Shared, String),
    /// Nothing that can be read: the reason.
    Unread(String),
}

/// Opens everything in the image at `path`: its own file system, with an empty name, or all partitions, by name or number.
pub fn open_all(path: &Path) -> Result<Vec<(String, ImageContents)>> {
    let (disk, partitions) = match open(path)? {
        Opened::Volume(volume) => return Ok(vec![(String::new(), ImageContents::Files(volume))]),
        Opened::Disk(disk, partitions) => (disk, partitions),
    };
    let mut found: Vec<(String, ImageContents)> = Vec::new();
    for part in partitions {
        // Two partitions may have one name.
        let is_taken = found.iter().any(|(name, _)| *name == part.name);
        let name = if part.name.is_empty() || is_taken { part.title() } else { part.name };
        let contents = match disk.part(part.start, part.len) {
            Err(error) => ImageContents::Unread(format!("{error:#}")),
            Ok(source) => match Volume::open(&source) {
                Ok(Some(volume)) => ImageContents::Files(Box::new(volume)),
                Ok(None) => ImageContents::Bytes(source, "it holds no file system that is read".to_owned()),
                Err(error) => ImageContents::Bytes(source, format!("{error:#}")),
            },
        };
        found.push((name, contents));
    }
    Ok(found)
}

fn open(path: &Path) -> Result<Opened> {
    let shown = path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot open `{shown}`"))?;
    if file.metadata()?.is_dir() {
        bail!("`{shown}` is a directory, not an image");
    }
    let image = FileImage::new(file)?;
    let mut magic = [0; 5];
    if image.size() > 512 && image.read_at(&mut magic, 257).is_ok() && &magic == b"ustar" {
        let absolute = path.canonicalize().with_context(|| format!("cannot open `{shown}`"))?;
        return Ok(Opened::Volume(Box::new(Volume::of_tar_file(&absolute).with_context(|| format!("cannot open `{shown}`"))?)));
    }
    let source = match Container::of(&image)? {
        // This also opens backing files.
        Some(_) => Shared::from(container::open(path)?),
        None => Shared::new(image),
    };
    open_source(source, &shown, Place::Alone)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Alone,
    Partition,
}

fn open_source(mut source: Shared, shown: &str, place: Place) -> Result<Opened> {
    let context = || format!("cannot open `{shown}`");
    for _ in 0..MOST_DEPTH {
        match Container::of(&source).with_context(context)? {
            // The end of a partition belongs to whatever is at its start.
            Some(container) if place == Place::Alone => {
                source = Shared::from(container::inside(container, source, None).with_context(context)?);
                continue;
            }
            _ => {}
        }
        if let Some(plain) = source::unpacked(&source).with_context(context)? {
            source = plain;
            continue;
        }
        if let Some(volume) = Volume::open(&source).with_context(context)? {
            return Ok(Opened::Volume(Box::new(volume)));
        }
        let partitions = partitions(&source).with_context(context)?;
        if place == Place::Partition || partitions.is_empty() {
            let start = source.start(1 << 20)?;
            let what = if start.iter().all(|byte| *byte == 0) { "its first bytes are zeros" } else { "no known format fits" };
            bail!("`{shown}` holds no file system that is read: {what}\nhint: squashfs, FAT, ext4, ISO 9660, tar and cpio are read");
        }
        return Ok(Opened::Disk(source, partitions));
    }
    bail!("`{shown}`: more than {MOST_DEPTH} containers or compressed files in each other are not read")
}

fn partitions(source: &Shared) -> Result<Vec<Partition>> {
    if let Some(table) = gpt::read(source)? {
        let part = |entry: gpt::GptEntry| {
            let sectors = entry.last_lba.saturating_sub(entry.first_lba).saturating_add(1);
            let (start, len) = (entry.first_lba.saturating_mul(table.sector), sectors.saturating_mul(table.sector));
            Partition { number: entry.number, name: entry.name, start, len }
        };
        return Ok(table.entries.into_iter().map(part).collect());
    }
    let records = gpt::read_mbr(source)?.unwrap_or_default();
    let part = |record: gpt::MbrEntry| Partition {
        number: record.number,
        name: String::new(),
        start: u64::from(record.first_lba) * 512,
        len: u64::from(record.sectors) * 512,
    };
    Ok(records.into_iter().map(part).collect())
}

/// The name of the EFI system partition, which people also call ESP or EFI.
const ESP_NAME: &str = "EFI System";

fn find_partition<'p>(shown: &str, partitions: &'p [Partition], name: &str) -> Result<&'p Partition> {
    let wanted = name.trim_matches('/');
    if wanted.is_empty() {
        bail!("`{shown}` is a disk\nhint: name a partition of it: {}", titles(partitions));
    }
    let number = wanted.parse().ok();
    let exact = partitions.iter().find(|part| part.name == wanted);
    let found = exact.or_else(|| partitions.iter().find(|part| Some(part.number) == number));
    let esp = || partitions.iter().find(|part| part.name == ESP_NAME).filter(|_| ["ESP", "EFI"].contains(&&*wanted.to_uppercase()));
    found.or_else(|| partitions.iter().find(|part| part.name.eq_ignore_ascii_case(wanted))).or_else(esp).with_context(|| {
        let near = did_you_mean(wanted, partitions.iter().map(|part| part.name.as_str())).map(|near| format!("; did you mean {near}?"));
        format!("`{shown}` is a disk without a partition `{wanted}`: it has {}{}", titles(partitions), near.unwrap_or_default())
    })
}

fn titles(partitions: &[Partition]) -> String {
    partitions.iter().map(Partition::title).collect::<Vec<_>>().join(", ")
}

/// The path that the first step names, links followed, and the steps after it. A file's name may contain colons, so the longest name counts.
fn find_path<'s>(volume: &Volume, shown: &str, steps: &'s [String]) -> Result<(Vec<u8>, &'s [String])> {
    if steps.is_empty() {
        return Ok((Vec::new(), steps));
    }
    for count in (1..=steps.len()).rev() {
        let path = steps[..count].join(":");
        if let Some(entry) = volume.find(path.as_bytes()).with_context(|| format!("in `{shown}`"))? {
            return Ok((entry.path.clone(), &steps[count..]));
        }
    }
    Err(missing(volume, shown, &steps[0]))
}

/// The error for a path that does not exist: it names the first part that is missing, and what there is in its place.
fn missing(volume: &Volume, shown: &str, path: &str) -> anyhow::Error {
    let mut folder = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        let below = if folder.is_empty() { part.as_bytes().to_vec() } else { [&folder[..], b"/", part.as_bytes()].concat() };
        if let Ok(Some(entry)) = volume.find(&below) {
            folder.clone_from(&entry.path);
            continue;
        }
        let place = format!("`/{}`", String::from_utf8_lossy(&folder));
        let Some(names) = volume.names_in(&folder) else {
            return anyhow::anyhow!("`{path}` is not in `{shown}`: {place} is no folder");
        };
        if let Some(EntryKind::Symlink(target)) = volume.get(&below).map(|entry| &entry.kind) {
            let target = String::from_utf8_lossy(target);
            return anyhow::anyhow!("`{path}` is not in `{shown}`: `{part}` in {place} is a link to `{target}`, which is not there");
        }
        let names: Vec<_> = names.into_iter().map(String::from_utf8_lossy).collect();
        let near = did_you_mean(part, names.iter().map(AsRef::as_ref)).map(|near| format!("; did you mean {near}?"));
        let more = names.len().saturating_sub(MOST_LISTED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let listed = if names.is_empty() { "nothing".to_owned() } else { names[..names.len().min(MOST_LISTED)].join(", ") };
        let near = near.unwrap_or_default();
        return anyhow::anyhow!("`{path}` is not in `{shown}`: {place} has no `{part}`; it has {listed}{more}{near}");
    }
    anyhow::anyhow!("`{path}` is not in `{shown}`")
}
