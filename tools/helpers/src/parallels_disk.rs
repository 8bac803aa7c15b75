//! `parallels-disk`: writes DiskDescriptor.xml, the description of a disk, into a Parallels bundle.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::artifact::write_atomically;
use diskimage::{gpt::Guid, parallels};
use std::path::{Path, PathBuf};

/// Writes `LIVE.parallels/DiskDescriptor.xml` for a disk of `bytes`. `uuid` is that of the snapshot, a part of the image's name in the
/// bundle.
pub fn write_descriptor(ctx: &Ctx, live: &Path, uuid: Guid, bytes: u64) -> Result<()> {
    let stem = live.file_name().and_then(|name| name.to_str()).context("LIVE has a name")?;
    let descriptor = parallels::descriptor_of(stem, bytes, uuid, uuid)?;
    let mut bundle = live.as_os_str().to_owned();
    bundle.push(".parallels");
    let path = PathBuf::from(bundle).join(parallels::DESCRIPTOR);
    if ctx.globals.dry_run {
        println!("write {}", path.display());
        return Ok(());
    }
    write_atomically(&path, descriptor.as_bytes())?;
    println!("made: {}", path.display());
    Ok(())
}
