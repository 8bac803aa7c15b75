//! `makeconfig OUT VERSION FILE…`: files to config.img.

use super::{asked::Asked, needed, needed_path, word};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use clap::{ArgMatches, Command};
use common::error::usage;
use diskimage::recipes;
use plan::steps::MakeConfig;

const USAGE: &str = "makeconfig OUT VERSION FILE…, for example: cargo xtask makeconfig config.img 0.0.0-test conf/*";

/// Its arguments.
pub fn arguments(command: Command) -> Command {
    command
        .arg(word("out", "OUT", "the image to write"))
        .arg(word("version", "VERSION", "the version that the configuration says it was made for"))
        .arg(word("files", "FILE", "files and folders; a folder that they all lie in is passed through").num_args(0..))
}

/// `makeconfig`.
pub fn run(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let out = needed_path(arguments, "out", USAGE)?;
    let version = needed(arguments, "version", USAGE)?.to_owned();
    needed(arguments, "files", USAGE)?;
    let files: Vec<String> = arguments.get_many::<String>("files").into_iter().flatten().cloned().collect();
    let here = std::env::current_dir().context("there is no current folder")?;
    if let Some(missing) = files.iter().find(|file| !here.join(file).exists()) {
        return Err(usage(format!("there is no `{missing}`\nhint: usage: {USAGE}")));
    }
    let mut asked = Asked::new(ctx)?;
    let epoch = asked.epoch();
    let origin = recipes::origin_name(epoch, &version)?;
    let step = MakeConfig { conf_dir: here, files, version, origin, epoch, out: out.clone(), tool: asked.tool("mkconf")? };
    asked.add("config.img", step, &out);
    asked.make(&out)
}
