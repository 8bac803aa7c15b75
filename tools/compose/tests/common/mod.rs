//! What the tests share: images in a cache, and tars in one line.
#![allow(clippy::unwrap_used, missing_docs)]

use compose::Images;
use filetree::{Content, EntryKind, Kind, Meta, TarWriter};
use oci::Cache;
use std::collections::BTreeMap;

pub struct Cached<'c>(pub &'c Cache);

impl Images for Cached<'_> {
    fn find(&self, reference: &str) -> anyhow::Result<oci::Image> {
        let image = self.0.find(reference, "amd64")?;
        image.ok_or_else(|| anyhow::anyhow!("it is not in the cache\nhint: build it"))
    }
}

/// A tar with these members: a path that ends in `/` is a directory, `->` a symbolic link, `=>` a hard link, else a file that
/// contains its path.
pub fn tar(members: &[&str]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    for member in members {
        let (path, kind) = if let Some((path, target)) = member.split_once(" -> ") {
            (path, EntryKind::Node(Kind::Symlink(target.into())))
        } else if let Some((path, target)) = member.split_once(" => ") {
            (path, EntryKind::HardLink(target.into()))
        } else if let Some(path) = member.strip_suffix('/') {
            (path, EntryKind::Node(Kind::Dir(BTreeMap::new())))
        } else {
            (*member, EntryKind::Node(Kind::File { content: Content::from(*member), link: None }))
        };
        tar.append(path.as_bytes(), &Meta::root(0o755, 1), &kind, &[]).unwrap();
    }
    tar.finish().unwrap()
}
