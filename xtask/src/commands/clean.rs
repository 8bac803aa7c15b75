//! `clean`: removes what builds have made in the tree. Caches that trees share stay.

use crate::{context::Ctx, execute};
use anyhow::{Context as _, Result};
use clap::ArgMatches;

/// `clean`.
pub fn run(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    let dist = ctx.dist();
    if !dist.exists() {
        return Ok(());
    }
    if ctx.globals.dry_run {
        println!("remove {}", dist.display());
        return Ok(());
    }
    let _lock = execute::lock_tree(&dist)?;
    std::fs::remove_dir_all(&dist).with_context(|| format!("cannot remove `{}`", dist.display()))
}
