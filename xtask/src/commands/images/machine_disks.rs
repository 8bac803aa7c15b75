//! Verbs that read what a machine left on its disk, and that describe a disk for Parallels.

use super::required;
use crate::commands::Run;
use crate::commands::paths::absolute_path;
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::Arch;
use diskimage::gpt::Guid;
use helpers::{
    extract::{self, PersistOptions, Source, VerificationOptions},
    parallels_disk,
};
use std::path::PathBuf;

const VERIFICATION: &str = "extract-verification-info DISK, for example: cargo xtask extract-verification-info verification.raw";
const PARALLELS: &str = "parallels-disk LIVE UUID BYTES, for example: cargo xtask parallels-disk dist/amd64/current/live {5fbaabe3-6958-40ff-92a7-860e329aab41} 8589934592";

/// take /persist out of a disk, without mounting it
#[derive(clap::Args)]
pub struct ExtractPersist {
    /// live, installer (the disk that it installed on), or a disk image or device
    #[arg(default_value = "live")]
    disk: String,
    /// the architecture whose live or installer is meant [default: ZARCH]
    arch: Option<Arch>,
    /// the archive to write
    #[arg(short = 'o', default_value = "tmp/persist.tgz", value_parser = absolute_path)]
    out: PathBuf,
}

impl Run for ExtractPersist {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let file = absolute_path(&self.disk).with_context(|| format!("`{}` is no path", self.disk))?;
        let disk = if file.exists() && !file.is_dir() { Source::File(file) } else { Source::Built(self.disk) };
        extract::extract_persist(ctx, &PersistOptions { disk, arch: self.arch.unwrap_or(ctx.knobs.image.arch), out: self.out })
    }
}

/// print and save the summaries on the disk of a verification
#[derive(clap::Args)]
pub struct ExtractVerificationInfo {
    /// the disk image or device that a machine was verified with
    #[arg(value_parser = absolute_path)]
    disk: Option<PathBuf>,
}

impl Run for ExtractVerificationInfo {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let disk = required(self.disk, VERIFICATION)?;
        let out = std::env::current_dir().context("there is no current folder")?;
        extract::extract_verification_info(ctx, &VerificationOptions { disk, out })
    }
}

/// write the description of a disk in its Parallels bundle
#[derive(clap::Args)]
pub struct ParallelsDisk {
    /// the bundle's path without its ending: LIVE.parallels/DiskDescriptor.xml is written
    #[arg(value_parser = absolute_path)]
    live: Option<PathBuf>,
    /// the identity of the snapshot, which is part of the name of the image in the bundle
    #[arg(value_parser = guid)]
    uuid: Option<Guid>,
    /// the disk's size
    bytes: Option<u64>,
}

impl Run for ParallelsDisk {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let (live, uuid) = (required(self.live, PARALLELS)?, required(self.uuid, PARALLELS)?);
        parallels_disk::write_descriptor(ctx, &parallels_disk::Options { live, uuid, bytes: required(self.bytes, PARALLELS)? })
    }
}

/// A GUID, which Parallels writes in braces.
fn guid(text: &str) -> Result<Guid> {
    text.trim_matches(['{', '}']).parse()
}
