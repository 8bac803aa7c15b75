//! `sbom_info` and `collected_sources_info`: where the bill of materials and the collected sources are, or will be.

use anyhow::Result;
use checkout::{Checkout, context::Ctx};
use std::path::PathBuf;

/// `dist/<arch>/<version>/collected_sources.tar.gz`.
#[must_use]
pub fn collected_sources_path(ctx: &Ctx, tree: &Checkout) -> PathBuf {
    ctx.layout(tree).collected_sources()
}

/// What SBOM names, else `dist/<arch>/<version>/installer/rootfs[-<platform>].spdx.json`.
pub fn sbom_path(ctx: &Ctx) -> Result<PathBuf> {
    Ok(match &ctx.knobs.image.sbom {
        Some(path) => ctx.root.join(path),
        None => {
            let platform = ctx.capabilities().platform_suffix(&ctx.knobs.image.platform);
            ctx.layout(&ctx.tree()?).sbom(&platform)
        }
    })
}
