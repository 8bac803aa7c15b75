//! The state of a checkout without changes to tracked files, without starting git (crate `gitindex`).

use super::{objects::parse_id, state::TreeState};
use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// The checked out commit, as from `git log -1`.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Commit id.
    pub commit: &'a str,
    /// Tree id of the commit.
    pub tree: &'a str,
    /// Branch, or `HEAD` if detached.
    pub branch: &'a str,
}

/// A checkout whose tracked files match its index.
#[derive(Debug)]
pub struct Clean(gitindex::Clean);

impl Clean {
    /// Untracked files and folders below the top, ignored ones included; `git ls-files --others --exclude-standard` tells them
    /// apart.
    #[must_use]
    pub fn unknown(&self) -> &[PathBuf] {
        &self.0.unknown
    }

    /// Bytes to pass as `remembered` next time; `None` if they have not changed.
    #[must_use]
    pub fn remember(&self) -> Option<&[u8]> {
        self.0.remember.as_deref()
    }

    /// Takes the metadata of all files, in byte order of their paths.
    pub(super) fn take_stats(&mut self) -> Vec<gitindex::Stat> {
        std::mem::take(&mut self.0.stats)
    }

    /// Whether git may compare a file by its content; where something may [convert](Self::may_be_converted) that first, git must be asked.
    #[must_use]
    pub fn is_racy(&self) -> bool {
        self.0.racy
    }

    /// Whether gitattributes in the checkout or `settings` elsewhere may make files differ from their blobs: line ends, filters.
    #[must_use]
    pub fn may_be_converted(&self, settings: impl FnOnce() -> bool) -> bool {
        const ATTRIBUTES: &[u8] = b".gitattributes";
        let is_attributes = |path: &[u8]| path.ends_with(ATTRIBUTES) && path.rsplit(|byte| *byte == b'/').next() == Some(ATTRIBUTES);
        let mut unknown = self.0.unknown.iter().map(|path| path.as_os_str().as_bytes());
        self.0.files.iter().any(|file| is_attributes(&file.path)) || unknown.any(is_attributes) || settings()
    }

    /// The state without untracked files; `None` if the index differs from the commit `head`.
    #[must_use]
    pub fn state(self, head: &Head<'_>) -> Option<TreeState> {
        let Self(gitindex::Clean { root, trees, files, hidden, .. }) = self;
        if parse_id(head.tree).ok()? != root {
            return None;
        }
        let hidden = hidden.into_iter().map(|at| Box::from(&*files[at].path)).collect();
        Some(TreeState::unchanged(head.commit, head.branch, trees, files, hidden))
    }
}

/// Compares the checkout at `top` with the index in `git_dir`; see [`gitindex::clean`]. `remembered` is [`Clean::remember`] of
/// an earlier call.
#[must_use]
pub fn clean(top: &Path, git_dir: &Path, remembered: Option<&[u8]>) -> Option<Clean> {
    gitindex::clean(top, git_dir, remembered).map(Clean)
}
