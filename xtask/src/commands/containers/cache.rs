//! Export images from linuxkit's cache to files and to docker.

use super::{super::build, run_all};
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{docker, linuxkit::Linuxkit};
use common::{artifact::Pending, error::usage};
use knobs::ExportKnobs;
use oci::Cache;
use plan::{Goal, PackageWork};
use std::{io::BufWriter, path::Path};

fn linuxkit(ctx: &Ctx) -> Linuxkit {
    Linuxkit::new(&ctx.tools, linuxkit::settings(&ctx.profile, &ctx.knobs))
}

/// `cache-export IMAGE=… OUTFILE=… [IMAGE_NAME=…]`.
pub fn export(ctx: &Ctx, ExportKnobs { image, outfile, image_name }: ExportKnobs) -> Result<()> {
    let missing = |name: &str| usage(format!("{name} is not set\nhint: cache-export IMAGE=lfedge/eve-grub:TAG OUTFILE=grub.tar"));
    let (image, out) = (image.ok_or_else(|| missing("IMAGE"))?, outfile.ok_or_else(|| missing("OUTFILE"))?);
    let out = std::path::absolute(&out).with_context(|| format!("OUTFILE={}", out.display()))?;
    export_to(ctx, &image, image_name.as_deref(), &out)
}

fn export_to(ctx: &Ctx, image: &str, name: Option<&str>, out: &Path) -> Result<()> {
    if ctx.capabilities().linuxkit_keeps_images() {
        let short = out.strip_prefix(&ctx.root).unwrap_or(out);
        return run_all(ctx, [linuxkit(ctx).export_command(image, name, short)?.dir(&ctx.root)]);
    }
    if name.is_some() {
        bail!("the native engine cannot rename an image that it exports\nhint: omit IMAGE_NAME, or give --engine linuxkit");
    }
    if ctx.globals.dry_run {
        println!("export {image} to {}", out.display());
        return Ok(());
    }
    let cache = Cache::open(&ctx.environment.linuxkit_cache())?;
    let pending = Pending::new(out)?;
    cache.export_docker_archive(image, ctx.knobs.image.arch.as_str(), BufWriter::new(pending.create()?))?;
    pending.commit()
}

/// The images to load.
#[derive(clap::Args)]
pub struct Load {
    /// packages of the tree [default: the image of IMAGE=…]
    #[arg(value_name = "PACKAGE")]
    packages: Vec<String>,
    #[command(flatten)]
    knobs: ExportKnobs,
}

/// `cache-export-docker-load`.
pub fn load(ctx: &Ctx, Load { packages, knobs }: Load) -> Result<()> {
    if packages.is_empty() {
        let hint = "cache-export-docker-load PACKAGE, or IMAGE=lfedge/eve-grub:TAG";
        let image = knobs.image.ok_or_else(|| usage(format!("neither a package nor IMAGE is given\nhint: {hint}")))?;
        return load_image(ctx, &image);
    }
    load_packages(ctx, packages)
}

/// `cache-export-docker-load-all`.
pub fn load_all(ctx: &Ctx) -> Result<()> {
    let sets = &ctx.profile.packages;
    let names = if sets.docker_load.is_empty() { &sets.tool_images } else { &sets.docker_load };
    load_packages(ctx, names.clone())
}

/// Builds the packages and loads their images into docker, and where the tree orders its packages also those that they start from, if they
/// are in the cache: what a package that exists starts from is not built. Where the tree's Makefile builds nothing first, images that are
/// not in the cache are left out and printed.
fn load_packages(ctx: &Ctx, asked: Vec<String>) -> Result<()> {
    let tree = ctx.tree()?;
    let mut names = asked.clone();
    let builds = !ctx.profile.packages.load_without_build;
    if builds {
        let goal = Goal::Packages(asked.clone(), PackageWork::Build);
        if ctx.profile.packages.ordered {
            let plan = build::plan(ctx, &tree, &goal)?;
            names = plan.nodes.iter().filter_map(|node| Some(node.step.package()?.name.clone())).collect();
        }
        build::build_with(ctx, &tree, &goal, false)?;
        if ctx.globals.dry_run {
            names.iter().for_each(|name| println!("load the image of pkg/{name} into docker"));
            return Ok(());
        }
    }
    let by_linuxkit = ctx.capabilities().linuxkit_keeps_images();
    let listed = match by_linuxkit {
        true => linuxkit(ctx).list_cache()?,
        false => Cache::open(&ctx.environment.linuxkit_cache())?.list()?.into_keys().collect::<Vec<_>>().join("\n"),
    };
    for name in &names {
        let reference = tree.package_reference(name)?;
        let full = format!("docker.io/{reference}");
        if listed.split_whitespace().any(|word| word == full || word == reference) {
            load_image(ctx, if by_linuxkit { &full } else { &reference })?;
        } else if builds && !asked.contains(name) {
            eprintln!("note: {full} is not in the cache, so docker does not get it\nhint: cargo xtask pkg {name}");
        } else if builds {
            bail!("the image {full} is not in the cache, although pkg/{name} was built\nhint: cargo xtask pkg {name}");
        } else {
            println!("Missing image {full} in cache");
        }
    }
    Ok(())
}

fn load_image(ctx: &Ctx, image: &str) -> Result<()> {
    let file = tempfile::Builder::new().prefix(".tmp").tempfile().context("cannot make a temporary file")?;
    export_to(ctx, image, None, file.path())?;
    run_all(ctx, [docker::load_command(&ctx.tools, image, file.path())?])
}

/// The archive of an image in the folder of a package.
#[derive(clap::Args)]
pub struct PackageArchive {
    /// the package that contains it: a folder below pkg/
    #[arg(value_name = "PACKAGE")]
    name: String,
    /// the archive's name
    file: String,
}

/// `pkg-archive`.
pub fn write_archive(ctx: &Ctx, PackageArchive { name, file }: PackageArchive) -> Result<()> {
    let archives = || ctx.profile.packages.archives_in(&name);
    let Some((_, inner)) = archives().find(|(known, _)| *known == file) else {
        let known = archives().map(|(file, _)| file).collect::<Vec<_>>().join(", ");
        let hint = if known.is_empty() { "[packages.archives] of the profile names none".to_owned() } else { format!("it has {known}") };
        return Err(usage(format!("pkg/{name} contains no archive {file} of an image\nhint: {hint}")));
    };
    let tree = ctx.tree()?;
    build::build_with(ctx, &tree, &Goal::Packages(vec![inner.to_owned()], PackageWork::Build), false)?;
    let image = oci::expand_reference(&tree.package_reference(inner)?);
    export_to(ctx, &image, None, &ctx.profile.packages.folder.join(&name).join(&file))
}
