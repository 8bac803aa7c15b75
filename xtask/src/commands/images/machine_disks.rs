//! Verbs that read files from a machine's disk, and `parallels-disk`, which describes a disk for Parallels.

use super::required;
use crate::commands::paths::absolute_path;
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::Arch;
use diskimage::gpt::Guid;
use helpers::{
    extract::{self, Source},
    parallels_disk,
};
use std::path::PathBuf;

const VERIFICATION: &str = "extract-verification-info DISK, for example: cargo xtask extract-verification-info verification.raw";
const PARALLELS: &str = "parallels-disk LIVE UUID BYTES, for example: cargo xtask parallels-disk dist/amd64/current/live {5fbaabe3-6958-40ff-92a7-860e329aab41} 8589934592";

/// The arguments of `extract-persist`.
#[derive(clap::Args)]
pub struct ExtractPersist {
    /// live, installer (the disk that the installer wrote), or the path of a disk image or device
    #[arg(default_value = "live")]
    disk: String,
    /// the architecture of live or installer [default: ZARCH]
    arch: Option<Arch>,
    /// the archive to write
    #[arg(short = 'o', default_value = "tmp/persist.tgz", value_parser = absolute_path)]
    out: PathBuf,
}

/// `extract-persist`.
pub fn extract_persist(ctx: &Ctx, ExtractPersist { disk, arch, out }: ExtractPersist) -> Result<()> {
    let file = absolute_path(&disk).with_context(|| format!("`{disk}` is no path"))?;
    let disk = if file.exists() && !file.is_dir() { Source::File(file) } else { Source::Built(disk) };
    extract::extract_persist(ctx, &disk, arch.unwrap_or(ctx.knobs.image.arch), &out)
}

/// The argument of `extract-verification-info`.
#[derive(clap::Args)]
pub struct ExtractVerificationInfo {
    /// the disk image or device of a verification
    #[arg(value_parser = absolute_path)]
    disk: Option<PathBuf>,
}

/// `extract-verification-info`.
pub fn extract_verification_info(ctx: &Ctx, ExtractVerificationInfo { disk }: ExtractVerificationInfo) -> Result<()> {
    let disk = required(disk, VERIFICATION)?;
    extract::extract_verification_info(ctx, &disk, &std::env::current_dir().context("there is no current folder")?)
}

/// The arguments of `parallels-disk`.
#[derive(clap::Args)]
pub struct ParallelsDisk {
    /// the bundle's path without .parallels
    #[arg(value_parser = absolute_path)]
    live: Option<PathBuf>,
    /// the UUID of the snapshot, a part of the image's name in the bundle
    #[arg(value_parser = guid)]
    uuid: Option<Guid>,
    /// the disk's size in bytes
    bytes: Option<u64>,
}

/// `parallels-disk`.
pub fn describe_for_parallels(ctx: &Ctx, ParallelsDisk { live, uuid, bytes }: ParallelsDisk) -> Result<()> {
    let (live, uuid) = (required(live, PARALLELS)?, required(uuid, PARALLELS)?);
    parallels_disk::write_descriptor(ctx, &live, uuid, required(bytes, PARALLELS)?)
}

/// A GUID with or without braces; Parallels writes it in braces.
fn guid(text: &str) -> Result<Guid> {
    text.trim_matches(['{', '}']).parse()
}
