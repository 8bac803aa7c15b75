//! Verbs about the archive of all sources of an image: `collected_sources`, and the verbs for its parts.

use crate::commands::{build, containers::build_tools::GoSourcesOptions, paths::absolute_path, paths::output_path};
use anyhow::{Context as _, Result};
use checkout::{Checkout, context::Ctx};
use common::{display::short, error::usage};
use helpers::sources::{collect, debian, go_modules, manifests};
use plan::{Composed, Goal, NodeId};
use std::path::{Path, PathBuf};

/// The arguments of `collect-sources`.
#[derive(clap::Args)]
pub struct CollectSources {
    /// the tar of the root file system
    #[arg(value_name = "ROOTFS_TAR", value_parser = absolute_path)]
    rootfs: PathBuf,
    /// the tree from which the root file system was built
    #[arg(value_parser = absolute_path)]
    eve: PathBuf,
    /// the archive to write, `-` for standard output [default: -]
    out: Option<PathBuf>,
}

/// `collect-sources`.
pub fn collect_sources(ctx: &Ctx, CollectSources { rootfs, eve, out }: CollectSources) -> Result<()> {
    if eve.canonicalize().ok() != ctx.root.canonicalize().ok() {
        return Err(usage(format!(
            "`{}` is not the tree `{}`\nhint: cargo xtask --root {0} collect-sources …",
            eve.display(),
            ctx.root.display()
        )));
    }
    let out = output_path(&out.unwrap_or_else(|| PathBuf::from("-")))?;
    if archive_of_debian(ctx).is_some() && !ctx.globals.dry_run {
        return debian::collect_debian(ctx, &rootfs, out.as_deref());
    }
    collect::collect_sources(ctx, &rootfs, out.as_deref())
}

/// The package with Debian's packages, of a tree that is made of them.
fn archive_of_debian(ctx: &Ctx) -> Option<&str> {
    ctx.profile.packages.archive.as_deref().filter(|_| !ctx.capabilities().packages_are_published)
}

/// `collected_sources`: builds the tar of the root file system, then collects the sources unless their archive is newer than the tar.
pub fn build_and_collect(ctx: &Ctx, options: GoSourcesOptions) -> Result<()> {
    if let Some(archive) = archive_of_debian(ctx) {
        return build_and_collect_debian(ctx, archive);
    }
    let settings = &options.settings();
    go_modules::check(ctx, settings)?;
    build::build(ctx, &Goal::RootfsTar)?;
    if ctx.globals.dry_run {
        return go_modules::show(ctx, settings);
    }
    let tree = ctx.tree()?;
    let out = place(ctx, &tree);
    let plan = build::plan(ctx, &tree, &Goal::RootfsTar)?;
    let tar = plan.node(&NodeId::Tar(Composed::Rootfs)).and_then(|node| node.outputs.first());
    let rootfs = tar.context("the plan of the root file system makes no tar")?;
    if is_newer(&out, rootfs) {
        println!("up to date: {}", short(&out, &ctx.root));
        return Ok(());
    }
    go_modules::ensure(ctx, settings)?;
    collect::collect_sources(ctx, rootfs, Some(&out))?;
    println!("made: {}", short(&out, &ctx.root));
    Ok(())
}

/// `collected_sources` of a tree whose packages are made of Debian's.
fn build_and_collect_debian(ctx: &Ctx, archive: &str) -> Result<()> {
    build::build(ctx, &Goal::RootfsTar)?;
    let tree = ctx.tree()?;
    let out = place(ctx, &tree);
    if ctx.globals.dry_run {
        println!("fetch the sources of the packages of pkg/{archive} in it, and pack them: {}", short(&out, &ctx.root));
        return Ok(());
    }
    let plan = build::plan(ctx, &tree, &Goal::RootfsTar)?;
    let tar = plan.node(&NodeId::Tar(Composed::Rootfs)).and_then(|node| node.outputs.first());
    let rootfs = tar.context("the plan of the root file system makes no tar")?;
    debian::collect_debian(ctx, rootfs, Some(&out))?;
    println!("made: {}", short(&out, &ctx.root));
    Ok(())
}

/// The archive's place, which differs between trees.
pub fn place(ctx: &Ctx, tree: &Checkout) -> PathBuf {
    let path = ctx.layout(tree).collected_sources();
    match (&ctx.profile.tree.sources_folder, path.parent(), path.file_name()) {
        (Some(folder), Some(parent), Some(name)) => parent.join(folder).join(name),
        _ => path,
    }
}

fn is_newer(path: &Path, than: &Path) -> bool {
    let time = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    time(path).zip(time(than)).is_some_and(|(path, than)| path >= than)
}

/// The argument of `generate-sources-manifests`.
#[derive(clap::Args)]
pub struct GenerateSourcesManifests {
    /// the folder with alpine/, go/ (or golang/) and kernel/
    #[arg(value_name = "DIR", value_parser = absolute_path)]
    folder: PathBuf,
}

/// `generate-sources-manifests`.
pub fn generate_manifest(ctx: &Ctx, arguments: GenerateSourcesManifests) -> Result<()> {
    manifests::write_manifest(ctx, &arguments.folder)
}

/// `collected_sources_info`.
pub fn collected_sources_info(ctx: &Ctx) -> Result<()> {
    println!("{}", place(ctx, &ctx.tree()?).display());
    Ok(())
}

/// `sbom_info`.
pub fn sbom_info(ctx: &Ctx) -> Result<()> {
    println!("{}", sbom_path(ctx)?.display());
    Ok(())
}

/// The bill of materials: SBOM, else `dist/<arch>/<version>/installer/rootfs[-<platform>].spdx.json`.
pub fn sbom_path(ctx: &Ctx) -> Result<PathBuf> {
    let platform = ctx.capabilities().platform_suffix(&ctx.knobs.image.platform);
    Ok(match &ctx.knobs.image.sbom {
        Some(path) => ctx.root.join(path),
        None => ctx.layout(&ctx.tree()?).sbom(&platform),
    })
}
