//! The root index of a cache: reads it, changes it under the lock, replaces it by a rename.

use super::{Cache, MAX_DOCUMENT, lock};
use crate::{
    digest::digest_of,
    names,
    spec::{Descriptor, Index},
};
use anyhow::{Context as _, Result, bail};
use rustix::fs::{FlockOperation, flock};
use std::{
    collections::HashMap,
    fs::File,
    io::{ErrorKind, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    sync::{Arc, PoisonError},
    time::{Duration, SystemTime},
};
use tempfile::NamedTempFile;

const INDEX_FILE: &str = "index.json";
const LAYOUT_FILE: &str = "oci-layout";
pub(super) const LAYOUT: &str = "{\n    \"imageLayoutVersion\": \"1.0.0\"\n}";

/// How old a file must be before its size and time tell that it is unchanged: file systems count in steps.
const SETTLED: Duration = Duration::from_secs(2);

/// What tells one state of the index's file from another: device, inode, size, time.
type Look = (u64, u64, u64, SystemTime);

/// The root index, with the entries of each name. Looking up one package after the other would else read all names for each.
#[derive(Debug, Default)]
pub(super) struct Root {
    pub index: Index,
    by_name: HashMap<String, Vec<usize>>,
    /// None if the file may change without another look.
    look: Option<Look>,
}

impl Root {
    fn new(index: Index, look: Option<Look>) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, root) in index.manifests.iter().enumerate() {
            if let Some(name) = root.annotation(names::REF_NAME) {
                by_name.entry(name.to_owned()).or_default().push(at);
            }
        }
        Self { index, by_name, look }
    }

    /// The entries of either name, in the order of the index.
    pub(super) fn named(&self, name: &str, other: Option<&str>) -> Vec<&Descriptor> {
        let mut places: Vec<usize> =
            [Some(name), other].into_iter().flatten().filter_map(|name| self.by_name.get(name)).flatten().copied().collect();
        places.sort_unstable();
        places.dedup();
        places.into_iter().map(|at| &self.index.manifests[at]).collect()
    }
}

fn look(path: &Path) -> Option<Look> {
    let metadata = path.metadata().ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.len(), metadata.modified().ok()?))
}

impl Cache {
    /// The root index; reads it again only if its file has changed. The caller holds a lock.
    pub(super) fn root(&self) -> Result<Arc<Root>> {
        if let Some(root) = self.kept_root() {
            return Ok(root);
        }
        let settled = |look: &Look| look.3.elapsed().is_ok_and(|age| age > SETTLED);
        let look = look(&self.dir.join(INDEX_FILE)).filter(settled);
        let root = Arc::new(Root::new(self.read_root()?, look));
        *self.root.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&root));
        Ok(root)
    }

    /// The root index as it was read before, if its file has not changed since.
    pub(super) fn kept_root(&self) -> Option<Arc<Root>> {
        let kept = self.root.lock().unwrap_or_else(PoisonError::into_inner);
        let root = kept.as_ref().filter(|root| root.look.is_some())?;
        (root.look == look(&self.dir.join(INDEX_FILE))).then(|| Arc::clone(root))
    }

    /// The root index; empty if there is no cache yet. The caller holds a lock.
    pub(super) fn read_root(&self) -> Result<Index> {
        let path = self.dir.join(INDEX_FILE);
        let bytes = match std::fs::read(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Index::default()),
            read => read.with_context(|| format!("cannot read `{}`", path.display()))?,
        };
        if bytes.len() as u64 > MAX_DOCUMENT {
            bail!("the index `{}` has {} bytes, more than the limit of {MAX_DOCUMENT}", path.display(), bytes.len());
        }
        serde_json::from_slice(&bytes).with_context(|| {
            format!("the cache's index `{}` is damaged\nhint: linuxkit cache clean, or rm -r {}", path.display(), self.dir.display())
        })
    }

    /// Creates the layout if missing, and changes the root index under the lock.
    pub(super) fn change_root(&self, change: &mut dyn FnMut(&mut Index) -> Result<()>) -> Result<()> {
        self.make_blobs()?;
        let _lock = lock::write(&self.dir)?;
        remove_abandoned(&self.dir)?;
        if !self.dir.join(LAYOUT_FILE).exists() {
            self.replace_file(LAYOUT_FILE, LAYOUT.as_bytes())?;
        }
        let mut index = self.read_root()?;
        change(&mut index)?;
        self.replace_file(INDEX_FILE, &serde_json::to_vec_pretty(&index)?)
    }

    /// Creates the blob folder.
    pub(crate) fn make_blobs(&self) -> Result<()> {
        let blobs = self.dir.join("blobs").join("sha256");
        std::fs::create_dir_all(&blobs).with_context(|| format!("cannot make `{}`", blobs.display()))
    }

    fn replace_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.dir.join(name);
        let mut file = temporary(&self.dir)?;
        file.write_all(bytes).with_context(|| format!("cannot write `{}`", path.display()))?;
        // On the disk before it has its name: half an index would lose every image.
        file.as_file().sync_all().with_context(|| format!("cannot write `{}`", path.display()))?;
        file.persist(&path).map(drop).with_context(|| format!("cannot write `{}`", path.display()))
    }

    /// Points `name` at `descriptor`, replacing an older entry.
    pub(super) fn name_root(index: &mut Index, name: &str, mut descriptor: Descriptor) {
        index.manifests.retain(|root| root.annotation(names::REF_NAME) != Some(name));
        descriptor.annotations.get_or_insert_default().insert(names::REF_NAME.to_owned(), name.to_owned());
        index.manifests.push(descriptor);
    }

    /// Puts `manifest`, which has a platform, into the index that `name` points at, replacing the manifest for the same
    /// platform and the attestations of removed manifests. If `name` points at a single manifest, a new index replaces it.
    pub(super) fn merge_platform(&self, root: &mut Index, name: &str, manifest: &Descriptor) -> Result<()> {
        let old = root.manifests.iter().find(|root| root.annotation(names::REF_NAME) == Some(name));
        let mut index = match old {
            // An unreadable index is replaced by a new one.
            Some(old) if old.is_index() => self.read_json::<Index>(old).unwrap_or_default(),
            _ => Index::default(),
        };
        index.manifests.retain(|m| m.platform != manifest.platform && m.digest != manifest.digest);
        let digests: Vec<String> = index.manifests.iter().map(|m| m.digest.clone()).collect();
        index.manifests.retain(|m| m.annotation(names::ATTESTATION_SUBJECT).is_none_or(|subject| digests.iter().any(|d| d == subject)));
        index.manifests.push(manifest.clone());
        // A fixed order, so that the index does not depend on the order of builds.
        index.manifests.sort_by_cached_key(|m| {
            (m.annotation(names::ATTESTATION_SUBJECT).is_some(), m.platform.as_ref().map(|p| (p.os.clone(), p.architecture.clone())))
        });
        let descriptor = self.write_document(names::INDEX, &serde_json::to_vec(&index)?)?;
        Self::name_root(root, name, descriptor);
        Ok(())
    }

    /// Writes a small blob and returns its descriptor.
    pub(crate) fn write_document(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        let digest = digest_of(bytes);
        let path = self.blob_path(&digest)?;
        let mut file = temporary(&self.dir)?;
        file.write_all(bytes).with_context(|| format!("cannot write the blob `{}`", path.display()))?;
        file.persist(&path).with_context(|| format!("cannot write the blob `{}`", path.display()))?;
        Ok(Descriptor { media_type: media_type.to_owned(), size: bytes.len() as u64, digest, ..Descriptor::default() })
    }
}

/// Name prefix of unfinished files.
const NEW: &str = ".new-";

/// A temporary file in the cache, deleted on drop unless persisted. Its `flock` marks its writer as alive; [`remove_abandoned`]
/// deletes files without a lock, left by killed writers.
pub(super) fn temporary(dir: &Path) -> Result<NamedTempFile> {
    let cannot = || format!("cannot make a file in the cache `{}`", dir.display());
    loop {
        let permissions = std::fs::Permissions::from_mode(0o644);
        let file = tempfile::Builder::new().prefix(NEW).permissions(permissions).tempfile_in(dir).with_context(cannot)?;
        flock(file.as_file(), FlockOperation::LockExclusive).with_context(cannot)?;
        // Another process may have deleted it before it was locked.
        if file.as_file().metadata().with_context(cannot)?.nlink() > 0 {
            return Ok(file);
        }
    }
}

/// Deletes the unfinished files of killed writers.
fn remove_abandoned(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read the cache `{}`", dir.display()))? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(NEW.as_bytes()) {
            continue;
        }
        // A living writer may rename or delete the file meanwhile; then there is nothing to do.
        if let Ok(file) = File::open(entry.path())
            && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_writer_left_is_removed_and_no_more() {
        let dir = tempfile::tempdir().expect("dir");
        let alive = temporary(dir.path()).expect("file");
        let dead = temporary(dir.path()).expect("file");
        let (file, dead) = dead.keep().expect("keep");
        drop(file);
        remove_abandoned(dir.path()).expect("clean");
        assert!(!dead.exists());
        assert!(alive.path().exists());
    }
}
