//! The linuxkit engine: builds packages and root file systems with linuxkit, and images with the tree's tool images in docker, as the
//! original Makefile did. The tools write under final names; if one fails, its output is removed. The crate uses native for steps without
//! foreign tools; executor decides what is due and calls it.

mod advice;
mod images;

use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{
    Tool, Tools, docker, linuxkit::Dialect, linuxkit::EveCall, linuxkit::Linuxkit, linuxkit::PackageCall, linuxkit::Settings,
    qemu_img::QemuImg,
};
use common::artifact::{Pending, write_atomically};
use executor::{Engine, Job, Making};
use filetree::Spool;
use knobs::{ImageFormat, Knobs};
use native::files;
use oci::Cache;
use plan::{
    Capabilities, EngineKind, Node, PackageWork, Profile,
    steps::{
        BuildEve, BuildPackage, ComposeRootfs, ConvertDisk, ExportParts, MakeConfig, MakeDisk, MakeIso, MakeNet, MakeSbom, MakeStick,
        PackEve, PackRootfs,
    },
};
use registry::Team;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// The engine for one tree.
pub struct LinuxkitEngine {
    root: PathBuf,
    packages: PathBuf,
    ours: bool,
    spool: PathBuf,
    tools: Tools,
    knobs: Knobs,
    pinned: Dialect,
    linuxkit: OnceLock<Linuxkit>,
    cache: Cache,
    /// Held while a linuxkit process writes to the cache: before 1.6 it writes the index without a lock. Packages are built in copies of
    /// the cache.
    writing: Mutex<()>,
    /// Whether a package was built. The first build starts the builder's container and must run alone.
    builder: Mutex<bool>,
    team: Option<Arc<Team>>,
}

impl LinuxkitEngine {
    /// Opens the image cache; fails if the tree has no tool images.
    pub fn new(ctx: &Ctx) -> Result<Self> {
        if !ctx.capabilities().tools_run_in_containers {
            bail!("{} needs --engine linuxkit", ctx.profile.tree.name);
        }
        let pinned = ctx.profile.tools.get("linuxkit").map_or("", |pin| pin.options.as_str());
        let folder = ctx.environment.linuxkit_cache();
        Ok(Self {
            root: ctx.root.clone(),
            packages: ctx.profile.packages.folder.clone(),
            ours: !ctx.capabilities().packages_are_published,
            spool: ctx.dist().spool(),
            tools: ctx.tools.clone(),
            knobs: ctx.knobs.clone(),
            pinned: Dialect::of_pin(pinned),
            linuxkit: OnceLock::new(),
            cache: Cache::open(&folder)?,
            writing: Mutex::default(),
            builder: Mutex::default(),
            team: native::team(ctx)?,
        })
    }

    fn linuxkit(&self) -> &Linuxkit {
        self.linuxkit.get_or_init(|| Linuxkit::new(&self.tools, settings_of(self.pinned, &self.knobs, !self.ours)))
    }

    fn containers(&self) -> images::Containers<'_> {
        images::Containers { tools: &self.tools, ours: self.ours, debug: self.knobs.host.debug }
    }

    fn build(&self, package: &BuildPackage, job: &Job<'_>) -> Result<()> {
        let output = job.output();
        let is_old = package.changes.is_some() && self.find_package(package)?.is_some();
        // An index of what the registry has needs no content.
        for archive in package.archives.iter().filter(|_| package.work != PackageWork::Manifest) {
            let file = archive.file.strip_prefix(&self.root).unwrap_or(&archive.file);
            let image = oci::expand_reference(&archive.image.reference);
            self.linuxkit().export_command(&image, None, file)?.dir(&self.root).output(&output).run()?;
        }
        {
            let _removed_at_end =
                package.dockerfile.as_ref().map(|text| TemporaryFile::write(package.dir.join("Dockerfile"), text)).transpose()?;
            let build_args = self.write_build_args(package)?;
            let call = package_call(package, is_old, &build_args);
            self.in_own_cache(|cache| self.linuxkit().package(&call, &self.root, cache, &output))?;
        }
        // docker's bytes differ each time: under a tag that the native engine makes too, `verify` would call them wrong.
        if !self.ours && package.work == PackageWork::Build {
            native::give_package(self.team.as_deref(), &self.cache, package, job);
        }
        if package.prune {
            self.linuxkit().prune(&output)?;
            docker::prune(&self.tools, &output)?;
        }
        Ok(())
    }

    /// Files with the build arguments of a package, outside of its folder: in it, they would change its tag.
    fn write_build_args(&self, package: &BuildPackage) -> Result<Vec<PathBuf>> {
        let write = |argument: &String| {
            let name = argument.split_once('=').map_or(argument.as_str(), |(name, _)| name);
            let file = self.spool.join("build-args").join(&package.name).join(name);
            write_atomically(&file, format!("{argument}\n").as_bytes())?;
            Ok(file)
        };
        package.build_args.iter().map(write).collect()
    }

    /// Runs `build` with a copy of the cache that no other linuxkit writes to, then merges new images into the cache.
    fn in_own_cache(&self, build: impl Fn(&Path) -> Result<()>) -> Result<()> {
        let fork = {
            let _one_writer = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            self.cache.fork(&self.spool)?
        };
        let mut has_builder = self.builder.lock().unwrap_or_else(PoisonError::into_inner);
        if *has_builder {
            drop(has_builder);
            build(&fork.dir())?;
        } else {
            build(&fork.dir())?;
            *has_builder = true;
            drop(has_builder);
        }
        let _one_writer = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        fork.join()
    }

    fn export(&self, step: &ExportParts, job: &Job<'_>) -> Result<()> {
        let ExportParts { package, image, out, .. } = step;
        let output = job.output();
        if step.fetch {
            self.in_own_cache(|cache| self.linuxkit().fetch_package(&self.packages.join(package), image.arch, &self.root, cache, &output))?;
        }
        std::fs::create_dir_all(out).with_context(|| format!("cannot make the folder `{}`", out.display()))?;
        std::fs::create_dir_all(&self.spool).with_context(|| format!("cannot make the folder `{}`", self.spool.display()))?;
        let arch_tag = self.knobs.image.docker_arch_tag.as_deref().unwrap_or(image.arch.as_str());
        let cmd = self.linuxkit().export_filesystem(&image.reference, arch_tag, out, &output)?;
        let mut spool = Spool::new_in(&self.spool)?;
        let tree = cmd.read_with(|stream| {
            let entries = filetree::read_tar_stream(stream, &mut spool).and_then(filetree::entries_to_tree);
            entries.with_context(|| format!("`linuxkit` printed no tar while taking files out of {image}"))
        })?;
        files::export(&tree, step)
    }

    fn compose(&self, step: &ComposeRootfs, job: &Job<'_>) -> Result<()> {
        let ComposeRootfs { yml, arch, sources, update, out, .. } = step;
        let _one_writer = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = |path: &Path| images::check_written(path, "linuxkit", |file| filetree::read_tar_file(Arc::new(file)).map(drop));
        // With a kernel or a hypervisor from a file, the old tar differs from what linuxkit wrote, so it cannot be updated.
        if *update && step.kernel.is_none() && step.hypervisor.is_none() && out.is_file() {
            let pending = Pending::new(out)?;
            self.linuxkit().build(yml, *arch, sources, Some(out), pending.part(), &job.output())?;
            whole(pending.part())?;
            return pending.commit();
        }
        // The native engine may have left another name of a file in the store here, and linuxkit would write into that file.
        let _ = std::fs::remove_file(out);
        self.linuxkit().build(yml, *arch, sources, None, out, &job.output())?;
        whole(out)?;
        files::put_own_into(out, step).map(drop)
    }

    /// Makes a qcow2 with the commands of the old Makefile.
    fn convert_as_make_did(&self, step: &ConvertDisk, job: &Job<'_>) -> Result<()> {
        native::check_size(&step.raw, step.size_mib << 20)?;
        let tool = QemuImg::new(&self.tools, job.output())?;
        if step.compressed {
            tool.convert_as_make_did(&step.raw, &step.out)?;
        } else {
            tool.convert_plain(&step.raw, &step.out)?;
        }
        tool.resize_as_make_did(&step.out, step.size_mib)
    }

    fn eve(&self, eve: &BuildEve, job: &Job<'_>) -> Result<()> {
        for (from, to) in &eve.copies {
            files::copy_file(from, to)?;
        }
        write_atomically(&eve.context.join("Dockerfile"), eve.dockerfile.as_bytes())?;
        for (tag, release) in &eve.calls {
            let _one_writer = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let BuildEve { context, work, arch, force, .. } = eve;
            let call = EveCall { name: "eve", context, work: *work, tag, release: release.as_deref(), arch: *arch, force: *force };
            self.linuxkit().eve(&call, &self.root, &job.output())?;
        }
        Ok(())
    }
}

/// The settings of linuxkit for a tree with this profile and these knobs.
#[must_use]
pub fn settings(profile: &Profile, knobs: &Knobs) -> Settings {
    let pinned = profile.tools.get("linuxkit").map_or("", |pin| pin.options.as_str());
    settings_of(Dialect::of_pin(pinned), knobs, Capabilities::of(profile, EngineKind::Linuxkit).packages_are_published)
}

/// Where the builder's configuration usually is, as lf-edge/eve's Makefile looks for it.
const BUILDER_CONFIG: &str = "/etc/buildkit/buildkitd.toml";

/// The variables that linuxkit reads.
fn variables(knobs: &Knobs, published: bool) -> Vec<(&'static str, String)> {
    let packages = &knobs.packages;
    let usual = || Some(PathBuf::from(BUILDER_CONFIG)).filter(|path| published && path.is_file());
    let config = packages.builder_config.clone().or_else(usual).map(|path| path.display().to_string());
    [
        ("LINUXKIT_MIRROR", packages.mirror.clone()),
        ("LINUXKIT_BUILDER_NAME", packages.builder_name.clone()),
        ("LINUXKIT_BUILDER_IMAGE", packages.builder_image.clone()),
        ("LINUXKIT_BUILDER_CONFIG", config),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

/// `published`: the tree's packages are in a registry, and its Dockerfiles do not name those of the tree.
fn settings_of(pinned: Dialect, knobs: &Knobs, published: bool) -> Settings {
    Settings {
        pinned,
        progress: knobs.packages.progress.clone(),
        arch: knobs.image.arch,
        verbose: knobs.host.verbose,
        builders: knobs.packages.builders.clone(),
        organization: published.then(|| knobs.packages.organization.clone()).flatten(),
        variables: variables(knobs, published),
    }
}

/// `is_old`: the image exists, but was made of other files.
fn package_call<'c>(job: &'c BuildPackage, is_old: bool, build_args: &'c [PathBuf]) -> PackageCall<'c> {
    PackageCall {
        name: &job.name,
        dir: &job.dir,
        work: job.work,
        build_yml: &job.build_yml,
        hash: job.hash.as_deref(),
        release: job.release.as_deref(),
        options: &job.options,
        build_args,
        force: job.force || is_old,
        docker_load: job.docker_load,
        platforms: &job.platforms,
    }
}

/// A file in the tree that is removed when this is dropped.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn write(path: PathBuf, text: &str) -> Result<Self> {
        write_atomically(&path, text.as_bytes())?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A step that docker makes with a tool image.
fn by_container<'e>(run: impl FnOnce(&Job<'_>) -> Result<()> + 'e) -> Result<Making<'e>> {
    Ok(Making::by(|job| run(job).map_err(advice::add)).with(Tool::Docker, "to run the steps of the linuxkit engine"))
}

/// A step that linuxkit makes; linuxkit starts docker.
fn by_linuxkit<'e>(run: impl FnOnce(&Job<'_>) -> Result<()> + 'e) -> Result<Making<'e>> {
    Ok(by_container(run)?.with(Tool::Linuxkit, "to build packages and root file systems"))
}

impl Engine for LinuxkitEngine {
    fn find_package(&self, package: &BuildPackage) -> Result<Option<String>> {
        let mut digests = Vec::new();
        for arch in &package.platforms {
            match self.cache.find(&package.image.reference, arch.as_str())? {
                // An old linuxkit cannot read the uncompressed layers that the native engine writes.
                Some(image) if image.layers.iter().any(oci::Layer::is_plain) && !self.linuxkit().reads_plain_layers() => return Ok(None),
                Some(image) => digests.push(image.digest),
                None => return Ok(None),
            }
        }
        // We cannot inspect docker's store, so a step that loads an image into it always runs.
        Ok((!package.docker_load).then(|| digests.join(" ")))
    }

    fn take_package(&self, package: &BuildPackage, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<bool> {
        Ok(native::take_package(self.team.as_deref(), &self.cache, package, None, progress))
    }

    fn clean_up(&self, failed: &Node) {
        images::remove_outputs(failed);
    }

    native::steps_of_every_engine!();

    fn convert_disk<'e>(&'e self, step: &'e ConvertDisk) -> Result<Making<'e>> {
        if step.format == ImageFormat::Qcow2 {
            return Ok(Making::by(|job| self.convert_as_make_did(step, job)).with(Tool::QemuImg, "to convert the disk to qcow2"));
        }
        Ok(native::convert(step, &self.tools))
    }

    fn export_parts<'e>(&'e self, step: &'e ExportParts) -> Result<Making<'e>> {
        by_linuxkit(|job| self.export(step, job))
    }

    fn build_package<'e>(&'e self, step: &'e BuildPackage) -> Result<Making<'e>> {
        by_linuxkit(|job| self.build(step, job))
    }

    fn compose_rootfs<'e>(&'e self, step: &'e ComposeRootfs) -> Result<Making<'e>> {
        by_linuxkit(|job| self.compose(step, job))
    }

    fn pack_eve<'e>(&'e self, step: &'e PackEve) -> Result<Making<'e>> {
        Ok(Making::by(|_| {
            let program = self.cache.find(&step.program.reference, step.program.arch.as_str())?;
            let program = program.with_context(|| format!("no image {} in the image cache", step.program))?;
            native::pack_eve(program, step, &self.spool)
        }))
    }

    fn build_eve<'e>(&'e self, step: &'e BuildEve) -> Result<Making<'e>> {
        by_linuxkit(|job| self.eve(step, job))
    }

    fn pack_rootfs<'e>(&'e self, step: &'e PackRootfs) -> Result<Making<'e>> {
        by_container(|job| images::pack_rootfs(&self.containers(), step, job))
    }

    fn make_config<'e>(&'e self, step: &'e MakeConfig) -> Result<Making<'e>> {
        by_container(|job| images::make_config(&self.containers(), &self.root, step, &self.knobs, job))
    }

    fn make_disk<'e>(&'e self, step: &'e MakeDisk) -> Result<Making<'e>> {
        if let Some(root) = &step.root {
            let root = root.file_name().unwrap_or(root.as_os_str());
            return Err(common::error::usage(format!(
                "the tool image takes rootfs_installer.img, not {}\nhint: --engine native",
                root.display()
            )));
        }
        by_container(|job| images::make_disk(&self.containers(), step, job))
    }

    fn make_stick<'e>(&'e self, step: &'e MakeStick) -> Result<Making<'e>> {
        by_container(|job| images::make_stick(&self.containers(), step, job))
    }

    fn make_net<'e>(&'e self, step: &'e MakeNet) -> Result<Making<'e>> {
        Ok(Making::by(|job| native::make_net(step, job)))
    }

    fn make_iso<'e>(&'e self, step: &'e MakeIso) -> Result<Making<'e>> {
        by_container(|job| images::make_iso(&self.containers(), step, job))
    }

    fn make_sbom<'e>(&'e self, step: &'e MakeSbom) -> Result<Making<'e>> {
        by_container(|job| images::make_sbom(&self.containers(), step, &self.spool, job))
    }
}
