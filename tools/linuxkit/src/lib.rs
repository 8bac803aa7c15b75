//! The linuxkit engine: packages and root file systems by linuxkit, images by the tree's tool containers in docker, as the original
//! Makefile did it. What the tools are told to write, they write under its final name; when one fails, that name is removed.

mod images;

use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{
    Output, Tools, docker, linuxkit::Dialect, linuxkit::EveCall, linuxkit::Linuxkit, linuxkit::PackageCall, linuxkit::Settings,
    qemu_img::QemuImg,
};
use common::artifact::Pending;
use executor::{Engine, Job};
use filetree::Spool;
use knobs::{ImageFormat, Knobs};
use native::files;
use oci::Cache;
use plan::{Action, EngineKind, EveJob, ImageRef, Node, PackageJob, Profile};
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
        if ctx.engine != EngineKind::Linuxkit {
            bail!("{} needs --engine linuxkit", ctx.profile.tree.name);
        }
        let pinned = ctx.profile.tools.get("linuxkit").map_or("", |pin| pin.options.as_str());
        let folder = ctx.environment.linuxkit_cache();
        Ok(Self {
            root: ctx.root.clone(),
            packages: ctx.profile.packages.folder.clone(),
            ours: !ctx.profile.packages.published,
            spool: ctx.dist().join("tmp"),
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

    fn output(job: &Job<'_>) -> Output {
        job.output()
    }

    fn build_package(&self, package: &PackageJob, job: &Job<'_>) -> Result<()> {
        let output = Self::output(job);
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

    fn export(&self, package: &str, image: &ImageRef, entries: &[String], out: &Path, fetch: bool, job: &Job<'_>) -> Result<()> {
        let output = Self::output(job);
        if fetch {
            self.in_own_cache(|cache| self.linuxkit().fetch_package(&self.packages.join(package), image.arch, &self.root, cache, &output))?;
        }
        std::fs::create_dir_all(out).with_context(|| format!("cannot make the folder `{}`", out.display()))?;
        std::fs::create_dir_all(&self.spool).with_context(|| format!("cannot make the folder `{}`", self.spool.display()))?;
        let arch_tag = self.knobs.optional("DOCKER_ARCH_TAG").unwrap_or(image.arch.as_str());
        let cmd = self.linuxkit().export_filesystem(&image.reference, arch_tag, out, &output)?;
        let mut spool = Spool::new_in(&self.spool)?;
        let tree = cmd.read_with(|stream| {
            let entries = filetree::read_tar_stream(stream, &mut spool).and_then(filetree::entries_to_tree);
            entries.with_context(|| format!("`linuxkit` printed no tar while taking files out of {image}"))
        })?;
        files::export(&tree, &image.to_string(), entries, out)
    }

    fn compose(&self, action: &Action, job: &Job<'_>) -> Result<()> {
        let Action::ComposeRootfs { yml, arch, sources, kernel, update, out, .. } = action else { bail!("this node composes nothing") };
        let _one_writer = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = |path: &Path| images::check_written(path, "linuxkit", |file| filetree::read_tar_file(Arc::new(file)).map(drop));
        // A kernel that somebody put in is not what linuxkit would find in an older tar.
        if *update && kernel.is_none() && out.is_file() {
            let pending = Pending::new(out)?;
            self.linuxkit().build(yml, *arch, sources, Some(out), pending.part(), &Self::output(job))?;
            whole(pending.part())?;
            return pending.commit();
        }
        self.linuxkit().build(yml, *arch, sources, None, out, &Self::output(job))?;
        whole(out)?;
        kernel.as_ref().map_or(Ok(()), |kernel| files::replace_kernel(out, kernel))
    }

    fn convert(&self, action: &Action, job: &Job<'_>) -> Result<()> {
        let Action::ConvertDisk { raw, format: ImageFormat::Qcow2, size_mib, compressed: true, out, .. } = action else {
            return native::convert(action, &self.tools, job);
        };
        native::check_size(raw, size_mib << 20)?;
        let tool = QemuImg::new(&self.tools, Self::output(job))?;
        tool.convert_as_make_did(raw, out)?;
        tool.resize_as_make_did(out, *size_mib)
    }

    fn eve(&self, eve: &EveJob, job: &Job<'_>) -> Result<()> {
        for (from, to) in &eve.copies {
            files::copy_file(from, to)?;
        }
        files::write_text(&eve.context.join("Dockerfile"), &eve.dockerfile)?;
        for (tag, release) in &eve.calls {
            let _one_writer = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let EveJob { context, work, arch, force, .. } = eve;
            let call = EveCall { context, work: *work, tag, release: release.as_deref(), arch: *arch, force: *force };
            self.linuxkit().eve(&call, &self.root, &Self::output(job))?;
        }
        Ok(())
    }
}

/// How linuxkit is called for a tree with this profile and these knobs.
#[must_use]
pub fn settings<'k>(profile: &Profile, knobs: &'k Knobs) -> Settings<'k> {
    let pinned = profile.tools.get("linuxkit").map_or("", |pin| pin.options.as_str());
    settings_of(Dialect::of_pin(pinned), knobs)
}

fn settings_of(pinned: Dialect, knobs: &Knobs) -> Settings<'_> {
    Settings {
        pinned,
        progress: knobs.text("BUILDKIT_PROGRESS"),
        arch: knobs.arch,
        verbose: knobs.host.verbose,
        builders: knobs.optional("BUILDERS"),
    }
}

fn package_call(job: &PackageJob) -> PackageCall<'_> {
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
        files::write_text(&path, text)?;
        Ok(Self(path))
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Engine for LinuxkitEngine {
    fn package(&self, job: &PackageJob) -> Result<Option<String>> {
        let mut digests = Vec::new();
        for arch in &job.platforms {
            match self.cache.find(&job.image.reference, arch.as_str())? {
                // What the native engine has made an old linuxkit would take for broken.
                Some(image) if image.layers.iter().any(oci::Layer::is_plain) && !self.linuxkit().reads_plain_layers() => return Ok(None),
                Some(image) => digests.push(image.digest),
                None => return Ok(None),
            }
        }
        // docker's own store is not looked into: what must be there too is handed to it again.
        Ok((!job.docker_load).then(|| digests.join(" ")))
    }

    fn make(&self, node: &Node, job: &Job<'_>) -> Result<()> {
        let result = match &node.action {
            Action::WriteText { path, text } | Action::ResolveYml { out: path, text, .. } => files::write_text(path, text),
            Action::Link { link, target } => files::link(link, target),
            Action::MakePersist { out } => files::make_persist(out),
            Action::CopyFiles { from, to } => files::copy_files(from, to),
            Action::ExportParts { package, image, out, entries, fetch } => self.export(package, image, entries, out, *fetch, job),
            Action::BuildPackage(package) => self.build_package(package, job),
            Action::ComposeRootfs { .. } => self.compose(&node.action, job),
            Action::PackRootfs { .. } => images::pack_rootfs(&self.containers(), &node.action, job),
            Action::MakeConfig { .. } => images::make_config(&self.containers(), &self.root, &node.action, &self.knobs, job),
            Action::MakeDisk(disk) => images::make_disk(&self.containers(), disk, job),
            Action::MakeStick(stick) => images::make_stick(&self.containers(), stick, job),
            Action::MakeIso { .. } => images::make_iso(&self.containers(), &node.action, job),
            Action::MakeNet { iso, parts, epoch, out } => native::make_net(parts, iso.as_deref(), *epoch, out),
            Action::TakeOut { tar, entry, out } => files::take_out(tar, entry, out),
            Action::ConvertDisk { .. } => self.convert(&node.action, job),
            Action::MakeSbom { .. } => images::make_sbom(&self.containers(), &node.action, &self.spool, job),
            Action::BuildEve(eve) => self.eve(eve, job),
        };
        if result.is_err() {
            images::remove_outputs(node);
        }
        result
    }
}
