//! Artifacts in a registry: a record and the files that it describes, as an OCI artifact `artifacts:KEY`. The record is the manifest's
//! configuration, each file a layer without compression. What they mean is the caller's.

use crate::{
    client::{Client, Progress},
    damage::damaged,
    team::{Team, Way},
};
use anyhow::{Context as _, Result};
use common::eprintln;
use oci::{BlobName, Document, is_blob};
use std::path::{Path, PathBuf};

/// The repository below the prefix.
const REPOSITORY: &str = "artifacts";

impl Team {
    /// The record under `key`; none if the registry does not have it, or has failed.
    pub fn record(&self, key: &str) -> Option<Vec<u8>> {
        self.unless_failed(&item(key), Way::Taking, |client| client.record(key)).flatten()
    }

    /// Writes the files under `key` to `places`; false if the registry does not have them, or has failed. After an error of the disk or the
    /// connection some of them may exist.
    pub fn take_files(&self, key: &str, places: &[PathBuf], progress: Progress<'_>) -> bool {
        self.unless_failed(&item(key), Way::Taking, |client| client.take_files(key, places, progress)).unwrap_or(false)
    }

    /// Notes that what the registry has under `key` is wrong: the next [`give_files`](Self::give_files) replaces it.
    pub fn distrust_files(&self, key: &str) {
        self.damage().note(&item(key));
    }

    /// Sends a record and its files if this registry is written to. A key that exists stays as it is, unless it turned out to be wrong.
    /// False if the registry is not written to, has failed, or keeps what was wrong.
    pub fn give_files(&self, key: &str, record: &[u8], places: &[PathBuf]) -> bool {
        if !self.writes() {
            return false;
        }
        let item = item(key);
        let wrong = self.damage().has(&item);
        let sent = self.unless_failed(&item, Way::Sending, |client| client.give_files(key, record, places, wrong));
        if wrong && sent.is_some() {
            self.damage().forget(&item);
            eprintln!("note: {item} is replaced in {}", self.place());
        }
        sent.is_some()
    }
}

impl Client {
    fn record(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let repository = self.place().repository(REPOSITORY);
        let Some(manifest) = self.manifest(&repository, key)? else { return Ok(None) };
        let blobs = manifest.blobs()?;
        let name = blobs.first().ok_or_else(|| damaged(format!("{} has no record for {repository}:{key}", self.place().host)))?;
        let file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
        self.checked_blob(&repository, name, file.path(), &|_| {})?;
        std::fs::read(file.path()).context("cannot read a record").map(Some)
    }

    fn take_files(&self, key: &str, places: &[PathBuf], progress: Progress<'_>) -> Result<bool> {
        let repository = self.place().repository(REPOSITORY);
        let Some(manifest) = self.manifest(&repository, key)? else { return Ok(false) };
        let blobs = manifest.blobs()?;
        let files = blobs.get(1..).unwrap_or_default();
        if files.len() != places.len() {
            return Err(damaged(format!(
                "{} has {} files instead of {} for {repository}:{key}",
                self.place().host,
                files.len(),
                places.len()
            )));
        }
        let (mut before, total) = (0, files.iter().map(|name| name.size).sum());
        for (name, place) in files.iter().zip(places) {
            // curl appends to what is there.
            match std::fs::remove_file(place) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot replace `{}`", place.display()));
                }
                _ => self.checked_blob(&repository, name, place, &|bytes| progress(before + bytes, total))?,
            }
            before += name.size;
        }
        Ok(true)
    }

    fn give_files(&self, key: &str, record: &[u8], places: &[PathBuf], replaces: bool) -> Result<()> {
        let repository = self.place().repository(REPOSITORY);
        if !replaces && self.manifest(&repository, key)?.is_some() {
            return Ok(());
        }
        let file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
        std::fs::write(file.path(), record).context("cannot write a record")?;
        let mut names = Vec::new();
        for path in std::iter::once(file.path()).chain(places.iter().map(PathBuf::as_path)) {
            let name = BlobName::of(path)?;
            self.put_blob(&repository, &name, path, replaces)?;
            names.push(name);
        }
        let titles: Vec<String> = places.iter().map(|place| title(place)).collect();
        let manifest = Document::artifact(&names[0], names[1..].iter().zip(&titles).map(|(name, title)| (name, title.as_str())))?;
        self.put_manifest(&repository, key, &manifest)?;
        if replaces { self.check_blobs(&repository, &manifest) } else { Ok(()) }
    }

    /// Writes a blob to the file `out` and checks it.
    pub(crate) fn checked_blob(&self, repository: &str, name: &BlobName, out: &Path, arrived: &(dyn Fn(u64) + Sync)) -> Result<()> {
        self.blob(repository, name, out, arrived)?;
        if !is_blob(out, name)? {
            let _ = std::fs::remove_file(out);
            return Err(damaged(format!("{} sends other bytes for {repository}, {}", self.place().host, name.digest)));
        }
        Ok(())
    }
}

/// The name of a file for people who look into the registry.
pub(crate) fn title(place: &Path) -> String {
    place.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The name of an artifact in messages.
fn item(key: &str) -> String {
    format!("{REPOSITORY}:{key}")
}
