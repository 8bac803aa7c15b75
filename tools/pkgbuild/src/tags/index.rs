//! A checkout in which nothing that git tracks has changed, known without asking git (see the crate `gitindex`).

use super::{
    objects::parse_id,
    state::{Entry, TreeState},
};
use std::path::{Path, PathBuf};

/// What is checked out, as `git log -1` tells it.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The commit's id.
    pub commit: &'a str,
    /// Its tree's id.
    pub tree: &'a str,
    /// The branch; `HEAD` for none.
    pub branch: &'a str,
}

/// A checkout whose tracked files are as its index says.
#[derive(Debug)]
pub struct Clean(gitindex::Clean);

impl Clean {
    /// Files and folders that the index does not know, below the top: `git ls-files --others --exclude-standard` says which of them
    /// git does not ignore either.
    #[must_use]
    pub fn unknown(&self) -> &[PathBuf] {
        &self.0.unknown
    }

    /// What is to be remembered until the next time, where it is not what was remembered.
    #[must_use]
    pub fn remember(&self) -> Option<&[u8]> {
        self.0.remember.as_deref()
    }

    /// What git says of it, without untracked files, when `head` is checked out; none when something else is staged.
    #[must_use]
    pub fn state(self, head: &Head<'_>) -> Option<TreeState> {
        let Self(gitindex::Clean { root, trees, files, .. }) = self;
        if parse_id(head.tree).ok()? != root {
            return None;
        }
        let files = files.into_iter().map(|file| Entry { path: file.path, mode: file.mode, id: file.id }).collect();
        Some(TreeState::unchanged(head.commit, head.branch, trees, files))
    }
}

/// The checkout at `top` with the index in `git_dir`; none when something is changed or cannot be told so simply. `remembered`
/// is what was to be remembered the last time: folders that have not changed since are not listed again.
#[must_use]
pub fn clean(top: &Path, git_dir: &Path, remembered: Option<&[u8]>) -> Option<Clean> {
    gitindex::clean(top, git_dir, remembered).map(Clean)
}
