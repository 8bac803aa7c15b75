//! The hand-written list of packages for the archive.
//!
//! ```text
//! # a comment
//! containerd
//! grub-efi-amd64-bin [amd64]
//! !debconf                    # a dependency that only maintainer scripts have
//! ```

use super::control::check_name;
use anyhow::{Context as _, Result, bail};

/// A parsed list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    name: String,
    arches: Vec<String>,
    dropped: bool,
}

impl Wanted {
    /// Parses a list. Errors are `file:line: …`.
    pub fn parse(text: &str, file: &str) -> Result<Self> {
        let mut lines = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let plain = line.split('#').next().unwrap_or_default().trim();
            if !plain.is_empty() {
                lines.push(parse_line(plain).with_context(|| format!("{file}:{}", at + 1))?);
            }
        }
        Ok(Self { lines })
    }

    /// Names to include for `arch`.
    #[must_use]
    pub fn names(&self, arch: &str) -> Vec<&str> {
        self.select(arch, false)
    }

    /// Names to drop from dependencies for `arch`.
    #[must_use]
    pub fn dropped(&self, arch: &str) -> Vec<&str> {
        self.select(arch, true)
    }

    fn select(&self, arch: &str, dropped: bool) -> Vec<&str> {
        let here = |line: &&Line| line.dropped == dropped && (line.arches.is_empty() || line.arches.iter().any(|a| a == arch));
        self.lines.iter().filter(here).map(|line| line.name.as_str()).collect()
    }
}

fn parse_line(line: &str) -> Result<Line> {
    let (name, arches) = match line.split_once('[') {
        Some((name, rest)) => match rest.trim_end().strip_suffix(']') {
            Some(arches) => (name, arches.split_ascii_whitespace().map(str::to_owned).collect()),
            None => bail!("`[` has no `]`"),
        },
        None => (line, Vec::new()),
    };
    let name = name.trim();
    let (dropped, name) = name.strip_prefix('!').map_or((false, name), |name| (true, name.trim()));
    check_name(name)?;
    Ok(Line { name: name.to_owned(), arches, dropped })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_for_an_architecture() {
        let wanted =
            Wanted::parse("# all\nkmod\nxen [amd64] # x86 only\n\n!debconf\nboth [amd64 arm64]\n!perl [arm64]\n", "packages").unwrap();
        assert_eq!(wanted.names("amd64"), ["kmod", "xen", "both"]);
        assert_eq!(wanted.names("arm64"), ["kmod", "both"]);
        assert_eq!(wanted.dropped("amd64"), ["debconf"]);
        assert_eq!(wanted.dropped("arm64"), ["debconf", "perl"]);
        let error = format!("{:#}", Wanted::parse("kmod\ntwo words\n", "packages").unwrap_err());
        assert_eq!(error, "packages:2: `two words` is not a valid Debian package name");
        let error = format!("{:#}", Wanted::parse("kmod [amd64\n", "packages").unwrap_err());
        assert_eq!(error, "packages:1: `[` has no `]`");
    }
}
