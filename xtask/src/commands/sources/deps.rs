//! Files that lf-edge/eve's make made for itself, and that a person may name: the rules of packages that start from each other, and the
//! Dockerfile of a package that has a template of it.

use anyhow::Result;
use checkout::context::Ctx;
use common::{artifact::write_atomically, display::short, error::usage};
use plan::{Composed, Facts as _};
use std::collections::BTreeSet;

/// What to do with the rules.
#[derive(clap::Args)]
pub struct PkgDeps {
    /// write them to pkg-deps.mk in the tree instead, where make includes them
    #[arg(long)]
    write: bool,
}

/// The file in the tree's root that make includes.
const FILE: &str = "pkg-deps.mk";

/// `pkg-deps`.
pub fn print_deps(ctx: &Ctx, PkgDeps { write }: PkgDeps) -> Result<()> {
    let text = rules(ctx)?;
    if !write {
        print!("{text}");
        return Ok(());
    }
    let path = ctx.root.join(FILE);
    ignored(ctx, &path, "pkg-deps prints the rules")?;
    if !ctx.globals.dry_run {
        write_atomically(&path, text.as_bytes())?;
    }
    println!("{}: {}", if ctx.globals.dry_run { "write" } else { "made" }, short(&path, &ctx.root));
    Ok(())
}

/// A rule for each package and one that its Dockerfile starts from; with ROOTFS_DEPS, also one for each package of the root file system.
fn rules(ctx: &Ctx) -> Result<String> {
    let tree = ctx.tree()?;
    if ctx.capabilities().packages_are_published && !ctx.profile.packages.ordered {
        return Err(usage(format!(
            "the packages of {} are built in any order: their Dockerfiles start from images in a registry",
            ctx.profile.tree.name
        )));
    }
    let mut text = String::from("# Written by `cargo xtask pkg-deps`.\n");
    for name in tree.package_names()? {
        let bases: BTreeSet<String> = tree.package(&name)?.bases.into_iter().map(|base| base.name).collect();
        for base in bases.iter().filter(|base| **base != name) {
            text.push_str(&format!("pkg/{name}: pkg/{base}\n{name}-cache-export-docker-load: {base}-cache-export-docker-load\n"));
        }
    }
    if ctx.knobs.image.rootfs_deps {
        let platform = ctx.capabilities().platform_suffix(&ctx.knobs.image.platform);
        let yml = ctx.layout(&tree).yml(Composed::Rootfs, &ctx.knobs.image.hv, &platform);
        let yml = yml.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for name in tree.yml(Composed::Rootfs)?.2 {
            text.push_str(&format!("images/out/{yml}: pkg/{name}\n"));
        }
    }
    Ok(text)
}

/// The package.
#[derive(clap::Args)]
pub struct DockerfileOf {
    /// folder below pkg/
    #[arg(value_name = "NAME")]
    name: String,
}

/// `dockerfile`.
pub fn write_dockerfile(ctx: &Ctx, DockerfileOf { name }: DockerfileOf) -> Result<()> {
    let name = name.strip_prefix("pkg/").unwrap_or(&name);
    let package = ctx.tree()?.package(name)?;
    let path = package.dir.join("Dockerfile");
    let shown = short(&path, &ctx.root).to_string();
    let Some(text) = package.generated_dockerfile else {
        if !path.is_file() {
            return Err(usage(format!("pkg/{name} has no Dockerfile, and no template of one")));
        }
        println!("up to date: {shown}, a file of the tree");
        return Ok(());
    };
    ignored(ctx, &path, &format!("parse-pkgs pkg/{name}/Dockerfile.in prints it"))?;
    if !ctx.globals.dry_run {
        write_atomically(&path, text.as_bytes())?;
    }
    println!("{}: {shown}", if ctx.globals.dry_run { "write" } else { "made" });
    Ok(())
}

/// Fails unless git ignores the file: it would make the tree or a package dirty.
fn ignored(ctx: &Ctx, path: &std::path::Path, instead: &str) -> Result<()> {
    let path = path.display().to_string();
    match ctx.git(&ctx.root)?.finds(["check-ignore", "-q", "--", &path])? {
        true => Ok(()),
        false => Err(usage(format!("git does not ignore `{path}`, so this file would be a change of the tree\nhint: {instead}"))),
    }
}
