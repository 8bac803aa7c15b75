//! Writes new images into the cache, with layers as uncompressed tar blobs. The same arguments give the same bytes.

use super::{Cache, index::temporary};
use crate::{
    Config, Layer,
    digest::HashWriter,
    names,
    reference::expand_reference,
    spec::{ConfigFile, Descriptor, Index, Manifest, Platform, RootFs, rfc3339},
};
use anyhow::{Context as _, Result, bail};
use filetree::{Content, Tree, write_tar};
use serde_json::{Map, json};
use std::{
    collections::BTreeMap,
    io::{BufWriter, Write},
};

/// An image to write. The resulting blobs depend on these fields only.
#[derive(Clone, Debug, Default)]
pub struct NewImage {
    /// Name with tag, short or full. The image gets this name and also the name with `-ARCH` appended; a name that already ends
    /// in `-ARCH` is the only one.
    pub reference: String,
    /// Architecture as in Go's `GOARCH`.
    pub arch: String,
    /// Image configuration: command, environment, labels …
    pub config: Config,
    /// Layers, bottom first.
    pub layers: Vec<NewLayer>,
    /// Creation time: Unix timestamp.
    pub created: i64,
    /// `created_by` line of each layer; missing lines are empty.
    pub history: Vec<String>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
}

/// Source of a new layer.
#[derive(Clone, Debug)]
pub enum NewLayer {
    /// A tree, written as an uncompressed tar in sorted order.
    Tree(Tree),
    /// An uncompressed tar, copied unchanged.
    Tar(Content),
    /// An existing layer, such as one of a base image.
    Layer(Layer),
}

impl Cache {
    /// Writes and names the image; returns its manifest's digest. Replaces the image of the same name and architecture; keeps
    /// images of other names and architectures.
    pub fn write(&self, image: NewImage) -> Result<String> {
        let full = expand_reference(&image.reference);
        let arch = image.arch.clone();
        self.write_image(&full, image).with_context(|| format!("cannot write the image `{full}` for {arch} into the cache"))
    }

    fn write_image(&self, full: &str, image: NewImage) -> Result<String> {
        if full.contains('@') {
            bail!("the name of a new image must be a tag, not a digest");
        }
        self.make_blobs()?;
        let created = rfc3339(image.created);
        let mut layers = Vec::new();
        let mut diff_ids = Vec::new();
        let mut history = Vec::new();
        for (number, layer) in image.layers.into_iter().enumerate() {
            let (descriptor, diff_id) = self.write_layer(layer)?;
            layers.push(descriptor);
            diff_ids.push(diff_id);
            history.push(json!({ "created": created, "created_by": image.history.get(number).map_or("", String::as_str) }));
        }
        let config = ConfigFile {
            created: Some(created),
            architecture: image.arch.clone(),
            os: "linux".to_owned(),
            config: Some(image.config),
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids },
            history: Some(history),
        };
        let config = self.write_document(names::CONFIG, &serde_json::to_vec(&config)?)?;
        let annotations = (!image.annotations.is_empty()).then_some(image.annotations);
        let manifest = Manifest { schema_version: 2, media_type: names::MANIFEST.to_owned(), config, layers, annotations };
        let manifest = self.write_document(names::MANIFEST, &serde_json::to_vec(&manifest)?)?;
        self.name_image(full, &image.arch, manifest)
    }

    /// Names a manifest of the cache: `…:TAG-ARCH` is an index of it alone, `…:TAG` an index with the other architectures.
    pub(super) fn name_image(&self, full: &str, arch: &str, manifest: Descriptor) -> Result<String> {
        let manifest = for_platform(manifest, arch);
        let suffix = format!("-{arch}");
        let only = if full.ends_with(&suffix) { full.to_owned() } else { format!("{full}{suffix}") };
        let index = Index { manifests: vec![manifest.clone()], ..Index::default() };
        let single = self.write_document(names::INDEX, &serde_json::to_vec(&index)?)?;
        self.change_root(&mut |root| {
            Self::name_root(root, &only, single.clone());
            if only != full {
                self.merge_platform(root, full, &manifest)?;
            }
            Ok(())
        })?;
        Ok(manifest.digest)
    }

    /// Puts a manifest of the cache into the index of this name, next to other architectures.
    pub(crate) fn add_image(&self, full: &str, arch: &str, manifest: Descriptor) -> Result<()> {
        let manifest = for_platform(manifest, arch);
        self.change_root(&mut |root| self.merge_platform(root, full, &manifest))
    }

    /// Names an imported index. Existing manifests of this name for other platforms are kept.
    pub(crate) fn add_index(&self, full: &str, descriptor: &Descriptor) -> Result<()> {
        let index: Index = self.read_json(descriptor)?;
        self.change_root(&mut |root| {
            if root.manifests.iter().any(|m| m.annotation(names::REF_NAME) == Some(full)) {
                return index.manifests.iter().try_for_each(|manifest| self.merge_platform(root, full, manifest));
            }
            Self::name_root(root, full, descriptor.clone());
            Ok(())
        })
    }

    /// Returns the layer's descriptor and its `diff_id`.
    fn write_layer(&self, layer: NewLayer) -> Result<(Descriptor, String)> {
        match layer {
            NewLayer::Tree(tree) => self.write_blob(names::LAYER, &mut |out| write_tar(&tree, out).map(drop)),
            NewLayer::Tar(tar) => self.write_blob(names::LAYER, &mut |out| {
                std::io::copy(&mut tar.open()?, out)?;
                Ok(())
            }),
            NewLayer::Layer(layer) => {
                let mut file = layer.open()?;
                let descriptor = Descriptor {
                    media_type: layer.media_type.clone(),
                    size: layer.size,
                    digest: layer.digest.clone(),
                    ..Descriptor::default()
                };
                if layer.blob.parent() != Some(&self.dir.join("blobs").join("sha256")) {
                    self.write_blob(&layer.media_type, &mut |out| std::io::copy(&mut file, out).map(drop).map_err(Into::into))?;
                }
                return Ok((descriptor, layer.diff_id));
            }
        }
        .map(|descriptor| (descriptor.clone(), descriptor.digest))
    }

    /// Writes a blob whose digest is known only at the end.
    pub(crate) fn write_blob(&self, media_type: &str, fill: &mut dyn FnMut(&mut dyn Write) -> Result<()>) -> Result<Descriptor> {
        let file = temporary(&self.dir)?;
        let mut out = HashWriter::new(BufWriter::with_capacity(1 << 18, file.as_file()));
        fill(&mut out).context("cannot write a layer")?;
        out.flush().context("cannot write a layer")?;
        let (out, digest, size) = out.finish();
        drop(out);
        let path = self.blob_path(&digest)?;
        file.persist(&path).with_context(|| format!("cannot write the blob `{}`", path.display()))?;
        Ok(Descriptor { media_type: media_type.to_owned(), size, digest, ..Descriptor::default() })
    }

    /// Points `new` at the target of `reference`, with all architectures. `false` if `reference` is not in the cache.
    pub fn tag(&self, reference: &str, new: &str) -> Result<bool> {
        let (from, to) = (expand_reference(reference), expand_reference(new));
        let mut found = false;
        self.change_root(&mut |root| {
            let target = root.manifests.iter().find(|m| m.annotation(names::REF_NAME) == Some(&from)).cloned();
            if let Some(target) = target {
                found = true;
                Self::name_root(root, &to, target);
            }
            Ok(())
        })?;
        Ok(found)
    }
}

fn for_platform(manifest: Descriptor, arch: &str) -> Descriptor {
    let platform = Platform { architecture: arch.to_owned(), os: "linux".to_owned(), other: Map::new() };
    Descriptor { platform: Some(platform), annotations: None, ..manifest }
}
