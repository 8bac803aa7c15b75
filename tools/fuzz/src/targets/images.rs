//! Images as `inspect`, `size` and `diff` open them, and deltas.

use super::files::folder;
use anyhow::Result;
use imagefs::{Volume, open_file};
use std::{fs, io};

/// An image in a file: every file of it is read, and must be as long as announced.
pub fn files(input: &[u8]) -> Result<()> {
    let path = folder().join("image");
    fs::write(&path, input)?;
    let volume = open_file(&path, None)?;
    let _ = imagefs::images_of(&volume);
    volume.entries().iter().try_for_each(|entry| use_up(&volume, entry))
}

fn use_up(volume: &Volume, entry: &diskimage::squashfs::Entry) -> Result<()> {
    if entry.kind != diskimage::squashfs::EntryKind::File {
        return Ok(());
    }
    let mut counted = Counted(0);
    volume.copy(entry, &mut counted)?;
    assert_eq!(counted.0, entry.size, "a file is not as long as announced");
    Ok(())
}

struct Counted(u64);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A delta from the image that the seeds were made from.
pub fn delta(input: &[u8]) -> Result<()> {
    let path = |name: &str| folder().join(name);
    fs::write(path("delta"), input)?;
    if !path("old").exists() {
        let byte = |number: u32| (number.wrapping_mul(2_654_435_761) >> 13) as u8;
        fs::write(path("old"), (0..20_000).map(byte).collect::<Vec<u8>>())?;
    }
    imagefs::delta::apply(&path("delta"), &path("old"), &path("new"))?;
    Ok(())
}
