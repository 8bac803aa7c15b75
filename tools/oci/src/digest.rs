//! SHA-256 digests: text form, hashing readers and writers, and checks of blobs.

use crate::checked::{is_checked, note_checked};
use anyhow::{Context as _, Result, bail};
use filetree::FileState;
use sha2::{Digest as _, Sha256};
use std::{
    fmt,
    fs::File,
    io::{Read, Write},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

/// `sha256:` and the hex digits of `bytes`.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    text(Sha256::new().chain_update(bytes))
}

fn text(hash: Sha256) -> String {
    let mut text = String::from("sha256:");
    for byte in hash.finalize() {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// The hex digits of a digest, safe as a file name. Fails on anything but `sha256:` and 64 lower-case hex digits.
pub(crate) fn hex(digest: &str) -> Result<&str> {
    match digest.strip_prefix("sha256:") {
        Some(hex) if hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) => Ok(hex),
        _ => bail!("`{digest}` is not a sha256 digest"),
    }
}

/// Hashes and counts what is written to it.
pub(crate) struct HashWriter<W> {
    inner: W,
    hash: Sha256,
    count: u64,
}

impl<W: Write> HashWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), count: 0 }
    }

    /// The inner writer, the digest and the number of bytes.
    pub(crate) fn finish(self) -> (W, String, u64) {
        (self.inner, text(self.hash), self.count)
    }
}

impl<W: Write> Write for HashWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// The digest of `reader`, read to its end.
pub(crate) fn digest_of_reader(mut reader: impl Read) -> Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let got = reader.read(&mut buffer)?;
        if got == 0 {
            return Ok(text(hash));
        }
        hash.update(&buffer[..got]);
    }
}

/// A blob whose bytes are not those of its name. Without it, the cache does not have the images that contain it.
#[derive(Debug)]
pub struct DamagedBlob {
    /// The file.
    pub path: PathBuf,
    problem: String,
}

impl fmt::Display for DamagedBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "the blob `{path}` is damaged: {}\nhint: rm {path}", self.problem)
    }
}

impl std::error::Error for DamagedBlob {}

/// Checks length and digest of an open blob. A file that was found to have a digest is not hashed again while its state is the same.
pub(crate) fn check_blob(file: &File, path: &Path, digest: &str, size: u64) -> Result<()> {
    let damaged = |problem: String| anyhow::Error::from(DamagedBlob { path: path.to_owned(), problem });
    let meta = file.metadata().with_context(|| format!("cannot read the metadata of `{}`", path.display()))?;
    if !meta.is_file() {
        bail!("the blob `{}` is not a regular file", path.display());
    }
    if meta.len() != size {
        return Err(damaged(format!("it has {} bytes instead of {size}", meta.len())));
    }
    let state = FileState::of(&meta);
    let settled = state.is_settled();
    if is_checked(&state, digest) {
        return Ok(());
    }
    let found = digest_of_reader(ReadAt { file, position: 0 }).with_context(|| format!("cannot read the blob `{}`", path.display()))?;
    if found != digest {
        return Err(damaged(format!("its digest is {found}")));
    }
    note_checked(&state, digest, settled);
    Ok(())
}

/// Reads a file with `pread` from its own position, so that several readers can share the file.
pub(crate) struct ReadAt<'f> {
    pub(crate) file: &'f File,
    pub(crate) position: u64,
}

impl Read for ReadAt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let got = self.file.read_at(buffer, self.position)?;
        self.position += got as u64;
        Ok(got)
    }
}
