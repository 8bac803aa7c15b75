//! Computes ids of git objects that git has not stored: blobs of the working tree and the trees above them.

use anyhow::{Context as _, Result, bail};
pub(super) use gitindex::objects::{Id, sha1};
use gitindex::objects::{TREE, push_entry, tree_of};
use std::{
    fs::Metadata,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
    time::SystemTime,
};

/// Hexadecimal digits. Made of each package's id at each start, so by a loop: this crate is compiled without optimization.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = vec![0; 2 * bytes.len()];
    let mut at = 0;
    while at < bytes.len() {
        digits[2 * at] = DIGITS[usize::from(bytes[at] >> 4)];
        digits[2 * at + 1] = DIGITS[usize::from(bytes[at] & 15)];
        at += 1;
    }
    String::from_utf8(digits).unwrap_or_default()
}

pub(super) fn parse_id(text: &str) -> Result<Id> {
    let mut id = [0; 20];
    if text.len() != 40 || !text.is_ascii() {
        bail!("`{text}` is not an id of 40 hex digits\nhint: like linuxkit, this does not support repositories with SHA-256 ids");
    }
    for (byte, at) in id.iter_mut().zip((0..40).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16)?;
    }
    Ok(id)
}

/// Git's blob id of these bytes, in hex.
#[must_use]
pub fn blob_id(bytes: &[u8]) -> String {
    hex(&sha1(&[format!("blob {}\0", bytes.len()).as_bytes(), bytes]))
}

/// An id of the file at `path` with these metadata. While a file has this id it has the same bytes.
pub(super) fn file_id(path: &Path, stat: &gitindex::Stat) -> String {
    let stat = stat.map(u32::to_be_bytes);
    hex(&sha1(&[path.as_os_str().as_bytes(), b"\0", stat.as_flattened()]))
}

/// The [id](file_id) of the file at `path` whose metadata are `meta`; none if it changed so lately that another change might leave it the same
/// id: times of files have steps, of two seconds on some file systems.
pub(crate) fn settled_id(path: &Path, meta: &Metadata, now: SystemTime) -> Option<String> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let is_settled = u64::try_from(meta.ctime()).is_ok_and(|changed| changed.saturating_add(3) <= now.as_secs());
    is_settled.then(|| file_id(path, &gitindex::stat_of(meta)))
}

/// Mode and blob id of the file in the working tree; `None` if there is no file (a folder counts as none).
pub(super) fn file_now(path: &Path) -> Result<Option<(u32, Id)>> {
    gitindex::objects::file_now(path).with_context(|| format!("cannot read `{}`", path.display()))
}

/// Id of the folder or file `path` that holds `files`: path, mode and id, in byte order. None if there are no files.
pub(super) fn root_id(files: &[(&[u8], u32, Id)], path: &[u8]) -> Option<Id> {
    match files {
        [] => None,
        [(name, _, id)] if *name == path => Some(*id),
        _ => Some(tree_id(files, if path.is_empty() { 0 } else { path.len() + 1 })),
    }
}

/// Id of the tree that holds `files`, which are in byte order and share their first `skip` bytes.
fn tree_id(files: &[(&[u8], u32, Id)], skip: usize) -> Id {
    // Git sorts a folder as if its name ended with `/`; so do the paths of its files.
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
    tree_of(&body)
}
