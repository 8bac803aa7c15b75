//! The build context: a package's folder as a tree that does not depend on umask, owner or clock.

use super::pattern::Ignore;
use anyhow::{Context as _, Result, bail};
use filetree::{Children, Kind, Node, Tree};
use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

/// Reads the folder `dir` (absolute). All nodes get owner 0:0, mode 0755 or 0644 by their executable bit, and `mtime`. Symbolic
/// links are kept. Leaves out paths for which `keep` returns false, or which `Dockerfile.dockerignore` excludes; where there is no such
/// file, `.dockerignore`.
pub fn read_context(dir: &Path, mtime: i64, keep: &dyn Fn(&Path) -> bool) -> Result<Tree> {
    let mut ignore = Ignore::default();
    for name in ["Dockerfile.dockerignore", ".dockerignore"] {
        let path = dir.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                ignore = Ignore::parse(&text);
                break;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read `{}`", path.display())),
        }
    }
    // A later rule may include a file of an excluded folder, so an excluded folder is only dropped if it is empty.
    let mut tree = filetree::read_dir(dir, &mut |path, _| path.is_empty() || keep(&dir.join(OsStr::from_bytes(path))))?;
    let mut path = Vec::new();
    if let Kind::Dir(children) = &mut tree.root.kind {
        drop_ignored(children, &mut path, &ignore);
    }
    make_plain(&mut tree.root, mtime);
    Ok(tree)
}

/// Reads an entry of `extra-sources`, a folder or a file, to `destination` in the context.
pub fn add_source(context: &mut Tree, source: &Path, destination: &str, mtime: i64, keep: &dyn Fn(&Path) -> bool) -> Result<()> {
    // A link leads out of the tree, and the package's tag does not tell where.
    let metadata = source.symlink_metadata().with_context(|| format!("cannot read the extra source `{}`", source.display()))?;
    let node = if metadata.is_dir() {
        read_context(source, mtime, keep)?.root
    } else if !metadata.is_file() {
        bail!(
            "the extra source `{}` is neither a folder nor a file\nhint: `extra-sources` of the build.yml names the target of a link itself",
            source.display()
        );
    } else {
        let executable = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o100 != 0;
        Node::file(if executable { 0o755 } else { 0o644 }, mtime, filetree::Content::of_path(source)?)
    };
    context.insert(destination, node).with_context(|| format!("cannot add `{}` to the context at `{destination}`", source.display()))
}

fn drop_ignored(children: &mut Children, path: &mut Vec<u8>, ignore: &Ignore) {
    let length = path.len();
    children.retain(|name, node| {
        if length > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        let ignored = ignore.excludes(path);
        let kept = match &mut node.kind {
            Kind::Dir(below) => {
                drop_ignored(below, path, ignore);
                !ignored || !below.is_empty()
            }
            _ => !ignored,
        };
        path.truncate(length);
        kept
    });
}

fn make_plain(node: &mut Node, mtime: i64) {
    let mode = match &mut node.kind {
        Kind::Dir(children) => {
            children.values_mut().for_each(|child| make_plain(child, mtime));
            0o755
        }
        Kind::Symlink(_) => 0o777,
        Kind::File { link, .. } => {
            // Hard links in a checkout must not change the image.
            *link = None;
            if node.meta.mode & 0o100 == 0 { 0o644 } else { 0o755 }
        }
        _ => node.meta.mode,
    };
    node.meta = filetree::Meta::root(mode, mtime);
}
