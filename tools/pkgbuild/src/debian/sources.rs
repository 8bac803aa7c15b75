//! Pins of source packages: which files are the source of the pinned .deb files, by digest. They are in a lock of their own, outside of
//! the archive package, because the archive does not contain them.

use super::{
    IndexSource, Lock, Pin, Suite,
    control::{check_name, check_version, parse_relations},
    index::{Package, read_stanzas},
    update::write_whole,
};
use anyhow::{Context as _, Result, bail};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Header of a lock of sources.
const HEADER: &str =
    "# Made from the locks of all archives by `cargo xtask pins --sources`: not edited by hand.\n# source version sha256 size suite path\n";

/// One file of a source package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourcePin {
    /// The source package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
    /// The suite that contains it.
    pub suite: Suite,
    /// Its path below a mirror's root.
    pub path: String,
}

/// A source package: name and version.
pub type SourceId = (String, String);

impl SourcePin {
    /// The file's name.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The pin of its download.
    pub(super) fn pin(&self) -> Pin {
        let Self { name, version, sha256, size, suite, path } = self.clone();
        Pin { name, version, arch: Pin::SOURCE.to_owned(), sha256, size, suite, path, depends: vec![] }
    }

    fn parse(line: &str) -> Result<Self> {
        let [name, version, sha256, size, suite, path] = line.split_ascii_whitespace().collect::<Vec<_>>()[..] else {
            bail!("a line has six words: source, version, sha256, size, suite, path");
        };
        check_name(name)?;
        check_version(version)?;
        let suite = Suite::ALL.into_iter().find(|known| known.word() == suite).with_context(|| format!("`{suite}` is not a suite"))?;
        let size = size.parse().with_context(|| format!("`{size}` is not a size"))?;
        let pin =
            Self { name: name.to_owned(), version: version.to_owned(), sha256: sha256.to_owned(), size, suite, path: path.to_owned() };
        pin.pin().check_file("")?;
        Ok(pin)
    }
}

/// Pins of the files of source packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceLock {
    /// The files of each package, in the order of their paths.
    pub packages: BTreeMap<SourceId, Vec<SourcePin>>,
}

impl SourceLock {
    /// Adds the pins of a lock's text. Errors are `file:line: …`.
    pub fn add(&mut self, text: &str, file: &str) -> Result<()> {
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty()) {
            let pin = SourcePin::parse(line).with_context(|| format!("{file}:{}", at + 1))?;
            let files = self.packages.entry((pin.name.clone(), pin.version.clone())).or_default();
            if files.iter().all(|known| known.file_name() != pin.file_name()) {
                files.push(pin);
            }
        }
        Ok(())
    }

    fn to_text(&self) -> String {
        let line =
            |pin: &SourcePin| format!("{} {} {} {} {} {}\n", pin.name, pin.version, pin.sha256, pin.size, pin.suite.word(), pin.path);
        HEADER.chars().chain(self.packages.values().flatten().map(line).collect::<String>().chars()).collect()
    }
}

/// The source packages of a binary package: its own, and those that were compiled into it.
pub fn sources_of(name: &str, version: &str, source: Option<&str>, built_using: Option<&str>) -> Result<BTreeSet<SourceId>> {
    let mut found = BTreeSet::new();
    let own = match source.map(|field| field.split_once('(').unwrap_or((field, ""))) {
        None => (name, version),
        Some((source, "")) => (source.trim(), version),
        Some((source, version)) => (source.trim(), version.trim_end_matches(')').trim()),
    };
    found.insert((own.0.to_owned(), own.1.to_owned()));
    for relation in parse_relations(built_using.unwrap_or_default())?.into_iter().flatten() {
        let (_, version) = relation.version.with_context(|| format!("Built-Using names {} without a version", relation.name))?;
        found.insert((relation.name, version));
    }
    Ok(found)
}

/// Computes the pins of all sources of the locks in `mirrors/RELEASE` of the archives in `folders`, from the mirrors' current indexes, and
/// writes them to `out`. Returns their number and size.
pub fn update_sources(folders: &[PathBuf], release: &str, out: &Path, from: &IndexSource<'_>) -> Result<(usize, u64)> {
    let mut wanted: BTreeMap<SourceId, String> = BTreeMap::new();
    let mut all = Vec::new();
    for folder in folders.iter().map(|folder| folder.join("mirrors").join(release)).filter(|folder| folder.is_dir()) {
        all.extend(locks(&folder)?);
    }
    for (arch, lock) in all {
        for suite in Suite::ALL {
            let pins: Vec<&Pin> = lock.pins.values().filter(|pin| pin.suite == suite).collect();
            if pins.is_empty() {
                continue;
            }
            let index = from.store.fetch_index(suite, release, &arch, from.mirrors, &from.trust)?;
            for pin in pins {
                let of = |package: &&Package| package.version == pin.version;
                let package = index.packages.get(&pin.name).filter(of).with_context(|| {
                    format!("the mirror has no {} {} any more, so its source is not known\nhint: cargo xtask pins", pin.name, pin.version)
                })?;
                let sources = sources_of(&pin.name, &pin.version, package.source.as_deref(), package.built_using.as_deref());
                for source in sources.with_context(|| format!("the index entry of `{}`", pin.name))? {
                    wanted.entry(source).or_insert_with(|| pin.name.clone());
                }
            }
        }
    }
    let mut lock = SourceLock::default();
    for suite in Suite::ALL {
        let stored = from.store.fetch_sources_index(suite, release, from.mirrors, &from.trust)?;
        read_stanzas(stored.open()?, stored.name(), &mut |stanza| {
            let id = (stanza.need("Package")?.to_owned(), stanza.need("Version")?.to_owned());
            if wanted.contains_key(&id) && !lock.packages.contains_key(&id) {
                let pins = files(&id, suite, stanza.need("Directory")?, stanza.need("Checksums-Sha256")?)?;
                lock.packages.insert(id, pins);
            }
            Ok(())
        })?;
    }
    let missing: Vec<String> = wanted
        .iter()
        .filter(|(id, _)| !lock.packages.contains_key(*id))
        .map(|((name, version), by)| format!("{name} {version} (of {by})"))
        .collect();
    if !missing.is_empty() {
        bail!("the mirror has no source of:\n  {}", missing.join("\n  "));
    }
    std::fs::create_dir_all(out.parent().context("a lock has a folder")?)?;
    write_whole(out, &lock.to_text()).with_context(|| format!("cannot write `{}`", out.display()))?;
    let pins = lock.packages.values().flatten();
    Ok((lock.packages.len(), pins.map(|pin| pin.size).sum()))
}

/// The locks in a folder by architecture.
fn locks(folder: &Path) -> Result<BTreeMap<String, Lock>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "lock") {
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
            let arch = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            found.insert(arch, Lock::parse(&text, &path.display().to_string())?);
        }
    }
    Ok(found)
}

/// The files in a stanza of the index of sources.
fn files((name, version): &SourceId, suite: Suite, folder: &str, checksums: &str) -> Result<Vec<SourcePin>> {
    let mut pins = Vec::new();
    for line in checksums.lines().filter(|line| !line.trim().is_empty()) {
        let [sha256, size, file] = line.split_ascii_whitespace().collect::<Vec<_>>()[..] else {
            bail!("the index of sources lists the file `{line}` of {name}");
        };
        let line = format!("{name} {version} {sha256} {size} {} {folder}/{file}", suite.word());
        pins.push(SourcePin::parse(&line).with_context(|| format!("the index entry of the source `{name}`"))?);
    }
    pins.sort_by(|one, two| one.path.cmp(&two.path));
    Ok(pins)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_package_names_its_sources() {
        let id = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        let sources = |source, using| sources_of("bb", "1:2+b1", source, using).unwrap().into_iter().collect::<Vec<_>>();
        assert_eq!(sources(None, None), [id("bb", "1:2+b1")]);
        assert_eq!(sources(Some("ss"), None), [id("ss", "1:2+b1")]);
        assert_eq!(sources(Some("ss (1:2)"), Some("cc (= 3), dd (= 4)")), [id("cc", "3"), id("dd", "4"), id("ss", "1:2")]);
        let error = sources_of("bb", "1", None, Some("cc")).unwrap_err().to_string();
        assert_eq!(error, "Built-Using names cc without a version");
    }

    #[test]
    fn a_lock_is_read_as_it_is_written() {
        let line = format!("ss 1:2 {} 7 main pool/main/s/ss/ss_2.dsc", "ab".repeat(32));
        let mut lock = SourceLock::default();
        lock.add(&format!("# x\n{line}\n"), "l").unwrap();
        assert_eq!(lock.to_text(), format!("{HEADER}{line}\n"));
        for (from, to) in [("pool/main", "../main"), (" 7 ", " x "), ("abab", "zzzz"), ("main pool", "sid pool"), (" main", "")] {
            let error = format!("{:#}", lock.add(&line.replacen(from, to, 1), "l").unwrap_err());
            assert!(error.starts_with("l:1: "), "{to}: {error}");
        }
    }
}
