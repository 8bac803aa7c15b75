//! Digests of artifacts: of a file, of a large file with holes, of a folder, of a link.

use anyhow::{Context as _, Result};
use common::digest::{hex, sha256_of};
use diskimage::sparse;
use sha2::{Digest as _, Sha256};
use std::{
    fs::{File, Metadata},
    io::{self, Write},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, MetadataExt as _},
    },
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

/// Files of at least this size in bytes have a digest that leaves out zeros: disks, which are mostly holes.
pub const LARGE: u64 = 64 << 20;

/// Bytes of a chunk.
const CHUNK: usize = 64 << 10;

/// A digest over the places and bytes of all chunks that are not zero. It is the same whether zeros are holes or not.
struct Chunks {
    hash: Sha256,
    at: u64,
}

impl Chunks {
    fn new() -> Self {
        Self { hash: Sha256::new(), at: 0 }
    }

    /// Adds whole chunks; only the last one of a file may be shorter.
    fn add(&mut self, bytes: &[u8]) {
        const ZEROS: &[u8] = &[0; CHUNK];
        for chunk in bytes.chunks(CHUNK) {
            if chunk != &ZEROS[..chunk.len()] {
                self.hash.update(self.at.to_le_bytes());
                self.hash.update(chunk);
            }
            self.at += chunk.len() as u64;
        }
    }

    fn finish(mut self, length: u64) -> String {
        self.hash.update(length.to_le_bytes());
        format!("chunks:{}", hex(&self.hash.finalize()))
    }
}

/// The digest of a large file. Does not read its holes.
fn chunks_digest(path: &Path) -> Result<String> {
    let context = || format!("cannot read `{}`", path.display());
    let file = File::open(path).with_context(context)?;
    let length = file.metadata().with_context(context)?.len();
    let (mut chunks, mut buffer) = (Chunks::new(), vec![0; 16 * CHUNK]);
    for extent in sparse::extents(&file, 0, length).with_context(context)? {
        // Whole chunks, of which a hole may be a part.
        let end = (extent.offset + extent.len).next_multiple_of(CHUNK as u64).min(length);
        chunks.at = chunks.at.max(extent.offset / CHUNK as u64 * CHUNK as u64);
        while chunks.at < end {
            let part = &mut buffer[..usize::try_from((end - chunks.at).min(16 * CHUNK as u64))?];
            file.read_exact_at(part, chunks.at).with_context(context)?;
            chunks.add(part);
        }
    }
    Ok(chunks.finish(length))
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
    hashing: JoinHandle<Chunks>,
}

impl<W: Write> DigestWriter<W> {
    /// Passes all bytes on to `out`.
    pub fn new(out: W) -> Self {
        let (full, blocks) = sync_channel::<Vec<u8>>(WAITING);
        let (back, empty) = channel();
        // Ends when the writer is dropped.
        let hashing = thread::spawn(move || {
            let mut chunks = Chunks::new();
            for mut block in blocks {
                chunks.add(&block);
                block.clear();
                let _ = back.send(block);
            }
            chunks
        });
        Self { out, block: Vec::with_capacity(BLOCK), full, empty, hashing }
    }

    /// Writes what is left; the digest, if the file is so large that it has one of this kind.
    pub fn finish(mut self) -> io::Result<Option<String>> {
        self.out.flush()?;
        self.send()?;
        drop(self.full);
        let chunks = self.hashing.join().map_err(|_| gone())?;
        let length = chunks.at;
        Ok((length >= LARGE).then(|| chunks.finish(length)))
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

/// `sha256:…` of a file's content, `chunks:…` of a large file, `folder:…`, or `link:TARGET`.
pub fn digest(path: &Path, metadata: &Metadata) -> Result<String> {
    match metadata.file_type() {
        kind if kind.is_symlink() => link_digest(path),
        kind if kind.is_dir() => folder_digest(path),
        _ if metadata.len() >= LARGE => chunks_digest(path),
        _ => Ok(format!("sha256:{}", sha256_of(path)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(known, digest(&path, &path.metadata().expect("there")).ok());
        let mut small = DigestWriter::new(Vec::new());
        small.write_all(b"small").expect("written");
        assert_eq!(small.finish().expect("flushed"), None);
    }
}
