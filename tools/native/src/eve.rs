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
    let mut config = program.config;
    // It names the commit at which the program's image was built, which may be older than this one.
    config.labels.remove(oci::names::LABEL_REVISION);
    let history = vec![program.reference, "cargo xtask eve".to_owned()];
    let image = NewImage {
        reference: reference.clone(),
        arch: arch.clone(),
        config,
        layers,
        created: *epoch,
        history,
        annotations: BTreeMap::new(),
    };
    cache.write(image)?;
    write_file(out, |file| cache.export_docker_archive(reference, &arch, file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::{Arch, digest::sha256_of};
    use oci::Config;
    use plan::ImageRef;

    /// Packs an image in a folder of its own, with a program that was built at this commit; its digest.
    fn packed(commit: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let cache = Cache::open(&at("cache")).expect("a cache");
        let mut tree = Tree::new();
        tree.insert("eve-tools", Node::file(0o755, 0, Content::from("program"))).expect("inserted");
        let labels = [(oci::names::LABEL_REVISION.to_owned(), commit.to_owned())].into();
        let config = Config { entrypoint: vec!["/eve-tools".to_owned()], labels, ..Config::default() };
        let (reference, arch) = ("lfedge/eve-program:1".to_owned(), "amd64".to_owned());
        let layers = vec![NewLayer::Tree(tree)];
        cache.write(NewImage { reference: reference.clone(), arch, config, layers, ..NewImage::default() }).expect("written");
        let program = cache.find(&reference, "amd64").expect("a cache").expect("the image");
        std::fs::write(at("rootfs.img"), "root").expect("written");
        let step = PackEve {
            program: ImageRef { reference, arch: Arch::Amd64 },
            reference: "lfedge/eve:1.0-kvm-arm64".to_owned(),
            parts: vec![("rootfs.img".to_owned(), at("rootfs.img"))],
            manifest: r#"{"epoch": 7, "live": {"partitions": ["imga"], "mebibytes": 350, "grown": 400}}"#.to_owned(),
            epoch: 1_700_000_000,
            out: at("eve.tar"),
        };
        pack_eve(program, &step, &at("spool")).expect("packed");
        eve_image::EveParts::of_archive(&at("eve.tar"), folder.path()).expect("an image of EVE");
        assert_eq!(std::fs::read_dir(at("spool")).expect("the spool").count(), 0, "temporary files are removed");
        sha256_of(&at("eve.tar")).expect("a digest")
    }

    #[test]
    fn the_same_parts_give_the_same_image_in_every_folder_whenever_the_program_was_built() {
        assert_eq!(packed("1234"), packed("abcd"));
    }
}
