//! The files and the digest of folders that are copied into artifacts.

use anyhow::{Context as _, Result};
use common::{digest::hex, error::usage};
use diskimage::rootfs;
use sha2::{Digest as _, Sha256};
use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};
use walkdir::{DirEntry, WalkDir};

/// The entries below a folder, without hidden links that lead nowhere, such as an editor's lock: no artifact contains them. Follows links.
fn entries(folder: &Path) -> impl Iterator<Item = Result<DirEntry>> {
    let walk = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    let counts =
        |entry: &walkdir::Result<DirEntry>| !entry.as_ref().is_err_and(|error| error.path().is_some_and(rootfs::is_lost_and_hidden));
    walk.filter(counts).map(|entry| entry.with_context(|| format!("cannot read the folder `{}`", folder.display())))
}

/// The files below a folder, relative to it. Follows links.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in entries(folder) {
        let entry = entry?;
        if !entry.file_type().is_dir() {
            files.push(entry.path().strip_prefix(folder)?.to_owned());
        }
    }
    Ok(files)
}

/// A digest of the names and contents below a folder.
pub fn digest(folder: &Path) -> Result<String> {
    if !folder.is_dir() {
        return Err(usage(format!("the configuration folder `{}` does not exist\nhint: CONF_DIR names another", folder.display())));
    }
    let mut hash = Sha256::new();
    for entry in entries(folder) {
        let entry = entry?;
        hash.update(entry.path().strip_prefix(folder)?.as_os_str().as_bytes());
        hash.update([0, u8::from(entry.file_type().is_dir())]);
        if entry.file_type().is_file() {
            let bytes = std::fs::read(entry.path()).with_context(|| format!("cannot read `{}`", entry.path().display()))?;
            hash.update(bytes.len().to_le_bytes());
            hash.update(&bytes);
        }
    }
    Ok(format!("sha256:{}", hex(&hash.finalize())))
}
