//! `--locked`: a signed list of digests says which images and artifacts a build may take from the image cache, the store and the team's
//! registry. What it does not name is built here; what is built here under a name that it has must have its digest.

use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{Tools, openssl};
use common::{display::short, error::usage};
use executor::{
    KeptArtifact,
    artifacts::{ArtifactKey, ArtifactRecord, ArtifactStore},
};
use oci::{Image, expand_reference};
use plan::EngineKind;
use provenance::{DigestList, Envelope, ListedArtifact, ListedImage, signed_bytes};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// A list of digests whose signature is good.
#[derive(Debug)]
pub struct Locked {
    name: String,
    images: BTreeMap<String, ListedImage>,
    artifacts: BTreeMap<String, ListedArtifact>,
    /// What was refused already, to say it once.
    said: Mutex<BTreeSet<String>>,
}

/// The list that the knobs LOCKED and LOCK_KEY name; none without LOCKED. The process reads it once.
pub fn locked(ctx: &Ctx) -> Result<Option<Arc<Locked>>> {
    static LOCKED: Mutex<Option<Arc<Locked>>> = Mutex::new(None);
    let host = &ctx.knobs.host;
    let Some(list) = &host.locked else { return Ok(None) };
    let Some(key) = &host.lock_key else {
        return Err(usage("LOCKED without LOCK_KEY: a list counts only if the right person signed it\nhint: --lock-key PUBLIC.pem"));
    };
    if ctx.engine == EngineKind::Linuxkit {
        return Err(usage("LOCKED: docker and linuxkit take images without asking the list\nhint: --engine native"));
    }
    let mut known = LOCKED.lock().unwrap_or_else(PoisonError::into_inner);
    if known.is_none() {
        *known = Some(Arc::new(Locked::read(ctx, &ctx.root.join(list), &ctx.root.join(key))?));
    }
    Ok(known.clone())
}

impl Locked {
    fn read(ctx: &Ctx, path: &Path, key: &Path) -> Result<Self> {
        let name = short(path, &ctx.root).to_string();
        let read = || -> Result<(DigestList, Vec<ListedImage>)> {
            let bytes = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
            let list = DigestList::parse(&open_envelope(&ctx.tools, &Envelope::parse(&bytes)?, key)?)?;
            let images = list.images()?;
            Ok((list, images))
        };
        let (list, images) = read().with_context(|| format!("LOCKED: `{name}` cannot be trusted"))?;
        let images = images.into_iter().map(|image| (expand_reference(&image.name), image)).collect();
        Ok(Self { name, images, artifacts: list.predicate.artifacts, said: Mutex::default() })
    }

    /// Fails unless `image` is the one that the list has under its name.
    pub(crate) fn check(&self, image: &Image) -> Result<()> {
        let found = self.difference(image);
        found.map_or(Ok(()), |difference| bail!("{difference}"))
    }

    /// Whether `image` is the one that the list has under its name. If not, says so, with `place`, where it is from.
    pub(crate) fn accepts(&self, image: &Image, place: &str) -> bool {
        let Some(difference) = self.difference(image) else { return true };
        self.say(&format!("not taken from {place}: {}", difference.lines().next().unwrap_or_default()));
        false
    }

    /// Fails unless the list has an image under this name.
    pub(crate) fn check_name(&self, reference: &str, arch: &str) -> Result<()> {
        match self.images.contains_key(&name_of(reference, arch)) {
            true => Ok(()),
            false => bail!("{}", self.unlisted(&name_of(reference, arch))),
        }
    }

    fn difference(&self, image: &Image) -> Option<String> {
        let name = name_of(&image.reference, &image.arch);
        let Some(listed) = self.images.get(&name) else { return Some(self.unlisted(&name)) };
        // Two machines may have built the same at different commits, which a label of the manifest names.
        if listed.manifest == image.digest || listed.content == content(image) {
            return None;
        }
        Some(format!(
            "{} has the digest {}, and `{}` names {}\nhint: the list is of another commit, or of other sources: cargo xtask verify, or a new list: cargo xtask lock TARGET --sign-key KEY.pem",
            listed.name, image.digest, self.name, listed.manifest
        ))
    }

    fn unlisted(&self, name: &str) -> String {
        let name = name.strip_prefix("docker.io/").unwrap_or(name);
        format!(
            "`{}` names no image {name}\nhint: a list is of one commit without changes; a new one: cargo xtask lock TARGET --sign-key KEY.pem",
            self.name
        )
    }

    /// Fails if one of the files of a finished build is not what the list has under its key, or came from a store though the list has
    /// nothing there, as those that a build without the list has taken.
    pub fn check_artifacts(&self, kept: &[KeptArtifact]) -> Result<()> {
        for KeptArtifact { key, record, is_taken } in kept {
            if let Some(difference) = self.artifact_difference(key, record) {
                bail!("{difference}\nhint: cargo xtask clean, and build it again; if it stays so, the list is of another build");
            }
            if *is_taken && !self.artifacts.contains_key(&key.to_string()) {
                bail!(
                    "{} was taken from the store or the registry by an earlier build, and `{}` does not name it\nhint: cargo xtask clean, and build it again: it is made here then",
                    record.node,
                    self.name
                );
            }
        }
        Ok(())
    }

    /// How a record differs from what the list has under its key; none if the list has nothing there.
    fn artifact_difference(&self, key: &ArtifactKey, record: &ArtifactRecord) -> Option<String> {
        let listed = self.artifacts.get(&key.to_string())?;
        let found: Vec<&str> = record.files.iter().map(|file| file.digest.as_str()).collect();
        (listed.files != found).then(|| {
            let (found, named) = (found.join(" "), listed.files.join(" "));
            format!("{} has the digest {found}, and `{}` names {named}", record.node, self.name)
        })
    }

    fn say(&self, text: &str) {
        if self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned()) {
            common::eprintln!("warning: {text}; it is built here");
        }
    }
}

/// The key of an image: its full name with the architecture.
fn name_of(reference: &str, arch: &str) -> String {
    let full = expand_reference(reference);
    let suffix = format!("-{arch}");
    if full.ends_with(&suffix) { full } else { full + &suffix }
}

/// An image as a list has it. `name` is its name with tag and architecture.
pub fn listed_image(name: &str, image: &Image) -> ListedImage {
    ListedImage { name: name.to_owned(), manifest: image.digest.clone(), content: content(image) }
}

/// The digest of an image's configuration, without the label of the commit, and of its layers.
fn content(image: &Image) -> String {
    let mut hash = Sha256::new();
    hash.update(serde_json::to_vec(&crate::verify::without_commit(&image.config)).unwrap_or_default());
    image.layers.iter().for_each(|layer| hash.update(format!("\n{}", layer.digest())));
    format!("sha256:{}", common::digest::hex(&hash.finalize()))
}

/// The payload of an envelope that the owner of the public key in the file `key` has signed.
pub fn open_envelope(tools: &Tools, envelope: &Envelope, key: &Path) -> Result<Vec<u8>> {
    let payload = envelope.payload()?;
    for signature in envelope.signatures()? {
        if openssl::is_signed(tools, key, &signed_bytes(&payload), &signature)? {
            return Ok(payload);
        }
    }
    bail!("no signature of it is by the owner of `{}`", key.display())
}

/// A store that gives only what a list names.
#[derive(Debug)]
pub struct LockedStore {
    inner: Arc<dyn ArtifactStore>,
    locked: Arc<Locked>,
}

impl LockedStore {
    /// `inner`, of which only what `locked` names is taken.
    #[must_use]
    pub fn new(inner: Arc<dyn ArtifactStore>, locked: Arc<Locked>) -> Self {
        Self { inner, locked }
    }
}

impl ArtifactStore for LockedStore {
    fn find(&self, key: &ArtifactKey) -> Option<ArtifactRecord> {
        if !self.locked.artifacts.contains_key(&key.to_string()) {
            return None;
        }
        // Behind a wrong one in the folder the registry may have the right one.
        const PLACES: usize = 2;
        let mut refused = None;
        for _ in 0..PLACES {
            let Some(record) = self.inner.find(key) else { break };
            let Some(difference) = self.locked.artifact_difference(key, &record) else {
                refused.inspect(|difference| common::eprintln!("warning: not taken from the store: {difference}; the registry's is taken"));
                return Some(record);
            };
            refused = Some(difference);
            self.inner.remove(key);
        }
        self.locked.say(&format!("not taken from the store: {}", refused?));
        None
    }

    fn get(&self, key: &ArtifactKey, places: &[PathBuf], progress: &(dyn Fn(u64, u64) + Sync)) -> Result<bool> {
        self.inner.get(key, places, progress)
    }

    fn put(&self, key: &ArtifactKey, record: &ArtifactRecord, places: &[PathBuf]) -> Result<()> {
        match self.locked.artifact_difference(key, record) {
            Some(difference) => bail!("not kept: {difference}"),
            None => self.inner.put(key, record, places),
        }
    }

    fn remove(&self, key: &ArtifactKey) {
        self.inner.remove(key);
    }

    fn tidy(&self) {
        self.inner.tidy();
    }
}
