//! Reads tars: plain ones, and archives of container images (OCI layouts and those of `docker save`), whose layers are applied.

use crate::source::{of_content, unpacked};
use anyhow::{Context as _, Result, bail, ensure};
use filetree::{Content, Entry, EntryKind, Kind, Tree, entries_to_tree, read_tar_content};
use serde_json::Value;
use std::collections::HashMap;

/// Limit of a JSON document, in bytes.
const MOST_JSON: u64 = 16 << 20;
/// How deep indexes may be nested, and how many links may follow each other.
const MOST_DEPTH: usize = 8;
/// Limits of images and indexes, and of all images' layers. An index may name another one several times, so their number is no limit.
const MOST_IMAGES: usize = 256;
const MOST_LAYERS: usize = 4096;

/// An image of the archive: a name, and its layers by their paths in the archive.
struct Listed {
    name: String,
    layers: Vec<String>,
}

/// What the archive's indexes list.
#[derive(Default)]
struct Found {
    images: Vec<Listed>,
    /// Indexes and manifests that were read.
    documents: usize,
    layers: usize,
}

impl Found {
    fn count(&mut self) -> Result<()> {
        self.documents += 1;
        ensure!(self.documents <= MOST_IMAGES, "the archive lists more than {MOST_IMAGES} images and indexes");
        Ok(())
    }

    fn add(&mut self, name: String, layers: Vec<String>) -> Result<()> {
        self.layers += layers.len();
        ensure!(self.layers <= MOST_LAYERS, "the images of the archive list more than {MOST_LAYERS} layers");
        self.images.push(Listed { name, layers });
        Ok(())
    }
}

/// The members of the archive by path.
struct Members(HashMap<String, EntryKind>);

/// The name of the format, and the file system: of the one image in the archive, or one folder for each of several images.
pub(crate) fn read(content: &Content) -> Result<(&'static str, Tree)> {
    let entries: Vec<Entry> = read_tar_content(content)?.into_iter().map(|(entry, _)| entry).collect();
    let is_image = |entry: &Entry| matches!(entry.path.strip_prefix(b"./").unwrap_or(&entry.path), b"index.json" | b"manifest.json");
    if !entries.iter().any(is_image) {
        return Ok(("tar", entries_to_tree(entries)?));
    }
    let members =
        Members(entries.iter().map(|entry| (oci::clean_path(&String::from_utf8_lossy(&entry.path)), entry.kind.clone())).collect());
    let (format, images) = members.images()?;
    let [image] = &images[..] else {
        if images.is_empty() {
            return Ok(("tar", entries_to_tree(entries)?));
        }
        let mut all = Tree::new();
        for image in &images {
            let root = members.tree(image)?.root;
            all.insert(image.name.replace('/', "_"), root)?;
        }
        return Ok((format, all));
    };
    Ok((format, members.tree(image)?))
}

impl Members {
    fn content(&self, path: &str) -> Result<&Content> {
        let mut path = oci::clean_path(path);
        for _ in 0..MOST_DEPTH {
            match self.0.get(&path) {
                Some(EntryKind::Node(Kind::File { content, .. })) => return Ok(content),
                Some(EntryKind::Node(Kind::Symlink(target))) => {
                    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                    path = oci::clean_path(&format!("{folder}/{}", String::from_utf8_lossy(target)));
                }
                Some(EntryKind::HardLink(target)) => path = oci::clean_path(&String::from_utf8_lossy(target)),
                _ => bail!("the archive does not contain `{path}`"),
            }
        }
        bail!("`{path}` in the archive is a loop of links")
    }

    fn json(&self, path: &str) -> Result<Value> {
        let content = self.content(path)?;
        if content.len() > MOST_JSON {
            bail!("`{path}` in the archive has {} bytes, more than {MOST_JSON}", content.len());
        }
        serde_json::from_slice(&content.read_all()?).with_context(|| format!("cannot parse `{path}` in the archive"))
    }

    fn images(&self) -> Result<(&'static str, Vec<Listed>)> {
        let mut found = Found::default();
        // `docker save` of today writes both; its own list has the names.
        if self.0.contains_key("manifest.json") {
            for (number, image) in list(&self.json("manifest.json")?).iter().enumerate() {
                found.count()?;
                let layers = list(&image["Layers"]).iter().filter_map(Value::as_str).map(str::to_owned).collect();
                let name =
                    list(&image["RepoTags"]).first().and_then(Value::as_str).map_or_else(|| format!("image-{number}"), str::to_owned);
                found.add(name, layers)?;
            }
            return Ok(("docker archive", found.images));
        }
        self.add_index(&self.json("index.json")?, "", 0, &mut found)?;
        Ok(("OCI archive", found.images))
    }

    fn add_index(&self, index: &Value, name: &str, depth: usize, found: &mut Found) -> Result<()> {
        if depth > MOST_DEPTH {
            bail!("more than {MOST_DEPTH} indexes in each other");
        }
        for (number, descriptor) in list(&index["manifests"]).iter().enumerate() {
            let annotation = |key: &str| descriptor["annotations"][key].as_str();
            if annotation("vnd.docker.reference.type").is_some() {
                continue;
            }
            let own = annotation("io.containerd.image.name").or(annotation("org.opencontainers.image.ref.name"));
            let platform = descriptor["platform"]["architecture"].as_str();
            let name = [name, own.unwrap_or_default(), platform.unwrap_or_default()].into_iter().filter(|part| !part.is_empty());
            let mut name = name.collect::<Vec<_>>().join("-");
            if name.is_empty() {
                name = format!("image-{number}");
            }
            found.count()?;
            let document = self.json(&blob(&descriptor["digest"])?)?;
            if document["manifests"].is_array() {
                self.add_index(&document, &name, depth + 1, found)?;
            } else {
                let layers = list(&document["layers"]).iter().map(|layer| blob(&layer["digest"])).collect::<Result<_>>()?;
                found.add(name, layers)?;
            }
        }
        Ok(())
    }

    /// The file system of all layers of an image.
    fn tree(&self, image: &Listed) -> Result<Tree> {
        let (mut tree, mut links) = (Tree::new(), 0);
        for layer in &image.layers {
            let apply = || -> Result<(Vec<Entry>,)> {
                let content = self.content(layer)?;
                let content = match unpacked(&of_content(content)?)? {
                    Some(plain) => crate::source::spooled(&mut plain.reader())?,
                    None => content.clone(),
                };
                Ok((read_tar_content(&content)?.into_iter().map(|(entry, _)| entry).collect(),))
            };
            let (entries,) = apply().with_context(|| format!("cannot read the layer `{layer}` of the image `{}`", image.name))?;
            oci::apply_layer(&mut tree, entries, &mut links)
                .with_context(|| format!("cannot apply the layer `{layer}` of the image `{}`", image.name))?;
        }
        Ok(tree)
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The path of the blob with this digest.
fn blob(digest: &Value) -> Result<String> {
    let (algorithm, hex) =
        digest.as_str().and_then(|digest| digest.split_once(':')).context("a descriptor in the archive has no digest")?;
    Ok(format!("blobs/{algorithm}/{hex}"))
}
