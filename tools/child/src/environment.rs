//! The environment of this process, read once. No other file reads it; each tool's module chooses what its children get.

use anyhow::Result;
use common::error::usage;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// A snapshot of the environment, and values computed from it.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// That of this process, without variables that are not UTF-8.
    #[must_use]
    pub fn of_process() -> Self {
        Self { variables: std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect() }
    }

    /// A variable; an empty one counts as unset.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A variable, even if it is empty.
    #[must_use]
    pub fn get_raw(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    /// All variables.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The home folder; `/` if HOME is unset.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        PathBuf::from(self.get("HOME").unwrap_or("/"))
    }

    /// The cache folder of xtask: `$XDG_CACHE_HOME/eve-xtask`.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.base("XDG_CACHE_HOME", ".cache").join("eve-xtask")
    }

    /// The folder of xtask's configuration, which is the user's: `$XDG_CONFIG_HOME/eve-xtask`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.base("XDG_CONFIG_HOME", ".config").join("eve-xtask")
    }

    /// A base folder of the XDG specification: that of the variable, or `usual` in the home folder. The specification ignores a relative path.
    fn base(&self, variable: &str, usual: &str) -> PathBuf {
        let set = self.get(variable).map(PathBuf::from).filter(|folder| folder.is_absolute());
        set.unwrap_or_else(|| self.home().join(usual))
    }

    /// linuxkit's image cache, which xtask uses too.
    #[must_use]
    pub fn linuxkit_cache(&self) -> PathBuf {
        self.get("LINUXKIT_CACHE").map_or_else(|| self.home().join(".linuxkit/cache"), PathBuf::from)
    }

    /// The Unix timestamp for artifacts, if the caller sets one; at most 32 bits, as in the image formats.
    pub fn source_date_epoch(&self) -> Result<Option<i64>> {
        let Some(text) = self.get("SOURCE_DATE_EPOCH") else { return Ok(None) };
        text.parse::<u32>().map(|seconds| Some(seconds.into())).map_err(|_| {
            usage(format!(
                "SOURCE_DATE_EPOCH={text}: it is seconds since 1970, 0 to {}\nhint: SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)",
                u32::MAX
            ))
        })
    }

    /// The names of the user and of the machine, for a kernel that records them.
    #[must_use]
    pub fn builder(&self) -> (String, String) {
        let user = self.get("USER").or_else(|| self.get("LOGNAME")).unwrap_or("unknown").to_owned();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = Some(kernel.trim()).filter(|name| !name.is_empty()).or_else(|| self.get("HOSTNAME")).unwrap_or("unknown");
        (user, host.to_owned())
    }

    /// The workspace's folder, if cargo started us: the default of `--root`.
    #[must_use]
    pub fn workspace(&self) -> Option<PathBuf> {
        self.get("CARGO_MANIFEST_DIR").and_then(|folder| Path::new(folder).parent().map(Path::to_owned))
    }
}
