//! Digests of artifacts: of a file, of a large file with holes, of a folder, of a link.

use crate::chunks::{self, CHUNK, CopiedRange, LARGE, Leaves};
use anyhow::{Context as _, Result};
use common::digest::{hex, sha256_of};
use sha2::{Digest as _, Sha256};
use std::{
    fs::Metadata,
    io::{self, Write},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
    sync::mpsc::{Receiver, SyncSender, channel, sync_channel},
    thread::{self, JoinHandle},
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

/// Bytes that are hashed at once: whole chunks.
const BLOCK: usize = 16 * CHUNK;
/// Blocks that wait for the thread that hashes.
const WAITING: usize = 4;

/// Writes a file, and makes the digest of its stamp on the way, in a thread of its own: a large file need not be read again for it.
pub struct DigestWriter<W> {
    out: W,
    /// The start of a block.
    block: Vec<u8>,
    full: SyncSender<Vec<u8>>,
    /// Blocks to fill again.
    empty: Receiver<Vec<u8>>,
    hashing: JoinHandle<(Leaves, u64)>,
}

impl<W: Write> DigestWriter<W> {
    /// Passes all bytes on to `out`.
    pub fn new(out: W) -> Self {
        let (full, blocks) = sync_channel::<Vec<u8>>(WAITING);
        let (back, empty) = channel();
        // Ends when the writer is dropped.
        let hashing = thread::spawn(move || {
            let (mut leaves, mut number, mut length) = (Leaves::default(), 0, 0);
            for mut block in blocks {
                for chunk in block.chunks(CHUNK) {
                    leaves.add(number, chunk);
                    number += 1;
                }
                length += block.len() as u64;
                block.clear();
                let _ = back.send(block);
            }
            (leaves, length)
        });
        Self { out, block: Vec::with_capacity(BLOCK), full, empty, hashing }
    }

    /// Writes what is left; the digest, if the file is so large that it has one of this kind.
    pub fn finish(mut self) -> io::Result<Option<String>> {
        self.out.flush()?;
        self.send()?;
        drop(self.full);
        let (leaves, length) = self.hashing.join().map_err(|_| gone())?;
        Ok((length >= LARGE).then(|| leaves.digest(length)))
    }

    fn send(&mut self) -> io::Result<()> {
        let next = self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(BLOCK));
        self.full.send(std::mem::replace(&mut self.block, next)).map_err(|_| gone())
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that makes the digest ended early: this is a bug in xtask")
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        let mut left = &bytes[..written];
        while !left.is_empty() {
            let (now, later) = left.split_at(left.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(now);
            left = later;
            if self.block.len() == BLOCK {
                self.send()?;
            }
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
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

/// `sha256:…` of a file's content, `tree:…` of a large file, `folder:…`, or `link:TARGET`.
pub fn digest(path: &Path, metadata: &Metadata) -> Result<String> {
    digest_of_made(path, metadata, &[])
}

/// The same for what has just been made with the bytes that `copied` names.
pub fn digest_of_made(path: &Path, metadata: &Metadata, copied: &[CopiedRange]) -> Result<String> {
    match metadata.file_type() {
        kind if kind.is_symlink() => link_digest(path),
        kind if kind.is_dir() => folder_digest(path),
        _ if metadata.len() >= LARGE => chunks::digest_of(path, copied),
        _ => plain_digest(path),
    }
}

/// Whether `known` is a digest as [`digest`] makes them of such a file. An older xtask made other ones of large files.
pub fn is_of_today(metadata: &Metadata, known: &str) -> bool {
    !metadata.is_file() || known.starts_with(if metadata.len() >= LARGE { chunks::KIND } else { PLAIN })
}

/// The start of the digest of a whole file.
const PLAIN: &str = "sha256:";

fn plain_digest(path: &Path) -> Result<String> {
    Ok(format!("{PLAIN}{}", sha256_of(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn the_digest_of_what_is_written_is_that_of_the_file() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("large");
        let mut writer = DigestWriter::new(File::create(&path).expect("create"));
        let mut left = usize::try_from(LARGE).expect("fits") + 12_345;
        // Pieces shorter and longer than a chunk, and zeros that are whole chunks.
        for (round, length) in [1, 512, CHUNK, 3 * CHUNK + 7, 0, CHUNK - 1, 2 * BLOCK + 1, BLOCK].into_iter().cycle().enumerate() {
            let piece = vec![u8::from(round % 5 > 1); length.min(left)];
            writer.write_all(&piece).expect("written");
            left -= piece.len();
            if left == 0 {
                break;
            }
        }
        let known = writer.finish().expect("flushed");
        let now = path.metadata().expect("there");
        assert_eq!(known, digest(&path, &now).ok());
        // Stamps of older xtasks have other kinds of digests of it.
        let kinds = [&*known.expect("a digest"), "sha256:00", "chunks:00"].map(|known| is_of_today(&now, known));
        assert_eq!(kinds, [true, false, false]);
        let mut small = DigestWriter::new(Vec::new());
        small.write_all(b"small").expect("written");
        assert_eq!(small.finish().expect("flushed"), None);
    }
}
