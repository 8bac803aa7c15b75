//! A root file system as a value ([`Tree`]): names, metadata, and references to file contents (in memory, in a range of a file,
//! in a file on disk). It reads and writes tar, and reads host folders. OCI layers, Dockerfiles and disk image formats are left
//! to the crates above. It depends on no crate of this workspace.

mod content;
mod diff;
mod dir;
mod sparse;
mod state;
mod tar;

pub use content::{Content, ContentReader, Spool};
pub use diff::{Change, Difference, differences};
pub use dir::read_dir;
pub use state::FileState;
pub use tar::{Entry, EntryKind, Records, TarWriter, entries_to_tree, read_tar_content, read_tar_file, read_tar_stream, write_tar};

use anyhow::{Result, bail};
use std::collections::BTreeMap;

/// Children of a directory by name (bytes without `/`), in byte order.
pub type Children = BTreeMap<Vec<u8>, Node>;

/// Linux's PATH_MAX in bytes. It bounds the depth of a tree, and so the recursion depth of a walk.
const LONGEST: usize = 4096;

/// Owner, permissions and times of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky: `0o7777` at most.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Modification time: Unix timestamp.
    pub mtime: i64,
    /// Extended attributes by full name (`security.capability`), values as raw bytes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

impl Meta {
    /// Owner root, no extended attributes.
    #[must_use]
    pub fn root(mode: u32, mtime: i64) -> Self {
        Self { mode, uid: 0, gid: 0, mtime, xattrs: BTreeMap::new() }
    }
}

/// Type of a node, with the data of that type.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A directory and its children.
    Dir(Children),
    /// A regular file. Nodes of one tree with the same `link` are hard links of one file.
    File {
        /// The file's bytes.
        content: Content,
        /// Identity shared by hard links; `None` for a file with one name.
        link: Option<u64>,
    },
    /// A symbolic link: its target, unchanged.
    Symlink(Vec<u8>),
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// One file, directory, link or device.
#[derive(Clone, Debug)]
pub struct Node {
    /// Owner, permissions, times.
    pub meta: Meta,
    /// Type and data.
    pub kind: Kind,
}

impl Node {
    /// An empty directory owned by root.
    #[must_use]
    pub fn dir(mode: u32, mtime: i64) -> Self {
        Self { meta: Meta::root(mode, mtime), kind: Kind::Dir(Children::new()) }
    }

    /// A file owned by root.
    #[must_use]
    pub fn file(mode: u32, mtime: i64, content: Content) -> Self {
        Self { meta: Meta::root(mode, mtime), kind: Kind::File { content, link: None } }
    }

    /// The children of a directory; `None` for any other node.
    #[must_use]
    pub fn children(&self) -> Option<&Children> {
        match &self.kind {
            Kind::Dir(children) => Some(children),
            _ => None,
        }
    }
}

/// A root directory and all below it. Paths are bytes, relative to the root; a leading `/`, empty parts and
/// `.` are ignored, `..` is refused.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The root directory: always a [`Kind::Dir`].
    pub root: Node,
}

impl Default for Tree {
    fn default() -> Self {
        Self { root: Node::dir(0o755, 0) }
    }
}

/// Limit of symbolic links followed in one lookup, as in Linux (`ELOOP`).
const MAX_LINKS: usize = 40;

impl Tree {
    /// An empty tree: a root directory of mode 0755.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The node at `path`, without following links.
    #[must_use]
    pub fn get(&self, path: impl AsRef<[u8]>) -> Option<&Node> {
        let mut node = &self.root;
        for part in parts(path.as_ref()).ok()? {
            node = node.children()?.get(part)?;
        }
        Some(node)
    }

    /// The node at `path` for modification, without following links.
    pub fn get_mut(&mut self, path: impl AsRef<[u8]>) -> Option<&mut Node> {
        let mut node = &mut self.root;
        for part in parts(path.as_ref()).ok()? {
            match &mut node.kind {
                Kind::Dir(children) => node = children.get_mut(part)?,
                _ => return None,
            }
        }
        Some(node)
    }

    /// `path` with every symbolic link in its directories resolved inside the tree, and its last part too when `follow_last`.
    /// Parts that do not exist are kept. Fails on `..` in `path` and on link loops; a `..` in a link's target stops at the
    /// root, as in a chroot.
    pub fn resolve(&self, path: impl AsRef<[u8]>, follow_last: bool) -> Result<Vec<u8>> {
        let mut pending: Vec<Vec<u8>> = parts(path.as_ref())?.into_iter().rev().map(<[u8]>::to_vec).collect();
        let mut done: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(part) = pending.pop() {
            if part == b".." {
                done.pop();
                continue;
            }
            done.push(part);
            if pending.is_empty() && !follow_last {
                break;
            }
            let Some(Node { kind: Kind::Symlink(target), .. }) = self.get(done.join(&b'/')) else { continue };
            links += 1;
            if links > MAX_LINKS {
                bail!("too many levels of symbolic links in `{}`", String::from_utf8_lossy(path.as_ref()));
            }
            done.pop();
            if target.starts_with(b"/") {
                done.clear();
            }
            pending.extend(target.split(|b| *b == b'/').rev().filter(|p| !p.is_empty() && *p != b".").map(<[u8]>::to_vec));
        }
        Ok(done.join(&b'/'))
    }

    /// Puts `node` at `path`. Follows links in the parent directories (inside the tree) and creates missing ones with mode 0755
    /// and the node's mtime. Replaces an existing node; but a directory put on a directory keeps the children of both and takes
    /// the new metadata.
    pub fn insert(&mut self, path: impl AsRef<[u8]>, node: Node) -> Result<()> {
        let path = path.as_ref();
        if path.len() > LONGEST {
            bail!("the path `{}…` has {} bytes, more than Linux's limit of {LONGEST}", String::from_utf8_lossy(&path[..64]), path.len());
        }
        let path = self.resolve(path, false)?;
        let mtime = node.meta.mtime;
        if path.is_empty() {
            let Kind::Dir(children) = node.kind else { bail!("the root of a tree must be a directory") };
            self.root.meta = node.meta;
            if let Kind::Dir(own) = &mut self.root.kind {
                merge(own, children);
            }
            return Ok(());
        }
        let mut at = &mut self.root;
        let all: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
        let (name, above) = all.split_last().map_or((&[][..], &[][..]), |(n, a)| (*n, a));
        for part in above {
            at = match &mut at.kind {
                Kind::Dir(children) => children.entry(part.to_vec()).or_insert_with(|| Node::dir(0o755, mtime)),
                _ => bail!("a parent of `{}` is not a directory", String::from_utf8_lossy(&path)),
            };
        }
        match &mut at.kind {
            Kind::Dir(children) => insert_child(children, name.to_vec(), node),
            _ => bail!("a parent of `{}` is not a directory", String::from_utf8_lossy(&path)),
        }
        Ok(())
    }

    /// Removes and returns the node at `path` with all its children.
    pub fn remove(&mut self, path: impl AsRef<[u8]>) -> Option<Node> {
        let path = path.as_ref();
        let all = parts(path).ok()?;
        let (name, above) = all.split_last()?;
        match &mut self.get_mut(above.join(&b'/'))?.kind {
            Kind::Dir(children) => children.remove(*name),
            _ => None,
        }
    }

    /// Calls `visit` with every path (the root's is empty) and node: a directory before its children, names in byte order.
    pub fn walk<'t>(&'t self, visit: &mut dyn FnMut(&[u8], &'t Node) -> Result<()>) -> Result<()> {
        fn go<'t>(path: &mut Vec<u8>, node: &'t Node, visit: &mut dyn FnMut(&[u8], &'t Node) -> Result<()>) -> Result<()> {
            visit(path, node)?;
            for (name, child) in node.children().into_iter().flatten() {
                let length = path.len();
                if length > 0 {
                    path.push(b'/');
                }
                path.extend_from_slice(name);
                go(path, child, visit)?;
                path.truncate(length);
            }
            Ok(())
        }
        go(&mut Vec::new(), &self.root, visit)
    }
}

fn insert_child(children: &mut Children, name: Vec<u8>, node: Node) {
    match (children.get_mut(&name), node) {
        (Some(Node { meta, kind: Kind::Dir(old) }), Node { meta: new_meta, kind: Kind::Dir(new) }) => {
            *meta = new_meta;
            merge(old, new);
        }
        (_, node) => {
            children.insert(name, node);
        }
    }
}

/// Merges `new` into `into`, recursively for directories.
fn merge(into: &mut Children, new: Children) {
    for (name, node) in new {
        insert_child(into, name, node);
    }
}

/// Splits a path; drops empty parts and `.`; refuses `..`, which no correct archive needs, and NUL bytes.
fn parts(path: &[u8]) -> Result<Vec<&[u8]>> {
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".").collect();
    if parts.contains(&&b".."[..]) {
        bail!("the path `{}` contains `..`", String::from_utf8_lossy(path));
    }
    if path.contains(&0) {
        bail!("the path `{}` contains a NUL byte", String::from_utf8_lossy(path));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(target: &str) -> Node {
        Node { meta: Meta::root(0o777, 0), kind: Kind::Symlink(target.into()) }
    }

    #[test]
    fn a_path_that_no_system_takes_is_refused() {
        let mut tree = Tree::new();
        tree.insert("a/".repeat(2000) + "b", Node::dir(0o755, 0)).expect("as deep as Linux goes");
        tree.clone().walk(&mut |_, _| Ok(())).expect("walked");
        let error = tree.insert("a/".repeat(100_000), Node::dir(0o755, 0)).expect_err("too deep").to_string();
        assert!(error.ends_with("has 200000 bytes, more than Linux's limit of 4096"), "{error}");
    }

    #[test]
    fn links_are_followed_inside_the_tree_only() {
        let mut tree = Tree::new();
        tree.insert("usr/lib", Node::dir(0o755, 0)).expect("insert");
        tree.insert("lib", link("../../usr/lib")).expect("insert");
        tree.insert("lib/x", Node::file(0o644, 1, Content::from("hi"))).expect("insert");
        assert!(tree.get("usr/lib/x").is_some());
        assert_eq!(tree.insert("../x", Node::dir(0o755, 0)).expect_err("out").to_string(), "the path `../x` contains `..`");
        tree.insert("loop", link("loop")).expect("insert");
        let error = tree.insert("loop/x", Node::dir(0o755, 0)).expect_err("a loop").to_string();
        assert_eq!(error, "too many levels of symbolic links in `loop/x`");
    }

    #[test]
    fn a_directory_on_a_directory_keeps_both() {
        let mut tree = Tree::new();
        tree.insert("a/b", Node::file(0o644, 0, Content::from("b"))).expect("insert");
        tree.insert("a", Node::dir(0o700, 7)).expect("insert");
        assert!(tree.get("a/b").is_some());
        assert_eq!(tree.get("a").expect("a").meta.mode, 0o700);
        tree.insert("a", Node::file(0o644, 0, Content::from("file"))).expect("insert");
        assert!(tree.get("a/b").is_none());
    }
}
