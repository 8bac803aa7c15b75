//! Writes cpio in "newc" format (kernel's Documentation/driver-api/early-userspace/buffer-format.rst): an archive for an initrd.

use anyhow::{Context as _, Result};
use flate2::{Compression, write::GzEncoder};
use std::io::Write;

/// Writes an archive to `out`; [`CpioWriter::finish`] ends it.
pub struct CpioWriter<W: Write> {
    out: W,
    entries: u32,
    mtime: u32,
}

impl CpioWriter<GzEncoder<Vec<u8>>> {
    /// An archive in memory that is compressed with gzip, at a level from 0 to 9.
    #[must_use]
    pub fn gzipped(level: u32, epoch: i64) -> Self {
        Self::new(GzEncoder::new(Vec::new(), Compression::new(level)), epoch)
    }

    /// Ends it; its bytes.
    pub fn into_bytes(self) -> Result<Vec<u8>> {
        self.finish()?.finish().context("cannot compress the archive")
    }
}

impl<W: Write> CpioWriter<W> {
    /// An archive whose entries are all of `epoch`, a Unix timestamp.
    #[must_use]
    pub fn new(out: W, epoch: i64) -> Self {
        Self { out, entries: 0, mtime: u32::try_from(epoch).unwrap_or(0) }
    }

    /// Adds a file or folder of root's. `mode` has the type of the entry, too. Its folder must have been added before.
    pub fn append(&mut self, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        self.entries += 1;
        let links = if bytes.is_empty() && mode & 0o040_000 != 0 { 2 } else { 1 };
        self.put(name, [self.entries, mode, 0, 0, links, self.mtime], bytes)
    }

    /// Writes the archive's last entry; its bytes' writer.
    pub fn finish(mut self) -> Result<W> {
        self.put("TRAILER!!!", [0, 0, 0, 0, 1, 0], &[])?;
        Ok(self.out)
    }

    /// Fields: inode, mode, uid, gid, links, mtime; then size, four device numbers, name length, checksum.
    fn put(&mut self, name: &str, fields: [u32; 6], bytes: &[u8]) -> Result<()> {
        let mut header = String::from("070701");
        let more = [u32::try_from(bytes.len())?, 0, 0, 0, 0, u32::try_from(name.len() + 1)?, 0];
        fields.into_iter().chain(more).for_each(|field| header.push_str(&format!("{field:08x}")));
        header.push_str(name);
        header.push('\0');
        for part in [header.as_bytes(), bytes] {
            let padding = &[0; 4][..part.len().next_multiple_of(4) - part.len()];
            self.out
                .write_all(part)
                .and_then(|()| self.out.write_all(padding))
                .with_context(|| format!("cannot add {name} to the archive"))?;
        }
        Ok(())
    }
}
