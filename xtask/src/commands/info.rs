//! Verbs that print versions and knobs, and `current`, which sets the link to a version.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::{artifact::link_atomically, display::short};
use knobs::MoreKnobs;
use std::path::Path;

/// `version`: prints the version that a build would have now.
pub fn print_version(ctx: &Ctx) -> Result<()> {
    println!("{}", ctx.tree()?.version());
    Ok(())
}

/// `kernel-tag`: prints the image of the kernel that the profile pins, else that of the package `kernel`.
pub fn print_kernel_tag(ctx: &Ctx) -> Result<()> {
    let tree = ctx.tree()?;
    println!("{}", tree.kernel_tag().unwrap_or_else(|| tree.package_reference("kernel"))?);
    Ok(())
}

/// `currentversion`: prints the version of the last build, which may differ from that of the next.
pub fn print_current_version(ctx: &Ctx) -> Result<()> {
    let path = ctx.dist().current(ctx.knobs.image.arch).part("eve_version");
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!("nothing has been built for {}: `{}` is missing\nhint: cargo xtask live", ctx.knobs.image.arch, path.display())
    })?;
    print!("{text}");
    Ok(())
}

/// `current`: points the link `current` at this version.
pub fn link_current(ctx: &Ctx) -> Result<()> {
    let tree = ctx.tree()?;
    let link = ctx.dist().current_link(ctx.knobs.image.arch);
    if ctx.globals.dry_run {
        println!("link {} to {}", short(&link, &ctx.root), tree.version());
        return Ok(());
    }
    std::fs::create_dir_all(ctx.layout(&tree).path())?;
    link_atomically(&link, Path::new(tree.version()))
}

/// The knobs that only some verbs use, so that `summary` takes them too.
#[derive(clap::Args)]
pub struct Summary {
    #[command(flatten)]
    _knobs: MoreKnobs,
}

/// `summary`.
pub fn print_summary(ctx: &Ctx, _: Summary) -> Result<()> {
    let tree = ctx.tree()?;
    let shown = knobs::all().iter().filter_map(|knob| ctx.knobs.origins.iter().find(|origin| origin.name == knob.name));
    if ctx.globals.json {
        let knobs: Vec<_> = shown.map(|knob| serde_json::json!({"name": knob.name, "value": knob.value, "source": knob.source})).collect();
        let value = serde_json::json!({
            "tree": ctx.profile.tree.name, "root": ctx.root, "version": tree.version(), "engine": ctx.engine.as_str(), "knobs": knobs,
        });
        println!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(());
    }
    println!("{:<24} {}", "tree", ctx.root.display());
    println!("{:<24} {}", "version", tree.version());
    println!("{:<24} {}", "engine", ctx.engine.as_str());
    for knob in shown {
        println!("{:<24} {:<24} ({})", knob.name, if knob.value.is_empty() { "-" } else { &knob.value }, knob.source);
    }
    Ok(())
}
