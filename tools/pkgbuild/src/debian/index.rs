//! A mirror's package index (`dists/SUITE/main/binary-ARCH/Packages.xz`), reduced to the fields that pins need.

use super::{
    Suite,
    control::{Stanza, stanzas},
    version,
};
use anyhow::{Context as _, Result, bail};
use std::{collections::BTreeMap, io::Read};

/// A package in the index. Relations stay text, because few are ever parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Package name.
    pub name: String,
    /// Debian version.
    pub version: String,
    /// Architecture, or `all`.
    pub arch: String,
    /// `Pre-Depends` and `Depends`, joined by a comma.
    pub depends: String,
    /// `Provides`.
    pub provides: String,
    /// `Source`.
    pub source: Option<String>,
    /// `Built-Using`.
    pub built_using: Option<String>,
    /// Path below the mirror's root.
    pub path: String,
    /// Size of the .deb in bytes.
    pub size: u64,
    /// SHA-256 of the .deb.
    pub sha256: String,
}

/// The packages of one suite and architecture; only the latest version of each.
#[derive(Clone, Debug)]
pub struct Index {
    /// Suite of the packages.
    pub suite: Suite,
    /// Packages by name.
    pub packages: BTreeMap<String, Package>,
}

impl Index {
    /// Reads an index incrementally; `file` is its name in messages.
    pub fn read(suite: Suite, text: impl Read, file: &str) -> Result<Self> {
        let mut index = Self { suite, packages: BTreeMap::new() };
        read_stanzas(text, file, &mut |stanza| index.add(stanza))?;
        Ok(index)
    }

    fn add(&mut self, stanza: &Stanza<'_>) -> Result<()> {
        let name = stanza.need("Package")?;
        let version = stanza.need("Version")?;
        if self.packages.get(name).is_some_and(|known| version::compare(&known.version, version).is_ge()) {
            return Ok(());
        }
        let size = stanza.need("Size")?;
        let Ok(size) = size.parse() else { bail!("the size `{size}` of `{name}` is not a number") };
        let depends: Vec<&str> = ["Pre-Depends", "Depends"].iter().filter_map(|field| stanza.get(field)).collect();
        let package = Package {
            name: name.to_owned(),
            version: version.to_owned(),
            arch: stanza.need("Architecture")?.to_owned(),
            depends: depends.join(", "),
            provides: stanza.get("Provides").unwrap_or_default().to_owned(),
            source: stanza.get("Source").map(str::to_owned),
            built_using: stanza.get("Built-Using").map(str::to_owned),
            path: stanza.need("Filename")?.trim_start_matches("./").to_owned(),
            size,
            sha256: stanza.need("SHA256")?.to_ascii_lowercase(),
        };
        self.packages.insert(package.name.clone(), package);
        Ok(())
    }
}

/// Calls `each` for the stanzas of an index, which is read in pieces; `file` is its name in messages.
pub fn read_stanzas(mut text: impl Read, file: &str, each: &mut dyn FnMut(&Stanza<'_>) -> Result<()>) -> Result<()> {
    let mut pending: Vec<u8> = Vec::new();
    let mut more = true;
    while more {
        let length = pending.len();
        more = text.by_ref().take(1 << 20).read_to_end(&mut pending).with_context(|| format!("cannot read {file}"))? > 0;
        // Parses complete stanzas only. The search for their end starts at the last byte of the previous piece.
        let end = if more {
            let from = length.saturating_sub(1);
            pending[from..].windows(2).rposition(|two| two == b"\n\n").map_or(0, |at| from + at + 2)
        } else {
            pending.len()
        };
        let whole = std::str::from_utf8(&pending[..end]).with_context(|| format!("{file} is not UTF-8"))?;
        for stanza in stanzas(whole, file) {
            each(&stanza?).with_context(|| format!("cannot use {file}"))?;
        }
        pending.drain(..end);
    }
    Ok(())
}

/// Path of the index of `suite` below a mirror's root.
#[must_use]
pub fn index_path(suite: Suite, release: &str, arch: &str) -> String {
    format!("{}/main/binary-{arch}/Packages.xz", dist(suite, release))
}

/// The folder of `suite` below a mirror's root.
pub fn dist(suite: Suite, release: &str) -> String {
    let ending = match suite {
        Suite::Main => "",
        Suite::Updates => "-updates",
        Suite::Security => "-security",
    };
    format!("dists/{release}{ending}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_of_a_name_stays_and_pieces_join() {
        let stanza = |name: &str, version: &str| {
            format!(
                "Package: {name}\nVersion: {version}\nArchitecture: amd64\nDepends: b\nPre-Depends: c\nFilename: ./pool/x.deb\nSize: 7\n\
                 SHA256: AB\n\n"
            )
        };
        let filler: String = (0..20_000).map(|n| stanza(&format!("n{n:05}"), "1")).collect();
        let text = stanza("aa", "1") + &filler + &stanza("aa", "3") + &stanza("aa", "2");
        let index = Index::read(Suite::Main, text.as_bytes(), "Packages").unwrap();
        assert_eq!(index.packages.len(), 20_001);
        let package = &index.packages["aa"];
        assert_eq!((package.version.as_str(), package.depends.as_str()), ("3", "c, b"));
        assert_eq!((package.path.as_str(), package.sha256.as_str()), ("pool/x.deb", "ab"));
    }

    #[test]
    fn a_missing_field_names_the_package() {
        let error = Index::read(Suite::Main, &b"Package: aa\nVersion: 1\n"[..], "Packages").unwrap_err();
        assert_eq!(format!("{error:#}"), "cannot use Packages: the stanza of `aa` has no field `Size`");
    }
}
