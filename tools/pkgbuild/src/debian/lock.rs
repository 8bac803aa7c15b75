//! The lock: pins of all .deb files of the archive with their dependencies, as a text that can be reviewed as a diff. One pin
//! per line, in byte order: `name version arch sha256 size suite path depends…`; `#` starts a comment line.

use super::control::{check_name, check_version};
use anyhow::{Context as _, Result, bail};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// The part of Debian's archive that a pin comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// The release itself; changes only at point releases.
    Main,
    /// Updates between point releases.
    Updates,
    /// The security archive, which has its own mirrors.
    Security,
}

impl Suite {
    /// All suites, the longest-lived first.
    pub const ALL: [Self; 3] = [Self::Main, Self::Updates, Self::Security];

    /// Its name in a lock.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Updates => "updates",
            Self::Security => "security",
        }
    }
}

/// One .deb: identity, digest, path below a mirror's root, and dependencies within the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Package name.
    pub name: String,
    /// Debian version, with epoch.
    pub version: String,
    /// Architecture of the package: the lock's, or `all`.
    pub arch: String,
    /// SHA-256 of the file, 64 lower-case hex digits.
    pub sha256: String,
    /// Size of the file in bytes.
    pub size: u64,
    /// Suite that contains the file.
    pub suite: Suite,
    /// Path below the archive's root, `pool/…`.
    pub path: String,
    /// Dependencies: names of packages in this lock, alternatives already chosen.
    pub depends: Vec<String>,
}

impl Pin {
    /// Last part of `path`.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    fn parse(line: &str) -> Result<Self> {
        let mut words = line.split_ascii_whitespace();
        let mut next = |what: &str| words.next().with_context(|| format!("the pin has no {what}"));
        let (name, version, arch) = (next("name")?, next("version")?, next("architecture")?);
        let (sha256, size, suite, path) = (next("sha256")?, next("size")?, next("suite")?, next("path")?);
        check_name(name)?;
        check_version(version)?;
        check_name(arch).with_context(|| format!("`{arch}` is not an architecture"))?;
        let Some(suite) = Suite::ALL.into_iter().find(|known| known.word() == suite) else {
            bail!("`{suite}` is not a suite (main, updates, security)");
        };
        let pin = Self {
            name: name.to_owned(),
            version: version.to_owned(),
            arch: arch.to_owned(),
            sha256: sha256.to_owned(),
            size: size.parse().with_context(|| format!("`{size}` is not a size"))?,
            suite,
            path: path.to_owned(),
            depends: words.map(str::to_owned).collect(),
        };
        pin.check()?;
        Ok(pin)
    }

    /// The architecture of source packages.
    pub(super) const SOURCE: &str = "source";

    /// Checks digest and path, which may come from a mirror, before they are used as file names.
    pub(super) fn check(&self) -> Result<()> {
        self.check_file(".deb")
    }

    /// The same for a file whose name ends in `ending`.
    pub(super) fn check_file(&self, ending: &str) -> Result<()> {
        if self.sha256.len() != 64 || !self.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            bail!("the digest of `{}`, `{}`, is not a SHA-256 in hex", self.name, self.sha256);
        }
        let fine = |part: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-' | b'_' | b'~' | b'%' | b':');
            !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain)
        };
        if !self.path.starts_with("pool/") || !self.path.ends_with(ending) || !self.path.split('/').all(fine) {
            bail!("the path of `{}`, `{}`, does not have the form `pool/…{ending}`", self.name, self.path);
        }
        Ok(())
    }
}

/// Pins of one release and architecture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// Pins by package name.
    pub pins: BTreeMap<String, Pin>,
}

impl Lock {
    /// Parses a lock's text. Errors are `file:line: …`.
    pub fn parse(text: &str, file: &str) -> Result<Self> {
        let mut pins = BTreeMap::new();
        for (at, line) in text.lines().enumerate() {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let pin = Pin::parse(line).with_context(|| format!("{file}:{}", at + 1))?;
            if let Some(twice) = pins.insert(pin.name.clone(), pin) {
                bail!("{file}:{}: `{}` is pinned twice", at + 1, twice.name);
            }
        }
        let lock = Self { pins };
        lock.check().with_context(|| file.to_owned())?;
        Ok(lock)
    }

    fn check(&self) -> Result<()> {
        let mut files = BTreeSet::new();
        for pin in self.pins.values() {
            if let Some(missing) = pin.depends.iter().find(|name| !self.pins.contains_key(*name)) {
                bail!("`{}` needs `{missing}`, which is not pinned", pin.name);
            }
            if !files.insert(pin.file_name()) {
                bail!("two pins have the file name `{}`", pin.file_name());
            }
        }
        Ok(())
    }

    /// The lock's text, after `header` (comment lines).
    #[must_use]
    pub fn to_text(&self, header: &str) -> String {
        let mut text = header.to_owned();
        for Pin { name, version, arch, sha256, size, suite, path, depends } in self.pins.values() {
            let _ = write!(text, "{name} {version} {arch} {sha256} {size} {} {path}", suite.word());
            depends.iter().for_each(|name| text.extend([" ", name.as_str()]));
            text.push('\n');
        }
        text
    }

    /// The pins of `names` and of all their dependencies, in byte order. Names in `without` are left out and
    /// not followed. The error lists all names without a pin, with similar names.
    pub fn closure(&self, names: &[String], without: &[String]) -> Result<Vec<&Pin>> {
        let unknown: Vec<String> = names.iter().filter(|name| !self.pins.contains_key(*name)).map(|n| self.unknown(n)).collect();
        if !unknown.is_empty() {
            let words: Vec<&str> = names.iter().filter(|name| !self.pins.contains_key(*name)).map(String::as_str).collect();
            bail!(
                "the Debian archive has no {}\nhint: if the name is right: cargo xtask pins --add {} (--archive NAME for one of compilers)",
                unknown.join(", no "),
                words.join(" ")
            );
        }
        let mut taken: BTreeMap<&str, &Pin> = BTreeMap::new();
        let mut pending: Vec<&str> = names.iter().map(String::as_str).collect();
        while let Some(name) = pending.pop() {
            if without.iter().any(|dropped| dropped == name) || taken.contains_key(name) {
                continue;
            }
            let pin = self.pins.get(name).with_context(|| format!("`{name}` is not pinned"))?;
            taken.insert(name, pin);
            pending.extend(pin.depends.iter().map(String::as_str));
        }
        Ok(taken.into_values().collect())
    }

    fn unknown(&self, name: &str) -> String {
        match nearest(name, self.pins.keys().map(String::as_str)) {
            Some(near) => format!("`{name}` (did you mean `{near}`?)"),
            None => format!("`{name}`"),
        }
    }
}

/// The known name with the fewest edits, at most a third of the name's length.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = name.len() / 3;
    let near =
        known.filter(|other| other.len().abs_diff(name.len()) <= most).map(|other| (edits(name.as_bytes(), other.as_bytes()), other));
    near.min().filter(|(edits, _)| *edits <= most).map(|(_, other)| other)
}

/// Levenshtein distance.
fn edits(left: &[u8], right: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn line(name: &str, depends: &str) -> String {
        format!("{name} 1:2-3 amd64 {} 10 main pool/main/x/{name}_2-3_amd64.deb{depends}\n", "0a".repeat(32))
    }

    #[test]
    fn text_survives_and_closures_follow() {
        let text = line("aa", " bb cc") + &line("bb", " cc") + &line("cc", " aa") + &line("dd", " aa");
        let lock = Lock::parse(&format!("# head\n\n{text}"), "f").unwrap();
        assert_eq!(lock.to_text(""), text);
        let names = |pins: Vec<&Pin>| pins.iter().map(|pin| pin.name.clone()).collect::<Vec<_>>().join(" ");
        assert_eq!(names(lock.closure(&["dd".into()], &[]).unwrap()), "aa bb cc dd");
        assert_eq!(names(lock.closure(&["dd".into()], &["aa".into()]).unwrap()), "dd");
        assert_eq!(names(lock.closure(&[], &[]).unwrap()), "");
        let long = Lock::parse(&line("containerd", ""), "f").unwrap();
        let error = long.closure(&["contanerd".into(), "zz".into()], &[]).unwrap_err().to_string();
        assert!(error.starts_with("the Debian archive has no `contanerd` (did you mean `containerd`?), no `zz`\nhint:"), "{error}");
    }

    #[test]
    fn what_could_harm_is_refused_with_its_line() {
        let good = line("aa", "");
        let bad = [
            (good.replace("pool/main/x/", "pool/../../x/"), "does not have the form `pool/….deb`"),
            (good.replace("pool/main/x/", "/etc/"), "does not have the form `pool/….deb`"),
            (good.replace("0a0a", "0A0a"), "is not a SHA-256"),
            (good.replace(" 10 ", " -1 "), "is not a size"),
            (good.replace(" main ", " contrib "), "is not a suite"),
            (good.replace("aa 1:2-3", "aa 1;2"), "is not a valid Debian version"),
            (line("../aa", ""), "is not a valid Debian package name"),
            ("aa 1 amd64\n".to_owned(), "has no sha256"),
            (good.clone() + &good, "pinned twice"),
            (line("aa", " zz"), "needs `zz`"),
        ];
        for (text, message) in bad {
            let error = format!("{:#}", Lock::parse(&text, "f.lock").unwrap_err());
            assert!(error.starts_with("f.lock") && error.contains(message), "{error}");
        }
    }
}
