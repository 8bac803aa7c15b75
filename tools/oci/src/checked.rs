//! The blobs whose bytes were compared with their digests, by the states of their files, so that no blob is read for that twice: in this
//! process, and with [`remember_checked`] in those before it.

use anyhow::{Context as _, Result};
use filetree::FileState;
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashMap,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{Mutex, PoisonError},
};

/// The start of the file. Then a row for each blob, then the SHA-256 of the rows.
const MAGIC: &[u8; 16] = b"checked-blobs-1\n";
/// A row: the digest of a state and of what was found to be the digest of the file.
const ROW: usize = 32;
/// How many rows are kept. If there are more, only those that this process has used are kept.
const MOST: usize = 4096;

type Row = [u8; ROW];

/// Whether this process has used the row, and whether it may be kept.
#[derive(Clone, Copy)]
struct Use {
    used: bool,
    settled: bool,
}

#[derive(Default)]
struct Checked(HashMap<Row, Use>);

static CHECKED: Mutex<Option<Checked>> = Mutex::new(None);

fn with<T>(work: impl FnOnce(&mut Checked) -> T) -> T {
    work(CHECKED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

/// Whether a file in this state was found to have this digest.
pub(crate) fn is_checked(state: &FileState, digest: &str) -> bool {
    with(|checked| checked.has(state, digest))
}

/// Notes that a file in this state has this digest. `settled`: what [`FileState::is_settled`] said before the file was read.
pub(crate) fn note_checked(state: &FileState, digest: &str, settled: bool) {
    with(|checked| checked.note(state, digest, settled));
}

/// Takes over what an earlier process has written to `file` with [`keep_checked`]. If the file is missing or damaged, each blob is read once more.
pub fn remember_checked(file: &Path) {
    let bytes = std::fs::read(file).unwrap_or_default();
    with(|checked| checked.take_over(&bytes));
}

/// Writes to `file` which blobs were checked, for later processes. Leaves out those that were written only just now: another write could
/// leave the state of their file as it is.
pub fn keep_checked(file: &Path) -> Result<()> {
    let whole = with(|checked| checked.to_bytes());
    if std::fs::read(file).is_ok_and(|old| old == whole) {
        return Ok(());
    }
    let write = || -> Result<()> {
        let folder = file.parent().context("it has no folder")?;
        std::fs::create_dir_all(folder)?;
        let readable = std::fs::Permissions::from_mode(0o644);
        let mut part = tempfile::Builder::new().prefix(".new-").permissions(readable).tempfile_in(folder)?;
        part.write_all(&whole)?;
        part.persist(file)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write `{}`", file.display()))
}

fn row(state: &FileState, digest: &str) -> Row {
    Sha256::new().chain_update(state.to_bytes()).chain_update(digest).finalize().into()
}

impl Checked {
    fn has(&mut self, state: &FileState, digest: &str) -> bool {
        self.0.get_mut(&row(state, digest)).map(|known| known.used = true).is_some()
    }

    fn note(&mut self, state: &FileState, digest: &str, settled: bool) {
        self.0.insert(row(state, digest), Use { used: true, settled });
    }

    fn take_over(&mut self, bytes: &[u8]) {
        let Some((rows, digest)) = bytes.strip_prefix(MAGIC).and_then(|bytes| bytes.split_last_chunk::<32>()) else { return };
        if Sha256::digest(rows)[..] != *digest {
            return;
        }
        for row in rows.as_chunks::<ROW>().0 {
            self.0.entry(*row).or_insert(Use { used: false, settled: true });
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let kept = || self.0.iter().filter(|(_, known)| known.settled);
        let only_used = kept().count() > MOST;
        let mut rows: Vec<Row> = kept().filter(|(_, known)| known.used || !only_used).map(|(row, _)| *row).collect();
        rows.sort_unstable();
        let rows = rows.concat();
        [&MAGIC[..], &rows, &Sha256::digest(&rows)].concat()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::{os::unix::fs::FileExt as _, time::Duration};

    /// Longer than the time after which a file counts as settled.
    const SETTLES: Duration = Duration::from_millis(4500);

    fn next_process(checked: &Checked) -> Checked {
        let mut next = Checked::default();
        next.take_over(&checked.to_bytes());
        next
    }

    #[test]
    fn a_blob_is_checked_once_for_each_state() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"one").unwrap();
        let state = || FileState::of(&file.metadata().unwrap());
        let mut first = Checked::default();
        assert!(!first.has(&state(), "sha256:1"));
        first.note(&state(), "sha256:1", state().is_settled());
        assert!(first.has(&state(), "sha256:1") && !first.has(&state(), "sha256:2"));
        assert!(!next_process(&first).has(&state(), "sha256:1"), "the file was written just now");
        std::thread::sleep(SETTLES);
        first.note(&state(), "sha256:1", state().is_settled());
        let mut second = next_process(&first);
        assert!(second.has(&state(), "sha256:1") && !second.has(&state(), "sha256:2"));
        assert!(next_process(&second).has(&state(), "sha256:1"), "it is handed on");
        let time = file.metadata().and_then(|metadata| metadata.modified()).unwrap();
        file.write_all_at(b"two", 0).unwrap();
        file.set_modified(time).unwrap();
        assert!(!second.has(&state(), "sha256:1"), "same length, same mtime, other bytes");
    }

    #[test]
    fn damaged_rows_count_as_none_and_unused_ones_go_when_there_are_many() {
        let mut rows: Vec<Row> = (0..MOST as u32).map(|number| Sha256::digest(number.to_le_bytes()).into()).collect();
        let bytes = |rows: &[Row]| [&MAGIC[..], &rows.concat(), &Sha256::digest(rows.concat())].concat();
        let whole = bytes(&rows[..3]);
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            let mut checked = Checked::default();
            checked.take_over(&damaged);
            checked.take_over(&whole[..at]);
            assert!(checked.0.is_empty(), "byte {at}");
        }
        rows.sort_unstable();
        let mut checked = Checked::default();
        checked.take_over(&bytes(&rows));
        assert!(checked.to_bytes() == bytes(&rows));
        checked.0.insert([7; 32], Use { used: true, settled: true });
        assert!(checked.to_bytes() == bytes(&[[7; 32]]));
    }
}
