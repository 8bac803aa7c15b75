//! The state of a file on a disk, by which a change of its bytes is noticed without reading it.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt as _,
    time::{Duration, SystemTime},
};

/// Device, inode, length, mtime and ctime (seconds and nanoseconds). A file with the same state has the same bytes: whatever writes to it
/// sets its ctime, which no program can choose on a file system of Linux; on one without a ctime (FAT, sshfs) a copy over the file that
/// keeps length and mtime is not noticed. This is what git's index relies on, and it has the same gap: see
/// [`is_settled`](Self::is_settled).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileState([i64; 7]);

/// How old a ctime must be. Coarser than the clock of any file system in use (FAT: two seconds).
const SETTLED: Duration = Duration::from_secs(3);

impl FileState {
    /// Bytes of [`to_bytes`](Self::to_bytes).
    pub const BYTES: usize = 7 * 8;

    /// The state that the system has told.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        let number = u64::cast_signed;
        let (device, inode, length) = (number(metadata.dev()), number(metadata.ino()), number(metadata.len()));
        Self([device, inode, length, metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()])
    }

    /// Whether the next write will change the state: one within the same tick of the file system's clock as the last need not. What is
    /// remembered of a file that is not settled may be wrong.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.is_settled_at(SystemTime::now())
    }

    fn is_settled_at(&self, now: SystemTime) -> bool {
        let latest = now.checked_sub(SETTLED).and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        latest.is_some_and(|latest| i64::try_from(latest.as_secs()).is_ok_and(|latest| self.0[5] < latest))
    }

    /// The state as bytes, for a key or a file.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes.chunks_exact_mut(8).zip(self.0).for_each(|(place, number)| place.copy_from_slice(&number.to_le_bytes()));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs::{File, FileTimes},
        io::Write as _,
    };

    #[test]
    fn a_write_that_hides_its_time_changes_the_state() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"one").expect("written");
        let state = |file: &File| FileState::of(&file.metadata().expect("metadata"));
        let before = state(&file);
        assert!(!before.is_settled(), "it was written just now");
        assert!(before.is_settled_at(SystemTime::now() + 2 * SETTLED));
        let time = file.metadata().and_then(|metadata| metadata.modified()).expect("a time");
        std::thread::sleep(Duration::from_millis(20));
        std::os::unix::fs::FileExt::write_all_at(&file, b"two", 0).expect("written");
        file.set_times(FileTimes::new().set_modified(time)).expect("the time is set");
        assert_eq!(file.metadata().and_then(|metadata| metadata.modified()).expect("a time"), time);
        assert_ne!(state(&file), before);
    }
}
