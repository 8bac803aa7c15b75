//! `sbom_info` and `collected_sources_info`: where the bill of materials and the collected sources are, or will be.

use anyhow::Result;
use checkout::{Checkout, context::Ctx};
use std::path::PathBuf;

/// `dist/<arch>/<version>/collected_sources.tar.gz`.
#[must_use]
pub fn collected_sources_path(ctx: &Ctx, tree: &Checkout) -> PathBuf {
    ctx.dist().join(ctx.knobs.arch.as_str()).join(tree.version()).join("collected_sources.tar.gz")
}

/// What SBOM names, else `dist/<arch>/<version>/installer/rootfs[-<platform>].spdx.json`.
pub fn sbom_path(ctx: &Ctx) -> Result<PathBuf> {
    Ok(match &ctx.knobs.image.sbom {
        Some(path) => ctx.root.join(path),
        None => {
            let platform = if ctx.profile.tree.platforms { format!("-{}", ctx.knobs.platform) } else { String::new() };
            let name = format!("installer/rootfs{platform}.spdx.json");
            ctx.dist().join(ctx.knobs.arch.as_str()).join(ctx.tree()?.version()).join(name)
        }
    })
}
