//! Digests of artifacts: of a file, of a large file with holes, of a folder, of a link.

use anyhow::{Context as _, Result};
use common::digest::{hex, sha256_of};
use diskimage::sparse;
use sha2::{Digest as _, Sha256};
use std::{
    fs::{File, Metadata},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, MetadataExt as _},
    },
    path::Path,
};

/// Size and time of a file, or of everything below a folder, to detect changes.
pub fn look(path: &Path, metadata: &Metadata) -> (u64, i128) {
    if !metadata.is_dir() {
        return (metadata.len(), mtime(metadata));
    }
    let below = walkdir::WalkDir::new(path).into_iter().filter_map(|entry| entry.ok()?.metadata().ok());
    below.fold((0, 0), |(size, time), now| (size + if now.is_dir() { 1 } else { now.len() }, time.max(mtime(&now))))
}

pub fn mtime(metadata: &Metadata) -> i128 {
    i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec())
}

fn link_digest(path: &Path) -> Result<String> {
    Ok(format!("link:{}", std::fs::read_link(path)?.display()))
}

/// Files of at least this size in bytes have a digest that leaves out zeros: disks, which are mostly holes.
pub const LARGE: u64 = 64 << 20;

/// A digest over the places and bytes of all chunks that are not zero. It is the same whether zeros are holes or not; holes are not read.
fn chunks_digest(path: &Path) -> Result<String> {
    const CHUNK: u64 = 64 << 10;
    const BUFFER: u64 = 16 * CHUNK;
    let context = || format!("cannot read `{}`", path.display());
    let file = File::open(path).with_context(context)?;
    let length = file.metadata().with_context(context)?.len();
    let (zeros, mut buffer) = ([0; CHUNK as usize], vec![0; BUFFER as usize]);
    let (mut hash, mut done) = (Sha256::new(), 0);
    for extent in sparse::extents(&file, 0, length).with_context(context)? {
        // Whole chunks, of which a hole may be a part.
        let end = (extent.offset + extent.len).next_multiple_of(CHUNK).min(length);
        let mut at = done.max(extent.offset / CHUNK * CHUNK);
        while at < end {
            let part = &mut buffer[..usize::try_from((end - at).min(BUFFER))?];
            file.read_exact_at(part, at).with_context(context)?;
            for chunk in part.chunks(CHUNK as usize) {
                if chunk != &zeros[..chunk.len()] {
                    hash.update(at.to_le_bytes());
                    hash.update(chunk);
                }
                at += chunk.len() as u64;
            }
        }
        done = done.max(at);
    }
    hash.update(length.to_le_bytes());
    Ok(format!("chunks:{}", hex(&hash.finalize())))
}

/// A digest over the names and contents below a folder.
fn folder_digest(folder: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    for entry in walkdir::WalkDir::new(folder).min_depth(1).sort_by_file_name() {
        let entry = entry.with_context(|| format!("cannot read `{}`", folder.display()))?;
        hash.update(entry.path().strip_prefix(folder)?.as_os_str().as_bytes());
        hash.update([0]);
        if entry.file_type().is_file() {
            hash.update(sha256_of(entry.path())?);
        }
    }
    Ok(format!("folder:{}", hex(&hash.finalize())))
}

/// `sha256:…` of a file's content, `chunks:…` of a large file, `folder:…`, or `link:TARGET`.
pub fn digest(path: &Path, metadata: &Metadata) -> Result<String> {
    match metadata.file_type() {
        kind if kind.is_symlink() => link_digest(path),
        kind if kind.is_dir() => folder_digest(path),
        _ if metadata.len() >= LARGE => chunks_digest(path),
        _ => Ok(format!("sha256:{}", sha256_of(path)?)),
    }
}
