//! Where the bill of materials and the collected sources are, or will be.

use anyhow::Result;
use checkout::{Checkout, context::Ctx};
use clap::ArgMatches;
use std::path::PathBuf;

/// `dist/<arch>/<version>/collected_sources.tar.gz`.
pub fn collected_sources_path(ctx: &Ctx, tree: &Checkout) -> PathBuf {
    ctx.dist().join(ctx.knobs.arch.as_str()).join(tree.version()).join("collected_sources.tar.gz")
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
            let platform = if ctx.profile.tree.platforms { format!("-{}", ctx.knobs.platform) } else { String::new() };
            let name = format!("installer/rootfs{platform}.spdx.json");
            ctx.dist().join(ctx.knobs.arch.as_str()).join(ctx.tree()?.version()).join(name)
        }
    };
    println!("{}", path.display());
    Ok(())
}
