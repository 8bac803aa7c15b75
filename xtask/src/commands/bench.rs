//! `bench`: how long our work takes, as a ratio against the tools that a person would use instead, in one run.

use crate::{context::Ctx, tools::cargo::Cargo};
use anyhow::Result;
use clap::{ArgMatches, Command};

/// Its arguments.
pub fn arguments(command: Command) -> Command {
    command
}

/// `bench`.
pub fn run(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    Cargo::new(&ctx.tools, &ctx.root)?.run(&["bench", "--workspace"], &[])
}
