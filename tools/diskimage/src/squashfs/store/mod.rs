//! A folder with the compressed forms of blocks, so that the next image compresses only what is new. It changes no byte of an image: a
//! form is found by the digest of the block and of everything that decides how it is compressed. Safe with several writers at once and
//! with writers that are killed: a pack appears when it is whole, and everything that is read from it is checked.

mod pack;
#[cfg(test)]
mod source_tests;
mod sources;
#[cfg(test)]
mod tests;

pub(super) use pack::{Form, Key, Row, check};
pub(super) use sources::Source;

use super::{compress::Compressor, format::DATA_STORED};
use anyhow::{Context as _, Result};
use pack::Pack;
use sha2::{Digest as _, Sha256};
use sources::Sources;
use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::{Duration, SystemTime},
};

/// What decides the compressed bytes besides block and options, together with `compress.rs`: a test compares the versions with Cargo.lock.
const RULES: &str = "flate2 1.1.11, liblzma-sys 0.4.9, zlib-rs 0.6.8";
/// The digest of the program text that chooses how a block is compressed. After any change of it, no old form counts.
static PROGRAM: LazyLock<[u8; 32]> = LazyLock::new(|| Sha256::digest(include_bytes!("../compress.rs")).into());
/// How long a pack is kept that no image uses.
const MOST_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How many packs are kept. With more, an image would look for its blocks in too many files.
const MOST_PACKS: usize = 48;
/// An image whose blocks come from more packs than this is written to a pack of its own, so that the next one reads only that.
const SCATTERED: usize = 8;
/// Name of an unfinished pack. What a killed writer has left is removed after an hour.
const UNFINISHED: &str = ".new-";
/// See [`UNFINISHED`].
const ABANDONED: Duration = Duration::from_secs(3600);
/// The end of a pack's name.
const SUFFIX: &str = ".blocks";

/// The compressed blocks of earlier images.
#[derive(Debug)]
pub struct BlockStore {
    folder: PathBuf,
    limit: u64,
    packs: Vec<Pack>,
    places: HashMap<Key, (u32, u32)>,
    sources: Sources,
}

/// A source and what it gives: the key of a block, none for a hole; or the hash of a content.
pub(super) type Known = (Source, Option<Key>);

/// What an image's writer tells of its blocks, in their order.
#[derive(Default)]
pub(super) struct Written {
    /// Each block that is no hole, metadata blocks too, and the pack from which it came.
    pub rows: Vec<(Row, Option<u32>)>,
    /// Each source that decides the bytes of a block, and the key of the block; none for a hole.
    pub sources: Vec<Known>,
}

impl BlockStore {
    /// Opens the store in `folder`, which need not exist. `limit`: how many bytes it may have after an image was added. A damaged pack is
    /// removed; whatever cannot be read counts as not there.
    #[must_use]
    pub fn open(folder: &Path, limit: u64) -> Self {
        let mut store =
            Self { folder: folder.to_owned(), limit, packs: Vec::new(), places: HashMap::new(), sources: Sources::read(folder) };
        let mut paths: Vec<(SystemTime, PathBuf)> = list(folder).map(|(path, metadata)| (used(&metadata), path)).collect();
        // The latest last: where two packs have a block, its form is taken from that one.
        paths.sort();
        for (_, path) in paths {
            match Pack::open(&path) {
                Ok(pack) => store.add(pack),
                // Another build may just have removed it, or another user may have written it: that is no damage.
                Err(error) if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() != ErrorKind::UnexpectedEof) => {}
                Err(_) => drop(std::fs::remove_file(path)),
            }
        }
        store
    }

    fn add(&mut self, pack: Pack) {
        let (Ok(number), Ok(rows)) = (u32::try_from(self.packs.len()), u32::try_from(pack.rows.len())) else { return };
        self.places.extend((0..rows).map(|row| (pack.rows[row as usize].key, (number, row))));
        self.packs.push(pack);
    }

    /// The same store, as if it knew nothing of files: their blocks are read, and found by their digests.
    #[must_use]
    pub fn reading_all(self) -> Self {
        Self { sources: Sources::default(), ..self }
    }

    /// The key of a block.
    pub(super) fn key(compressor: &Compressor, block_size: u32, block: &[u8]) -> Key {
        let mut hash = Sha256::new();
        hash.update(format!("{RULES}\n{compressor:?}\n{block_size}\n"));
        hash.update(*PROGRAM);
        hash.update(block);
        hash.finalize().into()
    }

    /// The form of the block with `key`, and the number of its pack; none if it is unknown or damaged.
    pub(super) fn find(&self, key: &Key) -> Option<(Form, u32)> {
        let (pack, row) = *self.places.get(key)?;
        Some((self.packs[pack as usize].form(row as usize)?, pack))
    }

    /// The key of the block with this source, as an earlier image had it; `None` inside for a hole. None if the source is unknown.
    pub(super) fn key_of(&self, source: &Source) -> Option<Option<Key>> {
        self.sources.find(source)
    }

    /// Adds the blocks of `image` and their sources. Then removes the packs that are old or too many.
    pub(super) fn keep(&self, image: &File, Written { rows, sources }: &Written) -> Result<()> {
        let used: BTreeSet<u32> = rows.iter().filter_map(|(_, pack)| *pack).collect();
        let scattered = used.len() > SCATTERED;
        let mut added: Vec<Row> = rows.iter().filter(|(_, pack)| scattered || pack.is_none()).map(|(row, _)| *row).collect();
        added.sort_by_key(|row| row.offset);
        let now = SystemTime::now();
        if !added.is_empty() {
            // The latest of all: it has what was damaged in an older one.
            let time = now + Duration::from_millis(1);
            self.write(image, &added, time).with_context(|| format!("cannot keep compressed blocks in `{}`", self.folder.display()))?;
        }
        for pack in used.iter().filter(|_| !scattered) {
            let _ = self.packs[*pack as usize].file.set_modified(now);
        }
        Self::prune(&self.folder, self.limit);
        let _ = self.sources.add(&self.folder, sources);
        Ok(())
    }

    fn write(&self, image: &File, rows: &[Row], time: SystemTime) -> Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let readable = std::fs::Permissions::from_mode(0o644);
        let mut part = tempfile::Builder::new().prefix(UNFINISHED).suffix(SUFFIX).permissions(readable).tempfile_in(&self.folder)?;
        pack::write(image, rows, part.as_file_mut())?;
        part.as_file().set_modified(time)?;
        let name = part.path().file_name().and_then(|name| name.to_str()).unwrap_or_default().trim_start_matches(UNFINISHED).to_owned();
        // The random part of the name may be that of an older pack.
        part.persist_noclobber(self.folder.join(name))?;
        Ok(())
    }

    /// Removes from the store in `folder` what no image has used for a month, and then, the longest unused first, what exceeds `limit` bytes.
    /// A build that has an affected pack open keeps it. Returns the number of bytes that are left.
    pub fn prune(folder: &Path, limit: u64) -> u64 {
        let now = SystemTime::now();
        let age = |time: SystemTime| now.duration_since(time).unwrap_or_default();
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let unfinished = entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED));
            if unfinished && entry.metadata().is_ok_and(|metadata| age(used(&metadata)) > ABANDONED) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        let mut packs: Vec<_> = list(folder).map(|(path, metadata)| (used(&metadata), metadata.len(), path)).collect();
        packs.sort();
        let (mut left, mut count) = (packs.iter().map(|(_, bytes, _)| bytes).sum::<u64>(), packs.len());
        for (time, bytes, path) in packs {
            if left <= limit && count <= MOST_PACKS && age(time) <= MOST_AGE {
                break;
            }
            let _ = std::fs::remove_file(path);
            left -= bytes;
            count -= 1;
        }
        if count == 0 {
            sources::remove(folder);
        }
        left
    }
}

/// The packs in a folder.
fn list(folder: &Path) -> impl Iterator<Item = (PathBuf, std::fs::Metadata)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let name = entry.file_name();
        let name = name.to_str()?;
        let is_pack = name.ends_with(SUFFIX) && !name.starts_with(UNFINISHED);
        is_pack.then_some(())?;
        Some((entry.path(), entry.metadata().ok()?))
    })
}

/// When the pack was last used.
fn used(metadata: &std::fs::Metadata) -> SystemTime {
    metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Whether a block's size field says that it is stored as it is.
pub(super) const fn is_stored(size: u32) -> bool {
    size & DATA_STORED != 0
}
