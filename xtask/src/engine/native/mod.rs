//! The native engine: packages, root file systems and disks, made in this process. Only `qemu-img` and the sandbox of a
//! package's build steps start another one.

mod disk;
mod files;
pub mod mirrors;
mod packages;
mod rootfs;

use super::Engine;
use crate::{
    context::Ctx,
    execute::Job,
    knobs::Arch,
    plan::{Action, ImageRef, Node},
    tools::Tools,
    tree::Tree,
};
use anyhow::{Context as _, Result};
use oci::{Cache, Image};
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// The engine, for one tree.
pub struct Native {
    cache: Cache,
    tools: Tools,
    /// Packages that count as not there until they are built again.
    forgotten: Mutex<BTreeSet<ImageRef>>,
    packages: packages::Builder,
}

impl Native {
    /// Opens the image cache; makes nothing yet.
    pub fn new(ctx: &Ctx, tree: &Tree) -> Result<Self> {
        let folder = ctx.environment.linuxkit_cache();
        let cache = Cache::open(&folder).with_context(|| format!("cannot use the image cache `{}`", folder.display()))?;
        Ok(Self { cache, tools: ctx.tools.clone(), forgotten: Mutex::default(), packages: packages::Builder::new(ctx, tree) })
    }

    /// The image of a package, which an earlier node has made.
    fn image(&self, image: &ImageRef) -> Result<Image> {
        self.image_by_name(&image.reference, image.arch)
    }

    /// An image of the cache by the name in a yml, with or without an architecture at its end.
    fn image_by_name(&self, reference: &str, arch: Arch) -> Result<Image> {
        let plain = reference.strip_suffix(&format!("-{arch}")).unwrap_or(reference);
        let found = match self.cache.find(plain, arch.as_str())? {
            None => self.cache.find(reference, arch.as_str())?,
            found => found,
        };
        found.with_context(|| format!("the image {reference} is not in the image cache, and is no package of this tree"))
    }

    /// Treats a package as if it had never been built.
    pub fn forget(&self, image: ImageRef) {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner).insert(image);
    }
}

impl Engine for Native {
    fn package(&self, image: &ImageRef) -> Result<Option<String>> {
        if self.forgotten.lock().unwrap_or_else(PoisonError::into_inner).contains(image) {
            return Ok(None);
        }
        Ok(self.cache.find_whole(&image.reference, image.arch.as_str())?.map(|image| image.digest))
    }

    fn make(&self, node: &Node, job: &Job<'_>) -> Result<()> {
        match &node.action {
            Action::WriteText { path, text } | Action::ResolveYml { out: path, text, .. } => files::write_text(path, text),
            Action::Link { link, target } => files::link(link, target),
            Action::MakePersist { out } => files::make_persist(out),
            Action::ExportFirmware { image, out, files } => files::export_firmware(self, image, out, files),
            Action::BuildPackage { name, dir, image, build_yml, .. } => {
                self.packages.build(&self.cache, &packages::Package { name, dir, image, build_yml }, job)?;
                self.forgotten.lock().unwrap_or_else(PoisonError::into_inner).remove(image);
                Ok(())
            }
            Action::ComposeRootfs { yml, arch, out, .. } => rootfs::compose(self, yml, *arch, out, job),
            Action::PackRootfs { tar, out, link, compression, limit, epoch } => {
                let packing = rootfs::Packing { tar, out, link, compression: *compression, limit: *limit, epoch: *epoch };
                rootfs::pack(&packing, job)
            }
            Action::MakeConfig { conf_dir, origin, epoch, out } => disk::make_config(conf_dir, origin, *epoch, out),
            Action::MakeDisk { rootfs, config, persist, parts, epoch, out } => {
                disk::make_disk(&disk::Parts { rootfs, config, persist, names: parts, epoch: *epoch }, out)
            }
            Action::ConvertDisk { raw, format, size_mib, out } => disk::convert(self, raw, *format, *size_mib, out, job),
        }
    }
}
