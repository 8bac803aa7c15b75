//! The digest of a large file: over the digests of its chunks. Several threads make it, and what a step copies from a file that this process
//! has made is not hashed again.

use anyhow::{Context as _, Result};
use common::digest::hex;
use diskimage::sparse;
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashMap,
    fs::{File, Metadata},
    num::NonZero,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

/// Files of at least this size in bytes have a digest that leaves out zeros: root file systems, and disks, which are mostly holes.
pub(crate) const LARGE: u64 = 16 << 20;
/// The start of such a digest.
pub(crate) const KIND: &str = "tree:";
/// Bytes of a chunk.
pub(crate) const CHUNK: usize = 64 << 10;
/// Chunks that a thread reads at once.
const RUN: usize = 16;

/// The SHA-256 of a chunk.
type Leaf = [u8; 32];

/// Bytes of an output that a step has copied as they are.
#[derive(Clone, Debug)]
pub struct CopiedRange {
    /// Their place in the output.
    pub at: u64,
    /// Their number.
    pub len: u64,
    /// The file that they come from.
    pub from: PathBuf,
    /// Their place there.
    pub from_at: u64,
}

/// The digests of all chunks of a file that are not zero, by their numbers, in order. The same whether zeros are holes or not.
#[derive(Debug, Default)]
pub(crate) struct Leaves(Vec<(u64, Leaf)>);

impl Leaves {
    /// Adds the chunk with this number, which comes after those before. Only the last one of a file may be shorter than the others.
    pub(crate) fn add(&mut self, number: u64, chunk: &[u8]) {
        const ZEROS: &[u8] = &[0; CHUNK];
        if chunk != &ZEROS[..chunk.len()] {
            self.0.push((number, Sha256::digest(chunk).into()));
        }
    }

    /// The digest of a file of `length` bytes: `tree:HEX`, the SHA-256 of place and SHA-256 of each chunk, and of the length.
    pub(crate) fn digest(&self, length: u64) -> String {
        let mut hash = Sha256::new();
        for (number, leaf) in &self.0 {
            hash.update((number * CHUNK as u64).to_le_bytes());
            hash.update(leaf);
        }
        hash.update(length.to_le_bytes());
        format!("{KIND}{}", hex(&hash.finalize()))
    }

    fn get(&self, number: u64) -> Option<&Leaf> {
        self.0.binary_search_by_key(&number, |(number, _)| *number).ok().map(|at| &self.0[at].1)
    }
}

/// What tells whether a file is still the one that was hashed: inode, bytes, time. Only this process writes to artifacts meanwhile: it has the
/// tree's lock.
type Identity = (u64, u64, i64, i64);

fn identity(metadata: &Metadata) -> Identity {
    (metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

/// A file's identity and chunks.
type Hashed = (Identity, Arc<Leaves>);

/// The large files that this process has hashed.
static HASHED: LazyLock<Mutex<HashMap<PathBuf, Hashed>>> = LazyLock::new(Mutex::default);

/// The chunks of the file at `path`, if this process has hashed it as it is now.
fn hashed(path: &Path) -> Option<Arc<Leaves>> {
    let (known, leaves) = HASHED.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()?;
    path.metadata().is_ok_and(|now| identity(&now) == known).then_some(leaves)
}

/// The digest of the large file at `path`, which has just been made with the bytes that `copied` names. Does not read its holes.
pub(crate) fn digest_of(path: &Path, copied: &[CopiedRange]) -> Result<String> {
    let context = || format!("cannot read `{}`", path.display());
    let file = File::open(path).with_context(context)?;
    let metadata = file.metadata().with_context(context)?;
    let length = metadata.len();
    let copied: Vec<_> = copied.iter().filter_map(|range| Some((range, hashed(&range.from)?))).collect();
    let (mut leaves, mut unknown) = (Vec::new(), Vec::new());
    for number in chunks_with_data(&file, length).with_context(context)? {
        match copied.iter().find_map(|(range, leaves)| Some((leaves, source_of(number, range)?))) {
            Some((known, source)) => leaves.extend(known.get(source).map(|leaf| (number, *leaf))),
            None => unknown.push(number),
        }
    }
    leaves.extend(hash_all(&file, length, &unknown).with_context(context)?);
    leaves.sort_unstable();
    let leaves = Leaves(leaves);
    let digest = leaves.digest(length);
    HASHED.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), (identity(&metadata), Arc::new(leaves)));
    Ok(digest)
}

/// The number of the chunk from which the whole chunk `number` was copied.
fn source_of(number: u64, range: &CopiedRange) -> Option<u64> {
    let start = number.checked_mul(CHUNK as u64)?;
    let inside = start.checked_sub(range.at).filter(|inside| inside + CHUNK as u64 <= range.len)?;
    let source = range.from_at + inside;
    source.is_multiple_of(CHUNK as u64).then_some(source / CHUNK as u64)
}

/// The numbers of the chunks that are no holes.
fn chunks_with_data(file: &File, length: u64) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    let mut next = 0;
    for extent in sparse::extents(file, 0, length)? {
        let end = (extent.offset + extent.len).div_ceil(CHUNK as u64);
        numbers.extend((extent.offset / CHUNK as u64).max(next)..end);
        next = next.max(end);
    }
    Ok(numbers)
}

/// Hashes the chunks with these numbers, in several threads.
fn hash_all(file: &File, length: u64, numbers: &[u64]) -> Result<Vec<(u64, Leaf)>> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let share = numbers.len().div_ceil(threads).max(RUN);
    std::thread::scope(|scope| {
        let threads: Vec<_> = numbers.chunks(share).map(|share| scope.spawn(|| hash_some(file, length, share))).collect();
        let mut leaves = Vec::with_capacity(numbers.len());
        for thread in threads {
            let some = thread.join().map_err(|_| anyhow::anyhow!("a thread that makes digests panicked: this is a bug in xtask"))?;
            leaves.extend(some?.0);
        }
        Ok(leaves)
    })
}

fn hash_some(file: &File, length: u64, numbers: &[u64]) -> Result<Leaves> {
    let (mut leaves, mut buffer) = (Leaves::default(), vec![0; RUN * CHUNK]);
    for neighbours in numbers.chunk_by(|one, next| one + 1 == *next) {
        for run in neighbours.chunks(RUN) {
            let start = run[0] * CHUNK as u64;
            let bytes = &mut buffer[..usize::try_from((length - start).min((run.len() * CHUNK) as u64))?];
            file.read_exact_at(bytes, start)?;
            run.iter().zip(bytes.chunks(CHUNK)).for_each(|(number, chunk)| leaves.add(*number, chunk));
        }
    }
    Ok(leaves)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a file of 20 MiB with holes and whole chunks of zeros.
    fn sample(path: &Path) -> File {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path).expect("create");
        file.set_len(LARGE + 4 * CHUNK as u64 + 7).expect("sized");
        for (at, byte) in [(0, 1), (3 * CHUNK + 5, 2), (40 * CHUNK, 3)] {
            file.write_all_at(&vec![byte; 10 * CHUNK], at as u64).expect("written");
        }
        file.write_all_at(&vec![0; 4 * CHUNK], 20 * CHUNK as u64).expect("written");
        file.write_all_at(b"end", LARGE + 4 * CHUNK as u64).expect("written");
        file
    }

    #[test]
    fn what_was_copied_has_the_digest_of_what_is_read() {
        let folder = tempfile::tempdir().expect("folder");
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        let source = sample(&from);
        let of_source = digest_of(&from, &[]).expect("a digest");
        assert!(of_source.starts_with("tree:"));
        // One range from whole chunk to whole chunk, and one that is not.
        let (file, chunk) = (File::create(&to).expect("create"), CHUNK as u64);
        file.set_len(2 * LARGE).expect("sized");
        let mut copied = Vec::new();
        for (from_at, len, at) in [(0, 30 * chunk, 5 * chunk), (chunk, 40 * chunk + 9, 100 * chunk + 1), (0, 3 * chunk + 1, 200 * chunk)] {
            sparse::copy(&source, from_at, len, &file, at).expect("copied");
            copied.push(CopiedRange { at, len, from: from.clone(), from_at });
        }
        let read = digest_of(&to, &[]).expect("a digest");
        assert_eq!(digest_of(&to, &copied).expect("a digest"), read);
        // It is really taken from what is known: behind our back other bytes came.
        file.write_all_at(b"other", 6 * chunk).expect("written");
        assert_eq!(digest_of(&to, &copied).expect("a digest"), read);
        assert_ne!(digest_of(&to, &[]).expect("a digest"), read);
        // A source that has changed since is not believed.
        source.write_all_at(b"changed", 2 * LARGE).expect("written");
        assert_eq!(digest_of(&to, &copied).expect("a digest"), digest_of(&to, &[]).expect("a digest"));
    }
}
