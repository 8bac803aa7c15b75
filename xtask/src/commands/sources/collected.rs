//! Verbs about the archive of all sources of an image: the target `collected_sources`, and what belongs to it.

use crate::commands::{Run, build, paths::absolute_path, paths::output_path};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::{display::short, error::usage};
use helpers::{
    artifact_paths::{collected_sources_path, sbom_path},
    build_tools::ToolSettings,
    sources::{collect, go_modules, manifests},
};
use knobs::{GoKnobs, ToolKnobs};
use plan::{Composed, Goal, NodeId};
use std::path::{Path, PathBuf};

/// collect the sources of what is in the tar of a root file system
#[derive(clap::Args)]
pub struct CollectSources {
    /// the tar of the root file system
    #[arg(value_name = "ROOTFS_TAR", value_parser = absolute_path)]
    rootfs: PathBuf,
    /// the tree that the root file system was built from
    #[arg(value_parser = absolute_path)]
    eve: PathBuf,
    /// the archive to write, `-` for standard output [default: standard output]
    out: Option<PathBuf>,
}

impl Run for CollectSources {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let Self { rootfs, eve, out } = self;
        if eve.canonicalize().ok() != ctx.root.canonicalize().ok() {
            return Err(usage(format!(
                "`{}` is not the tree `{}`\nhint: cargo xtask --root {0} collect-sources …",
                eve.display(),
                ctx.root.display()
            )));
        }
        let out = output_path(&out.unwrap_or_else(|| PathBuf::from("-")))?;
        collect::collect_sources(ctx, &collect::Options { rootfs_tar: rootfs, out })
    }
}

/// `collected_sources`: builds the tar of the root file system, and collects the sources unless their archive is newer than it.
#[derive(clap::Args)]
pub struct CollectedSources {
    #[command(flatten)]
    tools: ToolKnobs,
    #[command(flatten)]
    go: GoKnobs,
}

impl Run for CollectedSources {
    fn run(self, ctx: &Ctx) -> Result<()> {
        build_and_collect(ctx, &ToolSettings { tools: &self.tools, go: &self.go })
    }
}

fn build_and_collect(ctx: &Ctx, settings: &ToolSettings<'_>) -> Result<()> {
    go_modules::check(ctx, settings)?;
    build::build(ctx, &Goal::RootfsTar)?;
    if ctx.globals.dry_run {
        return go_modules::show(ctx, settings);
    }
    let tree = ctx.tree()?;
    let out = collected_sources_path(ctx, &tree);
    let plan = build::plan(ctx, &tree, &Goal::RootfsTar)?;
    let tar = plan.node(&NodeId::Tar(Composed::Rootfs)).and_then(|node| node.outputs.first());
    let rootfs = tar.context("the plan of the root file system makes no tar")?;
    if is_newer(&out, rootfs) {
        println!("up to date: {}", short(&out, &ctx.root));
        return Ok(());
    }
    go_modules::ensure(ctx, settings)?;
    collect::collect_sources(ctx, &collect::Options { rootfs_tar: rootfs.clone(), out: Some(out.clone()) })?;
    println!("made: {}", short(&out, &ctx.root));
    Ok(())
}

fn is_newer(path: &Path, than: &Path) -> bool {
    let time = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    time(path).zip(time(than)).is_some_and(|(path, than)| path >= than)
}

/// write the manifest of collected sources from the names of their files
#[derive(clap::Args)]
pub struct GenerateSourcesManifests {
    /// the folder with alpine/, go/ (or golang/) and kernel/
    #[arg(value_name = "DIR", value_parser = absolute_path)]
    folder: PathBuf,
}

impl Run for GenerateSourcesManifests {
    fn run(self, ctx: &Ctx) -> Result<()> {
        manifests::write_manifest(ctx, &manifests::Options { folder: self.folder })
    }
}

/// `collected_sources_info`.
pub fn collected_sources_info(ctx: &Ctx) -> Result<()> {
    println!("{}", collected_sources_path(ctx, &ctx.tree()?).display());
    Ok(())
}

/// `sbom_info`.
pub fn sbom_info(ctx: &Ctx) -> Result<()> {
    println!("{}", sbom_path(ctx)?.display());
    Ok(())
}
