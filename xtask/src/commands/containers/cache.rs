//! Images of linuxkit's cache as files, and in docker.

use super::run_all;
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{docker, linuxkit::Linuxkit};
use clap::{Arg, ArgMatches, Command};
use common::{artifact::Pending, error::usage};
use oci::Cache;
use std::{io::BufWriter, path::Path};

fn linuxkit(ctx: &Ctx) -> Linuxkit {
    Linuxkit::new(&ctx.tools, linuxkit::settings(&ctx.profile, &ctx.knobs))
}

/// `cache-export IMAGE=… OUTFILE=… [IMAGE_NAME=…]`.
pub fn export(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    let missing = |name: &str| usage(format!("{name} is not set\nhint: cache-export IMAGE=lfedge/eve-grub:TAG OUTFILE=grub.tar"));
    let image = ctx.knobs.optional("IMAGE").ok_or_else(|| missing("IMAGE"))?;
    let out = ctx.knobs.optional("OUTFILE").ok_or_else(|| missing("OUTFILE"))?;
    let out = std::path::absolute(out).with_context(|| format!("OUTFILE={out}"))?;
    export_to(ctx, image, ctx.knobs.optional("IMAGE_NAME"), &out)
}

fn export_to(ctx: &Ctx, image: &str, name: Option<&str>, out: &Path) -> Result<()> {
    if ctx.capabilities().linuxkit_keeps_images() {
        return run_all(ctx, [linuxkit(ctx).export_command(image, name, out)?]);
    }
    if name.is_some() {
        bail!("the native engine exports an image under its own name\nhint: leave IMAGE_NAME away, or give --engine linuxkit");
    }
    if ctx.globals.dry_run {
        println!("export {image} to {}", out.display());
        return Ok(());
    }
    let cache = Cache::open(&ctx.environment.linuxkit_cache())?;
    let pending = Pending::new(out)?;
    cache.export_docker_archive(image, ctx.knobs.arch.as_str(), BufWriter::new(pending.create()?))?;
    pending.commit()
}

/// `cache-export-docker-load [PACKAGE…]`.
pub fn load_arguments(command: Command) -> Command {
    command.arg(Arg::new("name").value_name("PACKAGE").num_args(0..).help("packages of the tree; IMAGE=… names any image"))
}

/// `cache-export-docker-load [PACKAGE…]`.
pub fn load(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let names: Vec<String> = arguments.get_many::<String>("name").into_iter().flatten().cloned().collect();
    if names.is_empty() {
        let hint = "cache-export-docker-load PACKAGE, or IMAGE=lfedge/eve-grub:TAG";
        let image = ctx.knobs.optional("IMAGE").ok_or_else(|| usage(format!("neither a package nor IMAGE is named\nhint: {hint}")))?;
        return load_image(ctx, image);
    }
    load_packages(ctx, &names)
}

/// `cache-export-docker-load-all`.
pub fn load_all(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    let sets = &ctx.profile.packages;
    let names = if sets.docker_load.is_empty() { &sets.tool_images } else { &sets.docker_load };
    load_packages(ctx, names)
}

/// Packages whose images are in the cache; the others are named.
fn load_packages(ctx: &Ctx, names: &[String]) -> Result<()> {
    let tree = ctx.tree()?;
    let by_linuxkit = ctx.capabilities().linuxkit_keeps_images();
    let listed = match by_linuxkit {
        true => linuxkit(ctx).list_cache()?,
        false => Cache::open(&ctx.environment.linuxkit_cache())?.list()?.into_keys().collect::<Vec<_>>().join("\n"),
    };
    for name in names {
        let reference = tree.package_reference(name)?;
        let full = format!("docker.io/{reference}");
        if listed.split_whitespace().any(|word| word == full || word == reference) {
            load_image(ctx, if by_linuxkit { &full } else { &reference })?;
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
