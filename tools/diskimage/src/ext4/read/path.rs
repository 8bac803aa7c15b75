//! Reads one file by its path.

use super::{Bytes, Inode, ROOT, Reader};
use anyhow::{Context as _, Result, bail, ensure};
use std::io::{Read, Write};

/// Size limit of a directory in bytes.
const MOST_NAMES: u64 = super::MOST_NAMES;

impl Reader<'_> {
    fn find(&self, path: &[u8]) -> Result<Inode> {
        let mut inode = self.inode(ROOT)?;
        for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            if !inode.is_directory() {
                bail!("a parent of the file is no directory");
            }
            let names = self.names(&inode, MOST_NAMES)?;
            let number = names.iter().find(|(name, _)| name == part).map(|(_, number)| *number);
            inode = self.inode(number.with_context(|| format!("there is no `{}`", String::from_utf8_lossy(part)))?)?;
        }
        Ok(inode)
    }

    /// Size in bytes of the file at `path`; links are not followed.
    pub fn size_of(&self, path: &[u8]) -> Result<u64> {
        Ok(self.find(path)?.size)
    }

    /// Copies the file at `path` to `out`; links are not followed.
    pub fn copy_file(&self, path: &[u8], out: &mut dyn Write) -> Result<()> {
        let inode = self.find(path)?;
        ensure!(inode.mode >> 12 == 8, "it is no regular file");
        ensure!(!inode.has(Inode::ENCRYPTED), "the file is encrypted");
        let mut reader: Box<dyn Read> = match &inode.inside {
            Some(inside) => Box::new(&inside[..]),
            None => Box::new(Bytes::new(self, &inode)?),
        };
        let copied = std::io::copy(&mut reader, out)?;
        ensure!(copied == inode.size, "the file has {copied} bytes instead of {}", inode.size);
        Ok(())
    }
}
