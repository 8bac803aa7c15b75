//! The process's environment, read once. Nothing else in the program reads it; children get what their tool's module chooses.

use anyhow::Result;
use common::error::usage;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// A snapshot of the environment and of what follows from it.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// The process's own; variables that are not text are left out.
    #[must_use]
    pub fn of_process() -> Self {
        Self { variables: std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect() }
    }

    /// A variable; an empty one counts as not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A variable, also when it is empty.
    #[must_use]
    pub fn get_raw(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    /// All variables.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The home folder, or the root of the file system when there is none.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        PathBuf::from(self.get("HOME").unwrap_or("/"))
    }

    /// Our own cache: `$XDG_CACHE_HOME/eve-xtask`.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.get("XDG_CACHE_HOME").map_or_else(|| self.home().join(".cache"), PathBuf::from).join("eve-xtask")
    }

    /// linuxkit's cache of images, which we share with it.
    #[must_use]
    pub fn linuxkit_cache(&self) -> PathBuf {
        self.get("LINUXKIT_CACHE").map_or_else(|| self.home().join(".linuxkit/cache"), PathBuf::from)
    }

    /// Seconds since the epoch that artifacts are dated with, when the caller fixed them: no more than 32 bits, as in the images' formats.
    pub fn source_date_epoch(&self) -> Result<Option<i64>> {
        let Some(text) = self.get("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty()) else { return Ok(None) };
        let seconds = text.parse::<u32>();
        seconds.map(|seconds| Some(seconds.into())).map_err(|_| {
            usage(format!(
                "SOURCE_DATE_EPOCH={text}: it is seconds since 1970, 0 to {}\nhint: SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)",
                u32::MAX
            ))
        })
    }

    /// Who builds, and on which machine, for what must say so.
    #[must_use]
    pub fn builder(&self) -> (String, String) {
        let user = self.get("USER").or_else(|| self.get("LOGNAME")).unwrap_or("unknown").to_owned();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = Some(kernel.trim()).filter(|name| !name.is_empty()).or_else(|| self.get("HOSTNAME")).unwrap_or("unknown");
        (user, host.to_owned())
    }

    /// The folder of the tree when cargo started us and nobody named one: the workspace's.
    #[must_use]
    pub fn workspace(&self) -> Option<PathBuf> {
        self.get("CARGO_MANIFEST_DIR").and_then(|folder| Path::new(folder).parent().map(Path::to_owned))
    }
}
