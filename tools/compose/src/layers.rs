//! Entries of an image in the order in which linuxkit unpacks them: top layer first, only the first entry of each name. Paths
//! are normalized and cannot leave the image; a hard link follows its target.

use anyhow::{Context as _, Result, bail};
use filetree::{Entry, EntryKind, Kind};
use oci::Image;
use std::collections::{HashMap, HashSet};

const WHITEOUT: &[u8] = b".wh.";
/// Excluded from every image: files that docker creates, and files that a container gets from its host.
const EXCLUDED: [&[u8]; 6] = [b".dockerenv", b"Dockerfile", b"dev/console", b"dev/pts", b"dev/shm", b"etc/hostname"];
/// Length limit of a chain of hard links.
const MAX_LINKS: usize = 16;

/// All entries of the image by linuxkit's rules, including its bugs: a whiteout also hides later entries of its own layer, and
/// an opaque whiteout hides nothing.
pub(crate) fn image_entries(image: &Image) -> Result<Vec<Entry>> {
    let mut layers = Vec::new();
    for layer in image.layers.iter().rev() {
        let mut entries = layer.entries()?;
        for entry in &mut entries {
            entry.path = clean(&entry.path)?;
            if let EntryKind::HardLink(target) = &mut entry.kind {
                *target = clean(target)?;
            }
        }
        layers.push(entries);
    }
    unpack(&layers)
}

fn unpack(layers: &[Vec<Entry>]) -> Result<Vec<Entry>> {
    // Value: whether the name hides entries below it (it was removed, or is no directory).
    let mut seen: HashMap<Vec<u8>, bool> = HashMap::new();
    let mut files: HashSet<&[u8]> = HashSet::new();
    let mut found = Vec::new();
    for (depth, layer) in layers.iter().enumerate() {
        for (position, entry) in layer.iter().enumerate() {
            let is_dir = matches!(entry.kind, EntryKind::Node(Kind::Dir(_)));
            let (folder, name) = split(&entry.path);
            let removed = name.strip_prefix(WHITEOUT);
            let key = match removed {
                Some(name) if !is_dir => [folder, if folder.is_empty() { b"" } else { b"/" }, name].concat(),
                _ => entry.path.clone(),
            };
            if seen.contains_key(&key) || is_hidden(&seen, &key) {
                continue;
            }
            seen.insert(key, removed.is_some() || !is_dir);
            if removed.is_some() || EXCLUDED.contains(&&entry.path[..]) {
                continue;
            }
            let entry = match &entry.kind {
                EntryKind::HardLink(target) if !files.contains(&target[..]) => linked(layers, depth, position)?,
                _ => entry.clone(),
            };
            found.push(entry);
            if !is_dir {
                files.insert(&layer[position].path);
            }
        }
    }
    Ok(found)
}

/// Whether a higher layer removed or replaced a parent folder of `path`.
fn is_hidden(seen: &HashMap<Vec<u8>, bool>, path: &[u8]) -> bool {
    let mut folder = split(path).0;
    while !folder.is_empty() {
        if seen.get(folder) == Some(&true) {
            return true;
        }
        folder = split(folder).0;
    }
    false
}

/// Resolves a hard link whose target was not unpacked before it (in a lower layer, or hidden) to a copy of the target.
fn linked(layers: &[Vec<Entry>], depth: usize, position: usize) -> Result<Entry> {
    let link = &layers[depth][position];
    let mut at = link;
    let (mut depth, mut end) = (depth, position);
    for _ in 0..MAX_LINKS {
        let EntryKind::HardLink(target) = &at.kind else {
            return Ok(Entry { path: link.path.clone(), meta: link.meta.clone(), kind: at.kind.clone() });
        };
        let here = layers[depth][..end].iter().enumerate().rev().find(|(_, entry)| entry.path == *target);
        let below = || {
            let lower = layers.iter().enumerate().skip(depth + 1);
            lower.flat_map(|(d, layer)| layer.iter().enumerate().map(move |(p, entry)| (d, p, entry))).find(|(_, _, e)| e.path == *target)
        };
        (depth, end, at) = here.map(|(p, entry)| (depth, p, entry)).or_else(below).with_context(|| {
            format!(
                "the hard link `{}` has no target `{}` in the image",
                String::from_utf8_lossy(&link.path),
                String::from_utf8_lossy(target)
            )
        })?;
    }
    bail!("the hard link `{}` is part of a loop", String::from_utf8_lossy(&link.path))
}

/// Normalizes a path: drops `.`, resolves `..`, drops leading and repeated slashes; the root is `.`. Fails if it leaves the
/// root.
pub(crate) fn clean(path: &[u8]) -> Result<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.pop().is_none() => bail!("the path `{}` leaves the root", String::from_utf8_lossy(path)),
            b".." => {}
            part => parts.push(part),
        }
    }
    if path.contains(&0) {
        bail!("the path `{}` contains a NUL byte", String::from_utf8_lossy(path));
    }
    Ok(if parts.is_empty() { b".".to_vec() } else { parts.join(&b'/') })
}

/// Splits a path into folder and name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.iter().rposition(|b| *b == b'/').map_or((&[], path), |at| (&path[..at], &path[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use filetree::{Content, Meta};

    fn file(path: &str) -> Entry {
        let kind = EntryKind::Node(Kind::File { content: Content::from(path), link: None });
        Entry { path: path.into(), meta: Meta::root(0o644, 0), kind }
    }

    fn link(path: &str, target: &str) -> Entry {
        Entry { path: path.into(), meta: Meta::root(0o644, 0), kind: EntryKind::HardLink(target.into()) }
    }

    #[test]
    fn paths_stay_inside() {
        assert_eq!(clean(b"./a//b/../c/").expect("clean"), b"a/c");
        assert_eq!(clean(b"/etc/x").expect("clean"), b"etc/x");
        assert_eq!(clean(b"./").expect("clean"), b".");
        for path in ["..", "../x", "a/../../x", "/.."] {
            let error = clean(path.as_bytes()).map(|_| ()).expect_err("it leads out").to_string();
            assert_eq!(error, format!("the path `{path}` leaves the root"));
        }
    }

    #[test]
    fn a_link_comes_after_its_file_or_is_the_file() {
        let top = vec![link("new", "old"), link("gone2", "gone"), file(".wh.gone")];
        let bottom = vec![file("old"), file("gone"), link("second", "old")];
        let entries = unpack(&[top, bottom]).expect("unpack");
        let shown: Vec<String> = entries
            .iter()
            .map(|entry| {
                let kind = match &entry.kind {
                    EntryKind::HardLink(target) => String::from_utf8_lossy(target).into_owned(),
                    EntryKind::Node(Kind::File { content, .. }) => format!("{} bytes", content.len()),
                    EntryKind::Node(_) => String::new(),
                };
                format!("{} {kind}", String::from_utf8_lossy(&entry.path))
            })
            .collect();
        assert_eq!(shown, ["new 3 bytes", "gone2 4 bytes", "old 3 bytes", "second old"]);
        let refused = |layer: Vec<Entry>| unpack(&[layer]).map(|_| ()).expect_err("refused").to_string();
        assert_eq!(refused(vec![link("a", "nowhere")]), "the hard link `a` has no target `nowhere` in the image");
        let before = refused(vec![link("a", "b"), link("b", "a")]);
        assert_eq!(before, "the hard link `a` has no target `b` in the image");
    }

    #[test]
    fn what_a_file_replaced_is_hidden() {
        let entries = unpack(&[vec![file("a")], vec![file("a/b"), file("a/c/d"), file("ab")]]).expect("unpack");
        assert_eq!(entries.iter().map(|e| &e.path[..]).collect::<Vec<_>>(), [&b"a"[..], b"ab"]);
    }
}
