//! The folder that keeps downloaded .deb files by digest, and how files get into it.

use super::{Lock, Mirrors, Pin};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// What a fetch may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Touch no network.
    pub offline: bool,
    /// A pin that has left the mirrors is an error.
    pub locked: bool,
}

/// An HTTP proxy, as the caller found it in its environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    /// `http://[user:password@]host:port`.
    pub http: Option<String>,
    /// Hosts that are asked directly, comma separated as in `no_proxy`.
    pub except: Option<String>,
}

/// How far a fetch is: for a progress line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Files that are complete.
    pub files_done: usize,
    /// Files that had to be downloaded.
    pub files: usize,
    /// Bytes that have arrived.
    pub bytes_done: u64,
    /// Bytes of all files that had to be downloaded.
    pub bytes: u64,
}

/// What a fetch gave.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// The lock as it was served: the given one, but for pins that had left the mirrors.
    pub lock: Lock,
    /// The file of each pin of `lock`, in its order.
    pub files: Vec<(Pin, PathBuf)>,
    /// What a person must be told: each replaced pin, a sentence each.
    pub warnings: Vec<String>,
}

/// A folder of .deb files named by digest. Many processes may use one at a time.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    proxy: Proxy,
}

impl Store {
    /// Opens the store in `folder` (absolute), making it when it is missing.
    pub fn open(folder: &Path, proxy: Proxy) -> Result<Self> {
        Ok(Self { folder: folder.to_owned(), proxy })
    }

    /// Where the file of `pin` is, when it is here.
    #[must_use]
    pub fn find(&self, _pin: &Pin) -> Option<PathBuf> {
        let _ = (&self.folder, &self.proxy);
        None
    }

    /// Brings every file of `lock` (of `release`, `arch`) here, several at a time, each checked by digest before it gets its
    /// name. `progress` is called from any thread.
    pub fn fetch_all(
        &self,
        _lock: &Lock,
        _release: &str,
        _arch: &str,
        _mirrors: &Mirrors,
        _policy: Policy,
        _progress: &(dyn Fn(&Progress) + Sync),
    ) -> Result<Fetched> {
        bail!("not yet")
    }
}
