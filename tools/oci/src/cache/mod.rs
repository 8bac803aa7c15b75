//! linuxkit's cache: an OCI image layout whose root index names every image. This file reads it.

mod fork;
mod index;
mod lock;
mod transfer;
mod write;

pub use fork::Fork;
pub use transfer::{BlobName, Document, is_blob};
pub use write::{NewImage, NewLayer};

use crate::{
    Image, Layer,
    digest::{check_blob, digest_of, hex},
    layer::cannot_open,
    names,
    reference::{expand_reference, split_digest},
    spec::{ConfigFile, Descriptor, Index, Manifest, Platform},
};
use anyhow::{Context as _, Result, bail};
use index::Root;
use std::{
    collections::BTreeMap,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// Size limit of manifests, indexes and configurations, in bytes.
const MAX_DOCUMENT: u64 = 16 << 20;
/// Nesting limit of indexes. linuxkit nests one index in another when it finds an image already built.
const MAX_DEPTH: u32 = 4;

/// An image cache in a folder, shared with any linuxkit that uses the same folder.
///
/// The root index names an image by the annotation [`names::REF_NAME`] with its full name (`docker.io/lfedge/eve-x:TAG`, see
/// [`crate::expand_reference`]). The descriptor is a manifest, or an index with one manifest per architecture. `linuxkit pkg
/// build` writes two names: `…:TAG-ARCH` (an index of one manifest) and `…:TAG` (an index of all architectures); so does
/// [`Cache::write`]. Attestations are manifests in these indexes with platform `unknown`.
///
/// Every blob is checked against its digest when read: documents each time, layers once for each state of their file.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
    root: Arc<Mutex<Option<Arc<Root>>>>,
}

impl Cache {
    /// The cache in `dir` (absolute path). Accesses no file; the first write creates missing folders.
    pub fn open(dir: &Path) -> Result<Self> {
        if !dir.is_absolute() {
            bail!("the image cache `{}` must be an absolute path", dir.display());
        }
        Ok(Self { dir: dir.to_owned(), root: Arc::default() })
    }

    /// The cache's folder, absolute.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The image of this name for this architecture; `None` if the cache has none. Fails if the image's documents are damaged.
    /// Layers are checked when they are read.
    pub fn find(&self, reference: &str, arch: &str) -> Result<Option<Image>> {
        let full = expand_reference(reference);
        let look = || match self.locate(reference, arch)? {
            Some(found) => self.assemble(&full, arch, found).map(Some),
            None => Ok(None),
        };
        look().with_context(|| format!("cannot read the image `{full}` for {arch} in the cache `{}`", self.dir.display()))
    }

    /// As [`Self::find`], for a name in a yml: that of an image for one architecture may end in `-<arch>`, which the cache's names lack.
    pub fn find_named(&self, reference: &str, arch: &str) -> Result<Option<Image>> {
        let plain = reference.strip_suffix(&format!("-{arch}")).unwrap_or(reference);
        match self.find(plain, arch)? {
            None => self.find(reference, arch),
            found => Ok(found),
        }
    }

    /// Manifest and configuration of the image.
    pub(crate) fn locate(&self, reference: &str, arch: &str) -> Result<Option<Found>> {
        let full = expand_reference(reference);
        let (name, digest) = split_digest(&full);
        // linuxkit stores a name without tag as it is, not with `:latest`.
        let bare = name.strip_suffix(":latest").filter(|_| !reference.ends_with(":latest"));
        // What the index did not name when it was last read, under a lock, it does not name as long as its file is the same.
        if digest.is_none() && self.kept_root().is_some_and(|root| root.named(name, bare).is_empty()) {
            return Ok(None);
        }
        let _lock = lock::read(&self.dir)?;
        let root = self.root()?;
        let found: Vec<&Descriptor> = match digest {
            Some(digest) => root.index.manifests.iter().filter(|root| root.digest == digest).collect(),
            None => root.named(name, bare),
        };
        for root in found {
            if let Some(found) = self.find_manifest(root, arch, 0)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// As [`Cache::find`], but `None` also if a document or a layer is missing, or a layer has another length.
    pub fn find_whole(&self, reference: &str, arch: &str) -> Result<Option<Image>> {
        let is_missing = |cause: &(dyn std::error::Error + 'static)| {
            cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        };
        let found = match self.find(reference, arch) {
            Err(error) if error.chain().any(is_missing) => return Ok(None),
            found => found?,
        };
        let whole = |image: &Image| {
            image.layers.iter().all(|layer| layer.blob.metadata().is_ok_and(|meta| meta.is_file() && meta.len() == layer.size))
        };
        Ok(found.filter(whole))
    }

    /// Whether [`Cache::find_whole`] finds the image.
    pub fn contains(&self, reference: &str, arch: &str) -> Result<bool> {
        Ok(self.find_whole(reference, arch)?.is_some())
    }

    /// All full names with the digests that they point at.
    pub fn list(&self) -> Result<BTreeMap<String, String>> {
        let _lock = lock::read(&self.dir)?;
        let index = self.read_root()?;
        let named = |root: &Descriptor| Some((root.annotation(names::REF_NAME)?.to_owned(), root.digest.clone()));
        Ok(index.manifests.iter().filter_map(named).collect())
    }

    /// Path of a blob's file.
    pub(crate) fn blob_path(&self, digest: &str) -> Result<PathBuf> {
        Ok(self.dir.join("blobs").join("sha256").join(hex(digest)?))
    }

    /// Reads a small blob and checks its digest.
    pub(crate) fn read_document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let path = self.blob_path(&descriptor.digest)?;
        let file = File::open(&path).map_err(|error| {
            let what = cannot_open(&error, &format!("the blob `{}`", path.display()), "it");
            anyhow::Error::from(error).context(what)
        })?;
        if descriptor.size > MAX_DOCUMENT {
            bail!("the blob `{}` has {} bytes; the limit of a manifest is {MAX_DOCUMENT}", path.display(), descriptor.size);
        }
        let mut bytes = Vec::new();
        file.take(descriptor.size + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read `{}`", path.display()))?;
        if bytes.len() as u64 != descriptor.size || digest_of(&bytes) != descriptor.digest {
            let file = File::open(&path)?;
            check_blob(&file, &path, &descriptor.digest, descriptor.size)?;
            bail!("the blob `{}` changed while it was read", path.display());
        }
        Ok(bytes)
    }

    /// Reads a small JSON blob and checks its digest.
    pub(crate) fn read_json<T: serde::de::DeserializeOwned>(&self, descriptor: &Descriptor) -> Result<T> {
        let bytes = self.read_document(descriptor)?;
        serde_json::from_slice(&bytes).with_context(|| format!("cannot parse the blob `{}`", descriptor.digest))
    }

    /// The manifest for `arch` that `descriptor` points at, directly or through indexes.
    fn find_manifest(&self, descriptor: &Descriptor, arch: &str, depth: u32) -> Result<Option<Found>> {
        if descriptor.is_index() {
            if depth == MAX_DEPTH {
                bail!("the index `{}` is nested more than {MAX_DEPTH} deep", descriptor.digest);
            }
            let index: Index = self.read_json(descriptor)?;
            for below in &index.manifests {
                let fits = |p: &Platform| p.architecture == arch && p.os == "linux";
                if below.platform.as_ref().is_none_or(fits)
                    && let Some(found) = self.find_manifest(below, arch, depth + 1)?
                {
                    return Ok(Some(found));
                }
            }
            return Ok(None);
        }
        let manifest: Manifest = self.read_json(descriptor)?;
        let config: ConfigFile = self.read_json(&manifest.config)?;
        Ok((config.architecture == arch).then(|| Found { descriptor: descriptor.clone(), manifest, config }))
    }

    fn assemble(&self, full: &str, arch: &str, found: Found) -> Result<Image> {
        let Found { descriptor, manifest, config } = found;
        if manifest.layers.len() != config.rootfs.diff_ids.len() {
            let (layers, ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
            bail!("the manifest `{}` lists {layers} layers, its configuration {ids}", descriptor.digest);
        }
        let mut layers = Vec::new();
        for (layer, diff_id) in manifest.layers.into_iter().zip(config.rootfs.diff_ids) {
            layers.push(Layer {
                blob: self.blob_path(&layer.digest)?,
                digest: layer.digest,
                diff_id,
                media_type: layer.media_type,
                size: layer.size,
                spool: self.dir.clone(),
            });
        }
        let config = config.config.unwrap_or_default();
        Ok(Image { reference: full.to_owned(), arch: arch.to_owned(), digest: descriptor.digest, config, layers })
    }
}

/// The documents of an image in the cache.
pub(crate) struct Found {
    pub descriptor: Descriptor,
    pub manifest: Manifest,
    pub config: ConfigFile,
}
