//! Compares a large checkout with git's index while the command line is still parsed. Only the first [`Ctx::tree`](crate::context::Ctx::tree)
//! of a command takes the result; what the command writes is seen by the later ones.

use crate::look::{self, Places};
use child::environment::Environment;
use pkgbuild::tags::Clean;
use std::{
    path::{Path, PathBuf},
    sync::Mutex,
    thread::JoinHandle,
};

/// The top of a checkout, and what was seen of it; none if only git can tell.
type Seen = (PathBuf, Option<Clean>);

/// A comparison that was begun, or none.
#[derive(Debug, Default)]
pub struct Ahead(Mutex<Option<JoinHandle<Option<Seen>>>>);

impl Ahead {
    /// Begins to compare the checkout around `root`.
    #[must_use]
    pub fn begin(root: &Path, environment: &Environment) -> Self {
        let is_elsewhere = look::is_elsewhere(&|name| environment.get(name).map(str::to_owned));
        if is_elsewhere { Self::default() } else { Self::begin_with(root.to_owned(), environment.cache()) }
    }

    fn begin_with(root: PathBuf, cache: PathBuf) -> Self {
        let compare = move || {
            let places = Places::find(&root)?;
            let clean = look::compare(&places, Some(&look::memory_of(&places, &cache)));
            Some((places.top, clean))
        };
        Self(Mutex::new(std::thread::Builder::new().spawn(compare).ok()))
    }

    /// What was seen of the checkout at `top`, the first time; none if nothing was begun for it.
    pub(crate) fn take(&self, top: &Path) -> Option<Option<Clean>> {
        let begun = self.0.lock().ok()?.take()?;
        let (seen, clean) = begun.join().ok()??;
        (seen == top).then_some(clean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn what_was_seen_is_taken_once_and_for_its_checkout_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = "git init -q; echo a > a; git add a; git -c user.name=n -c user.email=e commit -qm one";
        assert!(Command::new("sh").args(["-ec", script]).current_dir(folder.path()).status().is_ok_and(|status| status.success()));
        let begin = || Ahead::begin_with(folder.path().to_owned(), folder.path().join(".git/cache"));
        let ahead = begin();
        assert!(matches!(ahead.take(folder.path()), Some(Some(_))));
        assert!(ahead.take(folder.path()).is_none(), "the second time all is looked at again");
        assert!(begin().take(Path::new("/")).is_none(), "another checkout");
        std::fs::write(folder.path().join("a"), "b").expect("written");
        assert!(matches!(begin().take(folder.path()), Some(None)), "changed");
    }
}
