//! Where Debian's files can be had. No address stands in this repository: they come from the machine's own
//! configuration of apt, as text, or from the caller.

use anyhow::{Result, bail};

/// Roots of mirrors, `http://…` without a final `/`, best first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors {
    /// Mirrors of the main archive.
    pub debian: Vec<String>,
    /// Mirrors of the security archive.
    pub security: Vec<String>,
}

impl Mirrors {
    /// Reads apt's source files: `(file name, text)` of sources.list, sources.list.d/*.list and *.sources. A mirror that the
    /// caller names (knobs DEBIAN_MIRROR, DEBIAN_SECURITY_MIRROR) replaces what apt says. None found gives empty lists:
    /// a build that has all files needs none.
    pub fn from_apt_sources(_files: &[(String, String)], _debian: Option<&str>, _security: Option<&str>) -> Result<Self> {
        bail!("not yet")
    }
}
