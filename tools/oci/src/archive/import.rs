//! Imports image archives into the cache. Blobs are written while the archive is read; names are set last, after all checks.

use super::{BLOBS, DockerImage, INDEX_JSON, MANIFEST_JSON};
use crate::{
    Cache, Layer, names,
    reference::expand_reference,
    spec::{ConfigFile, Descriptor, Index, Manifest},
};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
};
use tar::{Archive, EntryType};

/// Size limit of the archive's JSON lists, in bytes.
const MAX_LIST: u64 = 16 << 20;
/// Length limit of a chain of links in an archive.
const MAX_LINKS: usize = 8;

/// Content of an archive.
#[derive(Default)]
struct Contents {
    index: Option<Index>,
    images: Option<Vec<DockerImage>>,
    /// Blobs in the cache by their path in the archive.
    files: BTreeMap<String, Descriptor>,
    /// Links by path: older `docker save` stores a repeated layer as a link.
    links: BTreeMap<String, String>,
}

impl Cache {
    /// Imports the images of a tar that is an OCI layout or a `docker save` archive, under the names in the archive, or under
    /// `name` if it holds exactly one image. Images of the same name for other architectures are kept. Returns the full names.
    pub fn import(&self, archive: impl Read, name: Option<&str>) -> Result<Vec<String>> {
        self.make_blobs()?;
        let contents = self.read_archive(archive).context("cannot read the image archive")?;
        let named = match (&contents.index, &contents.images) {
            (Some(index), images) => {
                let named = self.add_layout(index, name)?;
                match images {
                    Some(images) if named.is_empty() => self.add_docker_images(images, &contents, name)?,
                    _ => named,
                }
            }
            (None, Some(images)) => self.add_docker_images(images, &contents, name)?,
            (None, None) => bail!("this is no image archive: it contains neither `{INDEX_JSON}` nor `{MANIFEST_JSON}`"),
        };
        if named.is_empty() {
            bail!("the archive names no image\nhint: pass a name for the image");
        }
        Ok(named)
    }

    fn read_archive(&self, archive: impl Read) -> Result<Contents> {
        let mut contents = Contents::default();
        for entry in Archive::new(archive).entries()? {
            let mut entry = entry?;
            let path = clean_path(&String::from_utf8_lossy(&entry.path_bytes()));
            match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {}
                EntryType::Symlink | EntryType::Link => {
                    let target = entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned()).unwrap_or_default();
                    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                    let target = if entry.header().entry_type() == EntryType::Symlink { format!("{folder}/{target}") } else { target };
                    contents.links.insert(path, clean_path(&target));
                    continue;
                }
                _ => continue,
            }
            match path.as_str() {
                INDEX_JSON => contents.index = Some(read_list(&mut entry, &path)?),
                MANIFEST_JSON => contents.images = Some(read_list(&mut entry, &path)?),
                "oci-layout" | "repositories" => {}
                path if path.ends_with("/VERSION") || path.ends_with("/json") => {}
                path => {
                    let blob = self.write_blob("", &mut |out: &mut dyn Write| Ok(std::io::copy(&mut entry, out).map(drop)?))?;
                    if let Some(hex) = path.strip_prefix(BLOBS) {
                        ensure!(
                            blob.digest == format!("sha256:{hex}"),
                            "`{path}` in the archive is damaged: its digest is {}",
                            blob.digest
                        );
                    }
                    contents.files.insert(path.to_owned(), blob);
                }
            }
        }
        Ok(contents)
    }

    /// Names the images of an OCI layout's index.
    fn add_layout(&self, index: &Index, name: Option<&str>) -> Result<Vec<String>> {
        let images: Vec<&Descriptor> = index.manifests.iter().filter(|m| m.annotation(names::ATTESTATION_SUBJECT).is_none()).collect();
        ensure!(name.is_none() || images.len() == 1, "one name was given, but the archive holds {} images", images.len());
        let mut named = Vec::new();
        for image in images {
            // `REF_NAME` may be a tag only; a name contains a slash or a colon.
            let own = || image.annotation(names::REF_NAME).filter(|name| name.contains(['/', ':']));
            let Some(name) = name.or(image.annotation(names::CONTAINERD_NAME)).or_else(own) else { continue };
            let full = expand_reference(name);
            let add = || -> Result<()> {
                if image.is_index() {
                    return self.add_index(&full, image);
                }
                let manifest: Manifest = self.read_json(image)?;
                let config: ConfigFile = self.read_json(&manifest.config)?;
                self.add_image(&full, &config.architecture, image.clone())
            };
            add().with_context(|| format!("cannot import the image `{full}`"))?;
            named.push(full);
        }
        Ok(named)
    }

    /// Writes manifests for the images of a `docker save` archive (it has none), and names them.
    fn add_docker_images(&self, images: &[DockerImage], contents: &Contents, name: Option<&str>) -> Result<Vec<String>> {
        ensure!(name.is_none() || images.len() == 1, "one name was given, but the archive holds {} images", images.len());
        let mut named = Vec::new();
        for image in images {
            let config = Descriptor { media_type: names::CONFIG.to_owned(), ..contents.file(&image.config)? };
            let file: ConfigFile = self.read_json(&config)?;
            let layers = image.layers.iter().map(|path| self.describe_layer(contents.file(path)?)).collect::<Result<Vec<_>>>()?;
            ensure!(
                layers.len() == file.rootfs.diff_ids.len(),
                "`{}` lists {} layers, and the archive has {}",
                image.config,
                file.rootfs.diff_ids.len(),
                layers.len()
            );
            for (layer, diff_id) in layers.iter().zip(&file.rootfs.diff_ids) {
                let fits = layer.media_type != names::LAYER || layer.digest == *diff_id;
                ensure!(fits, "a layer of `{}` is damaged: its digest is {} and should be {diff_id}", image.config, layer.digest);
            }
            let manifest = Manifest { schema_version: 2, media_type: names::MANIFEST.to_owned(), config, layers, annotations: None };
            let manifest = self.write_document(names::MANIFEST, &serde_json::to_vec(&manifest)?)?;
            let tags = image.repo_tags.iter().flatten().map(String::as_str);
            let tags: Vec<&str> = name.map_or_else(|| tags.collect(), |name| vec![name]);
            for tag in tags {
                let full = expand_reference(tag);
                self.add_image(&full, &file.architecture, manifest.clone())?;
                named.push(full);
            }
        }
        Ok(named)
    }

    /// The descriptor of a layer blob in the cache, its media type set from the first bytes.
    fn describe_layer(&self, blob: Descriptor) -> Result<Descriptor> {
        let file = std::fs::File::open(self.blob_path(&blob.digest)?)?;
        let mut first = Vec::new();
        file.take(4).read_to_end(&mut first)?;
        Ok(Descriptor { media_type: Layer::media_type_of(&first).to_owned(), ..blob })
    }
}

impl Contents {
    fn file(&self, path: &str) -> Result<Descriptor> {
        let mut path = clean_path(path);
        for _ in 0..MAX_LINKS {
            if let Some(file) = self.files.get(&path) {
                return Ok(file.clone());
            }
            path = self.links.get(&path).with_context(|| format!("the archive does not contain `{path}`"))?.clone();
        }
        bail!("`{path}` in the archive is a loop of links")
    }
}

fn read_list<T: serde::de::DeserializeOwned>(entry: &mut impl Read, path: &str) -> Result<T> {
    let mut bytes = Vec::new();
    entry.take(MAX_LIST).read_to_end(&mut bytes)?;
    serde_json::from_slice(&bytes).with_context(|| format!("cannot parse `{path}` in the archive"))
}

/// Normalizes a path of an archive; `..` stops at the archive's root.
#[must_use]
pub fn clean_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
