//! The store: a folder of downloaded .deb files named by digest, and the downloads into it.

use super::{
    Lock, Mirrors, Pin, SourcePin, Suite,
    download::{Job, Means, Outcome, download, is_there},
    http::Client,
    network::{Limits, Network},
};
use anyhow::{Context as _, Result, bail};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Number of parallel downloads: enough to saturate a line, few enough for a mirror.
const AT_A_TIME: usize = 6;

/// Restrictions of a fetch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Do not use the network.
    pub offline: bool,
}

/// State of a fetch, for a progress line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Complete files.
    pub files_done: usize,
    /// Files to download.
    pub files: usize,
    /// Received bytes.
    pub bytes_done: u64,
    /// Size of all files to download.
    pub bytes: u64,
}

/// Result of a fetch.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// The file of each pin of the lock, in order.
    pub files: Vec<(Pin, PathBuf)>,
}

/// Bytes of the files of `lock` that the store in `folder`, which need not exist, does not have.
#[must_use]
pub fn missing_bytes(lock: &Lock, folder: &Path) -> u64 {
    let is_missing = |pin: &&Pin| !is_there(&path(folder, &pin.sha256, ending(pin)), pin.size);
    lock.pins.values().filter(is_missing).map(|pin| pin.size).sum()
}

fn ending(pin: &Pin) -> &'static str {
    if pin.arch == Pin::SOURCE { "source" } else { "deb" }
}

fn path(folder: &Path, sha256: &str, ending: &str) -> PathBuf {
    folder.join(format!("{sha256}.{ending}"))
}

/// A folder of .deb files named by digest. Several processes may use it at the same time.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    pub(super) client: Client,
    pub(super) limits: Limits,
    /// Pauses before the retries of a download.
    waits: Vec<Duration>,
}

impl Store {
    /// Opens the store in `folder` (absolute); creates it if missing.
    pub fn open(folder: &Path, network: &Network) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        let waits = [300, 1500, 4000].map(Duration::from_millis).to_vec();
        Ok(Self { folder: folder.to_owned(), client: Client::new(network)?, limits: network.limits, waits })
    }

    #[cfg(test)]
    pub(super) fn with_waits(mut self, waits: &[Duration]) -> Self {
        self.waits = waits.to_vec();
        self
    }

    /// Path of the file of `pin`, if it is in the store.
    #[must_use]
    pub fn find(&self, pin: &Pin) -> Option<PathBuf> {
        Some(self.path_of(pin)).filter(|path| is_there(path, pin.size))
    }

    fn path_of(&self, pin: &Pin) -> PathBuf {
        self.path(&pin.sha256, ending(pin))
    }

    pub(super) fn path(&self, sha256: &str, ending: &str) -> PathBuf {
        path(&self.folder, sha256, ending)
    }

    /// Downloads all missing files of `lock` (for `release`, `arch`) in parallel; checks each digest before the file gets its
    /// final name. A pin that no mirror has is an error: nothing but the lock vouches for a file. `progress` is called from
    /// several threads.
    pub fn fetch_all(
        &self,
        lock: &Lock,
        release: &str,
        arch: &str,
        mirrors: &Mirrors,
        policy: Policy,
        progress: &(dyn Fn(&Progress) + Sync),
    ) -> Result<Fetched> {
        let missing: Vec<&Pin> = lock.pins.values().filter(|pin| self.find(pin).is_none()).collect();
        if policy.offline && !missing.is_empty() {
            bail!(
                "{} of {} Debian packages are not in the store, and --offline forbids downloads: {}\nhint: run once without --offline",
                missing.len(),
                lock.pins.len(),
                missing.iter().map(|pin| format!("{} {}", pin.name, pin.version)).collect::<Vec<_>>().join(", ")
            );
        }
        let gone = self.download_all(&missing, mirrors, progress)?;
        if !gone.is_empty() {
            bail!(explain_gone(&gone, lock.pins.len(), release, arch));
        }
        Ok(Fetched { files: lock.pins.values().map(|pin| (pin.clone(), self.path_of(pin))).collect() })
    }

    /// The same for the files of source packages; returns their paths in the order of `pins`. `advice` ends the error about files that no
    /// mirror has.
    pub fn fetch_sources(
        &self,
        pins: &[SourcePin],
        mirrors: &Mirrors,
        policy: Policy,
        progress: &(dyn Fn(&Progress) + Sync),
        advice: &dyn Fn() -> String,
    ) -> Result<Vec<PathBuf>> {
        let pins: Vec<Pin> = pins.iter().map(SourcePin::pin).collect();
        let missing: Vec<&Pin> = pins.iter().filter(|pin| self.find(pin).is_none()).collect();
        let names = |pins: &[&Pin]| pins.iter().map(|pin| pin.file_name()).collect::<Vec<_>>().join(", ");
        if policy.offline && !missing.is_empty() {
            bail!(
                "{} of {} files of sources are not in the store, and --offline forbids downloads: {}\nhint: run once without --offline",
                missing.len(),
                pins.len(),
                names(&missing)
            );
        }
        let gone = self.download_all(&missing, mirrors, progress)?;
        if !gone.is_empty() {
            bail!("no mirror has {} of {} pinned files of sources: {}\n{}", gone.len(), pins.len(), names(&gone), advice());
        }
        Ok(pins.iter().map(|pin| self.path_of(pin)).collect())
    }

    /// Downloads the files of some pins; returns the pins that no mirror has. Starts no further download after an error.
    fn download_all<'p>(&self, pins: &[&'p Pin], mirrors: &Mirrors, progress: &(dyn Fn(&Progress) + Sync)) -> Result<Vec<&'p Pin>> {
        let suites: BTreeSet<Suite> = pins.iter().map(|pin| pin.suite).collect();
        suites.iter().try_for_each(|suite| mirrors.roots(*suite).map(drop))?;
        let bytes = pins.iter().map(|pin| pin.size).sum();
        let (next, done, arrived) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicI64::new(0));
        let gone: Mutex<Vec<&Pin>> = Mutex::default();
        let failed: Mutex<Vec<anyhow::Error>> = Mutex::default();
        let tell = || {
            progress(&Progress {
                files_done: done.load(Ordering::Relaxed),
                files: pins.len(),
                bytes_done: u64::try_from(arrived.load(Ordering::Relaxed)).unwrap_or(0),
                bytes,
            });
        };
        let work = || {
            while let Some(pin) = pins.get(next.fetch_add(1, Ordering::Relaxed)) {
                let count = |more| {
                    arrived.fetch_add(more, Ordering::Relaxed);
                    tell();
                };
                match self.download_one(pin, mirrors, &count) {
                    Ok(Outcome::Here) => drop(done.fetch_add(1, Ordering::Relaxed)),
                    Ok(Outcome::Gone) => gone.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(pin),
                    Err(error) => {
                        next.store(pins.len(), Ordering::Relaxed);
                        failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(error);
                    }
                }
                tell();
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..AT_A_TIME.min(pins.len()) {
                scope.spawn(work);
            }
        });
        let mut failed = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(error) = failed.pop() {
            return Err(match failed.len() {
                0 => error,
                others => error.context(format!("{} downloads failed; one of them", others + 1)),
            });
        }
        let mut gone = gone.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        gone.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(gone)
    }

    fn download_one(&self, pin: &Pin, mirrors: &Mirrors, arrived: &dyn Fn(i64)) -> Result<Outcome> {
        // Paths in the pool need no escaping: `+` and `~` are allowed in URLs.
        let urls = mirrors.roots(pin.suite)?.iter().map(|root| format!("{root}/{}", pin.path)).collect();
        let label = format!("`{}` {}", pin.name, pin.version);
        let job = Job { urls, label: &label, sha256: &pin.sha256, size: pin.size, path: self.path_of(pin) };
        self.download(&job, arrived)
    }

    pub(super) fn download(&self, job: &Job<'_>, arrived: &dyn Fn(i64)) -> Result<Outcome> {
        download(&Means { client: &self.client, waits: &self.waits, limits: self.limits }, job, arrived)
    }
}

/// The error for pins that no mirror has.
fn explain_gone(gone: &[&Pin], of: usize, release: &str, arch: &str) -> String {
    let mut text = format!("no mirror has {} of {of} pinned Debian packages ({release}, {arch}):\n", gone.len());
    for pin in gone {
        text.push_str(&format!("  {} {}, sha256:{} ({})\n", pin.name, pin.version, pin.sha256, pin.path));
    }
    let knobs = [("DEBIAN_SECURITY_MIRROR", true), ("DEBIAN_MIRROR", false)];
    let named = knobs.into_iter().filter(|(_, is_security)| gone.iter().any(|pin| (pin.suite == Suite::Security) == *is_security));
    let set: Vec<String> = named.map(|(knob, _)| format!("{knob}=http://…")).collect();
    text.push_str("A build takes no other version, because only the digests of the lock vouch for a file.\n");
    text.push_str(&format!("hint: name another mirror, or a snapshot mirror that keeps old versions: {}\n", set.join(" ")));
    text.push_str("hint: or base the archive (FROM) on an older archive image, which still contains them\n");
    text.push_str(&format!("hint: or renew the pins: `cargo xtask pins --release {release}`, commit, then `cargo xtask bump`"));
    text
}
