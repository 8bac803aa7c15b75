//! Compares two images of one package: the one that the cache or the team's registry has, and one that was just built from its sources.

use anyhow::Result;
use filetree::{Content, Kind, Node};
use oci::{Config, Image};
use std::{collections::BTreeMap, io::Read as _};

/// The first difference between two images in words; none if they are the same, perhaps but for the commit that their label names.
pub fn first_difference(theirs: &Image, ours: &Image) -> Result<Option<String>> {
    if theirs.digest == ours.digest {
        return Ok(None);
    }
    let (left, right) = (without_commit(&theirs.config), without_commit(&ours.config));
    if left != right {
        let json = |config: &Config| serde_json::to_value(config).unwrap_or_default();
        let (left, right) = (json(&left), json(&right));
        let keys = left.as_object().into_iter().chain(right.as_object()).flat_map(|object| object.keys());
        let key = keys.into_iter().find(|key| left.get(key) != right.get(key)).cloned().unwrap_or_default();
        let shown = |side: &serde_json::Value| side.get(&key).map_or_else(|| "nothing".to_owned(), ToString::to_string);
        return Ok(Some(format!("{key} of the configuration: {} instead of {}", shown(&left), shown(&right))));
    }
    let (left, right) = (theirs.tree()?, ours.tree()?);
    let (mut left_nodes, mut right_nodes) = (BTreeMap::new(), BTreeMap::new());
    for (tree, nodes) in [(&left, &mut left_nodes), (&right, &mut right_nodes)] {
        tree.walk(&mut |path, node| {
            nodes.insert(path.to_owned(), node);
            Ok(())
        })?;
    }
    let paths: std::collections::BTreeSet<&Vec<u8>> = left_nodes.keys().chain(right_nodes.keys()).collect();
    for path in paths {
        let name = String::from_utf8_lossy(path);
        let what = match (left_nodes.get(path), right_nodes.get(path)) {
            (Some(_), None) => Some("is not in what its sources give".to_owned()),
            (None, Some(_)) => Some("is missing".to_owned()),
            (Some(theirs), Some(ours)) => node_difference(theirs, ours)?,
            (None, None) => None,
        };
        if let Some(what) = what {
            return Ok(Some(format!("/{name} {what}")));
        }
    }
    let ids = |image: &Image| image.layers.iter().map(|layer| layer.diff_id().to_owned()).collect::<Vec<_>>();
    Ok((ids(theirs) != ids(ours)).then(|| "the layers hold the same files in other bytes".to_owned()))
}

/// The configuration without the label of the commit, which says when an image was built and not from what.
pub(crate) fn without_commit(config: &Config) -> Config {
    let mut config = config.clone();
    config.labels.remove(oci::names::LABEL_REVISION);
    config
}

fn node_difference(theirs: &Node, ours: &Node) -> Result<Option<String>> {
    let (left, right) = (&theirs.meta, &ours.meta);
    if left != right {
        return Ok(Some(if left.mode != right.mode {
            format!("has mode {:o} instead of {:o}", left.mode, right.mode)
        } else if (left.uid, left.gid) != (right.uid, right.gid) {
            format!("belongs to {}:{} instead of {}:{}", left.uid, left.gid, right.uid, right.gid)
        } else if left.mtime != right.mtime {
            format!("has the time {} instead of {}", left.mtime, right.mtime)
        } else {
            "has other extended attributes".to_owned()
        }));
    }
    Ok(match (&theirs.kind, &ours.kind) {
        (Kind::Dir(_), Kind::Dir(_)) => None,
        (Kind::File { content: left, .. }, Kind::File { content: right, .. }) => content_difference(left, right)?,
        (Kind::Symlink(left), Kind::Symlink(right)) => {
            (left != right).then(|| format!("points to {} instead of {}", String::from_utf8_lossy(left), String::from_utf8_lossy(right)))
        }
        (left, right) => (format!("{left:?}") != format!("{right:?}")).then(|| "is another kind of file".to_owned()),
    })
}

fn content_difference(theirs: &Content, ours: &Content) -> Result<Option<String>> {
    if theirs.len() != ours.len() {
        return Ok(Some(format!("has {} bytes instead of {}", theirs.len(), ours.len())));
    }
    let (mut left, mut right, mut at) = (theirs.open()?, ours.open()?, 0);
    let (mut one, mut other) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let got = left.read(&mut one)?;
        if got == 0 {
            return Ok(None);
        }
        right.read_exact(&mut other[..got])?;
        if let Some(place) = one[..got].iter().zip(&other[..got]).position(|(left, right)| left != right) {
            return Ok(Some(format!("differs at byte {}", at + place)));
        }
        at += got;
    }
}
