//! What the reader of git's index has seen of a working tree, so that a plan of thousands of packages need not ask the file system again.

use super::{
    index::Clean,
    objects::file_id,
    state::{Entry, TreeState},
};
use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// A working tree whose tracked files are those of the commit, and whose folders with tracked files were all listed. Goes with the
/// [`TreeState`] of the same look.
#[derive(Clone, Debug)]
pub struct Seen {
    top: PathBuf,
    /// Untracked names, ignored ones included, in byte order.
    unknown: Vec<Vec<u8>>,
    /// The metadata of tracked files, in the order of the state's files.
    stats: Vec<gitindex::Stat>,
}

impl Seen {
    /// Takes from `clean` what it has of the working tree at `top`.
    #[must_use]
    pub fn new(top: &Path, clean: &mut Clean) -> Self {
        let mut unknown: Vec<Vec<u8>> = clean.unknown().iter().map(|path| path.as_os_str().as_bytes().to_vec()).collect();
        unknown.sort_unstable();
        Self { top: top.to_owned(), unknown, stats: clean.take_stats() }
    }

    /// The top of the working tree if the folder `path` has tracked files, and so is in no repository of its own.
    #[must_use]
    pub fn top_of(&self, state: &TreeState, path: &Path) -> Option<&Path> {
        state.has_folder(self.name(path)?).then_some(&self.top)
    }

    /// Whether the file `path` exists; none if only the file system can tell.
    #[must_use]
    pub fn has_file(&self, state: &TreeState, path: &Path) -> Option<bool> {
        let name = self.name(path)?;
        if let Some(entry) = state.file(name) {
            return is_plain_file(state, entry).then_some(true);
        }
        let folder = &name[..name.iter().rposition(|byte| *byte == b'/')?];
        let is_untracked = || self.unknown.binary_search_by(|known| known.as_slice().cmp(name)).is_ok();
        (state.has_folder(folder) && !is_untracked()).then_some(false)
    }

    /// An id of the file `path` that another file or another time of a change does not have; none if only the file system can tell. It says
    /// nothing of the blob that git has: the bytes of the file may be others, if line ends or a filter were converted at the checkout.
    #[must_use]
    pub fn id_of(&self, state: &TreeState, path: &Path) -> Option<String> {
        let at = state.position(self.name(path)?).filter(|at| is_plain_file(state, &state.files[*at]))?;
        Some(file_id(path, self.stats.get(at)?))
    }

    /// The path below the top.
    fn name<'p>(&self, path: &'p Path) -> Option<&'p [u8]> {
        path.as_os_str().as_bytes().strip_prefix(self.top.as_os_str().as_bytes())?.strip_prefix(b"/")
    }
}

/// Whether a tracked file is no link and no submodule, and git looks at it.
fn is_plain_file(state: &TreeState, entry: &Entry) -> bool {
    entry.mode & 0o170_000 == 0o100_000 && !state.hidden.contains(&*entry.path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tags::{clean_checkout, settled_id, tests::*};
    use std::{
        os::unix::fs::MetadataExt as _,
        time::{Duration, SystemTime},
    };

    #[test]
    fn what_the_index_tells_is_what_the_file_system_and_git_say() {
        let dir = repository();
        sh(
            dir.path(),
            "git update-index --assume-unchanged pkg/x/sub.c; echo u > pkg/x/new; echo i > pkg/x/i.ignored; mkdir pkg/z pkg/z/.git; echo z > pkg/z/z",
        );
        let state = state(dir.path());
        let mut clean = clean_checkout(dir.path(), &dir.path().join(".git"), None).unwrap();
        let seen = Seen::new(dir.path(), &mut clean);
        for (name, has, has_id) in [
            ("pkg/x/build.yml", Some(true), true),
            (".gitignore", Some(true), true),
            ("pkg/x/sub/b", Some(true), true),
            ("pkg/x/build.yml.in", Some(false), false),
            ("pkg/x/sub", Some(false), false),
            // Only the file system knows: a link, a file at which git does not look, untracked files, folders that git does not track.
            ("pkg/x/link", None, false),
            ("pkg/x/sub.c", None, false),
            ("pkg/x/new", None, false),
            ("pkg/x/i.ignored", None, false),
            ("pkg/z/z", None, false),
            ("pkg/x/../x/build.yml", None, false),
        ] {
            let path = dir.path().join(name);
            assert_eq!(seen.has_file(&state, &path), has, "{name}");
            assert!(has.is_none_or(|has| has == path.is_file()), "{name}");
            let later = SystemTime::now() + Duration::from_secs(60);
            let id = has_id.then(|| settled_id(&path, &path.metadata().unwrap(), later).unwrap());
            assert_eq!(seen.id_of(&state, &path), id, "{name}");
        }
        for (name, is_known) in [("pkg/x", true), ("pkg/x/sub", true), ("pkg/z", false), ("pkg/none", false), ("../x", false)] {
            assert_eq!(seen.top_of(&state, &dir.path().join(name)), is_known.then_some(dir.path()), "{name}");
        }
        assert_eq!(seen.has_file(&state, Path::new("/pkg/x/build.yml")), None);
    }

    #[test]
    fn a_file_has_an_id_when_it_is_not_young_and_another_one_after_each_change() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&path, "one").unwrap();
        let meta = path.metadata().unwrap();
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(meta.ctime()).unwrap());
        for (after, has_id) in [(0, false), (2, false), (3, true), (100, true)] {
            assert_eq!(settled_id(&path, &meta, changed + Duration::from_secs(after)).is_some(), has_id, "{after}");
        }
        assert_eq!(settled_id(&path, &meta, changed - Duration::from_secs(100)), None, "the clock was set back");
        let id = |path: &Path, stat| file_id(path, &stat);
        let stat = gitindex::stat_of(&meta);
        assert_ne!(id(&path, stat), id(&other, stat));
        for at in 0..stat.len() {
            let mut changed = stat;
            changed[at] ^= 1;
            assert_ne!(id(&path, stat), id(&path, changed), "{at}");
        }
        // The same size and time of writing: the time of the change tells.
        let written = meta.modified().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        std::fs::write(&path, "two").unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
        assert_ne!(gitindex::stat_of(&path.metadata().unwrap()), stat);
    }
}
