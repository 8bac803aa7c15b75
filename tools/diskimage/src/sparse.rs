//! Sparse files: finds data, and copies without reading or writing holes.

use anyhow::{Context as _, Result, bail};
use filetree::Content;
use rustix::{fs::SeekFrom, io::Errno};
use std::{cell::Cell, fs::File, os::unix::fs::FileExt as _};

/// A range of bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Offset of the first byte.
    pub offset: u64,
    /// Number of bytes, never 0.
    pub len: u64,
}

/// Counts the bytes that are written, and tells how many of how many they are.
pub struct Meter<'p> {
    total: u64,
    done: Cell<u64>,
    tell: &'p dyn Fn(u64, u64),
}

impl<'p> Meter<'p> {
    /// For `total` bytes. `tell` gets those that are done, and the total.
    #[must_use]
    pub fn new(total: u64, tell: &'p dyn Fn(u64, u64)) -> Self {
        Self { total, done: Cell::new(0), tell }
    }

    /// `bytes` more are done.
    pub fn add(&self, bytes: u64) {
        self.done.set(self.done.get().saturating_add(bytes).min(self.total));
        (self.tell)(self.done.get(), self.total);
    }
}

/// Ranges of `file` inside `start..start + len` that contain data, in order, not adjacent; all other bytes are zeros. One range
/// on file systems without holes. Changes the file's position.
pub fn extents(file: &File, start: u64, len: u64) -> Result<Vec<Extent>> {
    let end = start.checked_add(len).context("the end of a file's range exceeds 2^64")?;
    let mut found = Vec::new();
    let mut at = start;
    while at < end {
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) if data >= end => break,
            Ok(data) => data,
            Err(Errno::NXIO) => break, // no data up to the file's end
            Err(Errno::INVAL | Errno::NOTSUP) => {
                found.push(Extent { offset: at, len: end - at });
                break;
            }
            Err(error) => return Err(error).context("cannot find the holes of a file"),
        };
        let hole = rustix::fs::seek(file, SeekFrom::Hole(data)).context("cannot find the holes of a file")?.min(end);
        if hole <= data {
            bail!("a file changed while it was searched for holes");
        }
        found.push(Extent { offset: data, len: hole - data });
        at = hole;
    }
    Ok(found)
}

/// Copies `len` bytes from `from` at `from_offset` to `to` at `to_offset`. Skips holes: the target range must read as zeros.
/// Returns the number of bytes copied. Fails if `from` is too short.
pub fn copy(from: &File, from_offset: u64, len: u64, to: &File, to_offset: u64) -> Result<u64> {
    copy_measured(from, from_offset, len, to, to_offset, &Meter::new(0, &|_, _| {}))
}

/// [`copy`], which adds `len` bytes to `meter`, holes too.
fn copy_measured(from: &File, from_offset: u64, len: u64, to: &File, to_offset: u64, meter: &Meter<'_>) -> Result<u64> {
    let available = from.metadata().context("cannot read the metadata of the file to copy")?.len();
    if from_offset.checked_add(len).is_none_or(|end| end > available) {
        bail!("{len} bytes at {from_offset} exceed the file of {available} bytes");
    }
    let mut copied = 0;
    for extent in extents(from, from_offset, len)? {
        copy_range(from, extent.offset, extent.len, to, to_offset + (extent.offset - from_offset), meter)?;
        copied += extent.len;
    }
    meter.add(len - copied);
    Ok(copied)
}

/// Makes the empty file `to` share all blocks of `from`, so that a later write to one does not change the other. False where the file system
/// cannot; then `to` is as it was.
#[must_use]
pub fn share(from: &File, to: &File) -> bool {
    #[cfg(target_os = "linux")]
    return rustix::fs::ioctl_ficlone(to, from).is_ok();
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (from, to);
        false
    }
}

/// Copies `content` to `to` at `offset`; the target range must read as zeros. Adds its length to `meter`.
pub fn copy_content(content: &Content, to: &File, offset: u64, meter: &Meter<'_>) -> Result<()> {
    match content {
        Content::Bytes(bytes) => {
            to.write_all_at(bytes, offset).context("cannot write")?;
            meter.add(bytes.len() as u64);
        }
        Content::Range { file, offset: from, len } => drop(copy_measured(file, *from, *len, to, offset, meter)?),
        Content::Path { path, len } => {
            let file = File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
            let now = file.metadata()?.len();
            if now != *len {
                bail!("`{}` changed from {len} to {now} bytes during the build", path.display());
            }
            copy_measured(&file, 0, *len, to, offset, meter).with_context(|| format!("cannot copy `{}`", path.display()))?;
        }
    }
    Ok(())
}

/// Copies in the kernel if possible (a reflink on some file systems), else through a buffer.
fn copy_range(from: &File, mut from_offset: u64, mut len: u64, to: &File, mut to_offset: u64, meter: &Meter<'_>) -> Result<()> {
    #[cfg(target_os = "linux")]
    while len > 0 {
        let most = usize::try_from(len).unwrap_or(usize::MAX).min(STRIDE);
        // The kernel advances both offsets.
        match rustix::fs::copy_file_range(from, Some(&mut from_offset), to, Some(&mut to_offset), most) {
            Ok(0) => break, // some file systems give 0 where they cannot: the buffer tells that from an end
            Ok(copied) => {
                len -= copied as u64;
                meter.add(copied as u64);
            }
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => break,
            Err(error) => return Err(error).context("cannot copy"),
        }
    }
    let mut buffer = vec![0; usize::try_from(len.min(1 << 20))?];
    while len > 0 {
        let part = &mut buffer[..usize::try_from(len.min(1 << 20))?];
        from.read_exact_at(part, from_offset).context("cannot read")?;
        to.write_all_at(part, to_offset).context("cannot write")?;
        from_offset += part.len() as u64;
        to_offset += part.len() as u64;
        len -= part.len() as u64;
        meter.add(part.len() as u64);
    }
    Ok(())
}

/// Most bytes that the kernel copies at once: a slow disk takes seconds for them, and then the meter moves.
#[cfg(target_os = "linux")]
const STRIDE: usize = 64 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::{cell::RefCell, os::unix::fs::MetadataExt as _, sync::Arc};

    #[test]
    fn holes_stay_holes() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        from.set_len(64 << 20).unwrap();
        to.set_len(80 << 20).unwrap();
        from.write_all_at(b"first", 0).unwrap();
        from.write_all_at(b"last", (32 << 20) - 2).unwrap();
        let all = extents(&from, 0, 64 << 20).unwrap();
        assert!(all.windows(2).all(|pair| pair[0].offset + pair[0].len < pair[1].offset));
        let inside = extents(&from, 2, 10).unwrap();
        assert_eq!(inside, [Extent { offset: 2, len: 10 }]);
        copy(&from, 0, 64 << 20, &to, 1 << 20).unwrap();
        let mut bytes = [0; 4];
        to.read_exact_at(&mut bytes, (33 << 20) - 2).unwrap();
        assert_eq!(&bytes, b"last");
        if all.iter().map(|extent| extent.len).sum::<u64>() < 1 << 20 {
            assert!(to.metadata().unwrap().blocks() * 512 < 1 << 20);
        } else {
            skips::skipped(skips::Lack::Kernel, "the temporary folder's file system knows no holes");
        }
    }

    #[test]
    fn a_meter_ends_at_the_length_whatever_is_a_hole() {
        let (from, to) = (Arc::new(tempfile::tempfile().unwrap()), tempfile::tempfile().unwrap());
        from.set_len(80 << 20).unwrap();
        from.write_all_at(&vec![1; 70 << 20], 5 << 20).unwrap();
        let seen = RefCell::new(Vec::new());
        let tell = |done, total| seen.borrow_mut().push((done, total));
        let meter = Meter::new(80 << 20 | 1, &tell);
        copy_content(&Content::Range { file: from, offset: 0, len: 80 << 20 }, &to, 0, &meter).unwrap();
        copy_content(&Content::Bytes(vec![1].into()), &to, 80 << 20, &meter).unwrap();
        let seen = seen.into_inner();
        assert!(seen.is_sorted() && seen.len() >= 4, "70 MiB of data are more than one stride: {seen:?}");
        assert_eq!(seen[seen.len() - 2..], [(80 << 20, 80 << 20 | 1), (80 << 20 | 1, 80 << 20 | 1)]);
    }

    #[test]
    fn a_short_source_is_refused_with_the_numbers() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        from.set_len(100).unwrap();
        let error = copy(&from, 50, 51, &to, 0).unwrap_err().to_string();
        assert_eq!(error, "51 bytes at 50 exceed the file of 100 bytes");
    }
}
