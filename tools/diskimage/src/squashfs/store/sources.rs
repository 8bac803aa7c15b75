//! Which block comes from which bytes of which files, so that the next image reads only files that are new or have changed: what is in a
//! block follows from the states of its files (device, inode, length, times). So does the hash of a whole content, which is here too. One
//! file of the store; first [`MAGIC`], then a row for each source in the order of their digests (source; key of the block, zeros for a hole,
//! or hash), then the SHA-256 of the rows. It only saves time: whatever is wrong with it, it counts as empty.

use super::{Known, UNFINISHED, pack::Key};
use anyhow::Result;
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, io::Write as _, os::unix::fs::PermissionsExt as _, path::Path};

/// The digest of where the bytes of a block come from and of the options of the image, or of where those of a content come from.
pub(in super::super) type Source = [u8; 32];

const NAME: &str = "sources";
const MAGIC: &[u8; 16] = b"squashfs-source1";
const ROW: usize = 32 + 32;
const HOLE: Key = [0; 32];
/// How many rows are kept from earlier images. If there are more, only the rows of the image that was just written are kept.
const MOST: usize = 1 << 16;

/// Removes them from the store in `folder`.
pub(super) fn remove(folder: &Path) {
    let _ = std::fs::remove_file(folder.join(NAME));
}

#[derive(Debug, Default)]
pub(super) struct Sources(Vec<u8>);

impl Sources {
    /// Those of the store in `folder`.
    pub(super) fn read(folder: &Path) -> Self {
        let bytes = std::fs::read(folder.join(NAME)).unwrap_or_default();
        let rows = bytes.strip_prefix(MAGIC).and_then(|bytes| bytes.split_last_chunk::<32>());
        match rows {
            Some((rows, digest)) if rows.len().is_multiple_of(ROW) && Sha256::digest(rows)[..] == *digest => Self(rows.to_vec()),
            _ => Self::default(),
        }
    }

    /// The key of the block; `None` inside for a hole.
    pub(super) fn find(&self, source: &Source) -> Option<Option<Key>> {
        let (rows, _) = self.0.as_chunks::<ROW>();
        let at = rows.binary_search_by(|row| row[..32].cmp(source)).ok()?;
        let key: Key = rows[at][32..].try_into().ok()?;
        Some((key != HOLE).then_some(key))
    }

    /// Writes them anew to `folder`, with those of an image.
    pub(super) fn add(&self, folder: &Path, image: &[Known]) -> Result<()> {
        if image.iter().all(|(source, key)| self.find(source) == Some(*key)) {
            return Ok(());
        }
        let old = self.0.as_chunks::<ROW>().0;
        let old = old.iter().filter(|_| old.len() + image.len() <= MOST).filter_map(|row| row.split_at_checked(32));
        let mut rows: BTreeMap<&[u8], &[u8]> = old.collect();
        rows.extend(image.iter().map(|(source, key)| (&source[..], key.as_ref().map_or(&HOLE[..], |key| &key[..]))));
        let rows: Vec<u8> = rows.into_iter().flat_map(|(source, key)| [source, key]).flatten().copied().collect();
        let readable = std::fs::Permissions::from_mode(0o644);
        let mut part = tempfile::Builder::new().prefix(UNFINISHED).permissions(readable).tempfile_in(folder)?;
        [&MAGIC[..], &rows, &Sha256::digest(&rows)].iter().try_for_each(|bytes| part.write_all(bytes))?;
        part.persist(folder.join(NAME))?;
        Ok(())
    }
}
