//! The names seen in the folders of a checkout, stored between runs: an unchanged folder need not be listed again. Replaces
//! git's untracked cache, which is off by default and which only git may write.

use crate::objects::{Id, sha1};
use rustix::fs::Stat;
use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Assumed resolution of file system clocks: a folder that changed this recently may change again with the same timestamp.
const COARSE: Duration = Duration::from_secs(2);

/// Start of the format: the index's checksum, the folders, the unknown names and a SHA-1 of everything before it follow.
const MAGIC: &[u8] = b"names 2\n";

/// The checksum that git writes with `index.skipHash`.
pub(crate) const NO_CHECKSUM: Id = [0; 20];

/// A folder with its metadata when it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folder {
    /// Path below the top.
    pub path: Box<[u8]>,
    /// ctime seconds and nanoseconds, inode, device.
    look: [u64; 4],
}

impl Folder {
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast, reason = "the types differ between systems; only equality matters")]
    pub(crate) fn look(now: &Stat) -> [u64; 4] {
        [now.st_ctime as u64, now.st_ctime_nsec as u64, now.st_ino as u64, now.st_dev as u64]
    }

    pub(crate) fn new(path: &[u8], now: &Stat) -> Self {
        Self { path: path.into(), look: Self::look(now) }
    }

    pub(crate) fn is(&self, now: &Stat) -> bool {
        self.look == Self::look(now)
    }
}

/// All folders, and the untracked names in them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub folders: Vec<Folder>,
    pub unknown: Vec<PathBuf>,
}

impl Names {
    /// The names, and the checksum of the index that they belong to; `None` if `bytes` are damaged.
    pub(crate) fn parse(bytes: &[u8]) -> Option<(Id, Self)> {
        // The hash detects truncation and concurrent writes.
        let (rest, hash) = bytes.split_last_chunk::<20>()?;
        if sha1(&[rest]) != *hash {
            return None;
        }
        let (index, rest) = rest.strip_prefix(MAGIC)?.split_first_chunk()?;
        let rest = rest.strip_suffix(b"\0")?;
        let mut names = Self::default();
        for line in rest.split(|byte| *byte == 0) {
            let Some(path) = line.strip_prefix(b"?") else {
                let mut words = line.splitn(5, |byte| *byte == b' ');
                let mut number = || std::str::from_utf8(words.next()?).ok()?.parse().ok();
                let look = [number()?, number()?, number()?, number()?];
                names.folders.push(Folder { path: words.next()?.into(), look });
                continue;
            };
            names.unknown.push(Path::new(std::ffi::OsStr::from_bytes(path)).to_owned());
        }
        Some((*index, names))
    }

    /// The inverse of [`Self::parse`]. `None` if a folder changed within [`COARSE`] before `began`, the start of the listing.
    pub(crate) fn to_bytes(&self, index: &Id, began: SystemTime) -> Option<Vec<u8>> {
        let newest = began.duration_since(SystemTime::UNIX_EPOCH).ok()?.checked_sub(COARSE)?.as_secs();
        if *index == NO_CHECKSUM {
            return None;
        }
        let mut bytes = [MAGIC, index].concat();
        for Folder { path, look } in &self.folders {
            if look[0] >= newest {
                return None;
            }
            look.iter().for_each(|number| bytes.extend(format!("{number} ").as_bytes()));
            bytes.extend_from_slice(path);
            bytes.push(0);
        }
        for path in &self.unknown {
            bytes.push(b'?');
            bytes.extend_from_slice(path.as_os_str().as_bytes());
            bytes.push(0);
        }
        let hash = sha1(&[&bytes]);
        bytes.extend(hash);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_for_the_same_index() {
        let folder = |path: &[u8], changed| Folder { path: path.into(), look: [changed, 999_999_999, u64::MAX, 7] };
        let names = Names { folders: vec![folder(b"", 5), folder(b"a b\n/?c", 90)], unknown: vec!["dist".into(), "a b\n/x y".into()] };
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let bytes = names.to_bytes(&[3; 20], at(93)).expect("old enough");
        assert_eq!(Names::parse(&bytes), Some(([3; 20], names)));
        for cut in 0..bytes.len() {
            assert_eq!(Names::parse(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(Names::default().to_bytes(&NO_CHECKSUM, at(93)), None, "any index");
        assert_eq!(Names { folders: vec![folder(b"", 91)], unknown: vec![] }.to_bytes(&[3; 20], at(93)), None, "too new");
    }
}
