//! Where the bill of materials and the collected sources are, or will be.

use anyhow::Result;
use checkout::{Checkout, context::Ctx};
use clap::ArgMatches;
use std::path::PathBuf;

/// `dist/<arch>/<version>/collected_sources.tar.gz`.
pub fn collected_sources_path(ctx: &Ctx, tree: &Checkout) -> PathBuf {
    ctx.layout(tree).collected_sources()
}

/// `collected_sources_info`.
pub fn collected_sources(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    println!("{}", collected_sources_path(ctx, &ctx.tree()?).display());
    Ok(())
}

/// `sbom_info`.
pub fn sbom(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    let path = match ctx.knobs.optional("SBOM") {
        Some(path) => ctx.root.join(path),
        None => {
            let platform = ctx.capabilities().platform_suffix(&ctx.knobs.platform);
            ctx.layout(&ctx.tree()?).sbom(&platform)
        }
    };
    println!("{}", path.display());
    Ok(())
}
