//! Content of a registry that is not what its name says: it is noted for each image and artifact, which are then made here, and replaced by a
//! build that sends what it makes.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Mutex, PoisonError},
};

/// After so many damaged images and artifacts a registry, or the way to it, counts as failed.
const MOST: usize = 5;

/// What a registry has under a name is not what the name says. The registry itself works.
#[derive(Debug)]
pub(crate) struct Damaged(pub(crate) String);

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Damaged {}

/// An error that says so.
pub(crate) fn damaged(what: String) -> anyhow::Error {
    anyhow::Error::new(Damaged(what))
}

/// The images and artifacts of a registry that turned out to be wrong in this run.
#[derive(Default)]
pub(crate) struct Damage(Mutex<BTreeSet<String>>);

impl Damage {
    /// Notes one; false if there are too many.
    pub(crate) fn note(&self, item: &str) -> bool {
        let mut items = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        items.insert(item.to_owned());
        items.len() <= MOST
    }

    pub(crate) fn has(&self, item: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(item)
    }

    /// Forgets one that was replaced.
    pub(crate) fn forget(&self, item: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(item);
    }
}
