//! A registry as the cache of a team: a build asks it first and goes on without it. The first failure is one warning, and nothing more is
//! asked for in this run.

use crate::{
    Place,
    client::{Client, Progress},
    damage::{Damage, Damaged},
    images::Sent,
};
use anyhow::Result;
use common::{Arch, eprintln};
use oci::{Cache, Image};
use std::{
    cell::Cell,
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

/// What came of asking a registry for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is in the cache now.
    Yes,
    /// The registry does not have it.
    Absent,
    /// What the registry has under this name is damaged.
    Damaged,
    /// The caller did not accept what the registry has.
    Refused,
    /// The registry does not answer as it should, now or earlier in this run.
    Failed,
}

/// Which way an image or artifact goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Taking,
    Sending,
}

/// The team's registry.
pub struct Team {
    client: Client,
    writes: bool,
    failed: AtomicBool,
    damage: Damage,
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
        Self { client, writes, failed: AtomicBool::new(false), damage: Damage::default() }
    }

    /// Takes an image into `cache`; false if the registry does not have it, or has failed.
    pub fn take(&self, cache: &Cache, reference: &str, arch: Arch) -> bool {
        self.try_take(cache, reference, arch, &|_| true, &|_, _| {}) == Taken::Yes
    }

    /// Takes an image into `cache` if `accepts` agrees. `progress` gets the bytes of blobs that have come, and those of all that must come.
    pub fn try_take(&self, cache: &Cache, reference: &str, arch: Arch, accepts: &dyn Fn(&Image) -> bool, progress: Progress<'_>) -> Taken {
        let item = item(reference, arch);
        let refused = Cell::new(false);
        let noting = |image: &Image| {
            let accepted = accepts(image);
            if !accepted {
                self.damage.note(&item);
                refused.set(true);
            }
            accepted
        };
        match self.unless_failed(&item, Way::Taking, |client| client.take_if(cache, reference, arch, &noting, progress)) {
            Some(Some(_)) => Taken::Yes,
            Some(None) if refused.get() => Taken::Refused,
            Some(None) => Taken::Absent,
            None if self.works() => Taken::Damaged,
            None => Taken::Failed,
        }
    }

    /// Replaces what the registry has of an image by that of `cache`; false if the registry is not written to, or keeps what it has.
    pub fn replace(&self, cache: &Cache, reference: &str, arch: Arch) -> bool {
        if !self.writes {
            return false;
        }
        let item = item(reference, arch);
        self.damage.note(&item);
        self.give(cache, reference, arch).is_some() && !self.damage.has(&item)
    }

    /// Sends an image of `cache` if this registry is written to. Returns what to note about it.
    pub fn give(&self, cache: &Cache, reference: &str, arch: Arch) -> Option<String> {
        if !self.writes {
            return None;
        }
        let (place, item) = (self.place(), item(reference, arch));
        let wrong = self.damage.has(&item);
        Some(match self.unless_failed(&item, Way::Sending, |client| client.give(cache, reference, arch, wrong))? {
            Sent::New if wrong => {
                self.damage.forget(&item);
                eprintln!("note: {item} is replaced in {place}");
                format!("replaced in {place}")
            }
            Sent::New => format!("sent to {place}"),
            Sent::Known => format!("{place} has it"),
            Sent::Other(digest) => {
                let (_, tag) = reference.rsplit_once('/').unwrap_or(("", reference));
                eprintln!(
                    "warning: {place}/{tag} ({arch}) has the digest {digest}, another than the image that was built here; it is not replaced\nhint: cargo xtask verify CACHE={place} CACHE_MODE=write replaces it if it is not what its sources build"
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

    /// Whether what was made here is sent to it.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.writes
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn damage(&self) -> &Damage {
        &self.damage
    }

    /// Does `work` for `item`, an image or artifact; none if it fails. Damage is one warning for each item, any other failure is the last.
    pub(crate) fn unless_failed<T>(&self, item: &str, way: Way, work: impl FnOnce(&Client) -> Result<T>) -> Option<T> {
        if !self.works() {
            return None;
        }
        let error = match work(&self.client) {
            Ok(done) => return Some(done),
            Err(error) => error,
        };
        let text = format!("{error:#}");
        let (hints, said): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("hint: "));
        if error.is::<Damaged>() && self.damage.note(item) {
            let end = match way {
                Way::Taking => format!("{item} is made here"),
                Way::Sending => format!("{item} is not whole there"),
            };
            eprintln!("warning: {}; {end}", said.join("; "));
        } else if !self.failed.swap(true, Ordering::Relaxed) {
            eprintln!("warning: the build goes on without CACHE={}: {}", self.place(), said.join("; "));
        } else {
            return None;
        }
        hints.iter().for_each(|hint| eprintln!("{hint}"));
        None
    }
}

/// The name of an image in messages.
fn item(reference: &str, arch: Arch) -> String {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    format!("{name} ({arch})")
}
