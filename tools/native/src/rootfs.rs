//! Composes rootfs.tar from a yml, and packs it into rootfs.img.

use super::{BLOCKS_LIMIT, NativeEngine, files};
use anyhow::{Context as _, Result, bail};
use common::{Arch, artifact::Pending, artifact::link_atomically, display::size};
use compose::{Images, Options, Yml};
use diskimage::{
    recipes,
    squashfs::{BlockStore, Compressor},
};
use executor::{DigestWriter, Job};
use knobs::{Compression, RootfsFormat};
use plan::steps::{ComposeRootfs, PackRootfs};
use std::{io::BufWriter, path::Path};

/// Finds images of the cache for one architecture.
struct CachedImages<'n> {
    native: &'n NativeEngine,
    arch: Arch,
}

impl Images for CachedImages<'_> {
    fn find(&self, reference: &str) -> Result<oci::Image> {
        self.native.image_by_name(reference, self.arch)
    }
}

pub(super) fn compose(native: &NativeEngine, step: &ComposeRootfs, job: &Job<'_>) -> Result<()> {
    let ComposeRootfs { yml, arch, sources, out, .. } = step;
    let text = std::fs::read_to_string(yml).with_context(|| format!("cannot read `{}`", yml.display()))?;
    let yml = Yml::parse(&text, &yml.display().to_string())?;
    let pending = Pending::new(out)?;
    let mut writer = DigestWriter::new(BufWriter::with_capacity(1 << 20, pending.create()?));
    let options = Options { arch: arch.to_string(), sources: sources.clone(), ..Options::default() };
    let summary = compose::compose(&yml, &CachedImages { native, arch: *arch }, &options, &mut writer)?;
    let digest = writer.finish().with_context(|| format!("cannot write `{}`", out.display()))?;
    job.log(&format!("{summary:?}"));
    if !files::put_own(pending.part(), step)? {
        digest.into_iter().for_each(|digest| job.wrote(out, digest));
    }
    pending.commit_before_stamp()
}

/// Packs rootfs.tar into rootfs.img, and links it under its versioned name.
pub(super) fn pack(native: &NativeEngine, step: &PackRootfs, job: &Job<'_>) -> Result<()> {
    let PackRootfs { tar, out, link, format, compression, limit, epoch, .. } = step;
    let tree = files::read_tree(tar)?;
    let compressor = match compression {
        Compression::Xz => Compressor::Xz { bcj: Vec::new() },
        Compression::Gzip => Compressor::Gzip,
    };
    let pending = Pending::new(out)?;
    match format {
        RootfsFormat::Squash => {
            let store = native.blocks.as_ref().map(|folder| BlockStore::open(folder, BLOCKS_LIMIT));
            let summary = recipes::pack_rootfs_with(
                tree,
                compressor,
                *epoch,
                store.as_ref(),
                &|done, total| job.measure(done, total),
                &mut pending.create()?,
            )?;
            job.log(&format!("{summary:?}"));
            if let Some(why) = &summary.not_kept {
                job.warn(why);
            }
        }
        RootfsFormat::Ext4 => recipes::ext4_rootfs(tree, *epoch)?.write(&pending.create()?)?,
    }
    let bytes = pending.part().metadata()?.len();
    check_limit(bytes, *limit, tar)?;
    job.log(&format!("{} of at most {}", size(bytes), size(*limit)));
    pending.commit_before_stamp()?;
    link_beside(link.as_deref(), out)
}

/// Points `link` at the image `out` in the same folder.
pub fn link_beside(link: Option<&Path>, out: &Path) -> Result<()> {
    let Some(link) = link else { return Ok(()) };
    let name = out.file_name().context("the image has a name")?;
    link_atomically(link, Path::new(name))
}

/// Fails if the image of `tar` has more bytes than its partition.
pub fn check_limit(bytes: u64, limit: u64, tar: &Path) -> Result<()> {
    if bytes > limit {
        bail!(
            "the root file system is too large for its partition: {bytes} bytes, {} more than the limit of {limit}\nhint: `cargo xtask inspect {}` shows its content",
            bytes - limit,
            tar.display()
        );
    }
    Ok(())
}
