//! Parses paths in arguments, which are relative to the current folder.

use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};

/// Parses a path and makes it absolute.
pub fn absolute_path(text: &str) -> std::io::Result<PathBuf> {
    std::path::absolute(text)
}

/// The absolute path of an output; none for `-`, standard output.
pub fn output_path(path: &Path) -> Result<Option<PathBuf>> {
    match path.as_os_str() == "-" {
        true => Ok(None),
        false => std::path::absolute(path).with_context(|| format!("`{}` is no path", path.display())).map(Some),
    }
}
