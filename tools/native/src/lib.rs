//! The native engine: builds packages, root file systems and disks in this process. Only `qemu-img` and the sandbox start other
//! processes. It calls pkgbuild (Dockerfiles), compose (rootfs.tar), diskimage (image formats), oci (the image cache) and sandbox (RUN
//! steps); executor decides what is due and calls it.

mod boards;
mod convert;
mod disk;
mod eve;
pub mod files;
mod keys;
mod locked;
pub mod mirrors;
mod packages;
mod recipe;
mod reuse;
mod rootfs;
mod sbom;
mod shared_store;
mod signing;
mod team;
mod verify;
mod verity;

pub use boards::place as place_board;
pub use convert::{check_size, convert};
pub use disk::make_net;
pub use eve::pack_eve;
pub use keys::{Pair, certificate, certificate_file, key_file};
pub use locked::{Locked, LockedStore, listed_image, locked, open_envelope};
pub use packages::{StopAt, Stopped};
pub use recipe::code_digest;
pub use rootfs::{check_limit, link_beside};
pub use sbom::write_sbom;
pub use shared_store::SharedStore;
pub use signing::{UPDATE_KEY, UPDATE_MADE, check_update_key, check_variable};
pub use team::{give_package, is_exact, take_package, team};
pub use verify::first_difference;

use anyhow::{Context as _, Result};
use checkout::{Checkout, context::Ctx};
use child::{Tool, Tools};
use common::{Arch, error::usage};
use executor::{Engine, Making};
use filetree::Tree;
use oci::{Cache, Image};
use pkgbuild::builder::Step;
use plan::{
    ImageRef, PackageWork,
    steps::{
        BuildEve, BuildPackage, ComposeRootfs, ConvertDisk, ExportParts, MakeConfig, MakeDisk, MakeIso, MakeNet, MakeSbom, MakeStick,
        PackEve, PackRootfs,
    },
};
use registry::Team;
use std::{path::PathBuf, sync::Arc};

/// How many bytes of compressed blocks are kept: some ten root file systems.
pub const BLOCKS_LIMIT: u64 = 512 << 20;

/// The engine for one tree.
pub struct NativeEngine {
    cache: Cache,
    spool: PathBuf,
    blocks: Option<PathBuf>,
    checked_layers: Option<PathBuf>,
    /// Whether all layers are read again (`--check-artifacts`).
    reads_all: bool,
    tools: Tools,
    packages: packages::Builder,
    team: Option<Arc<Team>>,
    locked: Option<Arc<Locked>>,
    qemu_img: recipe::Version,
}

impl NativeEngine {
    /// Opens the image cache.
    pub fn new(ctx: &Ctx, tree: &Checkout) -> Result<Self> {
        let folder = ctx.environment.linuxkit_cache();
        let cache = Cache::open(&folder).with_context(|| format!("cannot use the image cache `{}`", folder.display()))?;
        let (spool, blocks) = (ctx.dist().spool(), ctx.blocks());
        let (checked_layers, reads_all) = (ctx.checked_layers(), ctx.knobs.host.check_artifacts);
        checked_layers.iter().filter(|_| !reads_all).for_each(|file| oci::remember_checked(file));
        let (packages, team) = (packages::Builder::new(ctx, tree)?, team::team(ctx)?);
        let locked = locked(ctx)?;
        Ok(Self {
            cache,
            spool,
            blocks,
            checked_layers,
            reads_all,
            tools: ctx.tools.clone(),
            packages,
            team,
            locked,
            qemu_img: recipe::Version::new(),
        })
    }

    /// An engine that only looks at the build of packages, up to `place` in the Dockerfile; it writes no image. [`seen`](Self::seen) is
    /// where it ended. A build that comes to the line of `place` ends with the error [`Stopped`].
    pub fn watching(ctx: &Ctx, tree: &Checkout, place: StopAt) -> Result<Self> {
        let engine = Self::new(ctx, tree)?;
        Ok(Self { packages: engine.packages.watching(place), locked: None, ..engine })
    }

    /// The last RUN line that a watched build came to, and the files of its stage: those after it, or before it if it failed or was not run.
    #[must_use]
    pub fn seen(&self) -> Option<(Step, Tree)> {
        self.packages.seen()
    }

    /// An engine that builds packages into `cache`, takes nothing from earlier builds, and sends them nowhere.
    pub fn apart(ctx: &Ctx, tree: &Checkout, cache: Cache) -> Result<Self> {
        let engine = Self::new(ctx, tree)?;
        Ok(Self { cache, team: None, locked: None, packages: engine.packages.anew(), ..engine })
    }

    /// The image of a package that an earlier node has built.
    fn image(&self, image: &ImageRef) -> Result<Image> {
        self.image_by_name(&image.reference, image.arch)
    }

    /// The image of the cache for a name in a yml, which may end in the architecture.
    fn image_by_name(&self, reference: &str, arch: Arch) -> Result<Image> {
        let found = self.cache.find_named(reference, arch.as_str())?;
        let image = found.with_context(|| format!("no image {reference} in the image cache or this tree"))?;
        self.locked.as_ref().map_or(Ok(()), |locked| locked.check(&image))?;
        Ok(image)
    }
}

/// The error for a step that this engine does not make.
fn refuse<'e>(why: impl Into<String>) -> Result<Making<'e>> {
    Err(usage(why.into()))
}

/// Defines the methods of an [`Engine`] for the steps that every engine makes in process.
#[macro_export]
macro_rules! steps_of_every_engine {
    () => {
        $crate::steps_of_every_engine! {
            write_text: WriteText = files::write_text,
            resolve_yml: ResolveYml = files::resolve_yml,
            link: Link = files::link,
            make_persist: MakePersist = files::make_persist,
            copy_files: CopyFiles = files::copy_files,
            take_out: TakeOut = files::take_out,
            write_sbom: WriteSbom = write_sbom,
        }
    };
    ($($method:ident: $step:ident = $($make:ident)::+,)*) => {
        $(fn $method<'e>(&'e self, step: &'e plan::steps::$step) -> anyhow::Result<executor::Making<'e>> {
            Ok(executor::Making::by(|_| $crate::$($make)::+(step)))
        })*
    };
}

impl Engine for NativeEngine {
    fn find_package(&self, package: &BuildPackage) -> Result<Option<String>> {
        let image = self.cache.find_whole(&package.image.reference, package.image.arch.as_str())?;
        let may_be_taken = |image: &Image| self.locked.as_ref().is_none_or(|locked| locked.accepts(image, "the image cache"));
        Ok(image.filter(may_be_taken).map(|image| image.digest))
    }

    fn take_package(&self, package: &BuildPackage, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<bool> {
        Ok(take_package(self.team.as_deref(), &self.cache, package, self.locked.as_deref(), progress))
    }

    fn recipe(&self, step: &plan::Step) -> Option<String> {
        recipe::of(step, &self.tools, &self.qemu_img)
    }

    steps_of_every_engine!();

    fn convert_disk<'e>(&'e self, step: &'e ConvertDisk) -> Result<Making<'e>> {
        Ok(convert(step, &self.tools))
    }

    fn export_parts<'e>(&'e self, step: &'e ExportParts) -> Result<Making<'e>> {
        Ok(Making::by(|_| files::export(&self.image(&step.image)?.tree()?, step)))
    }

    fn build_package<'e>(&'e self, step: &'e BuildPackage) -> Result<Making<'e>> {
        if step.work != PackageWork::Build {
            return refuse(format!("the native engine does not {} packages\nhint: --engine linuxkit", step.work));
        }
        self.packages.check(step)?;
        let (reference, arch) = (&step.image.reference, step.image.arch);
        if let Some(locked) = &self.locked {
            locked.check_name(reference, arch.as_str())?;
        }
        Ok(Making::by(move |job| {
            self.packages.build(&self.cache, step, self.locked.as_deref(), job)?;
            if self.locked.is_some() {
                self.image_by_name(reference, arch).context("it was built here from its sources")?;
            }
            give_package(self.team.as_deref(), &self.cache, step, job);
            Ok(())
        }))
    }

    fn compose_rootfs<'e>(&'e self, step: &'e ComposeRootfs) -> Result<Making<'e>> {
        Ok(Making::by(|job| rootfs::compose(self, step, job)))
    }

    fn pack_rootfs<'e>(&'e self, step: &'e PackRootfs) -> Result<Making<'e>> {
        let making = Making::by(|job| rootfs::pack(self, step, job));
        Ok(if step.signing.is_some() { making.with(Tool::Openssl, "sign the boot chain") } else { making })
    }

    fn make_config<'e>(&'e self, step: &'e MakeConfig) -> Result<Making<'e>> {
        Ok(Making::by(|_| disk::make_config(step)))
    }

    fn make_disk<'e>(&'e self, step: &'e MakeDisk) -> Result<Making<'e>> {
        Ok(Making::by(|job| disk::make_disk(step, job)))
    }

    fn make_stick<'e>(&'e self, step: &'e MakeStick) -> Result<Making<'e>> {
        Ok(Making::by(|_| disk::make_stick(step)))
    }

    fn make_net<'e>(&'e self, step: &'e MakeNet) -> Result<Making<'e>> {
        Ok(Making::by(|job| make_net(step, job)))
    }

    fn make_iso<'e>(&'e self, step: &'e MakeIso) -> Result<Making<'e>> {
        if step.tar.is_some() {
            return refuse("an ISO of the installer's own root file system needs --engine linuxkit");
        }
        Ok(Making::by(|job| disk::make_iso(step, job)))
    }

    fn make_sbom<'e>(&'e self, _: &'e MakeSbom) -> Result<Making<'e>> {
        refuse("syft runs in a container\nhint: cargo xtask --engine linuxkit sbom")
    }

    fn pack_eve<'e>(&'e self, step: &'e PackEve) -> Result<Making<'e>> {
        Ok(Making::by(|_| eve::pack_eve(self.image(&step.program)?, step, &self.spool)))
    }

    fn build_eve<'e>(&'e self, _: &'e BuildEve) -> Result<Making<'e>> {
        refuse("the native engine does not build the image lfedge/eve\nhint: --engine linuxkit")
    }
}
