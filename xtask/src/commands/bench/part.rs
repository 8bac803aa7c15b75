//! `bench --part WHAT …`: our side of each comparison. `bench` starts it as a child, so that the kernel accounts for it alone; the option
//! is hidden from users.

use crate::commands::owners::CachedImages;
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::error::usage;
use compose::Yml;
use diskimage::{
    disk, eve, gcp,
    recipes::{self, Parts},
    squashfs::Compressor,
};
use filetree::Tree;
use native::files::read_tree;

use plan::{Composed, Facts as _};
use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
};

/// Runs the part that `words` name.
pub fn run(ctx: &Ctx, words: &[&str]) -> Result<()> {
    match words {
        ["squashfs", compressor, tar, out] => squashfs(compressor, Path::new(tar), Path::new(out)),
        ["disk", rootfs, out] => disk(Path::new(rootfs), Path::new(out)),
        ["gcp", size, raw, out] => gcp(size.parse().context("a size is a number")?, Path::new(raw), Path::new(out)),
        ["ext4", tar, out] => recipes::ext4_rootfs(read_tree(Path::new(tar))?, 0)?.write(&create(Path::new(out))?),
        ["config", _, out] => recipes::config(&Tree::new(), 0)?.write(&create(Path::new(out))?),
        ["yml"] => yml(ctx),
        ["compose", yml, out] => compose(ctx, Path::new(yml), Path::new(out)),
        ["qcow2", raw, out] => qcow2(Path::new(raw), Path::new(out)),
        _ => Err(usage(format!("bench has no part `{}`", words.join(" ")))),
    }
}

fn create(path: &Path) -> Result<File> {
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path);
    file.with_context(|| format!("cannot write `{}`", path.display()))
}

fn gcp(size: u64, raw: &Path, out: &Path) -> Result<()> {
    let file = File::open(raw).with_context(|| format!("cannot open `{}`", raw.display()))?;
    gcp::layout(file, &gcp::Options::new(size, 0))?.write(&mut create(out)?).map(drop)
}

fn qcow2(raw: &Path, out: &Path) -> Result<()> {
    let file = File::open(raw).with_context(|| format!("cannot open `{}`", raw.display()))?;
    let options = diskimage::qcow2::Options { size: file.metadata()?.len(), compress: true };
    diskimage::qcow2::write(&file, options, &|_, _| {}, &create(out)?).map(drop)
}

/// Prints the tags of all packages and the yml of the root file system.
fn yml(ctx: &Ctx) -> Result<()> {
    let tree = ctx.tree()?;
    for name in tree.package_names()? {
        // A package that has only a template has no tag yet, and linuxkit fails there too.
        if let Ok(reference) = tree.package_reference(&name) {
            println!("{reference}");
        }
    }
    print!("{}", tree.yml(Composed::Rootfs)?.0);
    Ok(())
}

fn squashfs(compressor: &str, tar: &Path, out: &Path) -> Result<()> {
    let tree = read_tree(tar)?;
    let compressor = if compressor == "gzip" { Compressor::Gzip } else { Compressor::Xz { bcj: Vec::new() } };
    recipes::pack_rootfs(tree, compressor, 0, &mut create(out)?).map(drop)
}

/// Makes live.raw with an empty configuration; takes the files of the EFI system partition from `rootfs`, as a build does.
fn disk(rootfs: &Path, out: &Path) -> Result<()> {
    let folder = out.parent().context("a disk has a folder")?;
    let config = folder.join("bench-config.img");
    recipes::config(&Tree::new(), 0)?.write(&create(&config)?)?;
    let parts = Parts::default().rootfs(rootfs)?.config(&config)?;
    disk::layout(recipes::disk(eve::LIVE, eve::DISK_SIZE, &parts, 0)?)?.write(&create(out)?)
}

fn compose(ctx: &Ctx, yml: &Path, out: &Path) -> Result<()> {
    let text = std::fs::read_to_string(yml).with_context(|| format!("cannot read `{}`", yml.display()))?;
    let yml = Yml::parse(&text, &yml.display().to_string())?;
    let arch = ctx.knobs.image.arch;
    let images = CachedImages::open(ctx, arch)?;
    let mut writer = BufWriter::with_capacity(1 << 20, create(out)?);
    compose::compose(&yml, &images, &compose::Options { arch: arch.to_string(), ..Default::default() }, &mut writer)?;
    writer.flush().with_context(|| format!("cannot write `{}`", out.display()))
}
