//! An image of the cache: its configuration, its layers, and the merged file system.

use crate::{Config, Layer};
use anyhow::{Context as _, Result, bail};
use filetree::{Entry, EntryKind, Kind, Node, Tree};

/// Name prefix of a whiteout: hides a name of lower layers (OCI image specification, `layer.md`).
pub(crate) const WHITEOUT: &[u8] = b".wh.";
/// Name of an opaque whiteout: hides all that lower layers have in its directory.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";

/// An image for one architecture. Reading a layer's entries opens and checks its blob.
#[derive(Clone, Debug)]
pub struct Image {
    /// Full name that the image was found by.
    pub reference: String,
    /// Architecture as in Go's `GOARCH`: `amd64`, `arm64`, `riscv64`.
    pub arch: String,
    /// Digest of the manifest, `sha256:…`.
    pub digest: String,
    /// Image configuration: command, environment, labels …
    pub config: Config,
    /// Layers, bottom first.
    pub layers: Vec<Layer>,
}

impl Image {
    /// The file system of all layers, bottom first, with whiteouts applied.
    pub fn tree(&self) -> Result<Tree> {
        let mut tree = Tree::new();
        let mut links = 0;
        for layer in &self.layers {
            let entries = layer.entries().with_context(|| format!("cannot read a layer of the image `{}`", self.reference))?;
            apply_layer(&mut tree, entries, &mut links)
                .with_context(|| format!("cannot apply layer {} of the image `{}`", layer.digest(), self.reference))?;
        }
        Ok(tree)
    }
}

/// Applies a layer to the file system of those below it. Whiteouts hide names of lower layers only, so all of them are applied before the
/// layer's own files. `links` counts the hard links of all layers.
pub fn apply_layer(tree: &mut Tree, entries: Vec<Entry>, links: &mut u64) -> Result<()> {
    let (hidden, shown): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|entry| split(&entry.path).1.starts_with(WHITEOUT));
    for entry in hidden {
        let (folder, name) = split(&entry.path);
        let folder = tree.resolve(folder, true)?;
        let Some(Node { kind: Kind::Dir(children), .. }) = tree.get_mut(&folder) else { continue };
        if name == OPAQUE {
            children.clear();
        } else {
            children.remove(&name[WHITEOUT.len()..]);
        }
    }
    for entry in shown {
        let node = match entry.kind {
            EntryKind::Node(kind) => Node { meta: entry.meta, kind },
            EntryKind::HardLink(target) => linked_node(tree, &entry.path, &target, links)?,
        };
        tree.insert(&entry.path, node)?;
    }
    Ok(())
}

/// The node that a hard link refers to, marked as shared.
fn linked_node(tree: &mut Tree, path: &[u8], target: &[u8], links: &mut u64) -> Result<Node> {
    let name = || format!("the hard link `{}` to `{}`", String::from_utf8_lossy(path), String::from_utf8_lossy(target));
    let at = tree.resolve(target, false).with_context(name)?;
    let node = tree.get_mut(&at).with_context(|| format!("{} has no target in the image", name()))?;
    match &mut node.kind {
        Kind::Dir(_) => bail!("{} names a directory", name()),
        Kind::File { link: link @ None, .. } => {
            *links += 1;
            *link = Some(*links);
        }
        _ => {}
    }
    Ok(node.clone())
}

/// Splits a member's path into folder and name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.iter().rposition(|b| *b == b'/').map_or((&[], path), |at| (&path[..at], &path[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use filetree::{Content, Meta};

    fn file(path: &str, text: &str) -> Entry {
        let kind = EntryKind::Node(Kind::File { content: Content::from(text), link: None });
        Entry { path: path.into(), meta: Meta::root(0o644, 0), kind }
    }

    #[test]
    fn whiteouts_hide_the_layers_below_only() {
        let (mut tree, mut links) = (Tree::new(), 0);
        apply_layer(&mut tree, vec![file("etc/a", "1"), file("etc/b", "1"), file("opt/old", "1")], &mut links).expect("apply");
        let above =
            vec![file("etc/b", "2"), file("etc/.wh.a", ""), file("etc/.wh.b", ""), file("opt/new", "2"), file("opt/.wh..wh..opq", "")];
        apply_layer(&mut tree, above, &mut links).expect("apply");
        assert!(tree.get("etc/a").is_none());
        assert!(tree.get("etc/b").is_some());
        assert!(tree.get("opt/old").is_none());
        assert!(tree.get("opt/new").is_some());
        for (path, named) in [("../../.wh.etc", "../.."), ("a/../../x", "a/../../x")] {
            let error = apply_layer(&mut tree, vec![file(path, "")], &mut links).expect_err("it leads out").to_string();
            assert_eq!(error, format!("the path `{named}` contains `..`"));
        }
    }

    #[test]
    fn a_hard_link_may_name_a_file_of_a_lower_layer() {
        let (mut tree, mut links) = (Tree::new(), 0);
        apply_layer(&mut tree, vec![file("a", "1")], &mut links).expect("apply");
        let link = Entry { path: b"b".to_vec(), meta: Meta::root(0o644, 0), kind: EntryKind::HardLink(b"a".to_vec()) };
        apply_layer(&mut tree, vec![link], &mut links).expect("apply");
        for name in ["a", "b"] {
            assert!(matches!(tree.get(name).expect("node").kind, Kind::File { link: Some(1), .. }));
        }
    }
}
