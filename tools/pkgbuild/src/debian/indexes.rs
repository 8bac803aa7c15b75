//! Fetches the indexes of a suite: each is believed because its digest is in the suite's Release file, and that because its signature is
//! Debian's.

use super::{
    Index, Mirrors, Store, Suite,
    control::{Stanza, stanzas},
    download::{Job, Outcome, is_there},
    http::without_login,
    index::{dist, index_path},
    signed::{Trust, check_release},
};
use anyhow::{Context as _, Result, anyhow, bail};
use std::{
    fs::File,
    io::{Error, ErrorKind, Read},
    path::{Path, PathBuf},
    time::Instant,
};

/// Memory for unpacking an index: Debian's need a tenth.
const UNPACK_MEMORY: u64 = 256 << 20;

/// A mirror changes its files one after another, and a cache between may keep old ones.
const MIXED: &str = "hint: the mirror, or a cache on the way to it, mixes two states of the archive: try again later, or name another \
                     mirror: DEBIAN_MIRROR=http://…, DEBIAN_SECURITY_MIRROR=http://…";

/// An index in the store, and its size unpacked, at most.
pub(super) struct Stored {
    path: PathBuf,
    unpacked: u64,
    name: String,
}

impl Stored {
    /// Its text, at most of the size that the Release file says.
    pub(super) fn open(&self) -> Result<impl Read> {
        let file = File::open(&self.path).with_context(|| format!("cannot open `{}`", self.path.display()))?;
        let stream = liblzma::stream::Stream::new_stream_decoder(UNPACK_MEMORY, 0)?;
        Ok(Capped { inner: liblzma::read::XzDecoder::new_stream(file, stream), left: self.unpacked, most: self.unpacked })
    }

    /// Its name in messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// A reader that fails after `most` bytes instead of reading on.
struct Capped<R> {
    inner: R,
    left: u64,
    most: u64,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let got = self.inner.read(buffer)?;
        let Some(left) = self.left.checked_sub(got as u64) else {
            return Err(Error::new(ErrorKind::InvalidData, format!("it unpacks to more than {} bytes", self.most)));
        };
        self.left = left;
        Ok(got)
    }
}

impl Store {
    /// Fetches the index of a suite. Errors: no mirror has one that a Release file with a good signature lists.
    pub fn fetch_index(&self, suite: Suite, release: &str, arch: &str, mirrors: &Mirrors, trust: &Trust<'_>) -> Result<Index> {
        let path = index_path(suite, release, arch);
        let name = path.split_once("/main/").map_or(path.as_str(), |(_, name)| name);
        let stored = self.fetch_stored(suite, release, &format!("main/{name}"), mirrors, trust)?;
        Index::read(suite, stored.open()?, stored.name())
    }

    /// The same for the index of the sources of a suite.
    pub(super) fn fetch_sources_index(&self, suite: Suite, release: &str, mirrors: &Mirrors, trust: &Trust<'_>) -> Result<Stored> {
        self.fetch_stored(suite, release, "main/source/Sources.xz", mirrors, trust)
    }

    /// The index `name` below the suite's folder, from the first mirror that has it right.
    fn fetch_stored(&self, suite: Suite, release: &str, name: &str, mirrors: &Mirrors, trust: &Trust<'_>) -> Result<Stored> {
        let dist = dist(suite, release);
        let mut last = None;
        for root in mirrors.roots(suite)? {
            match self.fetch_from(&format!("{root}/{dist}"), name, trust) {
                Ok(stored) => return Ok(stored),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow!("there is no mirror"))).with_context(|| format!("cannot take {dist}/{name} from a mirror"))
    }

    fn fetch_from(&self, dist: &str, name: &str, trust: &Trust<'_>) -> Result<Stored> {
        let shown = without_login(dist);
        let text = self.fetch_release(dist, trust)?;
        let release = stanzas(&text, &shown).next().transpose()?.unwrap_or_default();
        check_release(&release, shown.rsplit('/').next().unwrap_or_default(), trust.now).with_context(|| format!("`{shown}`"))?;
        let (sha256, size) = listed(&release, name)?.with_context(|| format!("the Release file of `{shown}` does not list {name}"))?;
        let unpacked = match name.strip_suffix(".xz").map(|plain| listed(&release, plain)).transpose()?.flatten() {
            Some((_, unpacked)) => unpacked,
            None => self.limits.unpacked,
        };
        for (size, most) in [(size, self.limits.index), (unpacked, self.limits.unpacked)] {
            if size > most {
                bail!("the Release file of `{shown}` says that {name} has {size} bytes, and no index has more than {most}");
            }
        }
        let path = self.path(&sha256, "xz");
        // The name by digest stays right while the mirror changes.
        let by_hash = name.rsplit_once('/').filter(|_| release.get("Acquire-By-Hash") == Some("yes"));
        let mut urls: Vec<String> = by_hash.map(|(folder, _)| format!("{dist}/{folder}/by-hash/SHA256/{sha256}")).into_iter().collect();
        urls.push(format!("{dist}/{name}"));
        let job = Job { urls, label: name, sha256: &sha256, size, path: path.clone() };
        if !is_there(&path, size) && self.download(&job, &|_| ()).map_err(|error| anyhow!("{error:#}\n{MIXED}"))? == Outcome::Gone {
            bail!("`{shown}/{name}` does not exist");
        }
        Ok(Stored { path, unpacked, name: format!("{}/{name}", shown.rsplit('/').next().unwrap_or_default()) })
    }

    /// The signed text of the Release file of a suite: of InRelease, or where a mirror has none, of Release with Release.gpg.
    fn fetch_release(&self, dist: &str, trust: &Trust<'_>) -> Result<String> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let shown = without_login(dist);
        let fetch = |name: &str| self.fetch_small(&format!("{dist}/{name}"), &folder.path().join(name));
        let verified = if let Some(signed) = fetch("InRelease")? {
            trust.verify(&signed, None).with_context(|| format!("`{shown}/InRelease`"))
        } else {
            let signed = fetch("Release")?.with_context(|| format!("`{shown}` has neither InRelease nor Release"))?;
            let signature = fetch("Release.gpg")?.with_context(|| {
                format!("`{shown}/Release` is not signed: there is neither InRelease nor Release.gpg\n{}", super::signed::UNTRUSTED)
            })?;
            trust.verify(&signed, Some(&signature)).with_context(|| format!("`{shown}/Release` with Release.gpg"))
        }?;
        String::from_utf8(verified).with_context(|| format!("the Release file of `{shown}` is not UTF-8"))
    }

    /// Fetches a file of unknown size to `path`; none if the mirror does not have it.
    fn fetch_small(&self, url: &str, path: &Path) -> Result<Option<PathBuf>> {
        let (shown, most) = (without_login(url), self.limits.release);
        let response = self.client.get(url, 0, Instant::now() + self.limits.time_for(most))?;
        match response.status {
            200 => {}
            404 | 410 => return Ok(None),
            other => bail!("`{shown}`: status {other}"),
        }
        let mut bytes = Vec::new();
        response.body.take(most + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read `{shown}`"))?;
        if bytes.len() as u64 > most {
            bail!("`{shown}` has more than {most} bytes: that is no Release file");
        }
        std::fs::write(path, bytes).with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(Some(path.to_owned()))
    }
}

/// Digest and size of the file `name` in a Release file; none if it is not listed.
fn listed(release: &Stanza<'_>, name: &str) -> Result<Option<(String, u64)>> {
    for line in release.need("SHA256").context("the Release file")?.lines() {
        let [sha256, size, listed] = line.split_ascii_whitespace().collect::<Vec<_>>()[..] else { continue };
        if listed != name {
            continue;
        }
        if sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
            bail!("the Release file contains the invalid digest `{sha256}` of {name}");
        }
        let size = size.parse().with_context(|| format!("the Release file contains the invalid size `{size}` of {name}"))?;
        return Ok(Some((sha256.to_ascii_lowercase(), size)));
    }
    Ok(None)
}
