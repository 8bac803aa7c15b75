//! `makeconfig OUT VERSION FILE…`: files to config.img.

use super::{asked::Asked, required};
use crate::commands::{Run, paths::absolute_path};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::error::usage;
use diskimage::recipes;
use plan::steps;
use std::path::PathBuf;

const USAGE: &str = "makeconfig OUT VERSION FILE…, for example: cargo xtask makeconfig config.img 0.0.0-test conf/*";

/// make config.img from files
#[derive(clap::Args)]
pub struct MakeConfig {
    /// the image to write
    #[arg(value_parser = absolute_path)]
    out: Option<PathBuf>,
    /// the version to write into the configuration
    version: Option<String>,
    /// files and folders; a folder that contains all of them is left out of their names
    #[arg(value_name = "FILE")]
    files: Vec<String>,
}

impl Run for MakeConfig {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let (out, version) = (required(self.out, USAGE)?, required(self.version, USAGE)?);
        let files = required(Some(self.files).filter(|files| !files.is_empty()), USAGE)?;
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
}
