//! Which Debian release an architecture is made from: the one that has a lock for it, `mirrors/RELEASE/ARCH.lock`.

use anyhow::{Context as _, Result, bail};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// The releases that have a lock, by architecture. More than one is an error of whoever asks for that architecture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locks {
    releases: BTreeMap<String, BTreeSet<String>>,
}

impl Locks {
    /// The locks in the archive's package folder (`pkg/debian`).
    pub fn read(folder: &Path) -> Result<Self> {
        let folder = folder.join("mirrors");
        let names = |folder: &Path| -> Result<Vec<String>> {
            let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        };
        let mut locks = Self::default();
        for release in names(&folder)? {
            if folder.join(&release).is_dir() {
                names(&folder.join(&release))?.iter().for_each(|file| locks.add(&release, file));
            }
        }
        Ok(locks)
    }

    /// Adds `file` of the folder of `release`, if it is a lock.
    pub(super) fn add(&mut self, release: &str, file: &str) {
        if let Some(arch) = file.strip_suffix(".lock").filter(|arch| !arch.is_empty()) {
            self.releases.entry(arch.to_owned()).or_default().insert(release.to_owned());
        }
    }

    /// The architectures that have a lock, in byte order.
    pub fn arches(&self) -> impl Iterator<Item = &str> {
        self.releases.keys().map(String::as_str)
    }

    /// The releases that have a lock for `arch`.
    pub(super) fn releases_of(&self, arch: &str) -> impl Iterator<Item = &str> {
        self.releases.get(arch).into_iter().flatten().map(String::as_str)
    }

    /// Whether any architecture is made from `release`.
    #[must_use]
    pub fn has(&self, release: &str) -> bool {
        self.releases.values().any(|releases| releases.contains(release))
    }

    /// The release of `arch`. Fails if no release has a lock for it, or more than one.
    pub fn release_of(&self, arch: &str) -> Result<&str> {
        let releases: Vec<&str> = self.releases_of(arch).collect();
        match releases[..] {
            [release] => Ok(release),
            [] => {
                let others: Vec<&str> = self.arches().collect();
                let others = if others.is_empty() { "nothing".to_owned() } else { others.join(", ") };
                bail!(
                    "no Debian release is pinned for {arch}: `mirrors` has locks for {others}\n\
                     hint: cargo xtask pins --release NAME --arch {arch}, if Debian's release NAME has {arch}"
                )
            }
            _ => bail!(
                "{} are all pinned for {arch}, and an image can be made from one release only\nhint: delete mirrors/NAME/{arch}.lock of \
                 the others",
                releases.join(", ")
            ),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_architecture_has_one_release() {
        let folder = tempfile::tempdir().unwrap();
        let touch = |path: &str| {
            let path = folder.path().join("mirrors").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        ["README", "old/packages", "old/amd64.lock", "old/.lock", "new/riscv64.lock"].iter().for_each(|path| touch(path));
        let locks = Locks::read(folder.path()).unwrap();
        assert_eq!(locks.arches().collect::<Vec<_>>(), ["amd64", "riscv64"]);
        assert_eq!((locks.release_of("amd64").unwrap(), locks.release_of("riscv64").unwrap()), ("old", "new"));
        assert!(locks.has("old") && !locks.has("older"));
        let error = locks.release_of("arm64").unwrap_err().to_string();
        assert!(error.starts_with("no Debian release is pinned for arm64: `mirrors` has locks for amd64, riscv64\nhint: "), "{error}");
        touch("new/amd64.lock");
        let error = Locks::read(folder.path()).unwrap().release_of("amd64").unwrap_err().to_string();
        assert!(error.starts_with("new, old are all pinned for amd64") && error.contains("mirrors/NAME/amd64.lock"), "{error}");
        let error = format!("{:#}", Locks::read(&folder.path().join("nothing")).err().unwrap());
        assert!(error.starts_with("cannot read `") && error.contains("nothing/mirrors`: No such file"), "{error}");
    }
}
