//! yml → rootfs.tar → rootfs.img.

use super::Native;
use crate::{
    execute::{
        Job,
        artifact::{Pending, link_atomically},
        progress::size,
    },
    knobs::{Arch, Compression},
};
use anyhow::{Context as _, Result, bail};
use compose::{Images, Options, Yml};
use diskimage::{recipes, squashfs::Compressor};
use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
    sync::Arc,
};

/// The images of the cache, for one architecture.
struct CachedImages<'n> {
    native: &'n Native,
    arch: Arch,
}

impl Images for CachedImages<'_> {
    fn find(&self, reference: &str) -> Result<oci::Image> {
        self.native.image_by_name(reference, self.arch)
    }
}

pub(super) fn compose(native: &Native, yml: &Path, arch: Arch, out: &Path, job: &Job<'_>) -> Result<()> {
    let text = std::fs::read_to_string(yml).with_context(|| format!("cannot read `{}`", yml.display()))?;
    let yml = Yml::parse(&text, &yml.display().to_string())?;
    let pending = Pending::new(out)?;
    let mut writer = BufWriter::with_capacity(1 << 20, pending.create()?);
    let summary =
        compose::compose(&yml, &CachedImages { native, arch }, &Options { arch: arch.to_string(), ..Options::default() }, &mut writer)?;
    writer.flush().with_context(|| format!("cannot write `{}`", out.display()))?;
    drop(writer);
    job.log(&format!("{summary:?}"));
    pending.commit()
}

/// What rootfs.img is made from, and how.
pub(super) struct Packing<'a> {
    pub tar: &'a Path,
    pub out: &'a Path,
    pub link: &'a Path,
    pub compression: Compression,
    pub limit: u64,
    pub epoch: i64,
}

pub(super) fn pack(packing: &Packing<'_>, job: &Job<'_>) -> Result<()> {
    let file = File::open(packing.tar).with_context(|| format!("cannot open `{}`", packing.tar.display()))?;
    let entries = filetree::read_tar_file(Arc::new(file)).with_context(|| format!("cannot read `{}`", packing.tar.display()))?;
    let tree = filetree::entries_to_tree(entries)?;
    let compressor = match packing.compression {
        Compression::Xz => Compressor::Xz { bcj: Vec::new() },
        Compression::Gzip => Compressor::Gzip,
    };
    let pending = Pending::new(packing.out)?;
    let summary = recipes::pack_rootfs(tree, compressor, packing.epoch, &mut pending.create()?)?;
    job.log(&format!("{summary:?}"));
    let bytes = pending.part().metadata()?.len();
    if bytes > packing.limit {
        bail!(
            "the root file system is too large for its partition: {bytes} bytes, {} more than the limit of {}\nhint: `cargo xtask inspect {}` shows what is in it",
            bytes - packing.limit,
            packing.limit,
            packing.tar.display()
        );
    }
    job.log(&format!("{} of at most {}", size(bytes), size(packing.limit)));
    pending.commit()?;
    let name = packing.out.file_name().context("the image has a name")?;
    link_atomically(packing.link, Path::new(name))
}
