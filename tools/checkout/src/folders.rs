//! The files and the digest of folders that are copied into artifacts.

use anyhow::{Context as _, Result};
use common::{digest::hex, error::usage};
use sha2::{Digest as _, Sha256};
use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// The files below a folder, relative to it. Follows links.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(folder).follow_links(true).sort_by_file_name() {
        let entry = entry.with_context(|| format!("cannot read the folder `{}`", folder.display()))?;
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
    for entry in walkdir::WalkDir::new(folder).follow_links(true).sort_by_file_name() {
        let entry = entry.with_context(|| format!("cannot read the folder `{}`", folder.display()))?;
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
