//! The store of artifacts of a team: first the folder of this machine, then the team's registry. What comes from there is kept here.

use anyhow::Result;
use common::artifact::Pending;
use executor::artifacts::{ArtifactKey, ArtifactRecord, ArtifactStore, FileRecord, Keep, LocalStore};
use registry::Team;
use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

/// Starts of the digests of single files, which a registry keeps.
const FILES: [&str; 2] = ["sha256:", "tree:"];
/// Start of the digest of a symbolic link, which is its target; the record alone says it all.
const LINK: &str = "link:";

/// A store in a folder, and a team's registry behind it.
#[derive(Debug)]
pub struct SharedStore {
    local: LocalStore,
    team: Arc<Team>,
    /// What the registry has said: a plan is looked at several times.
    known: Mutex<HashMap<ArtifactKey, Option<ArtifactRecord>>>,
    /// The entries of the folder that came from the registry in this run.
    fetched: Mutex<HashSet<ArtifactKey>>,
}

impl SharedStore {
    /// The folder of `local`, and `team` behind it.
    #[must_use]
    pub fn new(local: LocalStore, team: Arc<Team>) -> Self {
        Self { local, team, known: Mutex::default(), fetched: Mutex::default() }
    }

    /// What the registry has of `key`.
    fn find_far(&self, key: &ArtifactKey) -> Option<ArtifactRecord> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if let Some(known) = known {
            return known;
        }
        let bytes = self.team.record(&key.to_string());
        let record: Option<ArtifactRecord> = bytes.as_ref().and_then(|bytes| serde_json::from_slice(bytes).ok()).filter(can_travel);
        if bytes.is_some() && record.is_none() {
            self.team.distrust_files(&key.to_string());
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(*key, record.clone());
        record
    }
}

/// Whether a registry can keep all of an artifact, and may.
fn can_travel(record: &ArtifactRecord) -> bool {
    let is_whole = !record.has_files() || record.files.iter().all(|file| is_file(file) || file.digest.starts_with(LINK));
    record.keep != Keep::Local && is_whole
}

fn is_file(file: &FileRecord) -> bool {
    FILES.iter().any(|start| file.digest.starts_with(start))
}

/// The places of the files, without those of links.
fn places_of_files(record: &ArtifactRecord, places: &[PathBuf]) -> Vec<PathBuf> {
    record.files.iter().zip(places).filter(|(file, _)| is_file(file)).map(|(_, place)| place.clone()).collect()
}

impl ArtifactStore for SharedStore {
    fn find(&self, key: &ArtifactKey) -> Option<ArtifactRecord> {
        self.local.find(key).or_else(|| self.find_far(key))
    }

    fn get(&self, key: &ArtifactKey, places: &[PathBuf], progress: &(dyn Fn(u64, u64) + Sync)) -> Result<bool> {
        if self.local.get(key, places, progress)? {
            return Ok(true);
        }
        let Some(record) = self.find_far(key).filter(|record| record.has_files() && record.files.len() == places.len()) else {
            return Ok(false);
        };
        let pending = places.iter().map(|place| Pending::new(place)).collect::<Result<Vec<_>>>()?;
        let parts: Vec<PathBuf> = pending.iter().map(|pending| pending.part().to_owned()).collect();
        if !self.team.take_files(&key.to_string(), &places_of_files(&record, &parts), progress) {
            return Ok(false);
        }
        for (file, part) in record.files.iter().zip(&parts) {
            if let Some(target) = file.digest.strip_prefix(LINK) {
                std::os::unix::fs::symlink(target, part)?;
            }
        }
        pending.into_iter().try_for_each(Pending::commit_before_stamp)?;
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner).insert(*key);
        // A full disk must not stop a build that has its files.
        let _ = self.local.put(key, &record, places);
        Ok(true)
    }

    fn put(&self, key: &ArtifactKey, record: &ArtifactRecord, places: &[PathBuf]) -> Result<()> {
        self.local.put(key, record, places)?;
        if can_travel(record) {
            let files = if record.has_files() { places_of_files(record, places) } else { vec![] };
            self.team.give_files(&key.to_string(), &serde_json::to_vec(record)?, &files);
        }
        Ok(())
    }

    /// Removes the entry of the folder. What the registry has counts as wrong only if that entry came from there or there was none.
    fn remove(&self, key: &ArtifactKey) {
        let is_own = self.local.find(key).is_some() && !self.fetched.lock().unwrap_or_else(PoisonError::into_inner).contains(key);
        self.local.remove(key);
        if is_own {
            return;
        }
        self.team.distrust_files(&key.to_string());
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(*key, None);
    }

    fn tidy(&self) {
        self.local.tidy();
    }
}
