//! Ids of git's objects, computed where git has none yet: blobs of the working tree and the trees above them.

use super::state::{Change, TreeState};
use anyhow::{Context as _, Result, bail};
use sha1::{Digest as _, Sha1};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    io::Read as _,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::Path,
};

/// A SHA-1.
pub(super) type Id = [u8; 20];

/// Mode of a symbolic link.
const LINK: u32 = 0o120_000;
/// Mode of a folder.
const TREE: u32 = 0o40_000;

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]).map(char::from).collect()
}

pub(super) fn parse_id(text: &str) -> Result<Id> {
    let mut id = [0; 20];
    if text.len() != 40 || !text.is_ascii() {
        bail!("`{text}` is no id of 40 hex digits\nhint: repositories with SHA-256 ids are not understood, here as in linuxkit");
    }
    for (byte, at) in id.iter_mut().zip((0..40).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16)?;
    }
    Ok(id)
}

pub(super) fn sha1(parts: &[&[u8]]) -> Id {
    let mut hash = Sha1::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// The id that git gives a file with these bytes, in hex.
#[must_use]
pub fn blob_id(bytes: &[u8]) -> String {
    hex(&sha1(&[format!("blob {}\0", bytes.len()).as_bytes(), bytes]))
}

/// Mode and blob of the file as it lies in the working tree; `None` when there is none (a folder is none).
pub(super) fn file_now(path: &Path) -> Result<Option<(u32, Id)>> {
    let Ok(metadata) = path.symlink_metadata() else { return Ok(None) };
    let name = || format!("cannot read `{}`", path.display());
    if metadata.is_symlink() {
        let target = std::fs::read_link(path).with_context(name)?;
        let target = target.as_os_str().as_bytes();
        return Ok(Some((LINK, sha1(&[format!("blob {}\0", target.len()).as_bytes(), target]))));
    }
    if !metadata.is_file() {
        return Ok(None);
    }
    let mut hash = Sha1::new_with_prefix(format!("blob {}\0", metadata.len()));
    let mut file = File::open(path).with_context(name)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let got = file.read(&mut buffer).with_context(name)?;
        if got == 0 {
            break;
        }
        hash.update(&buffer[..got]);
    }
    let mode = if metadata.permissions().mode() & 0o100 != 0 { 0o100_755 } else { 0o100_644 };
    Ok(Some((mode, hash.finalize().into())))
}

/// The id that `path`, a folder or a file, has at HEAD, computed from its files.
pub(super) fn id_at_head(state: &TreeState, path: &[u8]) -> Option<Id> {
    let files: Vec<(&[u8], u32, Id)> = state.files_below(path).iter().map(|entry| (&*entry.path, entry.mode, entry.id)).collect();
    root_id(&files, path)
}

/// The id that `path`, a folder or a file, would have if everything below it that git does not ignore were committed now.
pub(super) fn id_now(state: &TreeState, top: &Path, path: &[u8]) -> Result<Option<Id>> {
    if state.changes_below(path).next().is_none()
        && let Some(id) = state.tree_id(path)
    {
        return Ok(Some(id));
    }
    let mut files: BTreeMap<&[u8], (u32, Id)> =
        state.files_below(path).iter().map(|entry| (&*entry.path, (entry.mode, entry.id))).collect();
    for (name, change) in state.changes_below(path) {
        let kept = matches!(change, Change::Tracked { head: (0o160_000, _), .. });
        if kept {
            bail!("`{}` is a submodule with changes", String::from_utf8_lossy(name));
        }
        match file_now(&top.join(OsStr::from_bytes(name)))? {
            Some(now) => drop(files.insert(name, now)),
            None => drop(files.remove(name)),
        }
    }
    let files: Vec<(&[u8], u32, Id)> = files.into_iter().map(|(name, (mode, id))| (name, mode, id)).collect();
    Ok(root_id(&files, path))
}

fn root_id(files: &[(&[u8], u32, Id)], path: &[u8]) -> Option<Id> {
    match files {
        [] => None,
        [(name, _, id)] if *name == path => Some(*id),
        _ => Some(tree_id(files, if path.is_empty() { 0 } else { path.len() + 1 })),
    }
}

/// The id of the tree that holds `files`, which are in byte order and share their first `skip` bytes.
fn tree_id(files: &[(&[u8], u32, Id)], skip: usize) -> Id {
    // Git sorts a folder as if its name ended with `/`, which is where its files sort too.
    let mut body = Vec::new();
    let mut rest = files;
    while let Some((path, mode, id)) = rest.first() {
        let name = &path[skip..];
        let taken = match name.iter().position(|b| *b == b'/') {
            None => {
                push_entry(&mut body, *mode, name, id);
                1
            }
            Some(slash) => {
                let prefix = &path[..=skip + slash];
                let count = rest.iter().take_while(|(path, ..)| path.starts_with(prefix)).count();
                push_entry(&mut body, TREE, &name[..slash], &tree_id(&rest[..count], prefix.len()));
                count
            }
        };
        rest = &rest[taken..];
    }
    sha1(&[format!("tree {}\0", body.len()).as_bytes(), &body])
}

fn push_entry(body: &mut Vec<u8>, mode: u32, name: &[u8], id: &Id) {
    body.extend_from_slice(format!("{mode:o} ").as_bytes());
    body.extend_from_slice(name);
    body.push(0);
    body.extend_from_slice(id);
}
