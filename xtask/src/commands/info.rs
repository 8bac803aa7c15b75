//! Verbs that only tell: versions and knobs.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use clap::ArgMatches;
use common::{artifact::link_atomically, display::short};
use std::path::Path;

/// `version`.
pub fn version(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    println!("{}", ctx.tree()?.version());
    Ok(())
}

/// `kernel-tag`: the package's, in a tree that has one.
pub fn kernel_tag(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    let tree = ctx.tree()?;
    let tag = tree.kernel_tag().unwrap_or_else(|| tree.package_reference("kernel"))?;
    println!("{tag}");
    Ok(())
}

/// `currentversion`: what `current` points to now, whatever a new build would be.
pub fn current_version(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    let path = ctx.dist().current(ctx.knobs.arch).part("eve_version");
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!("nothing has been built for {}: `{}` is missing\nhint: cargo xtask live", ctx.knobs.arch, path.display())
    })?;
    print!("{text}");
    Ok(())
}

/// `current`.
pub fn current(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    let tree = ctx.tree()?;
    let link = ctx.dist().current_link(ctx.knobs.arch);
    if ctx.globals.dry_run {
        println!("link {} to {}", short(&link, &ctx.root), tree.version());
        return Ok(());
    }
    std::fs::create_dir_all(ctx.layout(&tree).path())?;
    link_atomically(&link, Path::new(tree.version()))
}

/// `summary`.
pub fn summary(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    let tree = ctx.tree()?;
    if ctx.globals.json {
        let knobs: Vec<_> =
            ctx.knobs.shown().map(|(name, value, source)| serde_json::json!({"name": name, "value": value, "source": source})).collect();
        let value = serde_json::json!({
            "tree": ctx.profile.tree.name, "root": ctx.root, "version": tree.version(), "engine": ctx.engine.as_str(), "knobs": knobs,
        });
        println!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(());
    }
    println!("{:<24} {}", "tree", ctx.root.display());
    println!("{:<24} {}", "version", tree.version());
    println!("{:<24} {}", "engine", ctx.engine.as_str());
    for (name, value, source) in ctx.knobs.shown() {
        println!("{name:<24} {:<24} ({source})", if value.is_empty() { "-" } else { value });
    }
    Ok(())
}
