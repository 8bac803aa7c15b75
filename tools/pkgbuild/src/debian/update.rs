//! Updates the locks of an archive package: reads `mirrors/RELEASE/packages`, writes `mirrors/RELEASE/ARCH.lock`.

use super::{Index, Lock, Mirrors, Prefer, Store, Suite, Wanted, pin};
use anyhow::{Context as _, Result};
use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

/// Header of a lock.
const HEADER: &str =
    "# Made from `packages` by `cargo xtask pins`: not edited by hand.\n# name version arch sha256 size suite path depends…\n";

/// An updated lock.
#[derive(Clone, Debug)]
pub struct Updated {
    /// Path of its file.
    pub path: PathBuf,
    /// New content.
    pub lock: Lock,
    /// Differences: `+ name version`, `- name version`, `name old → new`.
    pub changes: Vec<String>,
}

/// Computes the locks of `release` for `arches` in the archive's package folder (`pkg/debian`) from the mirrors' current
/// indexes. Writes changed locks only, and only after all have been computed.
pub fn update_locks(
    folder: &Path,
    release: &str,
    arches: &[&str],
    prefer: Prefer,
    store: &Store,
    mirrors: &Mirrors,
) -> Result<Vec<Updated>> {
    let folder = folder.join("mirrors").join(release);
    let list = folder.join("packages");
    let text = std::fs::read_to_string(&list).with_context(|| format!("cannot read `{}`", list.display()))?;
    let wanted = Wanted::parse(&text, &list.display().to_string())?;
    let make = |arch: &&str| -> Result<(Updated, String)> {
        let indexes: Vec<Index> =
            Suite::ALL.iter().map(|suite| store.fetch_index(*suite, release, arch, mirrors)).collect::<Result<_>>()?;
        let lock = pin(&wanted, arch, &indexes, prefer).with_context(|| format!("cannot resolve {} for {arch}", list.display()))?;
        let path = folder.join(format!("{arch}.lock"));
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        // An unreadable old lock counts as empty: all pins of the new one are changes.
        let changes = compare(&Lock::parse(&old, "").unwrap_or_default(), &lock);
        Ok((Updated { path, lock, changes }, old))
    };
    let made: Vec<(Updated, String)> = arches.iter().map(make).collect::<Result<_>>()?;
    for (updated, old) in &made {
        let text = updated.lock.to_text(HEADER);
        if text != *old {
            write_whole(&updated.path, &text).with_context(|| format!("cannot write `{}`", updated.path.display()))?;
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
