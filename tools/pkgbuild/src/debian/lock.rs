//! The lock: every .deb that the archive holds, and what each one needs, as a file that people read in diffs.

use anyhow::{Result, bail};
use std::collections::BTreeMap;

/// Which part of Debian's archive a pin comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// The release itself: changes at point releases only.
    Main,
    /// Updates between point releases.
    Updates,
    /// The security archive, on mirrors of its own.
    Security,
}

/// One .deb: what it is, how to know it, where it lies below a mirror's root, and which packages of the same lock it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Package name.
    pub name: String,
    /// Debian version, with its epoch.
    pub version: String,
    /// Architecture of the package: the lock's, or `all`.
    pub arch: String,
    /// SHA-256 of the file, 64 lower case hex digits.
    pub sha256: String,
    /// Size of the file in bytes.
    pub size: u64,
    /// Which archive.
    pub suite: Suite,
    /// Path below the archive's root: `pool/…`.
    pub path: String,
    /// Names of packages in this lock: its dependencies, alternatives already chosen.
    pub depends: Vec<String>,
}

impl Pin {
    /// The file's name: the last part of `path`.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// The pins of one release and architecture, by package name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// The pins; a name once.
    pub pins: BTreeMap<String, Pin>,
}

impl Lock {
    /// Reads a lock's text. `file` is for messages: errors are `file:line: …`.
    pub fn parse(_text: &str, _file: &str) -> Result<Self> {
        bail!("not yet")
    }

    /// The names that unpacking `names` needs, themselves included, in byte order. A name in `without` is neither
    /// taken nor followed. A name that no pin has is an error with the nearest name.
    pub fn closure(&self, _names: &[String], _without: &[String]) -> Result<Vec<&Pin>> {
        bail!("not yet")
    }
}
