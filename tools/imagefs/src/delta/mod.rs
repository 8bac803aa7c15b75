//! Deltas between two images: what has to be known besides the old image to get the new one. A delta is a zstd frame whose content is the
//! new image, with the old one as prefix, so `zstd -d --patch-from=OLD` reads it, too. A skippable frame at its end names the digests of
//! both. Making and applying take a fixed amount of memory, whatever the sizes of the images.

mod frame;
mod matches;
#[cfg(test)]
mod tests;

use anyhow::{Context as _, Result, bail, ensure};
use common::{
    artifact::Pending,
    digest::{hex, sha256_of},
};
use frame::{FrameReader, FrameWriter, Piece};
use matches::Match;
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

/// Magic number and content length of the skippable frame at the end.
const TRAILER_MAGIC: u32 = 0x184d_2a5e;
const TRAILER: usize = 12 + 2 * LINE;
/// A line of the trailer: a word of four letters, a digest, 20 digits, and separators.
const LINE: usize = 4 + 1 + 64 + 1 + 20 + 1;
/// The first line of the trailer.
const NAME: &str = "eve-delta 1\n";
/// Limit of both images together: the format's offsets have 32 bits.
const MOST: u64 = (1 << 32) - 16;
/// Bytes that are copied at once.
const CHUNK: usize = 128 << 10;

/// An image that a delta names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// SHA-256 in hex.
    pub sha256: String,
    /// Size in bytes.
    pub size: u64,
}

/// The images of a delta, and its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The old image.
    pub old: Named,
    /// The new image.
    pub new: Named,
    /// Size of the delta in bytes.
    pub size: u64,
}

/// Writes the delta from the image `old` to the image `new` to `out`.
pub fn make(old: &Path, new: &Path, out: &Path) -> Result<Summary> {
    let (before, after) = (open(old)?, open(new)?);
    let named = |path: &Path, file: &File| -> Result<Named> { Ok(Named { sha256: sha256_of(path)?, size: file.metadata()?.len() }) };
    let (was, is) = (named(old, &before)?, named(new, &after)?);
    if was.size.saturating_add(is.size) > MOST {
        bail!("`{}` and `{}` have more than 4 GiB together, which a delta cannot have", old.display(), new.display());
    }
    let pending = Pending::new(&std::path::absolute(out)?)?;
    let mut writer = FrameWriter::new(BufWriter::with_capacity(1 << 17, pending.create()?), is.size)?;
    let mut copy = |found: Match| put(&mut writer, &after, was.size, found);
    matches::find(&before, was.size, &after, is.size, &mut copy)
        .with_context(|| format!("cannot compare `{}` with `{}`", old.display(), new.display()))?;
    let mut file = writer.finish()?;
    file.write_all(&trailer(&was, &is))?;
    file.flush()?;
    let size = file.get_ref().metadata()?.len();
    drop(file);
    pending.commit()?;
    Ok(Summary { old: was, new: is, size })
}

/// Writes a part of the new image.
fn put<W: std::io::Write>(writer: &mut FrameWriter<W>, new: &File, old_size: u64, found: Match) -> Result<()> {
    let (mut at, mut left) = (found.new, found.len);
    let mut buffer = vec![0; CHUNK];
    while left > 0 {
        let count = usize::try_from(left.min(CHUNK as u64))?;
        new.read_exact_at(&mut buffer[..count], at)?;
        let bytes = &buffer[..count];
        match found.old {
            _ if count > 16 && bytes.iter().all(|byte| *byte == bytes[0]) => writer.fill(bytes[0], count)?,
            // The prefix ends where the new image starts.
            Some(old) => writer.copy(old_size - old + found.new, count)?,
            None => writer.literal(bytes)?,
        }
        (at, left) = (at + count as u64, left - count as u64);
    }
    Ok(())
}

fn open(path: &Path) -> Result<File> {
    let file = File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
    ensure!(file.metadata()?.is_file(), "`{}` is no regular file", path.display());
    Ok(file)
}

fn trailer(old: &Named, new: &Named) -> Vec<u8> {
    let text = format!("{NAME}from {} {:020}\nto   {} {:020}\n", old.sha256, old.size, new.sha256, new.size);
    debug_assert_eq!(text.len(), TRAILER);
    [&TRAILER_MAGIC.to_le_bytes()[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

/// The images that the delta at `path` names, and its size.
pub fn read(path: &Path) -> Result<Summary> {
    let mut file = open(path)?;
    let size = file.metadata()?.len();
    let mut bytes = [0; TRAILER + 8];
    let read = (|| -> Result<()> {
        file.seek(SeekFrom::End(-(bytes.len() as i64)))?;
        Ok(file.read_exact(&mut bytes)?)
    })();
    let named = |line: &str, word: &str| -> Option<Named> {
        let (sha256, size) = line.strip_prefix(word)?.trim_start().split_once(' ')?;
        let is_digest = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some(Named { sha256: is_digest.then(|| sha256.to_owned())?, size: size.parse().ok()? })
    };
    let parse = || -> Option<Summary> {
        let text = std::str::from_utf8(bytes.strip_prefix(&TRAILER_MAGIC.to_le_bytes())?.get(4..)?).ok()?;
        let mut lines = text.strip_prefix(NAME)?.lines();
        Some(Summary { old: named(lines.next()?, "from ")?, new: named(lines.next()?, "to ")?, size })
    };
    let found = if read.is_ok() { parse() } else { None };
    found.with_context(|| format!("`{}` is no delta: it does not end with the digests of two images", path.display()))
}

/// Applies the delta at `delta` to the image `old` and writes the new image to `out`, which gets its name when its digest is right.
pub fn apply(delta: &Path, old: &Path, out: &Path) -> Result<Summary> {
    let summary = read(delta)?;
    let before = open(old)?;
    let is = sha256_of(old)?;
    if is != summary.old.sha256 {
        let also = if is == summary.new.sha256 { "; it is the new image already" } else { "" };
        bail!(
            "`{}` is not the image that `{}` was made from: its SHA-256 is {is}, the delta names {}{also}",
            old.display(),
            delta.display(),
            summary.old.sha256
        );
    }
    let pending = Pending::new(&std::path::absolute(out)?)?;
    let mut output = Output { file: pending.create()?, at: 0, hash: Sha256::new() };
    let input = BufReader::with_capacity(1 << 17, open(delta)?);
    write_new(input, &before, &summary, &mut output).with_context(|| format!("cannot apply `{}`", delta.display()))?;
    output.file.set_len(output.at)?;
    let digest = hex(&output.hash.finalize());
    if digest != summary.new.sha256 {
        bail!("`{}` is damaged: the result has the SHA-256 {digest}, not {}", delta.display(), summary.new.sha256);
    }
    pending.commit()?;
    Ok(summary)
}

fn write_new(input: impl std::io::Read, old: &File, summary: &Summary, output: &mut Output) -> Result<()> {
    let (mut frame, size) = FrameReader::new(input)?;
    ensure!(size == summary.new.size, "its frame is for {size} bytes, and its digests for {}", summary.new.size);
    let mut buffer = vec![0; CHUNK];
    while let Some(piece) = frame.next(&mut buffer)? {
        let (Piece::Bytes(len) | Piece::Copy { len, .. }) = piece;
        ensure!(output.at + len as u64 <= size, "it writes more than {size} bytes");
        if let Piece::Copy { offset, .. } = piece {
            let back = offset.checked_sub(output.at).with_context(|| format!("a copy at byte {} is not from the old image", output.at))?;
            let start = summary.old.size.checked_sub(back).context("a copy is from before the old image")?;
            old.read_exact_at(&mut buffer[..len], start).context("a copy exceeds the old image")?;
        }
        output.put(&buffer[..len])?;
    }
    ensure!(output.at == size, "it ends after {} of {size} bytes", output.at);
    Ok(())
}

/// The new image: zeros become holes.
struct Output {
    file: File,
    at: u64,
    hash: Sha256,
}

impl Output {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        for block in bytes.chunks(4096) {
            if block.iter().any(|byte| *byte != 0) {
                self.file.write_all_at(block, self.at)?;
            }
            self.at += block.len() as u64;
        }
        Ok(())
    }
}
