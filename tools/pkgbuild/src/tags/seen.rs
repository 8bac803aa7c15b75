//! What the reader of git's index has seen of a working tree, so that a plan of thousands of packages need not ask the file system again.

use super::{
    objects::hex,
    state::{Entry, TreeState},
};
use std::{
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

/// A working tree whose tracked files are those of the commit, and whose folders with tracked files were all listed. Goes with the
/// [`TreeState`] of the same look.
#[derive(Clone, Debug)]
pub struct Seen {
    top: PathBuf,
    /// Untracked names, ignored ones included, in byte order.
    unknown: Vec<Vec<u8>>,
    /// Whether files have the bytes of their blobs: nothing converts line ends or filters.
    is_plain: bool,
}

impl Seen {
    /// `unknown` as in [`super::Clean::unknown`].
    #[must_use]
    pub fn new(top: &Path, unknown: Vec<PathBuf>, is_plain: bool) -> Self {
        let mut unknown: Vec<Vec<u8>> = unknown.into_iter().map(|path| path.into_os_string().into_vec()).collect();
        unknown.sort_unstable();
        Self { top: top.to_owned(), unknown, is_plain }
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

    /// Git's id of the bytes of the file `path`; none if they must be read.
    #[must_use]
    pub fn blob_of(&self, state: &TreeState, path: &Path) -> Option<String> {
        let entry = state.file(self.name(path)?).filter(|entry| self.is_plain && is_plain_file(state, entry))?;
        Some(hex(&entry.id))
    }

    /// The path below the top.
    fn name<'p>(&self, path: &'p Path) -> Option<&'p [u8]> {
        path.as_os_str().as_bytes().strip_prefix(self.top.as_os_str().as_bytes())?.strip_prefix(b"/")
    }
}

/// Whether a tracked file is no link and no submodule, and git looks at it.
fn is_plain_file(state: &TreeState, entry: &Entry) -> bool {
    entry.mode & 0o170_000 == 0o100_000 && !state.hidden.contains(&entry.path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tags::{clean_checkout, tests::*};

    #[test]
    fn what_the_index_tells_is_what_the_file_system_and_git_say() {
        let dir = repository();
        sh(
            dir.path(),
            "git update-index --assume-unchanged pkg/x/sub.c; echo u > pkg/x/new; echo i > pkg/x/i.ignored; mkdir pkg/z pkg/z/.git; echo z > pkg/z/z",
        );
        let state = state(dir.path());
        let clean = clean_checkout(dir.path(), &dir.path().join(".git"), None).unwrap();
        let seen = |is_plain| Seen::new(dir.path(), clean.unknown().to_vec(), is_plain);
        let (plain, converted) = (seen(true), seen(false));
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
            for seen in [&plain, &converted] {
                assert_eq!(seen.has_file(&state, &path), has, "{name}");
                assert!(has.is_none_or(|has| has == path.is_file()), "{name}");
            }
            assert_eq!(converted.blob_of(&state, &path), None, "{name}");
            let id = has_id.then(|| sh(dir.path(), &format!("git hash-object --no-filters {name}")).trim().to_owned());
            assert_eq!(plain.blob_of(&state, &path), id, "{name}");
        }
        for (name, is_known) in [("pkg/x", true), ("pkg/x/sub", true), ("pkg/z", false), ("pkg/none", false), ("../x", false)] {
            assert_eq!(plain.top_of(&state, &dir.path().join(name)), is_known.then_some(dir.path()), "{name}");
        }
        assert_eq!(plain.has_file(&state, Path::new("/pkg/x/build.yml")), None);
    }
}
