//! Hashes of a dirty package's content. linuxkit's is a SHA-256 over the bytes of the files that git lists, in git's order.

use super::{
    Place, objects,
    state::{Change, TreeState},
};
use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs::File,
    io::Read as _,
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

/// The hash as 64 hex digits. Tracked files first, then untracked ones, each in byte order; paths are not hashed.
pub(super) fn hash(state: &TreeState, place: &Place) -> Result<String> {
    let (tracked, untracked) = listed(state, &place.package);
    let mut hash = Sha256::new();
    for (path, times) in tracked.into_iter().chain(untracked.into_iter().map(|path| (path, 1))) {
        let relative = path.strip_prefix(place.package.as_slice()).unwrap_or(path);
        if is_quoted(relative) {
            continue;
        }
        for _ in 0..times {
            add_file(&mut hash, &place.top.join(OsStr::from_bytes(path)))?;
        }
    }
    Ok(objects::hex(&hash.finalize()))
}

/// A hash of everything in the working tree below `folders` that git does not ignore, as 64 hex digits: names, types, executable bits, link
/// targets and bytes.
pub(super) fn hash_of_everything(state: &TreeState, top: &Path, folders: &[(Vec<u8>, &str)]) -> Result<String> {
    let mut hash = Sha256::new();
    for (folder, destination) in folders {
        add_field(&mut hash, destination.as_bytes());
        let at_head = state.files_below(folder).iter().map(|entry| &*entry.path);
        let paths: BTreeSet<&[u8]> = at_head.chain(state.changes_below(folder).map(|(path, _)| path)).collect();
        for path in paths {
            // The id of a blob is a hash of its bytes. A file that is gone and a submodule are in no image.
            if let Some((mode, id)) = objects::file_now(&top.join(OsStr::from_bytes(path)))? {
                add_field(&mut hash, path.strip_prefix(folder.as_slice()).unwrap_or(path));
                hash.update(mode.to_be_bytes());
                hash.update(id);
            }
        }
    }
    Ok(objects::hex(&hash.finalize()))
}

/// Adds bytes with their number, so that no two lists of fields have the same bytes.
fn add_field(hash: &mut Sha256, bytes: &[u8]) {
    hash.update(bytes.len().to_be_bytes());
    hash.update(bytes);
}

/// The package's files in `git ls-files` with the number of their entries, and those in `git ls-files --others
/// --exclude-standard`.
fn listed<'s>(state: &'s TreeState, package: &'s [u8]) -> (BTreeMap<&'s [u8], usize>, Vec<&'s [u8]>) {
    let mut tracked: BTreeMap<&[u8], usize> = state.files_below(package).iter().map(|entry| (&*entry.path, 1)).collect();
    let mut untracked = Vec::new();
    for (path, change) in state.changes_below(package) {
        match change {
            Change::Untracked => untracked.push(path),
            // A path in conflict has several index entries.
            Change::Unmerged(stages) => drop(tracked.insert(path, *stages)),
            Change::Tracked { index: b'D', also_untracked, .. } => {
                tracked.remove(path);
                if *also_untracked {
                    untracked.push(path);
                }
            }
            Change::Tracked { .. } => drop(tracked.insert(path, 1)),
        }
    }
    (tracked, untracked)
}

/// Linuxkit reads git's list by lines, in which git quotes such names, so it does not find these files.
fn is_quoted(path: &[u8]) -> bool {
    path.iter().any(|b| *b < b' ' || *b >= 0x7f || matches!(b, b'"' | b'\\'))
}

/// Adds a file's bytes; directories, links and unreadable files add nothing.
fn add_file(hash: &mut Sha256, path: &Path) -> Result<()> {
    if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Ok(());
    }
    let Ok(mut file) = File::open(path) else { return Ok(()) };
    let mut buffer = vec![0; 1 << 16];
    loop {
        let got = file.read(&mut buffer).with_context(|| format!("cannot read `{}`", path.display()))?;
        if got == 0 {
            return Ok(());
        }
        hash.update(&buffer[..got]);
    }
}
