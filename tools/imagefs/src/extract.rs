//! Extracts files and folders. Nothing is written outside the given place: its folder is made anew or was empty, parents are never links,
//! and links are written as they are and never followed.

use crate::volume::Volume;
use anyhow::{Context as _, Result, bail};
use diskimage::squashfs::{Entry, EntryKind};
use std::{
    ffi::OsStr,
    fs::{File, Permissions},
    io::{BufWriter, Write as _},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
};

/// What was extracted.
#[derive(Debug, Default)]
pub struct Extracted {
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many folders and links.
    pub others: u64,
    /// The devices, pipes and sockets that were left out.
    pub left_out: Vec<String>,
}

/// Extracts the entry at `path` of `volume` to `out`. A file becomes `out`, or is put into it if it is a folder. A folder's entries are put
/// into `out`, which must be new or empty.
pub fn extract(volume: &Volume, path: &[u8], out: &Path) -> Result<Extracted> {
    let entry = volume.get(path).context("the entry is of another file system")?;
    let mut done = Extracted::default();
    if entry.kind != EntryKind::Dir {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let out = if out.is_dir() { out.join(OsStr::from_bytes(name)) } else { out.to_owned() };
        if entry.kind != EntryKind::File {
            bail!("`/{}` is a device, a pipe or a socket, which has no content", String::from_utf8_lossy(path));
        }
        if out.symlink_metadata().is_ok() {
            bail!("`{}` exists\nhint: name another file, or remove it", out.display());
        }
        let pending = common::artifact::Pending::new(&absolute(&out)?)?;
        write_file(volume, entry, pending.part(), &mut done)?;
        pending.commit()?;
        return Ok(done);
    }
    std::fs::create_dir_all(out).with_context(|| format!("cannot make the folder `{}`", out.display()))?;
    if std::fs::read_dir(out)?.next().is_some() {
        bail!("the folder `{}` is not empty\nhint: name a new one", out.display());
    }
    let out = out.canonicalize()?;
    let mut folders = Vec::new();
    for below in volume.below(path) {
        let relative = if path.is_empty() { &below.path[..] } else { &below.path[path.len() + 1..] };
        let place = out.join(OsStr::from_bytes(relative));
        check_inside(&out, relative)?;
        write_entry(volume, below, &place, &mut done, &mut folders)?;
    }
    // A folder that nobody may write to gets its mode when all is in it.
    for (place, mode) in folders.into_iter().rev() {
        std::fs::set_permissions(&place, Permissions::from_mode(mode))?;
    }
    Ok(done)
}

/// Fails unless each parent of the entry below `out` is a folder: an image may list a link and then something below it.
fn check_inside(out: &Path, relative: &[u8]) -> Result<()> {
    let mut place = out.to_owned();
    let parts: Vec<&[u8]> = relative.split(|byte| *byte == b'/').collect();
    for (number, part) in parts.iter().enumerate() {
        if part.is_empty() || *part == b".." || *part == b"." {
            bail!("`{}` leads out of the folder", String::from_utf8_lossy(relative));
        }
        if number + 1 < parts.len() {
            place.push(OsStr::from_bytes(part));
            if !place.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
                bail!("a parent of `{}` is not a folder", String::from_utf8_lossy(relative));
            }
        }
    }
    Ok(())
}

fn write_entry(volume: &Volume, entry: &Entry, place: &Path, done: &mut Extracted, folders: &mut Vec<(PathBuf, u32)>) -> Result<()> {
    let context = || format!("cannot write `{}`", place.display());
    match &entry.kind {
        EntryKind::Dir => {
            std::fs::create_dir(place).with_context(context)?;
            folders.push((place.to_owned(), entry.meta.mode & 0o777));
            done.others += 1;
        }
        EntryKind::File => write_file(volume, entry, place, done)?,
        EntryKind::Symlink(target) => {
            std::os::unix::fs::symlink(OsStr::from_bytes(target), place).with_context(context)?;
            done.others += 1;
        }
        EntryKind::CharDevice(..) | EntryKind::BlockDevice(..) | EntryKind::Fifo | EntryKind::Socket => {
            done.left_out.push(format!("/{}", String::from_utf8_lossy(&entry.path)));
        }
    }
    Ok(())
}

fn write_file(volume: &Volume, entry: &Entry, place: &Path, done: &mut Extracted) -> Result<()> {
    let context = || format!("cannot write `{}`", place.display());
    // An existing file or link is never opened.
    let mut out = BufWriter::with_capacity(1 << 17, File::options().write(true).create_new(true).open(place).with_context(context)?);
    volume.copy(entry, &mut out)?;
    out.flush().with_context(context)?;
    // setuid and setgid mean nothing without the owner, who is the one who extracts.
    std::fs::set_permissions(place, Permissions::from_mode(entry.meta.mode & 0o777))?;
    done.files += 1;
    done.bytes += entry.size;
    Ok(())
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot use the path `{}`", path.display()))
}
