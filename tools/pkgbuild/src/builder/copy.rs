//! `COPY` between two trees, by BuildKit's rules: links on the way to the destination are followed inside the tree; a folder's
//! content is copied, not the folder; an existing folder keeps its metadata if it is the destination itself, and takes the
//! source's if it is below; a file cannot replace a folder, nor a folder a file.

use super::pattern::{is_pattern, matches_name};
use anyhow::{Context as _, Result, bail};
use filetree::{Children, Kind, Meta, Node, Tree};
use std::collections::HashMap;

/// Changes to the copied nodes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changes {
    /// `--chmod`, for files and folders.
    pub(super) mode: Option<u32>,
    /// `--chown`.
    pub(super) owner: Option<(u32, u32)>,
    /// Modification time of created parent folders.
    pub(super) mtime: i64,
}

/// Generates hard link ids that no other tree of the build uses.
#[derive(Debug)]
pub(super) struct Links(u64);

impl Default for Links {
    /// Above all tar entry counts and inode numbers.
    fn default() -> Self {
        Self(FIRST_LINK)
    }
}

/// Ids from here on are the builder's.
const FIRST_LINK: u64 = 1 << 62;

impl Links {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }

    /// Gives all foreign hard link ids of `node` builder ids, so that ids which a later step assigns cannot collide with them.
    pub(super) fn renumber(&mut self, node: &mut Node) {
        fn go(links: &mut Links, node: &mut Node, seen: &mut HashMap<u64, u64>) {
            match &mut node.kind {
                Kind::Dir(children) => children.values_mut().for_each(|child| go(links, child, seen)),
                Kind::File { link: Some(link), .. } if *link < FIRST_LINK => *link = *seen.entry(*link).or_insert_with(|| links.next()),
                _ => {}
            }
        }
        go(self, node, &mut HashMap::new());
    }
}

/// A file or folder to copy.
#[derive(Debug)]
pub(super) struct Source<'t> {
    /// Name in the destination, if that is a folder.
    pub(super) name: Vec<u8>,
    pub(super) node: &'t Node,
}

/// Finds `word` in `tree`: a path, which must exist, or a pattern, which may match nothing. `what` names the tree in errors.
pub(super) fn find_sources<'t>(tree: &'t Tree, word: &str, what: &str) -> Result<Vec<Source<'t>>> {
    let parts: Vec<&str> = clean_parts(word);
    let mut found = vec![Vec::new()];
    for part in &parts {
        let mut next = Vec::new();
        for path in found {
            if is_pattern(part) {
                let folder = tree.resolve(&path, true)?;
                let names = tree.get(&folder).and_then(Node::children).into_iter().flat_map(Children::keys);
                next.extend(names.filter(|name| matches_name(part.as_bytes(), name)).map(|name| join(&path, name)));
            } else {
                next.push(join(&path, part.as_bytes()));
            }
        }
        found = next;
    }
    let wildcard = parts.iter().any(|part| is_pattern(part));
    let mut sources = Vec::new();
    for path in found {
        // Resolved as in a chroot: a link cannot point out of the tree.
        let at = tree.resolve(&path, true)?;
        let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default().to_vec();
        match tree.get(&at) {
            Some(node) => sources.push(Source { name, node }),
            None if wildcard => {}
            None => bail!("`{word}` does not exist in {what}"),
        }
    }
    Ok(sources)
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

/// The parts of a path; `..` stops at the root.
pub(super) fn clean_parts(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts
}

/// Copies `source` to `destination`, a clean path below the root. `into_folder`: it was written with a trailing `/`.
pub(super) fn copy_to(
    tree: &mut Tree,
    source: &Source<'_>,
    destination: &str,
    into_folder: bool,
    changes: Changes,
    links: &mut Links,
) -> Result<()> {
    let mut at = tree.resolve(destination, true)?;
    if into_folder {
        ensure_folder(tree, &at, changes)?;
    }
    let mut copier = Copier { changes, links, seen: HashMap::new() };
    match &source.node.kind {
        Kind::Dir(children) => {
            ensure_folder(tree, &at, changes)?;
            let Some(Node { kind: Kind::Dir(into), .. }) = tree.get_mut(&at) else { bail!("`/{destination}` is not a folder") };
            copier.merge(children, into, &mut at)
        }
        _ => {
            if tree.get(&at).is_some_and(|node| node.children().is_some()) {
                at = join(&at, &source.name);
            }
            let (parent, name) = match at.iter().rposition(|b| *b == b'/') {
                Some(slash) => (at[..slash].to_vec(), at[slash + 1..].to_vec()),
                None => (Vec::new(), at.clone()),
            };
            ensure_folder(tree, &parent, changes)?;
            let Some(Node { kind: Kind::Dir(into), .. }) = tree.get_mut(&parent) else {
                bail!("a parent of `/{destination}` is not a folder")
            };
            copier.put(&name, source.node, into, &mut at)
        }
    }
}

/// Linux's PATH_MAX: no program could open a longer path, and walks through a tree recurse as deep as its paths.
const LONGEST: usize = 4096;

pub(super) fn check_length(path: &[u8]) -> Result<()> {
    if path.len() > LONGEST {
        bail!("the path `{}…` has {} bytes, more than Linux's limit of {LONGEST}", String::from_utf8_lossy(&path[..40]), path.len());
    }
    Ok(())
}

/// Puts the tree `upper` over `lower`, as layers lie over one another: two folders become one with the upper one's metadata, and anything
/// else of `upper` replaces what has its name. No link is followed.
pub(super) fn lay_over(lower: &mut Node, upper: Node) {
    let Kind::Dir(above) = upper.kind else { return };
    let Kind::Dir(below) = &mut lower.kind else { return };
    for (name, node) in above {
        match below.get_mut(&name) {
            Some(old) if old.children().is_some() && node.children().is_some() => {
                old.meta = node.meta.clone();
                lay_over(old, node);
            }
            _ => drop(below.insert(name, node)),
        }
    }
}

/// Creates the folder `path` (without links) and its parents, if missing.
pub(super) fn ensure_folder(tree: &mut Tree, path: &[u8], changes: Changes) -> Result<()> {
    check_length(path)?;
    let (uid, gid) = changes.owner.unwrap_or_default();
    let mut at = &mut tree.root;
    for part in path.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
        let new = || Node { meta: Meta { uid, gid, ..Meta::root(0o755, changes.mtime) }, kind: Kind::Dir(Children::new()) };
        at = match &mut at.kind {
            Kind::Dir(children) => children.entry(part.to_vec()).or_insert_with(new),
            _ => bail!("a parent of `/{}` is not a folder", String::from_utf8_lossy(path)),
        };
    }
    match at.kind {
        Kind::Dir(_) => Ok(()),
        _ => bail!("`/{}` is a file, not a folder", String::from_utf8_lossy(path)),
    }
}

struct Copier<'l> {
    changes: Changes,
    links: &'l mut Links,
    /// Builder ids of the source's hard links, by their ids there.
    seen: HashMap<u64, u64>,
}

impl Copier<'_> {
    fn merge(&mut self, from: &Children, into: &mut Children, path: &mut Vec<u8>) -> Result<()> {
        for (name, node) in from {
            let length = path.len();
            path.push(b'/');
            path.extend_from_slice(name);
            check_length(path)?;
            self.put(name, node, into, path)?;
            path.truncate(length);
        }
        Ok(())
    }

    fn put(&mut self, name: &[u8], node: &Node, into: &mut Children, path: &mut Vec<u8>) -> Result<()> {
        let place = |path: &[u8]| format!("/{}", String::from_utf8_lossy(path).trim_start_matches('/'));
        let meta = self.meta(node);
        if let Kind::Dir(children) = &node.kind {
            let old = into.entry(name.to_vec()).or_insert_with(|| Node { meta: meta.clone(), kind: Kind::Dir(Children::new()) });
            old.meta = meta;
            return match &mut old.kind {
                Kind::Dir(below) => self.merge(children, below, path),
                Kind::Symlink(target) => {
                    let target = String::from_utf8_lossy(target);
                    bail!(
                        "the folder `{0}` would replace a symbolic link to `{target}`\nhint: copy its content to the link's target with a separate COPY",
                        place(path)
                    )
                }
                _ => bail!("the folder `{}` would replace a file", place(path)),
            };
        }
        if into.get(name).is_some_and(|old| old.children().is_some()) {
            bail!("the file `{}` would replace a folder", place(path));
        }
        let mut kind = node.kind.clone();
        if let Kind::File { link: Some(link), .. } = &mut kind {
            *link = *self.seen.entry(*link).or_insert_with(|| self.links.next());
        }
        into.insert(name.to_vec(), Node { meta, kind });
        Ok(())
    }

    fn meta(&self, node: &Node) -> Meta {
        let mut meta = node.meta.clone();
        if let Some((uid, gid)) = self.changes.owner {
            (meta.uid, meta.gid) = (uid, gid);
        }
        if let (Some(mode), false) = (self.changes.mode, matches!(node.kind, Kind::Symlink(_))) {
            meta.mode = mode;
        }
        meta
    }
}

pub(super) fn parse_mode(text: &str) -> Result<u32> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.with_context(|| format!("--chmod={text} is not supported\nhint: use an octal number such as 755"))
}

/// The uid and gid of `user[:group]`; names are looked up in the tree's `/etc/passwd` and `/etc/group`. Without a group, the gid is that
/// of the named user, or the uid. `what` stands before the text in errors.
pub(super) fn parse_owner(what: &str, text: &str, tree: &Tree) -> Result<(u32, u32)> {
    /// The numbers in the line of `name` in a file of the tree.
    fn numbers(name: &str, file: &str, tree: &Tree) -> Result<Option<Vec<u32>>> {
        let at = tree.resolve(file, true)?;
        let text = match tree.get(at).map(|node| &node.kind) {
            Some(Kind::File { content, .. }) => String::from_utf8_lossy(&content.read_all()?).into_owned(),
            _ => String::new(),
        };
        let line = text.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields.first() == Some(&name));
        Ok(line.map(|fields| fields.iter().skip(2).map_while(|field| field.parse().ok()).collect()))
    }
    let number = |name: &str, file: &str, field: usize| -> Result<u32> {
        if let Ok(number) = name.parse() {
            return Ok(number);
        }
        let number = numbers(name, file, tree)?.and_then(|numbers| numbers.get(field).copied());
        number.with_context(|| format!("{what}{name}: `{name}` is not in the stage's /{file}"))
    };
    match text.split_once(':') {
        Some((user, group)) => Ok((number(user, "etc/passwd", 0)?, number(group, "etc/group", 0)?)),
        None => Ok((number(text, "etc/passwd", 0)?, number(text, "etc/passwd", 1)?)),
    }
}
