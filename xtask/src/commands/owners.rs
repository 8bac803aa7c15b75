//! Which image of a build each file of a root file system comes from, for `size` and `report`.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::Arch;
use imagefs::{Owners, Volume, images_of};
use oci::{Cache, Image};
use plan::Layout;
use std::path::{Path, PathBuf};

/// Finds images of the cache by their names in a yml.
pub(super) struct CachedImages {
    cache: Cache,
    arch: Arch,
}

impl CachedImages {
    /// Those for `arch`.
    pub(super) fn open(ctx: &Ctx, arch: Arch) -> Result<Self> {
        Ok(Self { cache: Cache::open(&ctx.environment.linuxkit_cache())?, arch })
    }
}

impl compose::Images for CachedImages {
    fn find(&self, reference: &str) -> Result<Image> {
        self.cache.find_named(reference, self.arch.as_str())?.with_context(|| format!("the image {reference} is not in the image cache"))
    }
}

/// The owners of the files in `volume`, which is in `file`.
pub(super) fn owners(ctx: &Ctx, volume: &Volume, file: &Path) -> Result<Owners> {
    let file = file.canonicalize().with_context(|| format!("cannot find `{}`", file.display()))?;
    let images = CachedImages::open(ctx, arch_of(volume).unwrap_or(ctx.knobs.image.arch)).ok();
    Owners::of(volume, records_beside(&file).as_deref(), images.as_ref().map(|images| images as &dyn compose::Images))
}

/// The architecture of the images that the volume is made of: their tags end in it.
fn arch_of(volume: &Volume) -> Option<Arch> {
    images_of(volume).iter().find_map(|reference| reference.image.rsplit_once('-')?.1.parse().ok())
}

/// The rootfs.tar of the same build, if it was made: it records the image of each file.
fn records_beside(file: &Path) -> Option<PathBuf> {
    if file.extension().is_some_and(|extension| extension == "tar") {
        return Some(file.to_owned());
    }
    let folders = file.ancestors().skip(1).take(2);
    folders.map(|folder| Layout::at(folder).tar(plan::Composed::Rootfs, "")).find(|tar| tar.is_file())
}
