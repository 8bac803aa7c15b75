//! What a registry's client needs of a cache: the documents and blobs of an image as they are, to send them, and a place for blobs that
//! come from outside, which get their names only when their digests are right.

use super::{Cache, Found, index::temporary};
use crate::{
    Image,
    digest::{DamagedBlob, check_blob, digest_of, digest_of_reader},
    names,
    reference::expand_reference,
    spec::{ConfigFile, Descriptor, Index, Manifest, Platform},
};
use anyhow::{Context as _, Result, bail};
use std::{
    fs::File,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// A blob by its name and length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobName {
    /// `sha256:…`.
    pub digest: String,
    /// Length in bytes.
    pub size: u64,
}

impl BlobName {
    /// The name of a file's content.
    pub fn of(path: &Path) -> Result<Self> {
        let cannot = || format!("cannot read `{}`", path.display());
        let file = File::open(path).with_context(cannot)?;
        let size = file.metadata().with_context(cannot)?.len();
        Ok(Self { digest: digest_of_reader(&file).with_context(cannot)?, size })
    }
}

/// An index or manifest with the name that its bytes give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// `sha256:…` of the bytes.
    pub digest: String,
}

impl Document {
    /// The document of these bytes. If `media_type` is empty it is what the bytes say.
    pub fn new(media_type: &str, bytes: Vec<u8>) -> Result<Self> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Typed {
            #[serde(default)]
            media_type: String,
        }
        let own: Typed = serde_json::from_slice(&bytes).context("a manifest is a JSON object")?;
        let media_type = if own.media_type.is_empty() { media_type.to_owned() } else { own.media_type };
        Ok(Self { media_type, digest: digest_of(&bytes), bytes })
    }

    /// Whether it is an index of manifests.
    #[must_use]
    pub fn is_index(&self) -> bool {
        self.descriptor().is_index()
    }

    fn descriptor(&self) -> Descriptor {
        let Self { media_type, bytes, digest } = self.clone();
        Descriptor { media_type, size: bytes.len() as u64, digest, ..Descriptor::default() }
    }

    /// The digest and media type of the manifest for linux on `arch` in this index; none if it has none.
    pub fn manifest_for(&self, arch: &str) -> Result<Option<(String, String)>> {
        let index: Index = self.parse()?;
        let fits = |platform: &Platform| platform.architecture == arch && platform.os == "linux";
        let found = index.manifests.into_iter().find(|manifest| manifest.platform.as_ref().is_some_and(fits));
        Ok(found.map(|manifest| (manifest.digest, manifest.media_type)))
    }

    /// All blobs that this manifest names: the configuration first, then the layers.
    pub fn blobs(&self) -> Result<Vec<BlobName>> {
        let manifest: Manifest = self.parse()?;
        let all = std::iter::once(manifest.config).chain(manifest.layers);
        Ok(all.map(|blob| BlobName { digest: blob.digest, size: blob.size }).collect())
    }

    /// An index of `images`, each a manifest for an architecture, and of what the index `old` has for other platforms. The order depends
    /// on nothing else.
    pub fn index(images: &[(String, Self)], old: Option<&Self>) -> Result<Self> {
        let mut index: Index = old.map(Self::parse).transpose()?.unwrap_or_default();
        for (arch, image) in images {
            let platform = Platform { architecture: arch.clone(), os: "linux".to_owned(), other: serde_json::Map::new() };
            index.manifests.retain(|old| old.platform.as_ref() != Some(&platform) && old.digest != image.digest);
            index.manifests.push(Descriptor { platform: Some(platform), ..image.descriptor() });
        }
        index.manifests.sort_by_cached_key(|one| one.platform.as_ref().map(|p| (p.os.clone(), p.architecture.clone())));
        Self::new(names::INDEX, serde_json::to_vec(&index)?)
    }

    /// The manifest of an artifact: its configuration, and files with their names.
    pub fn artifact<'a>(config: &BlobName, files: impl Iterator<Item = (&'a BlobName, &'a str)>) -> Result<Self> {
        let blob = |name: &BlobName, media_type: &str| Descriptor {
            media_type: media_type.to_owned(),
            size: name.size,
            digest: name.digest.clone(),
            ..Descriptor::default()
        };
        let layers = files.map(|(name, title)| Descriptor {
            annotations: Some([(names::TITLE.to_owned(), title.to_owned())].into()),
            ..blob(name, names::FILE)
        });
        let manifest = Manifest {
            schema_version: 2,
            media_type: names::MANIFEST.to_owned(),
            config: blob(config, names::RECORD),
            layers: layers.collect(),
            annotations: None,
        };
        Self::new(names::MANIFEST, serde_json::to_vec(&manifest)?)
    }

    fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.bytes).with_context(|| format!("cannot parse the manifest `{}`", self.digest))
    }
}

impl Cache {
    /// The manifest of an image as it is in the cache; none if the cache has no such image.
    pub fn manifest(&self, reference: &str, arch: &str) -> Result<Option<Document>> {
        let Some(found) = self.locate(reference, arch)? else { return Ok(None) };
        Document::new(&found.descriptor.media_type, self.read_document(&found.descriptor)?).map(Some)
    }

    /// The file of a blob; none if it is missing, or is not what its name says.
    pub fn blob(&self, name: &BlobName) -> Result<Option<PathBuf>> {
        let path = self.blob_path(&name.digest)?;
        let Ok(file) = File::open(&path) else { return Ok(None) };
        match check_blob(&file, &path, &name.digest, name.size) {
            Err(error) if error.is::<DamagedBlob>() => Ok(None),
            checked => checked.map(|()| Some(path)),
        }
    }

    /// A file for a blob that comes from outside. It is removed unless [`keep_blob`](Self::keep_blob) gives it a name.
    pub fn incoming(&self) -> Result<NamedTempFile> {
        self.make_blobs()?;
        temporary(&self.dir)
    }

    /// Gives a file of [`incoming`](Self::incoming) its name in the cache, if it has the digest and length of that name.
    pub fn keep_blob(&self, file: NamedTempFile, name: &BlobName) -> Result<()> {
        let path = self.blob_path(&name.digest)?;
        let content = File::open(file.path()).with_context(|| format!("cannot read `{}`", file.path().display()))?;
        check_blob(&content, file.path(), &name.digest, name.size)?;
        file.persist(&path).map(drop).with_context(|| format!("cannot write the blob `{}`", path.display()))
    }

    /// The image of a manifest whose blobs are all in the cache, without giving it a name there.
    pub fn unnamed(&self, reference: &str, arch: &str, manifest: &Document) -> Result<Image> {
        let parsed: Manifest = manifest.parse()?;
        let config: ConfigFile = self.read_json(&parsed.config)?;
        self.assemble(&expand_reference(reference), arch, Found { descriptor: manifest.descriptor(), manifest: parsed, config })
    }

    /// Names an image whose blobs are all in the cache, as [`Cache::write`] does. Returns the digest of its manifest.
    pub fn add(&self, reference: &str, arch: &str, manifest: &Document) -> Result<String> {
        let full = expand_reference(reference);
        let parsed: Manifest = manifest.parse()?;
        let config: ConfigFile = self.read_json(&parsed.config)?;
        if (config.architecture.as_str(), config.os.as_str()) != (arch, "linux") {
            bail!("the image `{full}` is for {}/{}, not for linux/{arch}", config.os, config.architecture);
        }
        for blob in manifest.blobs()? {
            if !self.blob_path(&blob.digest)?.is_file() {
                bail!("the blob `{}` of the image `{full}` is not in the cache", blob.digest);
            }
        }
        self.write_document(&manifest.media_type, &manifest.bytes)?;
        self.name_image(&full, arch, manifest.descriptor())
    }
}

/// Whether `path` has the digest and length of `name`.
pub fn is_blob(path: &Path, name: &BlobName) -> Result<bool> {
    let file = File::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    match check_blob(&file, path, &name.digest, name.size) {
        Err(error) if error.is::<DamagedBlob>() => Ok(false),
        checked => checked.map(|()| true),
    }
}
