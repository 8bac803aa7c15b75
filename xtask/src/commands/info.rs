//! Verbs that only tell: versions and knobs.

use super::Run;
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::{artifact::link_atomically, display::short};
use knobs::MoreKnobs;
use std::path::Path;

/// Prints the version that a build has now.
#[derive(clap::Args)]
pub struct Version {}

impl Run for Version {
    fn run(self, ctx: &Ctx) -> Result<()> {
        println!("{}", ctx.tree()?.version());
        Ok(())
    }
}

/// Prints the image of the kernel: the package's, in a tree that has one.
#[derive(clap::Args)]
pub struct KernelTag {}

impl Run for KernelTag {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let tree = ctx.tree()?;
        let tag = tree.kernel_tag().unwrap_or_else(|| tree.package_reference("kernel"))?;
        println!("{tag}");
        Ok(())
    }
}

/// Prints the version that `current` points to, whatever a new build would have.
#[derive(clap::Args)]
pub struct CurrentVersion {}

impl Run for CurrentVersion {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let path = ctx.dist().current(ctx.knobs.image.arch).part("eve_version");
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!("nothing has been built for {}: `{}` is missing\nhint: cargo xtask live", ctx.knobs.image.arch, path.display())
        })?;
        print!("{text}");
        Ok(())
    }
}

/// Points `current` at this version.
#[derive(clap::Args)]
pub struct Current {}

impl Run for Current {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let tree = ctx.tree()?;
        let link = ctx.dist().current_link(ctx.knobs.image.arch);
        if ctx.globals.dry_run {
            println!("link {} to {}", short(&link, &ctx.root), tree.version());
            return Ok(());
        }
        std::fs::create_dir_all(ctx.layout(&tree).path())?;
        link_atomically(&link, Path::new(tree.version()))
    }
}

/// Prints every knob, its value, and where that came from.
#[derive(clap::Args)]
pub struct Summary {
    #[command(flatten)]
    knobs: MoreKnobs,
}

impl Run for Summary {
    fn run(self, ctx: &Ctx) -> Result<()> {
        drop(self.knobs);
        let tree = ctx.tree()?;
        let shown = knobs::all().iter().filter_map(|knob| ctx.knobs.origins.iter().find(|origin| origin.name == knob.name));
        if ctx.globals.json {
            let knobs: Vec<_> =
                shown.map(|knob| serde_json::json!({"name": knob.name, "value": knob.value, "source": knob.source})).collect();
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
}
