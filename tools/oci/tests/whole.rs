//! What counts as a whole image, and what the bottom of a layer says of the root.
#![allow(clippy::unwrap_used)]

use filetree::{Content, EntryKind, Kind, Meta, Node, TarWriter, Tree};
use oci::{Cache, NewImage, NewLayer};
use std::{fs, path::PathBuf};

fn write(cache: &Cache, layers: Vec<NewLayer>) {
    let image = NewImage { reference: "a/b:1".into(), arch: "amd64".into(), layers, ..NewImage::default() };
    cache.write(image).unwrap();
}

fn small() -> Vec<NewLayer> {
    let mut tree = Tree::new();
    tree.insert("a", Node::file(0o644, 7, Content::from("text"))).unwrap();
    vec![NewLayer::Tree(tree)]
}

#[test]
fn an_image_with_a_layer_missing_or_cut_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    write(&cache, small());
    let image = cache.find_whole("a/b:1", "amd64").unwrap().unwrap();
    let blob = |digest: &str| -> PathBuf { dir.path().join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap()) };
    let layer = blob(image.layers[0].digest());
    let good = fs::read(&layer).unwrap();
    assert_eq!(good.len() as u64, image.layers[0].size());
    for bad in [&good[..good.len() - 1], &good[..0], &[&good[..], b"x"].concat()] {
        fs::write(&layer, bad).unwrap();
        assert!(cache.find_whole("a/b:1", "amd64").unwrap().is_none(), "{} bytes instead of {}", bad.len(), good.len());
        assert!(!cache.contains("a/b:1", "amd64").unwrap());
        assert!(cache.find("a/b:1", "amd64").unwrap().is_some(), "the documents are there");
    }
    fs::remove_file(&layer).unwrap();
    assert!(cache.find_whole("a/b:1", "amd64").unwrap().is_none());
    // A folder may have the size of the layer.
    fs::create_dir(&layer).unwrap();
    let size = layer.metadata().unwrap().len();
    let mut padded = TarWriter::new(Vec::new());
    let text = vec![b'x'; usize::try_from(size).unwrap().saturating_sub(512 + 1024).max(1)];
    padded.append(b"a", &Meta::root(0o644, 7), &EntryKind::Node(Kind::File { content: Content::from(text), link: None }), &[]).unwrap();
    let bytes = padded.finish().unwrap();
    let same = bytes.len() as u64 == size;
    write(&cache, vec![NewLayer::Tar(Content::from(bytes))]);
    let layer = blob(cache.find("a/b:1", "amd64").unwrap().unwrap().layers[0].digest());
    assert!(cache.contains("a/b:1", "amd64").unwrap());
    fs::remove_file(&layer).unwrap();
    fs::create_dir(&layer).unwrap();
    assert!(!cache.contains("a/b:1", "amd64").unwrap(), "a folder counts as a layer (of the same size: {same})");
    fs::remove_dir(&layer).unwrap();
    fs::write(&layer, "").unwrap();
    assert!(!cache.contains("a/b:1", "amd64").unwrap());

    let manifest = blob(&cache.find("a/b:1", "amd64").unwrap().unwrap().digest);
    fs::remove_file(&manifest).unwrap();
    assert!(cache.find_whole("a/b:1", "amd64").unwrap().is_none());
    let error = format!("{:#}", cache.find("a/b:1", "amd64").unwrap_err());
    assert!(error.contains(&format!("the blob `{}` is missing in the cache\nhint: build or pull it again", manifest.display())), "{error}");
    // Damage is no absence.
    fs::write(&manifest, "{}").unwrap();
    let error = format!("{:#}", cache.find_whole("a/b:1", "amd64").unwrap_err());
    assert!(error.contains("is damaged: it has 2 bytes instead of"), "{error}");
}

#[test]
fn the_entry_of_the_top_describes_the_root_of_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let layer = |mode: u32, uid: u32| {
        let mut tar = TarWriter::new(Vec::new());
        let meta = Meta { uid, gid: 9, ..Meta::root(mode, 1_700_000_000) };
        tar.append(b".", &meta, &EntryKind::Node(Kind::Dir([].into())), &[]).unwrap();
        tar.append(b"./d", &meta, &EntryKind::Node(Kind::Dir([].into())), &[]).unwrap();
        NewLayer::Tar(Content::from(tar.finish().unwrap()))
    };
    write(&cache, vec![layer(0o700, 1), layer(0o1711, 5)]);
    let tree = cache.find("a/b:1", "amd64").unwrap().unwrap().tree().unwrap();
    assert_eq!(tree.root.meta, Meta { uid: 5, gid: 9, ..Meta::root(0o1711, 1_700_000_000) });
    assert_eq!(tree.root.children().unwrap().len(), 1);
}

#[test]
fn a_second_name_is_the_same_image() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    write(&cache, small());
    assert!(!cache.tag("a/none:1", "c/d:2").unwrap() && cache.find("c/d:2", "amd64").unwrap().is_none());
    assert!(cache.tag("a/b:1", "c/d:2").unwrap());
    let list = cache.list().unwrap();
    assert_eq!(list.keys().collect::<Vec<_>>(), ["docker.io/a/b:1", "docker.io/a/b:1-amd64", "docker.io/c/d:2"]);
    assert_eq!(list["docker.io/a/b:1"], list["docker.io/c/d:2"]);
    let image = cache.find("c/d:2", "amd64").unwrap().unwrap();
    assert_eq!((image.reference.as_str(), image.arch.as_str()), ("docker.io/c/d:2", "amd64"));
    assert_eq!(image.digest, cache.find("a/b:1", "amd64").unwrap().unwrap().digest);
    assert!(cache.find("a/b:1", "arm64").unwrap().is_none());
    assert_eq!(Cache::open(std::path::Path::new("rel")).unwrap_err().to_string(), "the image cache `rel` must be an absolute path");
}
