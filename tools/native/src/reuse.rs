//! A package that takes nothing from what changed in the Debian archive is not built again: its image gets the layers of the image that was
//! built from the older archive.
//!
//! Of an archive, a build sees the image's own files (busybox, scripts, environment) and the packages that a deploy unpacks; see
//! [`sees_packages`] for the builds of which this is not true. A record says what a build has seen: of each image and of each deploy a
//! digest. It is found by the digest of everything else that enters the build. If all that the record names is the same now, the build
//! would see the same in the same order and write the same bytes.

use super::recipe;
use anyhow::Result;
use common::{artifact::write_atomically, digest::hex};
use filetree::{Tree, write_tar};
use oci::{Cache, Config, Layer};
use pkgbuild::{
    builder::{PACKAGES, Request, Step, is_archive, sees_dockerfile, sees_packages},
    debian::{Archive, Builtin, Selection},
    dockerfile::{Dockerfile, Instruction},
};
use plan::ImageRef;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

/// The version of keys and records. Another one makes all records unknown.
const RULES: &str = "package 1";
/// The archive's name in a key: its tag changes with each package that is added.
const ARCHIVE: &str = "ARCHIVE";
/// How many images of one package, from different archives, are remembered.
const MOST: usize = 8;
/// How long a record is kept that no build has used.
const MOST_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What a build has seen of images and archives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Seen {
    /// An image, without the archive's packages.
    Image { name: String, arch: String, digest: String },
    /// A deploy, and the digest of what it takes from the archive for `arch`.
    Deploy { arch: String, selection: Selection, digest: String },
}

/// An image and what its build has seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    seen: Vec<Seen>,
    reference: String,
    layers: Vec<String>,
    /// The image's configuration, without the labels that name the commit.
    config: Config,
}

/// The images that a build starts from: read once, without what it cannot see of them.
pub(super) type Bases = Mutex<BTreeMap<(String, String), (Config, Tree)>>;

/// Reads an image once.
pub(super) fn base(bases: &Bases, cache: &Cache, reference: &str, arch: &str) -> Result<Option<(Config, Tree)>> {
    let place = (reference.to_owned(), arch.to_owned());
    let mut known = bases.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = known.get(&place) {
        return Ok(Some(found.clone()));
    }
    let Some(image) = cache.find(reference, arch)? else { return Ok(None) };
    let tree = image.tree()?;
    known.insert(place, (image.config.clone(), tree.clone()));
    Ok(Some((image.config, tree)))
}

/// The records of one package as its files are now.
pub(super) struct Reuse<'b> {
    file: PathBuf,
    cache: &'b Cache,
    bases: &'b Bases,
    /// The archive's reference in the Dockerfile.
    archive: String,
    /// In the order of the build; none if it has seen an archive under another name.
    seen: Mutex<Option<Vec<Seen>>>,
}

/// Layers of an earlier image.
pub(super) struct Found {
    pub(super) config: Config,
    pub(super) layers: Vec<Layer>,
    pub(super) reference: String,
}

impl<'b> Reuse<'b> {
    /// The records in `folder` for a build; none if it cannot be known what the build will see. `text` is the Dockerfile.
    pub(super) fn new(folder: &Path, request: &Request<'_>, text: &str, cache: &'b Cache, bases: &'b Bases) -> Result<Option<Self>> {
        // What the network gives is in no key.
        if request.network || request.target.is_some() || sees_packages(request) || sees_dockerfile(request.dockerfile) {
            return Ok(None);
        }
        let arches = [request.arch, request.build_arch];
        let has_packages = |reference: &str| {
            arches
                .iter()
                .any(|arch| base(bases, cache, reference, arch).is_ok_and(|base| base.is_some_and(|(_, tree)| is_archive(&tree, arch))))
        };
        let mut names: BTreeSet<&str> = request.dockerfile.stages.iter().map(|stage| stage.base.as_str()).collect();
        names.retain(|name| !name.contains('$') && has_packages(name));
        let (Some(archive), 1) = (names.first().map(|name| (*name).to_owned()), names.len()) else { return Ok(None) };
        if !is_only_a_base(request.dockerfile, text, &archive) {
            return Ok(None);
        }
        let file = folder.join(format!("{}.json", key(request, &text.replace(&archive, ARCHIVE))?));
        Ok(Some(Self { file, cache, bases, archive, seen: Mutex::new(Some(Vec::new())) }))
    }

    /// Notes that the build has got an image.
    pub(super) fn saw_image(&self, reference: &str, arch: &str) -> Result<()> {
        let name = if reference == self.archive { ARCHIVE } else { reference };
        if name != ARCHIVE && self.base(name, arch)?.is_some_and(|(_, tree)| is_archive(&tree, arch)) {
            *self.seen() = None;
        }
        if let Some(digest) = self.image_digest(name, arch)? {
            self.note(Seen::Image { name: name.to_owned(), arch: arch.to_owned(), digest });
        }
        Ok(())
    }

    /// Notes what a step takes from the archive, if it is a deploy.
    pub(super) fn saw_step(&self, step: &Step) -> Result<()> {
        let Some((Builtin::Deploy, env)) = Builtin::parse(&step.command, &step.env) else { return Ok(()) };
        // Of another archive, which is in no record.
        if self.seen().is_none() {
            return Ok(());
        }
        let selection = Selection::of(&env, &step.arch);
        let digest = self.deploy_digest(&selection, &step.arch)?.unwrap_or_default();
        self.note(Seen::Deploy { arch: step.arch.clone(), selection, digest });
        Ok(())
    }

    fn note(&self, seen: Seen) {
        self.seen().iter_mut().for_each(|all| all.push(seen.clone()));
    }

    fn seen(&self) -> MutexGuard<'_, Option<Vec<Seen>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn base(&self, name: &str, arch: &str) -> Result<Option<(Config, Tree)>> {
        base(self.bases, self.cache, if name == ARCHIVE { &self.archive } else { name }, arch)
    }

    /// The digest of an image as the build sees it.
    fn image_digest(&self, name: &str, arch: &str) -> Result<Option<String>> {
        let Some((mut config, mut tree)) = self.base(name, arch)? else { return Ok(None) };
        if is_archive(&tree, arch) {
            // The image starts from scratch, so it inherits no label; one names the commit of the archive.
            config.labels.clear();
            tree.remove(PACKAGES);
        }
        Ok(Some(digest(&[&serde_json::to_vec(&config)?, tree_digest(&tree)?.as_bytes()])))
    }

    fn deploy_digest(&self, selection: &Selection, arch: &str) -> Result<Option<String>> {
        let Some((_, tree)) = self.base(ARCHIVE, arch)? else { return Ok(None) };
        Ok(Some(digest(&[selection.inputs(&Archive::from_tree(&tree, arch)?)?.as_bytes()])))
    }

    fn is_same(&self, seen: &Seen) -> bool {
        // An archive that lacks a package is another one: the build then says what is wrong.
        let (now, then) = match seen {
            Seen::Image { name, arch, digest } => (self.image_digest(name, arch), digest),
            Seen::Deploy { arch, selection, digest } => (self.deploy_digest(selection, arch), digest),
        };
        now.is_ok_and(|now| now.as_ref() == Some(then))
    }

    fn records(&self) -> Vec<Record> {
        fs::read(&self.file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// The layers of an image whose build has seen the same; the build then need not run.
    pub(super) fn find(&self, arch: &str) -> Result<Option<Found>> {
        for record in self.records() {
            if record.seen.is_empty() || !record.seen.iter().all(|seen| self.is_same(seen)) {
                continue;
            }
            let Ok(Some(image)) = self.cache.find_whole(&record.reference, arch) else { continue };
            // Nobody else may have given the tag to another image. The layers' bytes are compared with their digests.
            if image.layers.iter().map(Layer::digest).ne(record.layers.iter().map(String::as_str))
                || image.layers.iter().any(|layer| layer.open().is_err())
            {
                continue;
            }
            *self.seen() = Some(record.seen);
            return Ok(Some(Found { config: record.config, layers: image.layers, reference: record.reference }));
        }
        Ok(None)
    }

    /// Keeps a record of the image that was just written.
    pub(super) fn keep(&self, image: &ImageRef, config: &Config) -> Result<()> {
        let Some(seen) = self.seen().clone() else { return Ok(()) };
        let Some(written) = self.cache.find(&image.reference, image.arch.as_str())? else { return Ok(()) };
        let layers = written.layers.iter().map(|layer| layer.digest().to_owned()).collect();
        let record = Record { seen, reference: image.reference.clone(), layers, config: config.clone() };
        let mut records = self.records();
        records.retain(|other| other.seen != record.seen);
        records.insert(0, record);
        records.truncate(MOST);
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder)?;
            prune(folder);
        }
        write_atomically(&self.file, &serde_json::to_vec_pretty(&records)?)
    }
}

/// Whether the text of a Dockerfile has an image's name only where a stage starts from it, or copies or mounts from it. In an ENV, an ARG, a
/// LABEL or a RUN the name, and with it the archive's tag, would get into the image.
fn is_only_a_base(file: &Dockerfile, text: &str, image: &str) -> bool {
    let is_image = |name: Option<&str>| usize::from(name == Some(image));
    let items = file.stages.iter().flat_map(|stage| &stage.items).map(|item| match &item.instruction {
        Instruction::Copy(copy) => is_image(copy.from.as_deref()),
        Instruction::Run(run) => run.mounts.iter().map(|mount| is_image(mount.get(&["from"]))).sum(),
        _ => 0,
    });
    let bases = file.stages.iter().map(|stage| is_image(Some(&stage.base)));
    text.matches(image).count() == bases.chain(items).sum::<usize>()
}

/// The digest of all that enters a build but its base images: the code, the Dockerfile, its context and its settings.
fn key(request: &Request<'_>, dockerfile: &str) -> Result<String> {
    let settings = format!("{} {} {} {:?}", request.arch, request.build_arch, request.source_date_epoch, request.build_args);
    Ok(digest(&[RULES, recipe::code_digest(), dockerfile, &tree_digest(request.context)?, &settings].map(str::as_bytes)))
}

fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

/// The digest of a tree: names, metadata and contents, as in a tar.
fn tree_digest(tree: &Tree) -> Result<String> {
    Ok(hex(&write_tar(tree, Hash(Sha256::new()))?.0.finalize()))
}

struct Hash(Sha256);

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Removes the records that no build has used for long.
fn prune(folder: &Path) {
    let is_old = |entry: &fs::DirEntry| {
        let changed = entry.metadata().and_then(|metadata| metadata.modified());
        changed.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age > MOST_AGE))
    };
    fs::read_dir(folder).into_iter().flatten().flatten().filter(is_old).for_each(|entry| drop(fs::remove_file(entry.path())));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_name_of_the_archive_may_stand_for_nothing_but_an_image() {
        let is_only = |lines: &str| {
            let text = format!("FROM o/eve-debian:1 AS build\n{lines}\nFROM scratch\nCOPY --from=o/eve-debian:1 /etc/os-release /\n");
            is_only_a_base(&Dockerfile::parse(&text, "Dockerfile").unwrap(), &text, "o/eve-debian:1")
        };
        assert!(is_only("RUN --mount=type=bind,from=o/eve-debian:1,source=/etc,target=/m true"));
        for lines in [
            "ENV FROM=o/eve-debian:1",
            "ARG IMAGE=o/eve-debian:1",
            "LABEL base=o/eve-debian:1",
            "RUN echo o/eve-debian:1 >/out",
            "RUN cat >/out <<E\nFROM o/eve-debian:1\nE",
            "COPY --from=o/eve-debian:1-amd64 /etc /etc",
            "RUN --mount=type=bind,from=docker.io/o/eve-debian:1,source=/etc,target=/m true",
        ] {
            assert!(!is_only(lines), "{lines}");
        }
    }
}
