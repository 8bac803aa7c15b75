//! Reads a host folder into a tree.

use crate::{Content, Kind, Meta, Node, Tree};
use anyhow::{Context as _, Result, bail};
use std::{
    collections::BTreeMap,
    fs::Metadata,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileTypeExt as _, MetadataExt as _},
    },
    path::Path,
};

/// Reads the folder `root` (absolute path) without following links. `adjust` gets each path below `root` and may change the
/// metadata, or drop the node (return `false`); callers use it for owners, times and modes that must not depend on the host.
/// Extended attributes are not read.
pub fn read_dir(root: &Path, adjust: &mut dyn FnMut(&[u8], &mut Meta) -> bool) -> Result<Tree> {
    let mut tree = Tree::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry.with_context(|| format!("cannot read the folder `{}`", root.display()))?;
        let metadata = entry.metadata().with_context(|| format!("cannot read the metadata of `{}`", entry.path().display()))?;
        let path = entry.path().strip_prefix(root)?.as_os_str().as_bytes().to_vec();
        let mut meta = meta_of(&metadata);
        if !adjust(&path, &mut meta) || tree.get(&path).is_some() && !path.is_empty() {
            continue;
        }
        // The children of a dropped directory are dropped, too.
        let parent = path.iter().rposition(|b| *b == b'/').map_or(&[][..], |at| &path[..at]);
        if tree.get(parent).is_some() {
            tree.insert(&path, Node { meta, kind: kind_of(entry.path(), &metadata)? })?;
        }
    }
    Ok(tree)
}

fn meta_of(metadata: &Metadata) -> Meta {
    Meta { mode: metadata.mode() & 0o7777, uid: metadata.uid(), gid: metadata.gid(), mtime: metadata.mtime(), xattrs: BTreeMap::new() }
}

fn kind_of(path: &Path, metadata: &Metadata) -> Result<Kind> {
    let kind = metadata.file_type();
    Ok(if kind.is_dir() {
        Kind::Dir(BTreeMap::new())
    } else if kind.is_file() {
        let link = (metadata.nlink() > 1).then(|| metadata.ino());
        Kind::File { content: Content::Path { path: path.to_owned(), len: metadata.len() }, link }
    } else if kind.is_symlink() {
        Kind::Symlink(std::fs::read_link(path)?.as_os_str().as_bytes().to_vec())
    } else if kind.is_char_device() {
        Kind::CharDevice { major: major(metadata.rdev()), minor: minor(metadata.rdev()) }
    } else if kind.is_block_device() {
        Kind::BlockDevice { major: major(metadata.rdev()), minor: minor(metadata.rdev()) }
    } else if kind.is_fifo() {
        Kind::Fifo
    } else {
        bail!("`{}` is a socket: images cannot contain sockets", path.display())
    })
}

/// Linux's `dev_t` encoding (glibc `sys/sysmacros.h`): major in bits 8–19 and 44–63, minor in bits 0–7 and 20–43.
fn major(device: u64) -> u32 {
    (((device >> 8) & 0xfff) | ((device >> 32) & !0xfff)) as u32
}

fn minor(device: u64) -> u32 {
    ((device & 0xff) | ((device >> 12) & 0xffff_ff00)) as u32
}
