//! `makeflash` and `makeverification`: make a disk from the parts in a folder.

use super::{asked::Asked, folder, required};
use crate::commands::paths::absolute_path;
use anyhow::Result;
use checkout::context::Ctx;
use common::error::usage;
use diskimage::eve::{INSTALLED, Kind};
use plan::{DiskKind, steps::MakeDisk};
use std::path::{Path, PathBuf};

const USAGE: &str = "makeflash [-C MIB] PARTS OUT [PARTITION…], for example: cargo xtask makeflash -C 350 dist/amd64/current/installer live.raw efi conf imga";

/// The arguments of both verbs.
#[derive(clap::Args)]
pub struct DiskArguments {
    /// the size of a new disk [default: OUT must exist and keeps its size]
    #[arg(short = 'C', value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    mebibytes: Option<u64>,
    /// a folder with rootfs.img, config.img, persist.img and the other parts of the partitions
    parts: Option<PathBuf>,
    /// the disk to write
    #[arg(value_parser = absolute_path)]
    out: Option<PathBuf>,
    /// efi, imga, imgb, conf, persist, conf_win, installer, verification, inventory_win …
    #[arg(value_name = "PARTITION")]
    partitions: Vec<String>,
}

/// `makeflash`.
pub fn make_flash(ctx: &Ctx, disk: DiskArguments) -> Result<()> {
    make(ctx, disk, USAGE, "mkimage-raw-efi")
}

/// `makeverification`.
pub fn make_verification(ctx: &Ctx, disk: DiskArguments) -> Result<()> {
    make(ctx, disk, &USAGE.replace("makeflash", "makeverification"), "mkverification-raw-efi")
}

fn make(ctx: &Ctx, arguments: DiskArguments, help: &str, tool: &str) -> Result<()> {
    let DiskArguments { mebibytes, parts, out, partitions: mut words } = arguments;
    let parts = folder(&required(parts, help)?, help)?;
    let out = required(out, help)?;
    let bytes = match mebibytes {
        Some(mebibytes) => mebibytes << 20,
        None => present_size(&out, help)?,
    };
    let kind = kind(&words, !ctx.capabilities().tools_run_in_containers)?;
    let mut asked = Asked::new(ctx)?;
    let tool = asked.tool(tool)?;
    if words.is_empty() && tool.is_none() {
        words = INSTALLED.iter().map(|kind| kind.word().to_owned()).collect();
    }
    let step = MakeDisk {
        kind,
        parts,
        root: None,
        words,
        bytes,
        keep: mebibytes.is_none(),
        grows: false,
        platform: None,
        board: None,
        epoch: asked.epoch(),
        qcow2: None,
        out: out.clone(),
        tool,
    };
    asked.add(if kind == DiskKind::Verification { "verification disk" } else { "disk" }, step, &out);
    asked.make(&out)
}

/// The purpose of a disk with these partitions, which decides how much of the folder goes onto it. With `strict`, fails on partitions
/// that we do not know; another tree's tool image may know them.
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

/// The size in bytes of an existing disk.
pub(super) fn present_size(out: &Path, help: &str) -> Result<u64> {
    match out.metadata() {
        Ok(metadata) if metadata.is_file() && metadata.len() > 0 => Ok(metadata.len()),
        Ok(metadata) if !metadata.is_file() => Err(usage(format!("`{}` is not a regular file", out.display()))),
        _ => Err(usage(format!("`{}` does not exist: give its size, -C MIB\nhint: usage: {help}", out.display()))),
    }
}
