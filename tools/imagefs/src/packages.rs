//! Which images a root file system is made of, which of them each file comes from, and the Debian packages in it.

use crate::volume::Volume;
use anyhow::{Context as _, Result, bail};
use compose::{Images, Options, Reference, Yml, image_references};
use diskimage::squashfs::{Entry, EntryKind};
use filetree::Content;
use pkgbuild::debian::{STATUS, stanzas};
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

/// PAX record of rootfs.tar: the image that an entry comes from.
const SOURCE: &str = "LINUXKIT.source";
/// Where the composed yml is in the image.
const YML: &str = "etc/linuxkit-eve-config.yml";
/// The owner of files that nobody claims.
const UNKNOWN: &str = "init images and kernel";

/// The images of a root file system, in the order of its yml; none if it has no yml.
#[must_use]
pub fn images_of(volume: &Volume) -> Vec<Reference> {
    let parse = |text: String| Yml::parse(&text, YML).ok();
    volume.text(YML).and_then(parse).map(|yml| image_references(&yml)).unwrap_or_default()
}

/// The image of each file.
pub struct Owners {
    by_path: HashMap<Vec<u8>, String>,
    by_folder: Vec<(Vec<u8>, String)>,
    /// Why the image of some files is not known; none if that of every file is.
    pub unknown: Option<String>,
}

impl Owners {
    /// Owners by the records in `tar`, a rootfs.tar; without it, or if it was made of other images, by the `images` that the volume's yml
    /// names. If they do not have all files of the volume, containers are told apart by their folders and the rest is one.
    pub fn of(volume: &Volume, tar: Option<&Path>, images: Option<&dyn Images>) -> Result<Self> {
        if let Some(tar) = tar.filter(|tar| tar.is_file()) {
            let content = Content::of_path(tar)?;
            let entries = filetree::read_tar_content(&content).with_context(|| format!("cannot read `{}`", tar.display()))?;
            let yml = entries.iter().rev().find(|(entry, _)| entry.path == YML.as_bytes()).map(|(entry, _)| entry.kind.clone());
            let same = match yml {
                Some(filetree::EntryKind::Node(filetree::Kind::File { content, .. })) => {
                    volume.text(YML).is_some_and(|text| content.read_all().is_ok_and(|bytes| bytes == text.into_bytes()))
                }
                _ => false,
            };
            if same {
                let source = |records: filetree::Records| records.into_iter().find(|(key, _)| key == SOURCE).map(|(_, value)| value);
                let by_path = entries.into_iter().filter_map(|(entry, records)| Some((entry.path, source(records)?))).collect();
                // A tar that was written anew, for a file of ACRN_BIN, has no records.
                if first_unknown(volume, &by_path).is_none() {
                    return Ok(Self { by_path, by_folder: Vec::new(), unknown: None });
                }
            }
        }
        let unknown = match images.map(|images| sources_of(volume, images)) {
            Some(Ok(by_path)) => return Ok(Self { by_path, by_folder: Vec::new(), unknown: None }),
            Some(Err(error)) => format!("{error:#}"),
            None => "its images are not looked up".to_owned(),
        };
        Ok(Self { by_path: HashMap::new(), by_folder: folders(volume), unknown: Some(unknown) })
    }

    /// The image that the file at `path` comes from.
    #[must_use]
    pub fn owner(&self, path: &[u8]) -> &str {
        if let Some(image) = self.by_path.get(path) {
            return image;
        }
        let inside = |folder: &[u8]| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with(b"/"));
        self.by_folder.iter().find(|(folder, _)| inside(folder)).map_or(UNKNOWN, |(_, image)| image)
    }
}

/// The image of each path; fails if the images of the volume's yml do not have all of its files.
fn sources_of(volume: &Volume, images: &dyn Images) -> Result<HashMap<Vec<u8>, String>> {
    let yml = Yml::parse(&volume.text(YML).with_context(|| format!("it has no /{YML}"))?, YML)?;
    let sources = compose::sources(&yml, images, &Options::default())?;
    match first_unknown(volume, &sources) {
        Some(path) => bail!("/{} is in none of its images", String::from_utf8_lossy(path)),
        None => Ok(sources),
    }
}

/// A file that has no source. ACRN_BIN puts one into `/boot`, which is of no image.
fn first_unknown<'v>(volume: &'v Volume, sources: &HashMap<Vec<u8>, String>) -> Option<&'v [u8]> {
    let is_file = |entry: &&Entry| entry.kind == EntryKind::File && !entry.path.starts_with(b"boot/");
    volume.entries().iter().filter(is_file).map(|entry| entry.path.as_slice()).find(|path| !sources.contains_key(*path))
}

/// The folders of containers, with their images.
fn folders(volume: &Volume) -> Vec<(Vec<u8>, String)> {
    let mut found = Vec::new();
    for reference in images_of(volume) {
        let Some((section, rest)) = reference.place.split_once('[') else { continue };
        let Some((number, name)) = rest.split_once("] ") else { continue };
        let number: usize = number.parse().unwrap_or_default();
        let folder = if section == "services" { name.to_owned() } else { format!("{number:03}-{name}") };
        found.push((format!("containers/{section}/{folder}").into_bytes(), reference.image));
    }
    found
}

/// A Debian package whose record is in the image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DebianRecord {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The folders in which it is recorded: `/`, `/containers/services/debug/lower`.
    pub places: Vec<String>,
    /// What the record says that the installed package takes, in KiB. An image leaves out documentation.
    pub declared_kib: Option<u64>,
}

/// The Debian packages by name and version.
pub fn debian_packages(volume: &Volume) -> Result<Vec<DebianRecord>> {
    let mut found: BTreeMap<(String, String), DebianRecord> = BTreeMap::new();
    for entry in volume.entries() {
        let Ok(path) = std::str::from_utf8(&entry.path) else { continue };
        let Some((root, _)) = path.rsplit_once('/').and_then(|(folder, name)| Some((folder.strip_suffix(STATUS)?, name))) else { continue };
        if entry.kind != EntryKind::File || !(root.is_empty() || root.ends_with('/')) {
            continue;
        }
        let text = String::from_utf8(volume.read(entry, 1 << 20)?).with_context(|| format!("`/{path}` is not UTF-8"))?;
        for stanza in stanzas(&text, path) {
            let stanza = stanza?;
            let (name, version) = (stanza.need("Package")?.to_owned(), stanza.need("Version")?.to_owned());
            let declared_kib = stanza.get("Installed-Size").and_then(|size| size.parse().ok());
            let record = DebianRecord { name: name.clone(), version: version.clone(), places: Vec::new(), declared_kib };
            let place = format!("/{}", root.trim_end_matches('/'));
            found.entry((name, version)).or_insert(record).places.push(place);
        }
    }
    Ok(found.into_values().collect())
}
