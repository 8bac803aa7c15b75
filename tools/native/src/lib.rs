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

use anyhow::{Context as _, Result, bail};
use checkout::{Checkout, context::Ctx};
use child::Tools;
use common::Arch;
use executor::Engine;
use executor::Job;
use oci::{Cache, Image};
use plan::{Action, ImageRef, Node, PackageJob, PackageWork};
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

impl Engine for NativeEngine {
    fn package(&self, job: &PackageJob) -> Result<Option<String>> {
        Ok(self.cache.find_whole(&job.image.reference, job.image.arch.as_str())?.map(|image| image.digest))
    }

    fn make(&self, node: &Node, job: &Job<'_>) -> Result<()> {
        match &node.action {
            Action::WriteText { path, text } | Action::ResolveYml { out: path, text, .. } => files::write_text(path, text),
            Action::Link { link, target } => files::link(link, target),
            Action::MakePersist { out } => files::make_persist(out),
            Action::CopyFiles { from, to } => files::copy_files(from, to),
            Action::ExportParts { image, out, entries, .. } => files::export(&self.image(image)?.tree()?, &image.to_string(), entries, out),
            Action::BuildPackage(package) => {
                if package.work != PackageWork::Build {
                    bail!("the native engine builds packages and does not {} them\nhint: --engine linuxkit", package.work);
                }
                let PackageJob { name, dir, image, build_yml, .. } = package;
                self.packages.build(&self.cache, &packages::Package { name, dir, image, build_yml }, job)
            }
            Action::ComposeRootfs { .. } => rootfs::compose(self, &node.action, job),
            Action::PackRootfs { .. } => rootfs::pack(&node.action, job),
            Action::MakeConfig { .. } => disk::make_config(&node.action),
            Action::MakeDisk(disk) => disk::make_disk(disk),
            Action::MakeStick(stick) => disk::make_stick(stick),
            Action::MakeIso { tar: Some(_), .. } => bail!("an ISO of the installer's own root file system is made by --engine linuxkit"),
            Action::MakeIso { kind, parts, epoch, out, .. } => disk::make_iso(*kind, parts, *epoch, out),
            Action::MakeNet { iso, parts, epoch, out } => disk::make_net(parts, iso.as_deref(), *epoch, out),
            Action::TakeOut { tar, entry, out } => files::take_out(tar, entry, out),
            Action::ConvertDisk { .. } => convert(&node.action, &self.tools, job),
            Action::MakeSbom { .. } => bail!(
                "the native engine lists no materials: syft runs in a container\nhint: `cargo xtask --engine linuxkit sbom` runs it with docker"
            ),
            Action::BuildEve(_) => bail!("the native engine does not build the image that holds everything\nhint: --engine linuxkit"),
        }
    }
}
