//! Downloads one file from several mirrors into a folder, atomically and checked: resumes, retries, and locks against other
//! processes that download the same file.

use super::{
    http::{Client, without_login},
    network::Limits,
};
use anyhow::{Context as _, Result, anyhow, bail};
use sha2::{Digest as _, Sha256};
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Seek as _, SeekFrom, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A file to download.
pub(super) struct Job<'a> {
    /// URLs, best first.
    pub urls: Vec<String>,
    /// Name for messages.
    pub label: &'a str,
    pub sha256: &'a str,
    pub size: u64,
    /// Destination. A `.part` file next to it collects the bytes.
    pub path: PathBuf,
}

/// Result of a download.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The file is at its destination.
    Here,
    /// No mirror has the file (any longer).
    Gone,
}

/// Reason why an attempt failed.
enum Failure {
    /// A network error, or a temporary error of the server: worth a retry.
    Passing(anyhow::Error),
    /// Length or digest differ from the pin.
    Wrong(anyhow::Error),
    Gone,
    /// A retry on the same mirror is useless.
    Lasting(anyhow::Error),
}

/// The means of a download.
pub(super) struct Means<'a> {
    pub client: &'a Client,
    /// Pauses before the second, third … attempt.
    pub waits: &'a [Duration],
    pub limits: Limits,
}

/// Downloads a file. `arrived` gets the number of received bytes; negative if bytes are discarded.
pub(super) fn download(means: &Means<'_>, job: &Job<'_>, arrived: &dyn Fn(i64)) -> Result<Outcome> {
    let part_path = job.path.with_extension("part");
    let mut part = lock_part(&part_path).with_context(|| format!("cannot lock `{}`", part_path.display()))?;
    if is_there(&job.path, job.size) {
        // Another process has downloaded it, and this part file is new and empty.
        let _ = std::fs::remove_file(&part_path);
        arrived(i64::try_from(job.size)?);
        return Ok(Outcome::Here);
    }
    arrived(i64::try_from(part.metadata()?.len())?);
    let mut gone = 0;
    let mut last = None;
    for url in &job.urls {
        match from_mirror(means, job, url, &mut part, arrived) {
            Ok(()) => {
                std::fs::rename(&part_path, &job.path).with_context(|| format!("cannot rename to `{}`", job.path.display()))?;
                return Ok(Outcome::Here);
            }
            Err(Failure::Gone) => gone += 1,
            Err(Failure::Passing(error) | Failure::Wrong(error) | Failure::Lasting(error)) => last = Some(error),
        }
    }
    if part.metadata()?.len() == 0 {
        let _ = std::fs::remove_file(&part_path);
    }
    match last {
        None if gone > 0 => Ok(Outcome::Gone),
        None => bail!("there is no mirror for {}", job.label),
        Some(error) => Err(error.context(format!("cannot download {}", job.label))),
    }
}

/// Opens and locks the part file; repeats if another process has renamed or removed it meanwhile.
fn lock_part(path: &Path) -> std::io::Result<File> {
    loop {
        let part = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        part.lock()?;
        if path.metadata().is_ok_and(|there| part.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino()))) {
            return Ok(part);
        }
    }
}

/// Whether the complete file is at `path`: files get there by rename only.
pub(super) fn is_there(path: &Path, size: u64) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
}

fn from_mirror(means: &Means<'_>, job: &Job<'_>, url: &str, part: &mut File, arrived: &dyn Fn(i64)) -> Result<(), Failure> {
    let allowed = means.limits.time_for(job.size);
    let deadline = Instant::now() + allowed;
    let mut waits = means.waits.iter();
    loop {
        let resumed = part.metadata().map_err(|error| Failure::Lasting(error.into()))?.len() > 0;
        let failure = match attempt(means.client, job, url, deadline, part, arrived) {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        match (failure, waits.next()) {
            (Failure::Passing(error), _) if Instant::now() >= deadline => {
                let slow = format!("`{}` is too slow: {} bytes may take {} s", without_login(url), job.size, allowed.as_secs());
                return Err(Failure::Lasting(error.context(slow)));
            }
            (Failure::Passing(_), Some(wait)) => std::thread::sleep(*wait),
            // The earlier bytes may be the damaged ones.
            (Failure::Wrong(_), Some(_)) if resumed => {}
            (failure, _) => return Err(failure),
        }
    }
}

fn attempt(client: &Client, job: &Job<'_>, url: &str, deadline: Instant, part: &mut File, arrived: &dyn Fn(i64)) -> Result<(), Failure> {
    let shown = without_login(url);
    let mut have = part.metadata().map_err(|error| Failure::Lasting(error.into()))?.len();
    if have > job.size {
        have = empty(part, have, arrived)?;
    }
    if have < job.size || job.size == 0 {
        let response = client.get(url, have, deadline).map_err(Failure::Passing)?;
        match response.status {
            206 if response.range_start() == Some(have) && have > 0 => {}
            // The server ignored the range.
            200 => have = empty(part, have, arrived)?,
            206 | 416 if have > 0 => {
                empty(part, have, arrived)?;
                return Err(Failure::Passing(anyhow!("`{shown}`: the server cannot resume the download")));
            }
            404 | 410 => return Err(Failure::Gone),
            408 | 425 | 429 | 500..=599 => return Err(Failure::Passing(anyhow!("`{shown}`: status {}", response.status))),
            other => return Err(Failure::Lasting(anyhow!("`{shown}`: status {other}"))),
        }
        if let Some(length) = response.length()
            && length != job.size - have
        {
            empty(part, have, arrived)?;
            return Err(Failure::Wrong(anyhow!("`{shown}` has {} bytes, not the pinned {}", have.saturating_add(length), job.size)));
        }
        have = receive(response.body, have, job.size, part, arrived).map_err(|failure| match failure {
            Failure::Passing(error) => Failure::Passing(error.context(format!("the transfer of `{shown}` was interrupted"))),
            other => other,
        })?;
        if have > job.size {
            empty(part, have, arrived)?;
            return Err(Failure::Wrong(anyhow!("`{shown}` has more than the pinned {} bytes", job.size)));
        }
        if have < job.size {
            return Err(Failure::Passing(anyhow!("`{shown}` ended after {have} of {} bytes", job.size)));
        }
    }
    let found = digest_of(part).map_err(Failure::Lasting)?;
    if found != job.sha256 {
        empty(part, have, arrived)?;
        return Err(Failure::Wrong(anyhow!("`{shown}` has the SHA-256 {found}, not the pinned {}", job.sha256)));
    }
    Ok(())
}

fn empty(part: &File, have: u64, arrived: &dyn Fn(i64)) -> Result<u64, Failure> {
    part.set_len(0).map_err(|error| Failure::Lasting(error.into()))?;
    arrived(-i64::try_from(have).unwrap_or(i64::MAX));
    Ok(0)
}

/// Appends the body until it ends or exceeds `size`; returns the new length.
fn receive(mut body: impl Read, mut have: u64, size: u64, part: &mut File, arrived: &dyn Fn(i64)) -> Result<u64, Failure> {
    let mut buffer = vec![0; 64 << 10];
    part.seek(SeekFrom::Start(have)).map_err(|error| Failure::Lasting(error.into()))?;
    while have <= size {
        let got = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(got) => got,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::Passing(error.into())),
        };
        part.write_all(&buffer[..got]).map_err(|error| Failure::Lasting(anyhow!(error).context("cannot write the download")))?;
        have += got as u64;
        arrived(got as i64);
    }
    Ok(have)
}

/// SHA-256 of the whole file in hex.
pub(super) fn digest_of(file: &mut File) -> Result<String> {
    file.seek(SeekFrom::Start(0))?;
    digest(file)
}

/// SHA-256 of `reader`, read to its end, in hex.
pub(super) fn digest(reader: &mut impl Read) -> Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            got => hash.update(&buffer[..got]),
        }
    }
}
