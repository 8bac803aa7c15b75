//! An ext2, ext3 or ext4 that is only looked at: its superblock, and what lies in its root. Nothing in it is trusted.

use super::{Contents, Top, probe::text};
use crate::{ext4::Reader, read_at::ReadAt};
use anyhow::{Context as _, Result};

/// Looks at the file system in `source`; at its root when `all` is wanted.
pub(super) fn look(source: &dyn ReadAt, all: bool) -> Result<Contents> {
    let reader = Reader::open(source)?;
    let listed = if all { reader.root().context("its root cannot be read")? } else { Vec::new() };
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
