//! What differs between two trees. Times do not count: two builds of one file may differ in them alone.

use crate::{Content, Kind, Meta, Node, Tree};
use anyhow::Result;
use std::io::Read;

/// A path that differs, without a leading slash; the root is empty.
#[derive(Debug)]
pub struct Difference<'t> {
    /// The path.
    pub path: Vec<u8>,
    /// How it differs.
    pub change: Change<'t>,
}

/// How a path differs.
#[derive(Clone, Copy, Debug)]
pub enum Change<'t> {
    /// It is new. What is below a new directory has entries of its own.
    Added(&'t Node),
    /// It is gone, with all that was below it.
    Removed(&'t Node),
    /// It has other permissions, another owner, type or content: the old node and the new one.
    Changed(&'t Node, &'t Node),
}

/// What has to be done to `old` to get `new`, directories before what is in them, in the order of names.
pub fn differences<'t>(old: &'t Tree, new: &'t Tree) -> Result<Vec<Difference<'t>>> {
    let mut found = Vec::new();
    compare(&[], &old.root, &new.root, &mut found)?;
    Ok(found)
}

fn compare<'t>(path: &[u8], old: &'t Node, new: &'t Node, found: &mut Vec<Difference<'t>>) -> Result<()> {
    if !has_same_meta(&old.meta, &new.meta) || !has_same_data(&old.kind, &new.kind)? {
        found.push(Difference { path: path.to_vec(), change: Change::Changed(old, new) });
    }
    let (before, after) = match (old.children(), new.children()) {
        (Some(before), Some(after)) => (Some(before), after),
        (None, Some(after)) => (None, after),
        (_, None) => return Ok(()),
    };
    for (name, node) in before.into_iter().flatten().filter(|(name, _)| !after.contains_key(*name)) {
        found.push(Difference { path: joined(path, name), change: Change::Removed(node) });
    }
    for (name, node) in after {
        let below = joined(path, name);
        match before.and_then(|before| before.get(name)) {
            Some(was) => compare(&below, was, node, found)?,
            None => add(below, node, found),
        }
    }
    Ok(())
}

fn add<'t>(path: Vec<u8>, node: &'t Node, found: &mut Vec<Difference<'t>>) {
    let below: Vec<_> = node.children().into_iter().flatten().map(|(name, child)| (joined(&path, name), child)).collect();
    found.push(Difference { path, change: Change::Added(node) });
    below.into_iter().for_each(|(path, child)| add(path, child, found));
}

fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

fn has_same_meta(old: &Meta, new: &Meta) -> bool {
    let relevant = |meta: &Meta| (meta.mode, meta.uid, meta.gid);
    relevant(old) == relevant(new) && old.xattrs == new.xattrs
}

/// Whether two nodes are of the same type and, directories apart, have the same data.
fn has_same_data(old: &Kind, new: &Kind) -> Result<bool> {
    Ok(match (old, new) {
        (Kind::Dir(_), Kind::Dir(_)) | (Kind::Fifo, Kind::Fifo) => true,
        (Kind::File { content: old, .. }, Kind::File { content: new, .. }) => old.len() == new.len() && has_same_bytes(old, new)?,
        (Kind::Symlink(old), Kind::Symlink(new)) => old == new,
        (Kind::CharDevice { major, minor }, Kind::CharDevice { major: new_major, minor: new_minor })
        | (Kind::BlockDevice { major, minor }, Kind::BlockDevice { major: new_major, minor: new_minor }) => {
            (major, minor) == (new_major, new_minor)
        }
        _ => false,
    })
}

fn has_same_bytes(old: &Content, new: &Content) -> Result<bool> {
    let (mut old, mut new) = (old.open()?, new.open()?);
    let (mut one, mut other) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let count = old.read(&mut one)?;
        if count == 0 {
            return Ok(true);
        }
        new.read_exact(&mut other[..count])?;
        if one[..count] != other[..count] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::new();
        for (path, text) in files {
            tree.insert(path, Node::file(0o644, 0, Content::from(*text))).expect("insert");
        }
        tree
    }

    fn described(old: &Tree, new: &Tree) -> String {
        let lines = differences(old, new).expect("differences");
        let lines = lines.iter().map(|difference| {
            let sign = match difference.change {
                Change::Added(_) => '+',
                Change::Removed(_) => '-',
                Change::Changed(..) => '~',
            };
            format!("{sign}{}", String::from_utf8_lossy(&difference.path))
        });
        lines.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_kind_of_difference_is_found_and_nothing_else() {
        let old = tree(&[("a", "1"), ("dir/gone/x", "1"), ("dir/same", "1"), ("turns", "1"), ("z/y", "1")]);
        assert_eq!(described(&old, &old), "");
        let mut new = tree(&[("a", "2"), ("dir/same", "1"), ("dir/new/x", "1"), ("turns/into/a", "1"), ("z/y", "1")]);
        assert_eq!(described(&old, &new), "~a -dir/gone +dir/new +dir/new/x ~turns +turns/into +turns/into/a");
        assert_eq!(described(&new, &old), "~a -dir/new +dir/gone +dir/gone/x ~turns");
        new = old.clone();
        new.get_mut("a").expect("a").meta.mtime = 5;
        assert_eq!(described(&old, &new), "", "times do not count");
        new.get_mut("a").expect("a").meta.mode = 0o755;
        new.get_mut("z").expect("z").meta.uid = 7;
        new.get_mut("z/y").expect("y").meta.xattrs.insert("user.a".into(), vec![1]);
        assert_eq!(described(&old, &new), "~a ~z ~z/y");
    }

    #[test]
    fn devices_and_links_are_compared_by_their_data() {
        let with = |kind: Kind| {
            let mut tree = Tree::new();
            tree.insert("x", Node { meta: Meta::root(0o644, 0), kind }).expect("insert");
            tree
        };
        let device = |major, minor| with(Kind::CharDevice { major, minor });
        assert_eq!(described(&device(1, 3), &device(1, 3)), "");
        assert_eq!(described(&device(1, 3), &device(1, 5)), "~x");
        assert_eq!(described(&device(1, 3), &with(Kind::BlockDevice { major: 1, minor: 3 })), "~x");
        let link = |target: &str| with(Kind::Symlink(target.as_bytes().to_vec()));
        assert_eq!(described(&link("a"), &link("a")), "");
        assert_eq!(described(&link("a"), &link("b")), "~x");
    }
}
