//! `run`: boots the last live image in QEMU.

use crate::context::Ctx;
use anyhow::{Result, bail};
use clap::{ArgMatches, Command};

/// Its arguments.
pub fn arguments(command: Command) -> Command {
    command
}

/// `run`.
pub fn run(_: &Ctx, _: &ArgMatches) -> Result<()> {
    bail!("not yet")
}
