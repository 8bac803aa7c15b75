//! Updates the locks of an archive package: reads `mirrors/RELEASE/packages`, writes `mirrors/RELEASE/ARCH.lock`. An architecture
//! that moves to another release loses its old lock.

use super::{Index, Lock, Locks, Mirrors, Prefer, Store, Suite, Trust, Wanted, pin};
use anyhow::{Context as _, Result, bail};
use std::{
    collections::BTreeSet,
    io::Write as _,
    path::{Path, PathBuf},
};

/// Header of a lock.
const HEADER: &str =
    "# Made from `packages` by `cargo xtask pins`: not edited by hand.\n# name version arch sha256 size suite path depends…\n";

/// The locks to update.
#[derive(Clone, Copy, Debug)]
pub struct Pinning<'a> {
    /// The package folder of the archive (`pkg/debian`).
    pub folder: &'a Path,
    /// The architectures; all that have a lock if empty.
    pub arches: &'a [String],
    /// The release to which they move; `None` for the one that each has.
    pub release: Option<&'a str>,
    /// Which versions to take.
    pub prefer: Prefer,
}

/// Where indexes come from, and which are believed.
#[derive(Clone, Copy)]
pub struct IndexSource<'a> {
    /// Keeps the indexes.
    pub store: &'a Store,
    /// The mirrors.
    pub mirrors: &'a Mirrors,
    /// Decides about signatures.
    pub trust: Trust<'a>,
}

/// An updated lock.
#[derive(Clone, Debug)]
pub struct Updated {
    /// Path of its file.
    pub path: PathBuf,
    /// New content.
    pub lock: Lock,
    /// The deleted locks of other releases.
    pub replaced: Vec<PathBuf>,
    /// Differences: `+ name version`, `- name version`, `name old → new`.
    pub changes: Vec<String>,
}

impl Pinning<'_> {
    /// The architectures and their releases: what will be pinned.
    pub fn releases(&self) -> Result<Vec<(String, String)>> {
        let locks = Locks::read(self.folder)?;
        let arches = if self.arches.is_empty() { locks.arches().map(str::to_owned).collect() } else { self.arches.to_vec() };
        let release = |arch: String| match self.release {
            Some(release) => Ok((arch, release.to_owned())),
            None => locks.release_of(&arch).map(str::to_owned).map(|release| (arch, release)),
        };
        arches.into_iter().map(release).collect()
    }

    /// The lists of packages that these locks need and that are not there. Fails if one cannot be read.
    pub fn missing_lists(&self) -> Result<Vec<PathBuf>> {
        let releases: BTreeSet<String> = self.releases()?.into_iter().map(|(_, release)| release).collect();
        let (there, missing): (Vec<_>, Vec<_>) = releases.iter().partition(|release| self.list_path(release).exists());
        there.into_iter().try_for_each(|release| self.list(release).map(drop))?;
        Ok(missing.into_iter().map(|release| self.list_path(release)).collect())
    }

    fn list_path(&self, release: &str) -> PathBuf {
        self.folder.join("mirrors").join(release).join("packages")
    }

    fn list(&self, release: &str) -> Result<Wanted> {
        let list = self.list_path(release);
        match std::fs::read_to_string(&list) {
            Ok(text) => Wanted::parse(&text, &list.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
                "there is no list of packages for the release {release}: `{}` is missing\n\
                 hint: copy another release's list and change the names that have changed",
                list.display()
            ),
            Err(error) => Err(error).with_context(|| format!("cannot read `{}`", list.display())),
        }
    }

    /// The lock of one architecture, and the text of its file so far.
    fn make(&self, arch: &str, release: &str, from: &IndexSource<'_>) -> Result<(Updated, String)> {
        let wanted = self.list(release)?;
        let indexes: Vec<Index> = Suite::ALL
            .iter()
            .map(|suite| from.store.fetch_index(*suite, release, arch, from.mirrors, &from.trust))
            .collect::<Result<_>>()?;
        let lock = pin(&wanted, arch, &indexes, self.prefer).with_context(|| format!("cannot resolve {release}'s packages for {arch}"))?;
        let path = |release: &str| self.folder.join("mirrors").join(release).join(format!("{arch}.lock"));
        let replaced: Vec<PathBuf> = Locks::read(self.folder)?.releases_of(arch).filter(|other| *other != release).map(path).collect();
        let old = std::fs::read_to_string(path(release)).unwrap_or_default();
        let before = replaced.first().filter(|_| old.is_empty()).map_or_else(|| Ok(old.clone()), std::fs::read_to_string)?;
        // An unreadable old lock counts as empty: all pins of the new one are changes.
        let changes = compare(&Lock::parse(&before, "").unwrap_or_default(), &lock);
        Ok((Updated { path: path(release), lock, replaced, changes }, old))
    }
}

/// Computes the locks of archives from the mirrors' current indexes. Writes changed locks only, and only after all have been computed.
pub fn update_locks(pinnings: &[Pinning<'_>], from: &IndexSource<'_>) -> Result<Vec<Updated>> {
    let mut made = Vec::new();
    for pinning in pinnings {
        for (arch, release) in pinning.releases()? {
            made.push(pinning.make(&arch, &release, from)?);
        }
    }
    for (updated, old) in &made {
        let text = updated.lock.to_text(HEADER);
        if text != *old {
            write_whole(&updated.path, &text).with_context(|| format!("cannot write `{}`", updated.path.display()))?;
        }
        for path in &updated.replaced {
            std::fs::remove_file(path).with_context(|| format!("cannot delete `{}`", path.display()))?;
        }
    }
    Ok(made.into_iter().map(|(updated, _)| updated).collect())
}

pub(super) fn write_whole(path: &Path, text: &str) -> Result<()> {
    let mut file = tempfile::Builder::new();
    let mut file =
        file.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644)).tempfile_in(path.parent().context("a file has a folder")?)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

fn compare(old: &Lock, new: &Lock) -> Vec<String> {
    let mut changes = Vec::new();
    for pin in old.pins.values().filter(|pin| !new.pins.contains_key(&pin.name)) {
        changes.push(format!("- {} {}", pin.name, pin.version));
    }
    for pin in new.pins.values() {
        match old.pins.get(&pin.name) {
            None => changes.push(format!("+ {} {}", pin.name, pin.version)),
            Some(old) if old.version != pin.version => changes.push(format!("{} {} → {}", pin.name, old.version, pin.version)),
            Some(old) if old.sha256 != pin.sha256 => changes.push(format!("{} {} is another file now", pin.name, pin.version)),
            Some(_) => {}
        }
    }
    changes
}
