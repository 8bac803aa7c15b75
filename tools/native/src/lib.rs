//! The native engine: packages, root file systems and disks, made in this process. Only `qemu-img` and the sandbox of a
//! package's build steps start another one.

mod boards;
mod convert;
mod disk;
pub mod files;
pub mod mirrors;
mod packages;
mod rootfs;

pub use boards::place as place_board;
pub use convert::{check_size, convert};
pub use disk::make_net;
pub use rootfs::{check_limit, link_beside};

use anyhow::{Context as _, Result};
use checkout::{Checkout, context::Ctx};
use child::Tools;
use common::{Arch, error::usage};
use executor::{Engine, Making};
use oci::{Cache, Image};
use plan::{
    ImageRef, PackageWork,
    steps::{
        BuildEve, BuildPackage, ComposeRootfs, ConvertDisk, CopyFiles, ExportParts, Link, MakeConfig, MakeDisk, MakeIso, MakeNet,
        MakePersist, MakeSbom, MakeStick, PackRootfs, ResolveYml, TakeOut, WriteText,
    },
};

/// The engine, for one tree.
pub struct NativeEngine {
    cache: Cache,
    tools: Tools,
    packages: packages::Builder,
}

impl NativeEngine {
    /// Opens the image cache; makes nothing yet.
    pub fn new(ctx: &Ctx, tree: &Checkout) -> Result<Self> {
        let folder = ctx.environment.linuxkit_cache();
        let cache = Cache::open(&folder).with_context(|| format!("cannot use the image cache `{}`", folder.display()))?;
        Ok(Self { cache, tools: ctx.tools.clone(), packages: packages::Builder::new(ctx, tree)? })
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
}

/// Why this engine does not make a step.
fn refuse<'e>(why: impl Into<String>) -> Result<Making<'e>> {
    Err(usage(why.into()))
}

impl Engine for NativeEngine {
    fn find_package(&self, package: &BuildPackage) -> Result<Option<String>> {
        Ok(self.cache.find_whole(&package.image.reference, package.image.arch.as_str())?.map(|image| image.digest))
    }

    fn write_text<'e>(&'e self, step: &'e WriteText) -> Result<Making<'e>> {
        Ok(Making::by(|_| files::write_text(step)))
    }

    fn resolve_yml<'e>(&'e self, step: &'e ResolveYml) -> Result<Making<'e>> {
        Ok(Making::by(|_| files::resolve_yml(step)))
    }

    fn link<'e>(&'e self, step: &'e Link) -> Result<Making<'e>> {
        Ok(Making::by(|_| files::link(step)))
    }

    fn make_persist<'e>(&'e self, step: &'e MakePersist) -> Result<Making<'e>> {
        Ok(Making::by(|_| files::make_persist(step)))
    }

    fn copy_files<'e>(&'e self, step: &'e CopyFiles) -> Result<Making<'e>> {
        Ok(Making::by(|_| files::copy_files(step)))
    }

    fn take_out<'e>(&'e self, step: &'e TakeOut) -> Result<Making<'e>> {
        Ok(Making::by(|_| files::take_out(step)))
    }

    fn make_net<'e>(&'e self, step: &'e MakeNet) -> Result<Making<'e>> {
        Ok(Making::by(|_| make_net(step)))
    }

    fn convert_disk<'e>(&'e self, step: &'e ConvertDisk) -> Result<Making<'e>> {
        Ok(convert(step, &self.tools))
    }

    fn export_parts<'e>(&'e self, step: &'e ExportParts) -> Result<Making<'e>> {
        Ok(Making::by(|_| files::export(&self.image(&step.image)?.tree()?, step)))
    }

    fn build_package<'e>(&'e self, step: &'e BuildPackage) -> Result<Making<'e>> {
        if step.work != PackageWork::Build {
            return refuse(format!("the native engine builds packages and does not {} them\nhint: --engine linuxkit", step.work));
        }
        Ok(Making::by(|job| self.packages.build(&self.cache, step, job)))
    }

    fn compose_rootfs<'e>(&'e self, step: &'e ComposeRootfs) -> Result<Making<'e>> {
        Ok(Making::by(|job| rootfs::compose(self, step, job)))
    }

    fn pack_rootfs<'e>(&'e self, step: &'e PackRootfs) -> Result<Making<'e>> {
        Ok(Making::by(|job| rootfs::pack(step, job)))
    }

    fn make_config<'e>(&'e self, step: &'e MakeConfig) -> Result<Making<'e>> {
        Ok(Making::by(|_| disk::make_config(step)))
    }

    fn make_disk<'e>(&'e self, step: &'e MakeDisk) -> Result<Making<'e>> {
        Ok(Making::by(|_| disk::make_disk(step)))
    }

    fn make_stick<'e>(&'e self, step: &'e MakeStick) -> Result<Making<'e>> {
        Ok(Making::by(|_| disk::make_stick(step)))
    }

    fn make_iso<'e>(&'e self, step: &'e MakeIso) -> Result<Making<'e>> {
        if step.tar.is_some() {
            return refuse("an ISO of the installer's own root file system is made by --engine linuxkit");
        }
        Ok(Making::by(|_| disk::make_iso(step)))
    }

    fn make_sbom<'e>(&'e self, _: &'e MakeSbom) -> Result<Making<'e>> {
        refuse("sbom needs the linuxkit engine, for syft runs in a container\nhint: cargo xtask --engine linuxkit sbom")
    }

    fn build_eve<'e>(&'e self, _: &'e BuildEve) -> Result<Making<'e>> {
        refuse("the native engine does not build the image that holds everything\nhint: --engine linuxkit")
    }
}
