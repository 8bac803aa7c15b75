//! A private copy of a cache's index for one linuxkit process. Old linuxkit versions take no lock, so two of them writing one
//! index would lose names. A fork shares the blobs; [`Fork::join`] copies new names back under the lock.

use super::{Cache, lock};
use crate::{
    names,
    spec::{Descriptor, Index},
};
use anyhow::{Context as _, Result};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A private cache; dropping it deletes it.
#[derive(Debug)]
pub struct Fork {
    shared: Cache,
    folder: TempDir,
    /// Digest of each name when the fork was made.
    before: BTreeMap<String, String>,
}

impl Cache {
    /// Creates a fork in a new folder below `folder`, with all current names.
    pub fn fork(&self, folder: &Path) -> Result<Fork> {
        self.make_blobs()?;
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        let own = tempfile::Builder::new().prefix(".cache-").tempdir_in(folder).context("cannot make a folder for a cache")?;
        let path = |name: &str| own.path().join(name);
        let cannot = || format!("cannot make the cache `{}`", own.path().display());
        std::os::unix::fs::symlink(self.dir.join("blobs"), path("blobs")).with_context(cannot)?;
        std::fs::write(path("oci-layout"), super::index::LAYOUT).with_context(cannot)?;
        let _lock = lock::read(&self.dir)?;
        let index = self.read_root()?;
        std::fs::write(path("index.json"), serde_json::to_vec(&index)?).with_context(cannot)?;
        let before = index.manifests.iter().filter_map(|root| Some((name_of(root)?, root.digest.clone()))).collect();
        Ok(Fork { shared: self.clone(), folder: own, before })
    }
}

impl Fork {
    /// The fork's folder, absolute.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Copies names that are new or changed to the shared cache. If another writer changed the same name meanwhile, the
    /// architectures of both are kept.
    pub fn join(self) -> Result<()> {
        let own = Cache::open(self.folder.path())?.read_root()?;
        let named = own.manifests.iter().filter_map(|root| Some((name_of(root)?, root)));
        let new: Vec<_> = named.filter(|(name, root)| self.before.get(name) != Some(&root.digest)).collect();
        if new.is_empty() {
            return Ok(());
        }
        self.shared.change_root(&mut |index| {
            for (name, root) in &new {
                let there = index.manifests.iter().find(|there| there.annotation(names::REF_NAME) == Some(name.as_str()));
                let is_same = there.map(|there| &there.digest) == self.before.get(name);
                if is_same || !root.is_index() {
                    Cache::name_root(index, name, (*root).clone());
                    continue;
                }
                for manifest in self.shared.read_json::<Index>(root)?.manifests.iter().filter(|manifest| manifest.platform.is_some()) {
                    self.shared.merge_platform(index, name, manifest)?;
                }
            }
            Ok(())
        })
    }
}

fn name_of(root: &Descriptor) -> Option<String> {
    root.annotation(names::REF_NAME).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::NewImage;

    fn write(cache: &Cache, name: &str, arch: &str) {
        let image = NewImage { reference: format!("o/{name}:1"), arch: arch.to_owned(), ..NewImage::default() };
        cache.write(image).unwrap();
    }

    #[test]
    fn two_writers_at_once_keep_each_others_names() {
        let folder = tempfile::tempdir().unwrap();
        let shared = Cache::open(&folder.path().join("shared")).unwrap();
        write(&shared, "old", "amd64");
        let forks = [shared.fork(folder.path()).unwrap(), shared.fork(folder.path()).unwrap()];
        for (fork, own, arch) in [(&forks[0], "first", "amd64"), (&forks[1], "second", "arm64")] {
            let cache = Cache::open(&fork.dir()).unwrap();
            assert!(cache.contains("o/old:1", "amd64").unwrap());
            write(&cache, own, arch);
            write(&cache, "both", arch);
        }
        forks.into_iter().for_each(|fork| fork.join().unwrap());
        for (name, arch) in [("old", "amd64"), ("first", "amd64"), ("second", "arm64"), ("both", "amd64"), ("both", "arm64")] {
            assert!(shared.contains(&format!("o/{name}:1"), arch).unwrap(), "{name} {arch}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
