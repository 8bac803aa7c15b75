//! `collect-sources ROOTFS_TAR EVE [OUT]` and the target `collected_sources`: the sources of everything in an image that others
//! wrote: Alpine packages, the kernel, Go modules; with a manifest, in one archive.

use super::{alpine, go_modules, info::collected_sources_path, installed, kernel, manifests::MANIFEST};
use crate::commands::build;
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use clap::{Arg, ArgMatches, Command};
use common::{artifact::Pending, display::short, error::usage};
use flate2::{Compression, write::GzEncoder};
use native::files::write_tree;
use plan::{Composed, Goal, NodeId};
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Its arguments.
pub fn arguments(command: Command) -> Command {
    command
        .arg(Arg::new("rootfs").value_name("ROOTFS_TAR").required(true).help("the root file system's tar"))
        .arg(Arg::new("eve").value_name("EVE").required(true).help("the tree that it was built from"))
        .arg(Arg::new("out").value_name("OUT").help("the archive; standard output when unset"))
}

/// `collect-sources`.
pub fn run(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let path = |name: &str| arguments.get_one::<String>(name).map(PathBuf::from);
    let (rootfs, eve) = (path("rootfs").unwrap_or_default(), path("eve").unwrap_or_default());
    if eve.canonicalize().ok() != ctx.root.canonicalize().ok() {
        return Err(usage(format!(
            "`{}` is not the tree `{}`\nhint: cargo xtask --root {0} collect-sources …",
            eve.display(),
            ctx.root.display()
        )));
    }
    match path("out").filter(|out| out != Path::new("-")) {
        Some(out) => write_archive(ctx, &rootfs, &std::path::absolute(out).context("an archive has a path")?),
        None => collect(ctx, &rootfs, std::io::stdout().lock()).map(drop),
    }
}

/// `collected_sources`: with the root file system that it needs.
pub fn target(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    go_modules::check(ctx)?;
    build::build(ctx, &Goal::RootfsTar)?;
    let tree = ctx.tree()?;
    let out = collected_sources_path(ctx, &tree);
    let plan = build::plan(ctx, &tree, &Goal::RootfsTar)?;
    let tar = plan.node(&NodeId::Tar(Composed::Rootfs)).and_then(|node| node.outputs.first());
    let rootfs = tar.context("the plan of the root file system makes no tar")?;
    let time = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let is_newer = time(&out).zip(time(rootfs)).is_some_and(|(out, rootfs)| out >= rootfs);
    if !ctx.globals.dry_run && is_newer {
        println!("up to date: {}", short(&out, &ctx.root));
        return Ok(());
    }
    if ctx.globals.dry_run {
        return go_modules::show(ctx);
    }
    go_modules::ensure(ctx)?;
    write_archive(ctx, rootfs, &out)?;
    println!("made: {}", short(&out, &ctx.root));
    Ok(())
}

fn write_archive(ctx: &Ctx, rootfs: &Path, out: &Path) -> Result<()> {
    if ctx.globals.dry_run {
        println!("write {}: the sources of {}", out.display(), rootfs.display());
        return Ok(());
    }
    let pending = Pending::new(out)?;
    let file = collect(ctx, rootfs, BufWriter::new(pending.create()?))?;
    file.into_inner().map_err(|error| error.into_error()).with_context(|| format!("cannot write `{}`", out.display()))?;
    pending.commit()
}

/// Collects into a temporary folder and packs that.
fn collect<W: Write>(ctx: &Ctx, rootfs: &Path, out: W) -> Result<W> {
    let file =
        File::open(rootfs).map_err(|error| usage(format!("cannot open `{}`: {error}\nhint: cargo xtask rootfstar", rootfs.display())))?;
    let entries = filetree::read_tar_file(Arc::new(file)).with_context(|| format!("cannot read `{}`", rootfs.display()))?;
    let mut tree = filetree::entries_to_tree(entries).with_context(|| format!("cannot read `{}`", rootfs.display()))?;
    drop_devices(&mut tree)?;
    let folder = tempfile::Builder::new().prefix("sources").tempdir().context("cannot make a temporary folder")?;
    let (root, top) = (folder.path().join("root"), folder.path().join("out"));
    for path in [&root, &top] {
        std::fs::create_dir(path).with_context(|| format!("cannot make the folder `{}`", path.display()))?;
    }
    let packages = installed::in_tree(&tree)?;
    let options = alpine::Options { prefix: Some("alpine"), ..alpine::Options::default() };
    let mut manifest = alpine::collect(ctx, &packages, &top, &options)?;
    manifest.push_str(&kernel::collect_kernel(ctx, &top, "kernel")?);
    write_tree(&tree, &root)?;
    manifest.push_str(&go_modules::collect(ctx, &root, &top)?);
    std::fs::write(top.join(MANIFEST), &manifest).context("cannot write the manifest")?;
    let sources = filetree::read_dir(&top, &mut |_, meta| {
        (meta.uid, meta.gid, meta.mtime) = (0, 0, 0);
        true
    })?;
    let archive = filetree::write_tar(&sources, GzEncoder::new(out, Compression::default()))?;
    archive.finish().context("cannot write the archive")
}

/// An ordinary user cannot make devices, and there is no source of them.
fn drop_devices(tree: &mut filetree::Tree) -> Result<()> {
    let mut devices = vec![b"dev".to_vec()];
    tree.walk(&mut |path, node| {
        if !matches!(node.kind, filetree::Kind::Dir(_) | filetree::Kind::File { .. } | filetree::Kind::Symlink(_)) {
            devices.push(path.to_vec());
        }
        Ok(())
    })?;
    devices.iter().for_each(|path| drop(tree.remove(path)));
    Ok(())
}
