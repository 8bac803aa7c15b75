//! The archive image: its layout, making it, and finding packages in one.

use super::{Fetched, Lock};
use anyhow::{Result, bail};
use filetree::{Content, Tree};
use std::{collections::BTreeMap, path::Path};

/// The packages that a stage holds in `/packages/<arch>/`.
#[derive(Clone, Debug)]
pub struct Archive {
    /// What is in it.
    pub lock: Lock,
    /// The .deb of each package by name.
    pub debs: BTreeMap<String, Content>,
}

impl Archive {
    /// The archive of `arch` (`amd64`, `arm64`) in a stage that started from an archive image.
    pub fn from_tree(_stage: &Tree, _arch: &str) -> Result<Self> {
        bail!("not yet")
    }
}

/// How [`build_archive`] gets what it needs from outside.
pub struct ArchiveOptions<'a> {
    /// Gets the files of a lock: usually [`super::Store::fetch_all`] with the caller's mirrors and policy.
    pub fetch: &'a dyn Fn(&Lock, &str, &str) -> Result<Fetched>,
    /// A folder with room for what is unpacked.
    pub spool: &'a Path,
    /// Modification time of generated files.
    pub mtime: i64,
}

/// What `RUN eve-debian-archive.sh RELEASE` does, in process: from `/etc/eve-debian/mirrors/RELEASE/ARCH.lock` of the stage
/// (copied there by the Dockerfile) makes the image's root at `/archive` of the stage. Packages already in the stage's
/// `/packages/ARCH` are taken from there. Gives the warnings.
pub fn build_archive(_stage: &mut Tree, _release: &str, _arch: &str, _options: &ArchiveOptions<'_>) -> Result<Vec<String>> {
    bail!("not yet")
}
