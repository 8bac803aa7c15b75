//! `parallels-disk`: writes the description of a disk into its Parallels bundle.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::artifact::write_atomically;
use diskimage::{gpt::Guid, parallels};
use std::path::PathBuf;

/// Which disk to describe.
pub struct Options {
    /// The bundle's path without `.parallels`.
    pub live: PathBuf,
    /// The identity of the snapshot, which is part of the name of the image in the bundle.
    pub uuid: Guid,
    /// The disk's size in bytes.
    pub bytes: u64,
}

/// Writes `LIVE.parallels/DiskDescriptor.xml`.
pub fn write_descriptor(ctx: &Ctx, options: &Options) -> Result<()> {
    let Options { live, uuid, bytes } = options;
    let stem = live.file_name().and_then(|name| name.to_str()).context("LIVE has a name")?;
    let descriptor = parallels::descriptor_of(stem, *bytes, *uuid, *uuid)?;
    let mut bundle = live.clone().into_os_string();
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
