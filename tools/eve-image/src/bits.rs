//! The parts in the image, and the file that describes them.

use anyhow::{Context as _, Result, bail};
use diskimage::recipes::Parts;
use filetree::{Content, Kind, Node, Spool, Tree};
use serde::Deserialize;
use std::{collections::BTreeSet, fs::File, path::Path};

/// The name of the description among the parts.
pub const MANIFEST: &str = "eve.json";
/// The folder of the parts in the image.
const FOLDER: &str = "bits";
/// The parts that EFI system partitions are read from. Each must be a file of its own.
const ROOTS: [&str; 2] = ["rootfs.img", "rootfs_installer.img"];

/// The description of the parts, as JSON.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// Unix timestamp of files that carry none.
    pub epoch: i64,
    /// The live disk.
    pub live: DiskParts,
    /// The disk of the installer, if there is one.
    pub installer: Option<DiskParts>,
}

/// A disk that can be made of the parts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DiskParts {
    /// The partitions, in order.
    pub partitions: Vec<String>,
    /// The size of a raw disk in MiB.
    pub mebibytes: u64,
    /// The size of a disk in another format in MiB.
    pub grown: u64,
}

/// The parts of the image.
#[derive(Debug)]
pub struct EveParts {
    tree: Tree,
    pub(crate) manifest: Manifest,
    /// Holds the layers of an archive.
    _layers: Option<tempfile::TempDir>,
}

/// A part that is a file.
#[derive(Clone, Debug)]
pub struct EvePart(pub(crate) Content);

impl EveParts {
    /// The parts in a folder: `/bits` in a container.
    pub fn of_folder(folder: &Path) -> Result<Self> {
        let mut tree = Tree::new();
        for entry in walkdir::WalkDir::new(folder).min_depth(1).follow_links(true).sort_by_file_name() {
            let entry = entry.with_context(|| format!("cannot read the parts in `{}`", folder.display()))?;
            let path = entry.path().strip_prefix(folder)?;
            let name = path.to_str().with_context(|| format!("the name of `{}` is not UTF-8", entry.path().display()))?;
            let node = match entry.file_type().is_dir() {
                true => Node::dir(0o755, 0),
                false => Node::file(0o644, 0, Content::of_path(entry.path())?),
            };
            tree.insert(name, node)?;
        }
        Self::new(tree, None).with_context(|| format!("`{}`", folder.display()))
    }

    /// The parts in the image in `archive`, a tar by `docker save` or an OCI layout in a tar. Unpacks its layers below `temporary`.
    pub fn of_archive(archive: &Path, temporary: &Path) -> Result<Self> {
        let read = || -> Result<Self> {
            let file = File::open(archive).context("cannot open it")?;
            let layers = tempfile::Builder::new().prefix(".eve-image").tempdir_in(temporary).context("cannot make a temporary folder")?;
            let cache = oci::Cache::open(layers.path())?;
            let names: BTreeSet<String> = cache.import(std::io::BufReader::with_capacity(1 << 20, file), None)?.into_iter().collect();
            let [name] = names.iter().collect::<Vec<_>>()[..] else {
                bail!("it holds several images: {}", names.into_iter().collect::<Vec<_>>().join(", "));
            };
            let found = ["amd64", "arm64", "riscv64"].iter().find_map(|arch| cache.find(name, arch).transpose()).transpose()?;
            let mut root = found.with_context(|| format!("its image {name} is for none of amd64, arm64 and riscv64"))?.tree()?;
            let Some(bits) = root.remove(FOLDER) else { bail!("its image {name} has no folder /{FOLDER}: it is no image of EVE") };
            let mut tree = Tree { root: bits };
            for name in ROOTS {
                if let Some(Node { kind: Kind::File { content, .. }, .. }) = tree.get_mut(name) {
                    *content = Spool::new_in(temporary)?.add(&mut content.open()?)?;
                }
            }
            Self::new(tree, Some(layers))
        };
        read().with_context(|| format!("cannot use the image in `{}`", archive.display()))
    }

    fn new(tree: Tree, layers: Option<tempfile::TempDir>) -> Result<Self> {
        let Some(Kind::File { content, .. }) = tree.get(MANIFEST).map(|node| &node.kind) else {
            bail!("there is no {MANIFEST}: this is no image that `cargo xtask eve` made");
        };
        let manifest = serde_json::from_slice(&content.read_all()?).with_context(|| format!("{MANIFEST} is not valid"))?;
        Ok(Self { tree, manifest, _layers: layers })
    }

    /// The part with this name.
    pub(crate) fn file(&self, name: &str) -> Result<EvePart> {
        match self.tree.get(name).map(|node| &node.kind) {
            Some(Kind::File { content, .. }) => Ok(EvePart(content.clone())),
            _ => bail!("this image contains no {name}"),
        }
    }

    /// The parts for a disk, with another configuration.
    pub(crate) fn parts(&self, config: Content) -> Result<Parts> {
        let mut tree = self.tree.clone();
        tree.insert("config.img", Node::file(0o644, 0, config))?;
        Ok(Parts::of_tree(tree))
    }
}
