//! `makeflash` and `makeverification`: the parts in a folder to a disk.

use super::{asked::Asked, folder, needed, needed_path, option, word};
use anyhow::Result;
use checkout::context::Ctx;
use clap::{ArgMatches, Command};
use common::error::usage;
use diskimage::eve::{INSTALLED, Kind};
use plan::{DiskKind, steps::MakeDisk};
use std::path::Path;

const USAGE: &str = "makeflash [-C MIB] PARTS OUT [PARTITION…], for example: cargo xtask makeflash -C 350 dist/amd64/current/installer live.raw efi conf imga";

/// The arguments of both.
pub fn arguments(command: Command) -> Command {
    command
        .arg(option("C", "MIB", "the size of a new disk; without it OUT must be there, and keeps its size"))
        .arg(word("parts", "PARTS", "a folder with rootfs.img, config.img, persist.img and what else the partitions hold"))
        .arg(word("out", "OUT", "the disk to write"))
        .arg(
            word("partitions", "PARTITION", "efi, imga, imgb, conf, persist, conf_win, installer, verification, inventory_win …")
                .num_args(0..),
        )
}

/// `makeflash`.
pub fn make_flash(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    make(ctx, arguments, USAGE, "mkimage-raw-efi")
}

/// `makeverification`.
pub fn make_verification(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    make(ctx, arguments, &USAGE.replace("makeflash", "makeverification"), "mkverification-raw-efi")
}

fn make(ctx: &Ctx, arguments: &ArgMatches, help: &str, tool: &str) -> Result<()> {
    let parts = folder(needed(arguments, "parts", help)?, help)?;
    let out = needed_path(arguments, "out", help)?;
    let bytes = disk_size(arguments.get_one::<String>("C").map(String::as_str), &out, help)?;
    let mut words: Vec<String> = arguments.get_many::<String>("partitions").into_iter().flatten().cloned().collect();
    let kind = kind(&words, !ctx.capabilities().tools_run_in_containers)?;
    let mut asked = Asked::new(ctx)?;
    let tool = asked.tool(tool)?;
    if words.is_empty() && tool.is_none() {
        words = INSTALLED.iter().map(|kind| kind.word().to_owned()).collect();
    }
    let keep = !arguments.contains_id("C");
    let step = MakeDisk {
        kind,
        parts,
        words,
        bytes,
        keep,
        grows: false,
        platform: None,
        board: None,
        epoch: asked.epoch(),
        out: out.clone(),
        tool,
    };
    asked.add(if kind == DiskKind::Verification { "verification disk" } else { "disk" }, step, &out);
    asked.make(&out)
}

/// What the disk is for, which says how much of the folder it takes. Another tree's tool image may know more kinds than `strict` takes.
fn kind(words: &[String], strict: bool) -> Result<DiskKind> {
    let mut kinds = Vec::new();
    for word in words.iter().flat_map(|word| word.split_whitespace()) {
        match word.parse::<Kind>() {
            Ok(kind) => kinds.push(kind),
            Err(error) if strict => return Err(usage(format!("{error:#}"))),
            Err(_) => {}
        }
    }
    Ok(if kinds.contains(&Kind::Verification) {
        DiskKind::Verification
    } else if kinds.iter().any(|kind| matches!(kind, Kind::Installer | Kind::UsbConf)) {
        DiskKind::Installer
    } else {
        DiskKind::Live
    })
}

/// The size in bytes: MiB that were asked for, else what the disk has already.
pub(super) fn disk_size(mebibytes: Option<&str>, out: &Path, help: &str) -> Result<u64> {
    if let Some(text) = mebibytes {
        let number = text.parse::<u64>().ok().filter(|number| (1..=1 << 32).contains(number));
        return Ok(number.ok_or_else(|| usage(format!("-C {text} is no number of MiB\nhint: usage: {help}")))? << 20);
    }
    match out.metadata() {
        Ok(metadata) if metadata.is_file() && metadata.len() > 0 => Ok(metadata.len()),
        Ok(metadata) if !metadata.is_file() => Err(usage(format!("`{}` is no file that a disk could be", out.display()))),
        _ => Err(usage(format!("`{}` is not there yet: its size is needed, -C MIB\nhint: usage: {help}", out.display()))),
    }
}
