//! The folder that keeps downloaded .deb files by digest, and how files get into it.

use super::{
    Index, Lock, Mirrors, Pin, Suite,
    control::stanzas,
    download::{Job, Outcome, download, is_there},
    http::{Client, without_login},
    index::index_path,
    pin::make_pin,
    version,
};
use anyhow::{Context as _, Result, bail};
use std::{
    collections::BTreeSet,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// How many files are downloaded at a time: enough to fill a line, few enough for a mirror's patience.
const AT_A_TIME: usize = 6;

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
    client: Client,
    /// Pauses before each further try of a file that failed for a passing reason.
    waits: Vec<Duration>,
}

impl Store {
    /// Opens the store in `folder` (absolute), making it when it is missing.
    pub fn open(folder: &Path, proxy: &Proxy) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        let waits = [300, 1500, 4000].map(Duration::from_millis).to_vec();
        Ok(Self { folder: folder.to_owned(), client: Client::new(proxy)?, waits })
    }

    /// The same store with other pauses between tries.
    #[cfg(test)]
    pub(super) fn with_waits(mut self, waits: &[Duration]) -> Self {
        self.waits = waits.to_vec();
        self
    }

    /// Where the file of `pin` is, when it is here.
    #[must_use]
    pub fn find(&self, pin: &Pin) -> Option<PathBuf> {
        Some(self.path(&pin.sha256, "deb")).filter(|path| is_there(path, pin.size))
    }

    fn path(&self, sha256: &str, ending: &str) -> PathBuf {
        self.folder.join(format!("{sha256}.{ending}"))
    }

    /// Brings every file of `lock` (of `release`, `arch`) here, several at a time, each checked by digest before it gets its
    /// name. `progress` is called from any thread.
    pub fn fetch_all(
        &self,
        lock: &Lock,
        release: &str,
        arch: &str,
        mirrors: &Mirrors,
        policy: Policy,
        progress: &(dyn Fn(&Progress) + Sync),
    ) -> Result<Fetched> {
        let mut lock = lock.clone();
        let mut warnings = Vec::new();
        let missing: Vec<&Pin> = lock.pins.values().filter(|pin| self.find(pin).is_none()).collect();
        if policy.offline && !missing.is_empty() {
            bail!(
                "offline, and {} of {} Debian packages were never downloaded: {}\nhint: run it once without --offline",
                missing.len(),
                lock.pins.len(),
                missing.iter().map(|pin| format!("{} {}", pin.name, pin.version)).collect::<Vec<_>>().join(", ")
            );
        }
        let gone: Vec<Pin> = self.download_all(&missing, mirrors, progress)?.into_iter().cloned().collect();
        if !gone.is_empty() {
            let names: Vec<String> = gone.iter().map(|pin| format!("{} {}", pin.name, pin.version)).collect();
            if policy.locked {
                bail!(
                    "pins have left the mirrors: {}\nhint: make new pins, or start the archive from an older image that still holds them",
                    names.join(", ")
                );
            }
            warnings = self.replace(&mut lock, &gone, release, arch, mirrors)?;
            let again: Vec<&Pin> = lock.pins.values().filter(|pin| self.find(pin).is_none()).collect();
            if let Some(pin) = self.download_all(&again, mirrors, progress)?.first() {
                bail!("the mirror lists `{}` {} but does not have it", pin.name, pin.version);
            }
        }
        let files = lock.pins.values().map(|pin| (pin.clone(), self.path(&pin.sha256, "deb"))).collect();
        Ok(Fetched { lock, files, warnings })
    }

    /// Downloads some pins' files; gives those that no mirror has. After one failed, no further file is begun.
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
        // Every address is escaped where a path of the pool may need it: the plus and tilde of versions need not be.
        let urls = mirrors.roots(pin.suite)?.iter().map(|root| format!("{root}/{}", pin.path)).collect();
        let label = format!("`{}` {}", pin.name, pin.version);
        let job = Job { urls, label: &label, sha256: &pin.sha256, size: pin.size, path: self.path(&pin.sha256, "deb") };
        download(&self.client, &job, &self.waits, arrived)
    }

    /// Puts the mirrors' present versions in place of pins that have left; gives the sentences about it.
    fn replace(&self, lock: &mut Lock, gone: &[Pin], release: &str, arch: &str, mirrors: &Mirrors) -> Result<Vec<String>> {
        let known = Suite::ALL.into_iter().filter(|suite| mirrors.roots(*suite).is_ok());
        let indexes: Vec<Index> = known.map(|suite| self.fetch_index(suite, release, arch, mirrors)).collect::<Result<_>>()?;
        let mut warnings = Vec::new();
        for old in gone {
            let all = indexes.iter().filter_map(|index| index.packages.get(&old.name).map(|package| (index.suite, package)));
            let Some((suite, package)) = all.max_by(|left, right| version::compare(&left.1.version, &right.1.version)) else {
                bail!("`{}` {} has left the mirrors, and no other version is there\nhint: make new pins", old.name, old.version);
            };
            let depends = old.depends.iter().map(String::as_str).collect();
            warnings.push(format!(
                "`{}` {} has left the mirrors: {} is taken, so this build is not the one that was pinned, and its digest is the mirror's own word (--locked makes it an error)",
                old.name, old.version, package.version
            ));
            lock.pins.insert(old.name.clone(), make_pin(suite, package, &depends)?);
        }
        Ok(warnings)
    }

    /// The index of a suite, checked against the digest in the suite's Release file. That file's signature is not checked.
    pub fn fetch_index(&self, suite: Suite, release: &str, arch: &str, mirrors: &Mirrors) -> Result<Index> {
        let path = index_path(suite, release, arch);
        let (dist, name) = path.split_at(path.find("/main/").unwrap_or(0));
        let name = name.trim_start_matches('/');
        let mut last = None;
        for root in mirrors.roots(suite)? {
            match self.fetch_index_from(&format!("{root}/{dist}"), name) {
                Ok(path) => return Index::read_xz(suite, File::open(&path)?, &format!("{dist}/{name}")),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("no mirror is known"))).with_context(|| format!("cannot fetch {path}"))
    }

    fn fetch_index_from(&self, dist: &str, name: &str) -> Result<PathBuf> {
        let url = format!("{dist}/Release");
        let shown = without_login(&url);
        let response = self.client.get(&url, 0)?;
        if response.status != 200 {
            bail!("`{shown}`: the server answers {}", response.status);
        }
        let mut text = String::new();
        response.body.take(16 << 20).read_to_string(&mut text).with_context(|| format!("cannot read `{shown}`"))?;
        let release = stanzas(&text, &shown).next().transpose()?.unwrap_or_default();
        let mut lines =
            release.need("SHA256").with_context(|| shown.clone())?.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
        let Some([sha256, size, _]) =
            lines.find(|words| words.last() == Some(&name)).as_deref().and_then(|words| words.first_chunk().copied())
        else {
            bail!("`{shown}` does not list {name}");
        };
        if sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
            bail!("`{shown}` gives `{sha256}` as the digest of {name}");
        }
        let size = size.parse().with_context(|| format!("`{shown}` gives `{size}` as the size of {name}"))?;
        let path = self.path(sha256, "xz");
        let job = Job { urls: vec![format!("{dist}/{name}")], label: name, sha256, size, path: path.clone() };
        if !is_there(&path, size) && download(&self.client, &job, &self.waits, &|_| ())? == Outcome::Gone {
            bail!("`{}/{name}` does not exist", without_login(dist));
        }
        Ok(path)
    }
}
