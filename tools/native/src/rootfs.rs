//! Composes a root file system from a yml, as rootfs.tar or to pack it into rootfs.img.

use super::{BLOCKS_LIMIT, NativeEngine, files, signing::sign_boot};
use anyhow::{Context as _, Result, bail};
use common::{Arch, artifact::Pending, artifact::link_atomically, display::size};
use compose::{ComposeMeter, Images, Options, Yml};
use diskimage::{
    recipes,
    squashfs::{BlockStore, Compressor},
};
use executor::{DigestWriter, Job};
use filetree::Tree;
use knobs::{Compression, RootfsFormat};
use plan::steps::{ComposeRootfs, PackRootfs, RootfsFiles};
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
    let (yml, options) = composition(step, job)?;
    let (images, out) = (CachedImages { native, arch: step.arch }, &step.out);
    let pending = Pending::new(out)?;
    let mut writer = DigestWriter::new(BufWriter::with_capacity(1 << 20, pending.create()?));
    let summary = compose::compose(&yml, &images, &options, &mut writer)?;
    let digest = writer.finish().with_context(|| format!("cannot write `{}`", out.display()))?;
    job.log(&format!("{summary:?}"));
    if !files::put_own_into(pending.part(), step)? {
        digest.into_iter().for_each(|digest| job.wrote(out, digest));
    }
    pending.commit_before_stamp()
}

/// The yml that a step composes, and how.
fn composition(step: &ComposeRootfs, job: &Job<'_>) -> Result<(Yml, Options)> {
    let ComposeRootfs { yml, arch, sources, .. } = step;
    let text = std::fs::read_to_string(yml).with_context(|| format!("cannot read `{}`", yml.display()))?;
    let yml = Yml::parse(&text, &yml.display().to_string())?;
    Ok((yml, Options { arch: arch.to_string(), sources: sources.clone(), progress: ComposeMeter(job.meter()), ..Options::default() }))
}

/// The files of a root file system. Those of images stay in the layers of the cache.
fn tree(native: &NativeEngine, files: &RootfsFiles, job: &Job<'_>) -> Result<Tree> {
    let step = match files {
        RootfsFiles::Tar(tar) => return files::read_tree(tar),
        RootfsFiles::Images(step) => step,
    };
    let (yml, options) = composition(step, job)?;
    let (mut tree, summary) = compose::compose_tree(&yml, &CachedImages { native, arch: step.arch }, &options)?;
    job.log(&format!("{summary:?}"));
    files::put_own(&mut tree, step)?;
    Ok(tree)
}

/// Packs the files of a root file system into rootfs.img, and links it under its versioned name.
pub(super) fn pack(native: &NativeEngine, step: &PackRootfs, job: &Job<'_>) -> Result<()> {
    let PackRootfs { files, out, link, format, compression, limit, epoch, signing, .. } = step;
    let mut tree = tree(native, files, job)?;
    if let Some(signing) = signing {
        sign_boot(&mut tree, signing, *format, *epoch, &native.tools)?;
    }
    let compressor = match compression {
        Compression::Xz => Compressor::Xz { bcj: Vec::new() },
        Compression::Gzip => Compressor::Gzip,
    };
    let pending = Pending::new(out)?;
    let progress = |done, total| job.measure(done, total);
    match format {
        RootfsFormat::Squash => {
            let store = native.blocks.as_ref().map(|folder| BlockStore::open(folder, BLOCKS_LIMIT));
            let summary = recipes::pack_rootfs_with(tree, compressor, *epoch, store.as_ref(), &progress, &mut pending.create()?)?;
            job.log(&format!("{summary:?}"));
            if let Some(why) = &summary.not_kept {
                job.warn(why);
            }
        }
        RootfsFormat::Ext4 => recipes::ext4_rootfs(tree, *epoch)?.write_with(&progress, &pending.create()?)?,
    }
    let bytes = pending.part().metadata()?.len();
    check_limit(bytes, *limit, files)?;
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

/// Fails if the image of `files` has more bytes than its partition.
pub fn check_limit(bytes: u64, limit: u64, files: &RootfsFiles) -> Result<()> {
    if bytes <= limit {
        return Ok(());
    }
    let hint = match files {
        RootfsFiles::Tar(tar) => format!("`cargo xtask size {}` shows what is large", tar.display()),
        RootfsFiles::Images(step) => format!("`cargo xtask rootfstar`, and `cargo xtask size {}` shows what is large", step.out.display()),
    };
    bail!(
        "the root file system is too large for its partition: {bytes} bytes, {} more than the limit of {limit}\nhint: {hint}",
        bytes - limit
    )
}
