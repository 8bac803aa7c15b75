//! The linuxkit engine: packages and root file systems by linuxkit, images by the tree's tool containers in docker, as the original
//! Makefile did it. What the tools are told to write, they write under its final name; when one fails, that name is removed.

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
    Node, Profile,
    steps::{
        BuildEve, BuildPackage, ComposeRootfs, ConvertDisk, CopyFiles, ExportParts, Link, MakeConfig, MakeDisk, MakeIso, MakeNet,
        MakePersist, MakeSbom, MakeStick, PackRootfs, ResolveYml, TakeOut, WriteText,
    },
};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// The engine, for one tree.
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
    /// linuxkit before 1.6 writes the index of its cache without a lock: only one of its processes at a time may. Packages are built in
    /// caches of their own.
    writing: Mutex<()>,
    /// Whether a package was built: the first one starts the builder's container, which two at once would do twice.
    builder: Mutex<bool>,
}

impl LinuxkitEngine {
    /// Looks at nothing yet.
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
        })
    }

    fn linuxkit(&self) -> &Linuxkit {
        self.linuxkit.get_or_init(|| Linuxkit::new(&self.tools, settings_of(self.pinned, &self.knobs)))
    }

    fn containers(&self) -> images::Containers<'_> {
        images::Containers { tools: &self.tools, ours: self.ours }
    }

    fn build(&self, package: &BuildPackage, job: &Job<'_>) -> Result<()> {
        let output = job.output();
        {
            let _dockerfile = package.dockerfile.as_ref().map(|text| Borrowed::write(package.dir.join("Dockerfile"), text)).transpose()?;
            self.in_own_cache(|cache| self.linuxkit().package(&package_call(package), &self.root, cache, &output))?;
        }
        if package.prune {
            self.linuxkit().prune(&output)?;
            docker::prune(&self.tools, &output)?;
        }
        Ok(())
    }

    /// Runs `build` with a cache that no other linuxkit writes to, and brings back what it made.
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
        let ComposeRootfs { yml, arch, sources, kernel, update, out, .. } = step;
        let _one_writer = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = |path: &Path| images::check_written(path, "linuxkit", |file| filetree::read_tar_file(Arc::new(file)).map(drop));
        // A kernel that somebody put in is not what linuxkit would find in an older tar.
        if *update && kernel.is_none() && out.is_file() {
            let pending = Pending::new(out)?;
            self.linuxkit().build(yml, *arch, sources, Some(out), pending.part(), &job.output())?;
            whole(pending.part())?;
            return pending.commit();
        }
        self.linuxkit().build(yml, *arch, sources, None, out, &job.output())?;
        whole(out)?;
        kernel.as_ref().map_or(Ok(()), |kernel| files::replace_kernel(out, kernel))
    }

    /// A compressed qcow2 in the words of the old Makefile.
    fn convert_as_make_did(&self, step: &ConvertDisk, job: &Job<'_>) -> Result<()> {
        native::check_size(&step.raw, step.size_mib << 20)?;
        let tool = QemuImg::new(&self.tools, job.output())?;
        tool.convert_as_make_did(&step.raw, &step.out)?;
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
            let call = EveCall { context, work: *work, tag, release: release.as_deref(), arch: *arch, force: *force };
            self.linuxkit().eve(&call, &self.root, &job.output())?;
        }
        Ok(())
    }
}

/// How linuxkit is called for a tree with this profile and these knobs.
#[must_use]
pub fn settings(profile: &Profile, knobs: &Knobs) -> Settings {
    let pinned = profile.tools.get("linuxkit").map_or("", |pin| pin.options.as_str());
    settings_of(Dialect::of_pin(pinned), knobs)
}

fn settings_of(pinned: Dialect, knobs: &Knobs) -> Settings {
    Settings {
        pinned,
        progress: knobs.packages.progress.clone(),
        arch: knobs.image.arch,
        verbose: knobs.host.verbose,
        builders: knobs.packages.builders.clone(),
    }
}

fn package_call(job: &BuildPackage) -> PackageCall<'_> {
    PackageCall {
        name: &job.name,
        dir: &job.dir,
        work: job.work,
        build_yml: &job.build_yml,
        hash: job.hash.as_deref(),
        release: job.release.as_deref(),
        options: &job.options,
        force: job.force,
        docker_load: job.docker_load,
        platforms: &job.platforms,
    }
}

/// A file in the tree that is there only while a tool reads it.
struct Borrowed(PathBuf);

impl Borrowed {
    fn write(path: PathBuf, text: &str) -> Result<Self> {
        write_atomically(&path, text.as_bytes())?;
        Ok(Self(path))
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A step that a tool image makes in a container.
fn by_container<'e>(run: impl FnOnce(&Job<'_>) -> Result<()> + 'e) -> Result<Making<'e>> {
    Ok(Making::by(run).with(Tool::Docker, "to run the steps of the linuxkit engine"))
}

/// A step that linuxkit makes, which starts docker.
fn by_linuxkit<'e>(run: impl FnOnce(&Job<'_>) -> Result<()> + 'e) -> Result<Making<'e>> {
    Ok(by_container(run)?.with(Tool::Linuxkit, "to build packages and root file systems"))
}

impl Engine for LinuxkitEngine {
    fn find_package(&self, package: &BuildPackage) -> Result<Option<String>> {
        let mut digests = Vec::new();
        for arch in &package.platforms {
            match self.cache.find(&package.image.reference, arch.as_str())? {
                // An old linuxkit takes the layers that the native engine has written for broken.
                Some(image) if image.layers.iter().any(oci::Layer::is_plain) && !self.linuxkit().reads_plain_layers() => return Ok(None),
                Some(image) => digests.push(image.digest),
                None => return Ok(None),
            }
        }
        // We cannot inspect docker's own store, so an image that must be there too is always handed to it again.
        Ok((!package.docker_load).then(|| digests.join(" ")))
    }

    fn clean_up(&self, failed: &Node) {
        images::remove_outputs(failed);
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
        Ok(Making::by(|_| native::make_net(step)))
    }

    fn convert_disk<'e>(&'e self, step: &'e ConvertDisk) -> Result<Making<'e>> {
        if step.format == ImageFormat::Qcow2 && step.compressed {
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
        by_container(|job| images::make_disk(&self.containers(), step, job))
    }

    fn make_stick<'e>(&'e self, step: &'e MakeStick) -> Result<Making<'e>> {
        by_container(|job| images::make_stick(&self.containers(), step, job))
    }

    fn make_iso<'e>(&'e self, step: &'e MakeIso) -> Result<Making<'e>> {
        by_container(|job| images::make_iso(&self.containers(), step, job))
    }

    fn make_sbom<'e>(&'e self, step: &'e MakeSbom) -> Result<Making<'e>> {
        by_container(|job| images::make_sbom(&self.containers(), step, &self.spool, job))
    }
}
