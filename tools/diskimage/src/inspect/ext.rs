//! Inspects an ext2, ext3 or ext4: superblock and root directory. The input is untrusted.

use super::{Contents, Top, probe::text};
use crate::{ext4::Reader, read_at::ReadAt};
use anyhow::{Context as _, Result};

/// Inspects the file system in `source`; lists its root if `all`.
pub(super) fn look(source: &dyn ReadAt, all: bool) -> Result<Contents> {
    let reader = Reader::open(source)?;
    let listed = if all { reader.root().context("cannot read the root directory")? } else { Vec::new() };
    let entries = listed.into_iter().map(|file| Top {
        name: String::from_utf8_lossy(&file.name).into_owned(),
        size: if file.directory { 0 } else { file.size },
        directory: file.directory,
    });
    Ok(Contents::Ext {
        label: text(reader.label()),
        uuid: reader.uuid(),
        bytes: reader.bytes(),
        free: reader.free(),
        entries: entries.collect(),
    })
}
