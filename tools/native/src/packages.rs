//! Builds a package: reads its Dockerfile and writes its image to the cache. Gives pkgbuild's builder what it needs: base images from the
//! cache, the steps of the Debian archive in process, and the sandbox for every other RUN.

use super::{
    locked::Locked,
    mirrors::Origins,
    reuse::{self, Bases, Reuse},
};
use anyhow::{Context as _, Result, bail};
use checkout::{Checkout, context::Ctx};
use child::{Exit, Failure, Tools, interrupt, static_binary, terminal};
use common::{Arch, display::short, error::render};
use executor::Job;
use filetree::Tree as FileTree;
use oci::{Cache, NewImage, NewLayer};
use pkgbuild::{
    build_yml::BuildYml,
    builder::{self, BuildHost, Request, Step},
    debian::{self, Builtin, Builtins, Fetched, Lock, Policy, Progress, Store},
    dockerfile::Dockerfile,
    known::Known,
    tags::Counted,
};
use plan::steps::BuildPackage;
use sandbox::Sandbox;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Unix timestamp of all files of a package. A package's tag names its content, so its bytes must not depend on the commit that builds
/// it. linuxkit gives generated files the same time.
const PACKAGE_EPOCH: i64 = 1_492_533_000;

/// The hint where a RUN calls a program that its stage does not have.
const LACKS_PROGRAM: &str = "hint: BUILD_PKGS names Debian packages whose programs a stage gets by RUN eve-debian-deploy.sh; for a compiler, the \
                             Dockerfile that `cargo xtask new package NAME --c` writes (--rust, --go) is an example";

/// The settings that all packages of a run share.
pub(super) struct Builder {
    tools: Tools,
    origins: Origins,
    downloads: PathBuf,
    spool: PathBuf,
    policy: Policy,
    host_arch: Arch,
    epoch: i64,
    jobs: usize,
    commit: Option<String>,
    root: PathBuf,
    tool_images: Vec<String>,
    programs: BTreeMap<String, String>,
    counted: Counted,
    known: Arc<Known>,
    watch: Option<Watch>,
    /// Whether a RUN line that fails opens a shell.
    shell_on_failure: bool,
    /// The options that a command in a hint needs, see [`checkout::context::Globals::place`].
    place: String,
    /// Whether one has.
    has_looked: AtomicBool,
    /// Whether packages may start from an archive of Debian packages.
    has_archive: bool,
    /// The folder of records of built packages.
    records: Option<PathBuf>,
}

/// A build that is only looked at: up to a stage or a step, and no image is written.
pub(super) struct Watch {
    place: StopAt,
    /// The last step that ran, and the stage after it, or before it if the step failed or was not run.
    last: Mutex<Option<(Step, FileTree)>>,
}

/// Where a watched build stops.
#[derive(Clone, Debug, Default)]
pub struct StopAt {
    /// The stage of the Dockerfile; none for all.
    pub stage: Option<String>,
    /// The line of the RUN before which the build stops; none for none.
    pub line: Option<usize>,
}

/// The end of a build that has come to the place where it stops.
#[derive(Debug)]
pub struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the build stops here")
    }
}

impl std::error::Error for Stopped {}

impl Builder {
    pub(super) fn new(ctx: &Ctx, tree: &Checkout) -> Result<Self> {
        Ok(Self {
            tools: ctx.tools.clone(),
            origins: Origins::new(&ctx.knobs, &ctx.environment),
            downloads: ctx.environment.cache().join("debs"),
            spool: ctx.dist().spool(),
            policy: Policy { offline: ctx.globals.offline },
            host_arch: ctx.knobs.host_arch,
            epoch: PACKAGE_EPOCH,
            jobs: ctx.globals.jobs,
            commit: tree.commit_if_clean(),
            root: ctx.root.clone(),
            tool_images: ctx.profile.packages.tool_images.clone(),
            programs: ctx.profile.packages.programs.clone(),
            counted: tree.counted()?,
            known: tree.known(),
            watch: None,
            shell_on_failure: ctx.globals.shell_on_failure,
            place: ctx.globals.place.clone(),
            has_looked: AtomicBool::new(false),
            has_archive: ctx.profile.packages.archive.is_some(),
            records: ctx.built_packages(),
        })
    }

    pub(super) fn watching(self, place: StopAt) -> Self {
        Self { watch: Some(Watch { place, last: Mutex::new(None) }), shell_on_failure: false, ..self }
    }

    /// A builder that takes nothing from earlier builds.
    pub(super) fn anew(self) -> Self {
        Self { records: None, ..self }
    }

    /// Refuses what the builder does not do, before the first step of any package.
    pub(super) fn check(&self, package: &BuildPackage) -> Result<()> {
        if self.known.is_checked(&package.dir.join("Dockerfile")) {
            return Ok(());
        }
        // A Dockerfile that cannot be read is an error of the plan.
        read_dockerfile(&package.dir).map_or(Ok(()), |(dockerfile, _)| builder::check_early(&dockerfile))
    }

    /// The last step that ran, and its stage; none if no step ran or nothing was watched.
    pub(super) fn seen(&self) -> Option<(Step, FileTree)> {
        self.watch.as_ref()?.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn see(&self, step: &Step, stage: &FileTree) {
        if let Some(watch) = &self.watch {
            *watch.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((step.clone(), stage.clone()));
        }
    }

    /// Builds a package into `cache`. With `locked`, it starts only from images that the list names.
    pub(super) fn build(&self, cache: &Cache, package: &BuildPackage, locked: Option<&Locked>, job: &Job<'_>) -> Result<()> {
        std::fs::create_dir_all(&self.spool).with_context(|| format!("cannot make the folder `{}`", self.spool.display()))?;
        let (dockerfile, text) = read_dockerfile(&package.dir)?;
        let yml = BuildYml::read(&package.dir.join(&package.build_yml))?;
        let mut context = self.context(package, &yml, job)?;
        if !builder::sees_dockerfile(&dockerfile) {
            context.remove("Dockerfile");
        }
        let mut build_args: BTreeMap<String, String> =
            debian::NATIVE_BUILD_ARGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        build_args.extend(yml.build_args()?);
        let given = package.build_args.iter().filter_map(|argument| argument.split_once('='));
        build_args.extend(given.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let arch = package.image.arch;
        let request = Request {
            dockerfile: &dockerfile,
            context: &context,
            arch: arch.as_str(),
            build_arch: self.host_arch.as_str(),
            build_args: &build_args,
            source_date_epoch: self.epoch,
            network: yml.network,
            target: self.watch.as_ref().and_then(|watch| watch.place.stage.as_deref()),
        };
        let bases = Bases::default();
        let records = self.records.as_deref().filter(|_| self.watch.is_none() && self.program(&package.name).is_none());
        let reuse = records.map(|folder| Reuse::new(folder, &request, &text, cache, &bases)).transpose()?.flatten();
        let found = reuse.as_ref().filter(|_| !package.force).map(|reuse| reuse.find(arch.as_str())).transpose()?.flatten();
        let (config, layers) = match found {
            Some(found) => {
                job.log(&format!("the layers of {}: nothing that the build sees has changed", found.reference));
                (found.config, found.layers.into_iter().map(NewLayer::Layer).collect())
            }
            None => {
                let outside = Outside { builder: self, package, cache, job, bases: &bases, reuse: reuse.as_ref(), locked };
                let built = builder::build(&request, &outside)?;
                if self.watch.is_some() {
                    return Ok(());
                }
                (built.config, vec![NewLayer::Tree(self.with_crates(built.tree, package)?)])
            }
        };
        self.write(cache, package, config.clone(), layers, &self.labels(package, &yml)?, job)?;
        if let Some(reuse) = reuse
            && let Err(error) = reuse.keep(&package.image, &config)
        {
            job.log(&format!("not remembered for other archives: {error:#}"));
        }
        Ok(())
    }

    /// Adds to a package with a program of this workspace what the program is made of, for bills of materials.
    fn with_crates(&self, mut tree: FileTree, package: &BuildPackage) -> Result<FileTree> {
        if let Some(name) = self.program(&package.name) {
            let crates = static_binary::crates(&self.tools, &self.root, name, package.image.arch)?;
            let record = filetree::Node::file(0o644, self.epoch, filetree::Content::from(crates.into_bytes()));
            tree.insert(format!("{}/{name}", sbom::CRATES), record)?;
        }
        Ok(tree)
    }

    fn write(
        &self,
        cache: &Cache,
        package: &BuildPackage,
        mut config: oci::Config,
        layers: Vec<NewLayer>,
        labels: &BTreeMap<String, String>,
        job: &Job<'_>,
    ) -> Result<()> {
        config.labels.extend(labels.clone());
        let image = NewImage {
            reference: package.image.reference.clone(),
            arch: package.image.arch.to_string(),
            config,
            layers,
            created: self.epoch,
            history: vec![format!("pkg/{}", package.name)],
            annotations: BTreeMap::new(),
        };
        let digest = cache.write(image)?;
        job.log(&format!("{} {digest}", package.image));
        Ok(())
    }

    /// The program of this workspace that a package contains.
    fn program(&self, package: &str) -> Option<&str> {
        let of_tools = || self.tool_images.iter().any(|tool| tool == package).then_some("eve-tools");
        self.programs.get(package).map(String::as_str).or_else(of_tools)
    }

    /// The package's folder with its extra sources, and the program of this workspace that the package contains.
    fn context(&self, package: &BuildPackage, yml: &BuildYml, job: &Job<'_>) -> Result<FileTree> {
        let keep = |path: &Path| self.counted.holds(path);
        let mut context = builder::read_context(&package.dir, self.epoch, &keep)?;
        for (source, destination) in yml.sources()? {
            builder::add_source(&mut context, &package.dir.join(source), destination, self.epoch, &keep)?;
        }
        if let Some(name) = self.program(&package.name) {
            job.step(&format!("compiling {name}"));
            let program = static_binary::build(&self.tools, &self.root, name, package.image.arch, &job.output())?;
            let node = filetree::Node::file(0o755, self.epoch, filetree::Content::of_path(&program)?);
            context.insert(name, node)?;
        }
        Ok(context)
    }

    /// The labels that `linuxkit pkg build` puts on an image. One names the commit, if that is where the package's files are.
    fn labels(&self, package: &BuildPackage, yml: &BuildYml) -> Result<BTreeMap<String, String>> {
        let mut labels = BTreeMap::new();
        if let Some(config) = yml.config_label()? {
            labels.insert(oci::names::LABEL_CONFIG.to_owned(), config);
        }
        if let Some(repository) = yml.git_repository() {
            labels.insert(oci::names::LABEL_SOURCE.to_owned(), repository.to_owned());
        }
        if let Some(commit) = self.commit.as_ref().filter(|_| !package.is_dirty) {
            labels.insert(oci::names::LABEL_REVISION.to_owned(), commit.clone());
        }
        Ok(labels)
    }

    fn fetch(&self, lock: &Lock, release: &str, arch: &str, job: &Job<'_>) -> Result<Fetched> {
        let store = Store::open(&self.downloads, &self.origins.network(&self.tools))?;
        let progress = |at: &Progress| {
            job.step(&format!("{}/{} packages", at.files_done, at.files));
            job.measure(at.bytes_done, at.bytes);
        };
        let complete = lock.pins.values().all(|pin| store.find(pin).is_some());
        // With all packages cached no mirror is needed, so a machine without apt sources can build.
        let mirrors = if complete || self.policy.offline { debian::Mirrors::default() } else { self.origins.mirrors()? };
        store.fetch_all(lock, release, arch, &mirrors, self.policy, &progress)
    }
}

/// The Dockerfile, and its text.
fn read_dockerfile(dir: &Path) -> Result<(Dockerfile, String)> {
    let path = dir.join("Dockerfile");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok((Dockerfile::parse(&text, &path.display().to_string())?, text))
}

/// The base images, files and programs that a build uses.
struct Outside<'b> {
    builder: &'b Builder,
    package: &'b BuildPackage,
    cache: &'b Cache,
    job: &'b Job<'b>,
    bases: &'b Bases,
    reuse: Option<&'b Reuse<'b>>,
    locked: Option<&'b Locked>,
}

impl BuildHost for Outside<'_> {
    fn base_image(&self, reference: &str, arch: &str) -> Result<(oci::Config, FileTree)> {
        let Some(base) = reuse::base(self.bases, self.cache, reference, arch)? else {
            bail!("no image {reference} ({arch}) in the cache or this tree");
        };
        if let (Some(locked), Some(image)) = (self.locked, self.cache.find(reference, arch)?) {
            locked.check(&image)?;
        }
        self.reuse.map_or(Ok(()), |reuse| reuse.saw_image(reference, arch))?;
        Ok(base)
    }

    fn builtin(&self, step: &Step, stage: &mut FileTree) -> Result<bool> {
        self.reuse.map_or(Ok(()), |reuse| reuse.saw_step(step))?;
        // Others see none of the archive's packages.
        if Builtin::parse(&step.command, &step.env).is_some() {
            self.stop_at(step, stage)?;
        }
        let fetch = |lock: &Lock, release: &str, arch: &str| self.builder.fetch(lock, release, arch, self.job);
        let builtins = Builtins { fetch: &fetch, spool: self.builder.spool.clone(), jobs: self.builder.jobs };
        let done = builtins.run(step, stage).inspect_err(|error| self.look(step, error, || self.sandbox().open_shell(step, stage)))?;
        if done {
            self.builder.see(step, stage);
        }
        Ok(done)
    }

    fn can_execute(&self, arch: &str) -> bool {
        arch == self.builder.host_arch.as_str()
    }

    fn run(&self, step: &Step, stage: &mut FileTree) -> Result<()> {
        let mut step = step.clone();
        // Set for every step; docker sets it only if the Dockerfile has an ARG for it.
        step.env.entry("SOURCE_DATE_EPOCH".to_owned()).or_insert_with(|| step.source_date_epoch.to_string());
        self.builder.see(&step, stage);
        self.stop_at(&step, stage)?;
        // Which line it is, for who waits.
        self.job.step(step.place.rsplit('/').next().unwrap_or_default());
        let ended = self.sandbox().run(&step, stage, |error, failed| {
            let error = self.with_replay(error);
            self.look(&step, &error, || failed.open_shell());
            error
        });
        self.job.step("");
        ended?;
        self.builder.see(&step, stage);
        Ok(())
    }
}

impl Outside<'_> {
    fn sandbox(&self) -> Sandbox<'_> {
        Sandbox::new(&self.builder.tools, self.builder.spool.clone(), self.job.output())
    }

    /// Ends a watched build before the step where it stops.
    fn stop_at(&self, step: &Step, stage: &FileTree) -> Result<()> {
        let line = self.builder.watch.as_ref().and_then(|watch| watch.place.line);
        if line.is_none_or(|line| !step.place.ends_with(&format!(":{line}"))) {
            return Ok(());
        }
        self.builder.see(step, stage);
        Err(Stopped.into())
    }

    /// With `--shell-on-failure` says what failed and lets the person look: `open` opens a shell where it failed.
    fn look(&self, step: &Step, error: &anyhow::Error, open: impl FnOnce() -> Result<()>) {
        // Steps that run beside the one that failed may fail too; a person looks at the first.
        if !self.builder.shell_on_failure || interrupt::is_interrupted() || self.builder.has_looked.swap(true, Ordering::Relaxed) {
            return;
        }
        self.job.alone(|| {
            let place = short(Path::new(&step.place), &self.builder.root);
            if !terminal::is_there() {
                return eprintln!("note: {place}: --shell-on-failure opens no shell: standard input and output are not a terminal");
            }
            eprint!("{}", render(error));
            eprintln!("the shell is where {place} failed, with the files as the step left them; `exit` ends the shell, and the build when its other steps have ended");
            if let Err(error) = open() {
                eprint!("no shell opens: {}", render(&error));
            }
        });
    }

    /// The error with a command that can be pasted, because the sandbox's own gets the step from an open file, and with a hint where a program
    /// is missing.
    fn with_replay(&self, error: anyhow::Error) -> anyhow::Error {
        let arch = self.package.image.arch;
        let other = if arch == self.builder.host_arch { String::new() } else { format!(" --zarch {arch}") };
        match error.downcast::<Failure>() {
            Ok(failure) => {
                let lacks_program = failure.exit == Exit::Status(127) && failure.said(": not found");
                let failure =
                    Failure { command: format!("cargo xtask{} shell {}{other}", self.builder.place, self.package.name), ..failure };
                match lacks_program && self.builder.has_archive {
                    true => anyhow::Error::from(failure).context(LACKS_PROGRAM),
                    false => failure.into(),
                }
            }
            Err(error) => error,
        }
    }
}
