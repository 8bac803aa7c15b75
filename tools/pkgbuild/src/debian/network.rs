//! What the caller says about the network: proxies, who speaks https, and the limits of a download.

use anyhow::Result;
use std::{fmt::Debug, io::Read, sync::Arc, time::Duration};

/// The way to mirrors.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Proxies.
    pub proxy: Proxy,
    /// Opens https connections; without it, https is an error.
    pub tls: Option<Arc<dyn Tls>>,
    /// Limits of downloads.
    pub limits: Limits,
}

/// Proxies, from the caller's environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    /// For http: `http://[user:password@]host:port`.
    pub http: Option<String>,
    /// For https, as [`Tls`] reads it.
    pub https: Option<String>,
    /// Hosts to connect to directly, separated by commas as in `no_proxy`.
    pub except: Option<String>,
}

/// Opens https connections.
pub trait Tls: Debug + Send + Sync {
    /// Sends a GET request for `url` with these header fields, through `proxy` if one is given. Returns the bytes of the HTTP/1.1
    /// response, from its status line to its end, as the server sends them. It ends after `limit` at the latest.
    fn get(&self, url: &str, fields: &[(&str, String)], proxy: Option<&str>, limit: Duration) -> Result<Box<dyn Read>>;
}

/// Limits of downloads, so that no server can hold a build for ever or fill the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a server may take to answer, and send nothing.
    pub patience: Duration,
    /// How long a download may take, whatever its size, beyond the time that its size takes at `least_speed`.
    pub grace: Duration,
    /// Bytes a second.
    pub least_speed: u64,
    /// Size of a `Release` file.
    pub release: u64,
    /// Size of an index, compressed and not; Debian's largest have 10 and 60 MB.
    pub index: u64,
    /// Its size when it is unpacked.
    pub unpacked: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(30),
            grace: Duration::from_secs(60),
            least_speed: 10_000,
            release: 4 << 20,
            index: 64 << 20,
            unpacked: 512 << 20,
        }
    }
}

impl Limits {
    /// How long a download of `size` bytes may take.
    #[must_use]
    pub fn time_for(&self, size: u64) -> Duration {
        self.grace.saturating_add(Duration::from_secs(size / self.least_speed.max(1)))
    }
}
