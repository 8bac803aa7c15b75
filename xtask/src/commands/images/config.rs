//! `makeconfig OUT VERSION FILE…`: makes config.img from files.

use super::{asked::Asked, required};
use crate::commands::paths::absolute_path;
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::error::usage;
use diskimage::recipes;
use plan::steps;
use std::path::PathBuf;

const USAGE: &str = "makeconfig OUT VERSION FILE…, for example: cargo xtask makeconfig config.img 0.0.0-test conf/*";

/// The image and its content.
#[derive(clap::Args)]
pub struct MakeConfig {
    /// the image to write
    #[arg(value_parser = absolute_path)]
    out: Option<PathBuf>,
    /// the version to write into the configuration
    version: Option<String>,
    /// files and folders; if one folder contains all of them, names start below it
    #[arg(value_name = "FILE")]
    files: Vec<String>,
}

/// `makeconfig`.
pub fn run(ctx: &Ctx, MakeConfig { out, version, files }: MakeConfig) -> Result<()> {
    let (out, version) = (required(out, USAGE)?, required(version, USAGE)?);
    let files = required(Some(files).filter(|files| !files.is_empty()), USAGE)?;
    let here = std::env::current_dir().context("there is no current folder")?;
    if let Some(missing) = files.iter().find(|file| !here.join(file).exists()) {
        return Err(usage(format!("there is no `{missing}`\nhint: usage: {USAGE}")));
    }
    let mut asked = Asked::new(ctx)?;
    let epoch = asked.epoch();
    let origin = recipes::origin_name(epoch, &version)?;
    let step = steps::MakeConfig { conf_dir: here, files, version, origin, epoch, out: out.clone(), tool: asked.tool("mkconf")? };
    asked.add("config.img", step, &out);
    asked.make(&out)
}
