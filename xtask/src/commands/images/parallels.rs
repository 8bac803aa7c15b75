//! `parallels-disk LIVE UUID BYTES`: the description of a disk in its Parallels bundle.

use super::{needed, needed_path, word};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use clap::{ArgMatches, Command};
use common::{artifact::write_atomically, error::usage};
use diskimage::{gpt::Guid, parallels};
use std::path::PathBuf;

const USAGE: &str = "parallels-disk LIVE UUID BYTES, for example: cargo xtask parallels-disk dist/amd64/current/live {5fbaabe3-6958-40ff-92a7-860e329aab41} 8589934592";

/// Its arguments.
pub fn arguments(command: Command) -> Command {
    command
        .arg(word("live", "LIVE", "the bundle without its ending: LIVE.parallels/DiskDescriptor.xml is written"))
        .arg(word("uuid", "UUID", "the identity of the snapshot, which is in the name of the image in the bundle"))
        .arg(word("bytes", "BYTES", "the disk's size"))
}

/// `parallels-disk`.
pub fn run(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let live = needed_path(arguments, "live", USAGE)?;
    let text = needed(arguments, "uuid", USAGE)?;
    let uuid: Guid = text.trim_matches(['{', '}']).parse().map_err(|error| usage(format!("{error:#}\nhint: usage: {USAGE}")))?;
    let text = needed(arguments, "bytes", USAGE)?;
    let bytes = text.parse().map_err(|_| usage(format!("`{text}` is no number of bytes\nhint: usage: {USAGE}")))?;
    let stem = live.file_name().and_then(|name| name.to_str()).context("LIVE has a name")?;
    let descriptor = parallels::descriptor_of(stem, bytes, uuid, uuid)?;
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
