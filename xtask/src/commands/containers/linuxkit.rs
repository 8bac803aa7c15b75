//! Verbs that build tools from source, at the commit that the tree pins.

use super::{run_all, wants_containers};
use crate::commands::Run;
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{Tool, git::Git, go, go_builder::Run as InBuilder};
use common::{Arch, artifact::write_atomically};
use knobs::{GoKnobs, ToolKnobs};
use plan::Pin;
use std::path::{Path, PathBuf};

fn pin(ctx: &Ctx, name: &str, version: Option<&String>, source: Option<&String>) -> Result<Pin> {
    let pinned = ctx.profile.tools.get(name).cloned();
    let mut pin = pinned.with_context(|| format!("{} pins no {name}\nhint: [tools.{name}] in its profile", ctx.profile.tree.name))?;
    if let Some(version) = version {
        pin.version.clone_from(version);
    }
    if let Some(source) = source {
        pin.source.clone_from(source);
    }
    Ok(pin)
}

/// `build-tools`: nothing to do while the marker beside the program names the pinned commit.
#[derive(clap::Args)]
pub struct BuildTools {
    #[command(flatten)]
    knobs: ToolKnobs,
    #[command(flatten)]
    go: GoKnobs,
}

impl Run for BuildTools {
    fn run(self, ctx: &Ctx) -> Result<()> {
        build_tools(ctx, &self.knobs, &self.go)
    }
}

fn build_tools(ctx: &Ctx, knobs: &ToolKnobs, go: &GoKnobs) -> Result<()> {
    if !ctx.capabilities().linuxkit_keeps_images() && !ctx.profile.tools.contains_key("linuxkit") {
        println!("the native engine needs no linuxkit");
        return Ok(());
    }
    let pin = pin(ctx, "linuxkit", knobs.linuxkit_version.as_ref(), knobs.linuxkit_source.as_ref())?;
    let bin = ctx.root.join("build-tools/bin");
    let (program, marker) = (bin.join("linuxkit"), bin.join(format!("linuxkit.{}", pin.version)));
    if program.is_file() && marker.is_file() {
        println!("up to date: build-tools/bin/linuxkit at {}", pin.version);
        return Ok(());
    }
    if ctx.globals.dry_run {
        println!("fetch {} of {}, build it, install it as {}", pin.version, pin.source, program.display());
        return Ok(());
    }
    let built = build(ctx, go, &pin)?;
    std::fs::create_dir_all(&bin).with_context(|| format!("cannot make the folder `{}`", bin.display()))?;
    common::artifact::install_program(&built.1, &program)?;
    // Remove the markers of other versions first: two markers would not tell which version is installed.
    for entry in std::fs::read_dir(&bin)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("linuxkit.")) {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove `{}`", path.display()))?;
        }
    }
    write_atomically(&marker, b"")?;
    println!("made: build-tools/bin/linuxkit at {}", pin.version);
    Ok(())
}

/// Fetches exactly the pinned commit into a fresh folder and builds it; the folder goes with the first value.
fn build(ctx: &Ctx, go_knobs: &GoKnobs, pin: &Pin) -> Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::Builder::new().prefix("linuxkit-").tempdir().context("cannot make a temporary folder")?;
    let git = Git::new(ctx.tools.find(Tool::Git)?, ctx.tools.environment(), folder.path().to_owned());
    git.change("making a repository", ["init", "-q"])?;
    git.change(&format!("fetching {} of {}", pin.version, pin.source), ["fetch", "-q", "--depth", "1", &pin.source, &pin.version])?;
    git.change("checking linuxkit out", ["checkout", "-q", "FETCH_HEAD"])?;
    for patch in patches(&ctx.root.join("tools/linuxkit/patches"))? {
        git.change(&format!("applying {}", patch.display()), ["apply", &patch.display().to_string()])?;
    }
    let program = folder.path().join("linuxkit");
    let sources = folder.path().join("src/cmd/linuxkit");
    if !sources.is_dir() {
        bail!("commit {} of {} is no linuxkit: it has no src/cmd/linuxkit", pin.version, pin.source);
    }
    if ctx.tools.find(Tool::Go).is_ok() {
        go::build_command(&ctx.tools, &ctx.environment, &sources, &program)?.run()?;
    } else {
        wants_containers(ctx, "building linuxkit without a Go of this machine")?;
        let os = if Arch::host().is_ok() { std::env::consts::OS } else { "linux" };
        let script = format!(
            "unset GOFLAGS; cd src/cmd/linuxkit && GOOS={os} GO111MODULE=on CGO_ENABLED=0 go build -o ../../../linuxkit -mod=vendor ."
        );
        let run = InBuilder {
            step: "building linuxkit",
            script: &script,
            sources: folder.path().to_owned(),
            module: "github.com/linuxkit/linuxkit",
            bin: None,
            interactive: false,
        };
        super::go::go_builder(ctx, go_knobs).run(&run)?;
    }
    if !program.is_file() {
        bail!("go ended well, but made no linuxkit");
    }
    Ok((folder, program))
}

/// The patches of the tree, in their order.
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

/// `gosources`.
#[derive(clap::Args)]
pub struct GoSources {
    #[command(flatten)]
    knobs: ToolKnobs,
}

impl Run for GoSources {
    fn run(self, ctx: &Ctx) -> Result<()> {
        gosources(ctx, &self.knobs)
    }
}

fn gosources(ctx: &Ctx, knobs: &ToolKnobs) -> Result<()> {
    let pin = pin(ctx, "go-sources-and-licenses", knobs.gosources_version.as_ref(), None)?;
    let bin = ctx.root.join("build-tools/bin");
    if bin.join("go-sources-and-licenses").is_file() {
        println!("up to date: build-tools/bin/go-sources-and-licenses");
        return Ok(());
    }
    let package = format!("{}@{}", pin.source, pin.version);
    run_all(ctx, [go::install_command(&ctx.tools, &ctx.environment, ctx.globals.offline, &package, &bin)?])
}
