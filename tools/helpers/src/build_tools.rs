//! `build-tools`: builds the tools that the tree pins into build-tools/bin, in the five steps of the specification: make a temporary
//! folder, run `git init` in it, fetch only the pinned commit, build, and remove the folder even after a failure.

use crate::go_builder::go_builder;
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{
    Cmd, Output, Tool, ToolNeed,
    go::{self, GoProgram},
    go_builder::InBuilder,
    interrupt::{Hold, is_interrupted},
    provide,
};
use common::{
    Arch,
    artifact::{install_program, write_atomically},
    display::{public_url, short},
    error::{did_you_mean, usage},
};
use knobs::{GoKnobs, GoSourcesKnobs, InstallTools, ToolKnobs};
use plan::pins;
use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
};

/// The knobs of a build.
#[derive(Clone, Copy, Debug)]
pub struct ToolSettings<'k> {
    /// The commit and repository of linuxkit that replace the pinned ones, if the verb can build it.
    pub linuxkit: Option<&'k ToolKnobs>,
    /// The commit of go-sources-and-licenses that replaces the pinned one.
    pub gosources: &'k GoSourcesKnobs,
    /// The container that builds if this machine has no Go.
    pub go: &'k GoKnobs,
}

impl ToolSettings<'_> {
    /// For the tool `name`: the knob for its commit, the knob's value, and the value of the knob for its repository.
    fn replace(&self, name: &str) -> (&'static str, Option<&String>, Option<&String>) {
        match name {
            "linuxkit" => (
                "LINUXKIT_VERSION",
                self.linuxkit.and_then(|knobs| knobs.linuxkit_version.as_ref()),
                self.linuxkit.and_then(|knobs| knobs.linuxkit_source.as_ref()),
            ),
            "go-sources-and-licenses" => ("GOSOURCES_VERSION", self.gosources.gosources_version.as_ref(), None),
            _ => ("", None, None),
        }
    }
}

/// The folder with the Dockerfile of the Go builder, in trees that have one.
const GO_BUILDER: &str = "build-tools/src/scripts";

/// A tool to build.
#[derive(Debug)]
struct Job<'c> {
    name: &'c str,
    repository: String,
    commit: String,
    /// The program's folder in the repository; none for a module that `go install` builds.
    package: Option<&'c str>,
    /// The sources to build as they are, instead of the commit.
    folder: Option<PathBuf>,
    bin: PathBuf,
}

impl<'c> Job<'c> {
    /// The tool `name` at its pin, or at what the knobs name instead.
    fn new(ctx: &'c Ctx, settings: &ToolSettings<'_>, name: &str) -> Result<Self> {
        let Some((name, pin)) = ctx.profile.tools.get_key_value(name) else {
            let known = || ctx.profile.tools.keys().map(String::as_str);
            let hint = did_you_mean(name, known()).map_or_else(
                || match known().collect::<Vec<_>>().join(", ") {
                    none if none.is_empty() => format!("[{name}] in {} pins it", pins::FILE),
                    known => format!("the tools are {known}"),
                },
                |near| format!("did you mean {near}?"),
            );
            return Err(usage(format!("{} has no pin of {name}\nhint: {hint}", ctx.profile.tree.name)));
        };
        let (knob, commit, repository) = settings.replace(name);
        let job = Self {
            name,
            repository: repository.unwrap_or(&pin.repository).clone(),
            commit: commit.unwrap_or(&pin.commit).clone(),
            package: pin.package.as_deref(),
            folder: settings
                .linuxkit
                .filter(|_| name == "linuxkit")
                .and_then(|knobs| knobs.linuxkit_folder.as_ref())
                .map(|path| ctx.root.join(path)),
            bin: ctx.root.join("build-tools/bin"),
        };
        if let Some(folder) = job.folder.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(usage(format!("LINUXKIT_SRC={}: there is no such folder", folder.display())));
        }
        pins::check_repository(&job.repository).map_err(|error| usage(format!("{name}: {error}")))?;
        if job.commit.starts_with('-') {
            return Err(usage(format!("{knob}={} is no commit", job.commit)));
        }
        Ok(job)
    }

    fn program(&self) -> PathBuf {
        self.bin.join(self.name)
    }

    /// The empty file whose name contains the commit from which the program was built.
    fn marker(&self) -> PathBuf {
        self.bin.join(format!("{}.{}", self.name, self.commit.replace('/', "-")))
    }

    /// Whether the program exists and was built from this commit. What was built from a folder never is. A program of `go install` has no marker.
    fn is_up_to_date(&self) -> bool {
        self.folder.is_none() && self.program().is_file() && (self.package.is_none() || self.marker().is_file())
    }

    /// From what it is built, for people.
    fn source(&self) -> String {
        self.folder.as_ref().map_or_else(|| format!("at {}", self.commit), |folder| format!("of {}", folder.display()))
    }

    /// `go install` of a module.
    fn install_command(&self, ctx: &Ctx) -> Result<Cmd> {
        let module = format!("{}@{}", self.repository, self.commit);
        go::install_command(&ctx.tools, &ctx.environment, ctx.globals.offline, &module, &self.bin)
    }
}

/// Builds the `named` tools, or all that are built from a commit.
pub fn build_tools(ctx: &Ctx, settings: &ToolSettings<'_>, named: &[String]) -> Result<()> {
    let pinned = ctx.profile.tools.iter().filter(|(_, pin)| pin.package.is_some()).map(|(name, _)| name.as_str());
    let names: Vec<&str> = if named.is_empty() { pinned.collect() } else { named.iter().map(String::as_str).collect() };
    if names.is_empty() {
        println!("nothing to build: {} pins no tools", ctx.profile.tree.name);
    }
    let jobs: Vec<Job<'_>> = names.into_iter().map(|name| Job::new(ctx, settings, name)).collect::<Result<_>>()?;
    let place = |job: &Job<'_>| format!("{} {}", short(&job.program(), &ctx.root), job.source());
    let (done, due): (Vec<_>, Vec<_>) = jobs.into_iter().partition(Job::is_up_to_date);
    for job in &done {
        println!("up to date: {}", place(job));
    }
    if ctx.globals.dry_run {
        return due.iter().try_for_each(|job| show(ctx, job));
    }
    preflight(ctx, &due)?;
    for job in &due {
        make(ctx, settings, job)?;
        println!("made: {}", place(job));
    }
    Ok(())
}

/// Fails unless the tree pins this tool.
pub fn check_pin(ctx: &Ctx, settings: &ToolSettings<'_>, name: &str) -> Result<()> {
    Job::new(ctx, settings, name).map(drop)
}

/// Builds one tool for another command; prints nothing on standard output.
pub fn ensure(ctx: &Ctx, settings: &ToolSettings<'_>, name: &str) -> Result<()> {
    let job = Job::new(ctx, settings, name)?;
    preflight(ctx, std::slice::from_ref(&job))?;
    make(ctx, settings, &job)
}

/// Prints what [`ensure`] would do.
pub fn show_pin(ctx: &Ctx, settings: &ToolSettings<'_>, name: &str) -> Result<()> {
    show(ctx, &Job::new(ctx, settings, name)?)
}

fn show(ctx: &Ctx, job: &Job<'_>) -> Result<()> {
    match job.package {
        None => println!("{}", job.install_command(ctx)?),
        Some(package) if job.folder.is_some() => {
            println!("{}: build {package} {}, install it as {}", job.name, job.source(), short(&job.program(), &ctx.root));
        }
        Some(package) => println!(
            "{}: fetch {} of {} into a temporary folder, build {package}, install it as {}",
            job.name,
            job.commit,
            public_url(&job.repository),
            short(&job.program(), &ctx.root)
        ),
    }
    Ok(())
}

/// Whether to build in the tree's container: this machine has no Go, and the tree has a container.
fn uses_container(ctx: &Ctx) -> bool {
    ctx.tools.find(Tool::Go).is_err() && ctx.root.join(GO_BUILDER).is_dir()
}

/// Fails before anything is fetched, naming all missing tools.
fn preflight(ctx: &Ctx, due: &[Job<'_>]) -> Result<()> {
    let names: Vec<&str> = due.iter().map(|job| job.name).collect();
    let names = names.join(", ");
    let mut needs = Vec::new();
    if due.iter().any(|job| job.package.is_some() && job.folder.is_none()) {
        needs.push(ToolNeed::new(Tool::Git, format!("to fetch the sources of {names}")));
    }
    // `go install` never runs in the container, and the container would write into a folder of sources.
    if !due.is_empty() && (!uses_container(ctx) || due.iter().any(|job| job.package.is_none() || job.folder.is_some())) {
        needs.push(ToolNeed::new(Tool::Go, format!("to build {names}")));
    } else if !due.is_empty() {
        needs.push(ToolNeed::new(Tool::Docker, format!("to build {names} in the Go builder")));
    }
    let is_remote = |job: &&Job<'_>| {
        job.package.is_some() && job.folder.is_none() && !job.repository.starts_with("file://") && !Path::new(&job.repository).is_absolute()
    };
    if let Some(job) = due.iter().find(is_remote).filter(|_| ctx.globals.offline) {
        return Err(usage(format!("--offline: {} must be fetched from {}", job.name, public_url(&job.repository))));
    }
    let installs = ctx.knobs.host.install_tools == InstallTools::Auto;
    provide::ensure(&ctx.tools, &needs, installs, &Output::to(|line| eprintln!("install | {line}")))
}

/// Runs the five steps under a lock: two builds in one tree would write the same temporary file in build-tools/bin.
fn make(ctx: &Ctx, settings: &ToolSettings<'_>, job: &Job<'_>) -> Result<()> {
    let _hold = Hold::new();
    let _lock = lock(&ctx.root)?;
    let Some(package) = job.package else {
        std::fs::create_dir_all(&job.bin).with_context(|| format!("cannot make the folder `{}`", job.bin.display()))?;
        return job.install_command(ctx)?.run();
    };
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    if let Some(sources) = &job.folder {
        let built = build_folder(ctx, &GoProgram { name: job.name, checkout: sources, package }, folder.path())?;
        check_interrupt()?;
        return install(job, &built);
    }
    fetch(ctx, job, folder.path())?;
    let built = build(ctx, settings, &GoProgram { name: job.name, checkout: folder.path(), package }, &job.repository)?;
    check_interrupt()?;
    install(job, &built)?;
    folder.close().with_context(|| format!("cannot remove the temporary folder of {}", job.name))
}

/// Fetches only the pinned commit into `folder`; applies the tree's patches to linuxkit.
fn fetch(ctx: &Ctx, job: &Job<'_>, folder: &Path) -> Result<()> {
    eprintln!("{}: fetching {} of {}", job.name, job.commit, public_url(&job.repository));
    let git = ctx.git(folder)?;
    git.fetch_commit(&job.repository, &job.commit)?;
    if job.name == "linuxkit" {
        for patch in patches(&ctx.root.join("tools/linuxkit/patches"))? {
            git.change(&format!("applying {}", patch.display()), ["apply", &patch.display().to_string()])?;
        }
    }
    check_interrupt()
}

/// Builds the program inside its checkout and returns its path.
fn build(ctx: &Ctx, settings: &ToolSettings<'_>, program: &GoProgram<'_>, repository: &str) -> Result<PathBuf> {
    if !program.sources().is_dir() {
        let repository = public_url(repository);
        bail!("this commit of {repository} does not contain {}: it has no folder {}", program.name, program.package);
    }
    eprintln!("{}: building {}", program.name, program.package);
    let built = program.checkout.join(program.name);
    if uses_container(ctx) {
        build_in_container(ctx, settings, program, repository)?;
    } else {
        program.check_version(&ctx.tools, &ctx.environment)?;
        program.build_command(&ctx.tools, &ctx.environment, ctx.globals.offline, &built)?.run()?;
    }
    if !built.is_file() {
        bail!("go succeeded, but did not write {}", program.name);
    }
    Ok(built)
}

/// Builds the program of a folder of sources into the folder `out`, without a change of the sources.
fn build_folder(ctx: &Ctx, program: &GoProgram<'_>, out: &Path) -> Result<PathBuf> {
    let folder = program.checkout.display();
    if !program.sources().is_dir() {
        return Err(usage(format!("LINUXKIT_SRC={folder} is no checkout of {}: it has no folder {}", program.name, program.package)));
    }
    eprintln!("{}: building {} of {folder}", program.name, program.package);
    let built = out.join(program.name);
    program.check_version(&ctx.tools, &ctx.environment)?;
    program.build_command(&ctx.tools, &ctx.environment, ctx.globals.offline, &built)?.run()?;
    Ok(built)
}

fn build_in_container(ctx: &Ctx, settings: &ToolSettings<'_>, program: &GoProgram<'_>, repository: &str) -> Result<()> {
    let GoProgram { name, package, checkout } = *program;
    // Build for this machine's system, not for the container's.
    let os = if Arch::host().is_ok() { std::env::consts::OS } else { "linux" };
    let up = "../".repeat(package.split('/').filter(|part| *part != ".").count());
    let modules = program.modules_option();
    let script = format!("unset GOFLAGS; cd {package} && GOOS={os} GO111MODULE=on CGO_ENABLED=0 go build -o {up}{name} {modules} .");
    let step = format!("building {name}");
    let run = InBuilder {
        step: &step,
        script: &script,
        sources: checkout.to_owned(),
        module: place_in_container(name, repository),
        bin: None,
        interactive: false,
    };
    go_builder(ctx, settings.go).run(&run)
}

/// The path of the sources in the container: the repository's address if it can be a path, else the tool's name.
fn place_in_container<'n>(name: &'n str, repository: &'n str) -> &'n str {
    let address = repository.split_once("://").map(|(_, rest)| rest.trim_end_matches(".git"));
    let is_path = |text: &&str| !text.starts_with('/') && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    address.filter(is_path).unwrap_or(name)
}

/// Installs the program. Removes old markers first: none may exist beside a program of another commit.
fn install(job: &Job<'_>, built: &Path) -> Result<()> {
    let prefix = format!("{}.", job.name);
    for entry in std::fs::read_dir(&job.bin).into_iter().flatten() {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)) {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove `{}`", path.display()))?;
        }
    }
    install_program(built, &job.program())?;
    // What a folder's sources are tomorrow, nobody knows.
    if job.folder.is_some() { Ok(()) } else { write_atomically(&job.marker(), b"") }
}

fn check_interrupt() -> Result<()> {
    if is_interrupted() { Err(anyhow::anyhow!("interrupted")) } else { Ok(()) }
}

/// Locks the tree's folder while the returned file is open. A lock on the folder leaves no file behind, and a build that holds the lock
/// of `dist/` can still build a tool.
fn lock(root: &Path) -> Result<File> {
    let folder = File::open(root).with_context(|| format!("cannot open `{}`", root.display()))?;
    match folder.try_lock() {
        Ok(()) => return Ok(folder),
        Err(TryLockError::WouldBlock) => eprintln!("waiting for another build-tools in `{}`", root.display()),
        Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("cannot lock `{}`", root.display())),
    }
    folder.lock().with_context(|| format!("cannot lock `{}`", root.display()))?;
    Ok(folder)
}

/// The patches in `folder`, sorted by name.
fn patches(folder: &Path) -> Result<Vec<PathBuf>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "patch") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_sees_sources_below_their_address() {
        for (repository, place) in [
            ("https://github.com/linuxkit/linuxkit.git", "github.com/linuxkit/linuxkit"),
            ("https://me@example.org:8080/linuxkit", "linuxkit"),
            ("/srv/linuxkit", "linuxkit"),
            ("file:///srv/linuxkit.git", "linuxkit"),
        ] {
            assert_eq!(place_in_container("linuxkit", repository), place);
        }
    }
}
