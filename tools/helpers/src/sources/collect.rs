//! `collect-sources`: collects the sources of the foreign software in an image (Alpine packages, the kernel, Go modules) into one archive
//! with a manifest.

use super::{alpine, go_modules, installed, kernel, manifests::MANIFEST};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::{artifact::Pending, error::usage};
use flate2::{Compression, write::GzEncoder};
use native::files::write_tree;
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    sync::Arc,
};

/// Collects the sources of `rootfs`, the tar of a root file system that was built from the tree of `ctx`. Writes the archive to `out`,
/// or to standard output.
pub fn collect_sources(ctx: &Ctx, rootfs: &Path, out: Option<&Path>) -> Result<()> {
    if ctx.globals.dry_run {
        println!("write {}: the sources of {}", out.unwrap_or(Path::new("standard output")).display(), rootfs.display());
        return Ok(());
    }
    match out {
        Some(out) => write_archive(ctx, rootfs, out),
        None => collect(ctx, rootfs, std::io::stdout().lock()).map(drop),
    }
}

fn write_archive(ctx: &Ctx, rootfs: &Path, out: &Path) -> Result<()> {
    let pending = Pending::new(out)?;
    let file = collect(ctx, rootfs, BufWriter::new(pending.create()?))?;
    file.into_inner().map_err(|error| error.into_error()).with_context(|| format!("cannot write `{}`", out.display()))?;
    pending.commit()
}

/// Collects the sources into a temporary folder and packs it into `out`.
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
    let fetching = alpine::Fetching { prefix: Some("alpine".to_owned()), ..alpine::Fetching::default() };
    let mut manifest = alpine::collect(ctx, &packages, &top, &fetching)?;
    // A tree whose kernel is built elsewhere has no Dockerfile with its sources.
    if !ctx.profile.packages.elsewhere.contains_key("kernel") {
        manifest.push_str(&kernel::collect_kernel(ctx, &top, "kernel")?);
    }
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

/// Removes devices, which have no sources, and which only root can create.
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
