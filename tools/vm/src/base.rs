//! The note beside an overlay: which base it was made on. An overlay on any other base is a damaged disk.

use anyhow::{Context as _, Result};
use common::digest::hex;
use diskimage::sparse;
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
};

/// Bytes that are read at a time; blocks of zeros are left out of the digest.
const BLOCK: usize = 1 << 16;

/// A base: size and time, which are quick to compare, and a digest of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    time: String,
    digest: String,
}

impl Base {
    /// The base `image` as it is now.
    pub fn of(image: &Path) -> Result<Self> {
        let file = File::open(image).with_context(|| format!("cannot open {}", image.display()))?;
        Ok(Self { time: time(image)?, digest: digest(&file).with_context(|| format!("cannot read {}", image.display()))? })
    }

    /// Writes the note.
    pub fn write(&self, note: &Path) -> Result<()> {
        fs::write(note, format!("{}\n{}\n", self.time, self.digest)).with_context(|| format!("cannot write {}", note.display()))
    }

    /// Whether `note` is that of `image`. A copy of the image with another time, as a tree that was moved has it, is still the same.
    pub fn is_in(note: &Path, image: &Path) -> Result<bool> {
        let Ok(text) = fs::read_to_string(note) else { return Ok(false) };
        let mut lines = text.lines();
        let (known, digest) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        if known == time(image)? {
            return Ok(!digest.is_empty());
        }
        let now = Self::of(image)?;
        if now.digest != digest {
            return Ok(false);
        }
        now.write(note)?;
        Ok(true)
    }
}

fn time(image: &Path) -> Result<String> {
    let meta = fs::metadata(image).with_context(|| format!("cannot look at {}", image.display()))?;
    Ok(format!("{} bytes, inode {}, {}.{:09} s", meta.len(), meta.ino(), meta.mtime(), meta.mtime_nsec()))
}

/// A digest of the size and of all blocks that are not zeros: the same whether the file has holes or not.
fn digest(file: &File) -> Result<String> {
    let size = file.metadata()?.len();
    let mut hash = Sha256::new();
    hash.update(size.to_be_bytes());
    let (mut buffer, mut next) = (vec![0; BLOCK], 0);
    for extent in sparse::extents(file, 0, size)? {
        let mut at = (extent.offset / BLOCK as u64 * BLOCK as u64).max(next);
        while at < extent.offset + extent.len {
            let block = &mut buffer[..BLOCK.min(usize::try_from(size - at)?)];
            file.read_exact_at(block, at)?;
            if block.iter().any(|byte| *byte != 0) {
                hash.update(at.to_be_bytes());
                hash.update(&*block);
            }
            at += BLOCK as u64;
        }
        next = at;
    }
    Ok(hex(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_copied_base_is_the_same_and_a_changed_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (image, note) = (dir.path().join("live.raw"), dir.path().join("live.base"));
        let file = File::create(&image).unwrap();
        file.set_len(5 << 20).unwrap();
        file.write_all_at(b"disk", (3 << 20) + 7).unwrap();
        assert!(!Base::is_in(&note, &image).unwrap());
        Base::of(&image).unwrap().write(&note).unwrap();
        assert!(Base::is_in(&note, &image).unwrap());
        // The copy has no holes, and another time.
        let bytes = fs::read(&image).unwrap();
        fs::remove_file(&image).unwrap();
        fs::write(&image, &bytes).unwrap();
        assert!(Base::is_in(&note, &image).unwrap());
        for (at, byte) in [(0, 1), ((3 << 20) + 7, b'D'), ((5 << 20) - 1, 1)] {
            let mut other = bytes.clone();
            other[at] = byte;
            fs::write(&image, other).unwrap();
            assert!(!Base::is_in(&note, &image).unwrap(), "byte {at}");
        }
        fs::write(&image, &bytes[..4 << 20]).unwrap();
        assert!(!Base::is_in(&note, &image).unwrap());
        fs::write(&image, &bytes).unwrap();
        assert!(Base::is_in(&note, &image).unwrap());
    }
}
