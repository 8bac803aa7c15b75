//! Packs the image lfedge/eve: a layer with the program, a layer with the parts, as one archive.

use crate::files::write_file;
use anyhow::Result;
use eve_image::MANIFEST;
use filetree::{Content, Node, Tree};
use oci::{Cache, Image, NewImage, NewLayer};
use plan::steps::PackEve;
use std::{collections::BTreeMap, path::Path};

/// Writes the archive of the image that has the layers of `program` and the parts. Temporary files go to `spool`.
pub fn pack_eve(program: Image, step: &PackEve, spool: &Path) -> Result<()> {
    let PackEve { reference, parts, manifest, epoch, out, .. } = step;
    let mut tree = Tree::new();
    let file = |content| Node::file(0o644, *epoch, content);
    for folder in ["bits", "tmp"] {
        tree.insert(folder, Node::dir(0o755, *epoch))?;
    }
    for (name, path) in parts {
        tree.insert(format!("bits/{name}"), file(Content::of_path(path)?))?;
    }
    tree.insert(format!("bits/{MANIFEST}"), file(Content::from(manifest.clone().into_bytes())))?;
    std::fs::create_dir_all(spool)?;
    let folder = tempfile::tempdir_in(spool)?;
    let cache = Cache::open(folder.path())?;
    let arch = program.arch.clone();
    let mut layers: Vec<NewLayer> = program.layers.into_iter().map(NewLayer::Layer).collect();
    layers.push(NewLayer::Tree(tree));
    let history = vec![program.reference, "cargo xtask eve".to_owned()];
    let image = NewImage {
        reference: reference.clone(),
        arch: arch.clone(),
        config: program.config,
        layers,
        created: *epoch,
        history,
        annotations: BTreeMap::new(),
    };
    cache.write(image)?;
    write_file(out, |file| cache.export_docker_archive(reference, &arch, file))
}
