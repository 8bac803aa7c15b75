//! A registry as the cache of a team: a build asks it first and goes on without it. The first failure is one warning, and nothing more is
//! asked for in this run.

use crate::{Place, client::Client, images::Sent};
use anyhow::Result;
use common::{Arch, eprintln};
use oci::{Cache, Image};
use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

/// The team's registry.
pub struct Team {
    client: Client,
    writes: bool,
    failed: AtomicBool,
}

impl fmt::Debug for Team {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Team({})", self.place())
    }
}

impl Team {
    /// A team's registry, to which images are sent only if `writes` is set.
    #[must_use]
    pub fn new(client: Client, writes: bool) -> Self {
        Self { client, writes, failed: AtomicBool::new(false) }
    }

    /// Takes an image into `cache`; false if the registry does not have it, or has failed.
    pub fn take(&self, cache: &Cache, reference: &str, arch: Arch) -> bool {
        self.take_if(cache, reference, arch, &|_| true)
    }

    /// Takes an image into `cache` if `accepts` agrees; false if not, or if the registry does not have it, or has failed.
    pub fn take_if(&self, cache: &Cache, reference: &str, arch: Arch, accepts: &dyn Fn(&Image) -> bool) -> bool {
        self.unless_failed(|client| client.take_if(cache, reference, arch, accepts)).flatten().is_some()
    }

    /// Sends an image of `cache` if this registry is written to. Returns what to note about it.
    pub fn give(&self, cache: &Cache, reference: &str, arch: Arch) -> Option<String> {
        if !self.writes {
            return None;
        }
        let place = self.place();
        Some(match self.unless_failed(|client| client.give(cache, reference, arch))? {
            Sent::New => format!("sent to {place}"),
            Sent::Known => format!("{place} has it"),
            Sent::Other(digest) => {
                let (_, tag) = reference.rsplit_once('/').unwrap_or(("", reference));
                eprintln!(
                    "warning: {place}/{tag} ({arch}) has the digest {digest}, another than the image that was built here; it is not replaced\nhint: cargo xtask verify"
                );
                format!("{place} has another image under this tag: {digest}")
            }
        })
    }

    /// The registry and the prefix.
    #[must_use]
    pub fn place(&self) -> &Place {
        self.client.place()
    }

    /// Whether nothing has failed yet.
    #[must_use]
    pub fn works(&self) -> bool {
        !self.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn writes(&self) -> bool {
        self.writes
    }

    pub(crate) fn unless_failed<T>(&self, work: impl FnOnce(&Client) -> Result<T>) -> Option<T> {
        if !self.works() {
            return None;
        }
        let error = match work(&self.client) {
            Ok(done) => return Some(done),
            Err(error) => error,
        };
        if !self.failed.swap(true, Ordering::Relaxed) {
            let text = format!("{error:#}");
            let (hints, said): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("hint: "));
            eprintln!("warning: the build goes on without CACHE={}: {}", self.place(), said.join("; "));
            hints.iter().for_each(|hint| eprintln!("{hint}"));
        }
        None
    }
}
