//! Collects the sources of Go modules with the program go-sources-and-licenses: the modules that the tree's go.mod files name,
//! and those recorded in the programs of an image. Installs that program at the tree's pin.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::{Tool, Tools, go, go_sources::Found, go_sources::collect_command};
use common::error::usage;
use plan::Pin;
use std::path::{Path, PathBuf};

/// The program's name in a profile and in build-tools/bin.
const NAME: &str = "go-sources-and-licenses";

fn program(ctx: &Ctx) -> PathBuf {
    ctx.root.join("build-tools/bin").join(NAME)
}

fn tools(ctx: &Ctx) -> Tools {
    let program = program(ctx);
    if program.is_file() { ctx.tools.clone().prefer(Tool::GoSources, program) } else { ctx.tools.clone() }
}

fn pin(ctx: &Ctx) -> Result<&Pin> {
    ctx.profile.tools.get(NAME).ok_or_else(|| {
        usage(format!(
            "{} has no pin of {NAME}, which collects the sources of Go modules\nhint: [tools.{NAME}] in xtask.toml",
            ctx.profile.tree.name
        ))
    })
}

fn package(ctx: &Ctx, version: Option<&str>) -> Result<String> {
    let pin = pin(ctx)?;
    let version = version.unwrap_or(&pin.version);
    Ok(format!("{}@{version}", pin.source))
}

/// Prints the command that would install the program, at `version` or the tree's pin, unless it is there.
pub fn show_install(ctx: &Ctx, version: Option<&str>) -> Result<()> {
    if !is_there(ctx) {
        println!(
            "{}",
            go::install_command(
                &ctx.tools,
                &ctx.environment,
                ctx.globals.offline,
                &package(ctx, version)?,
                &ctx.root.join("build-tools/bin")
            )?
        );
    }
    Ok(())
}

/// Whether the program is there.
fn is_there(ctx: &Ctx) -> bool {
    program(ctx).is_file() || ctx.tools.find(Tool::GoSources).is_ok()
}

/// Fails if the program is not there and the tree has no pin to install it from.
pub fn check_installable(ctx: &Ctx) -> Result<()> {
    if is_there(ctx) { Ok(()) } else { pin(ctx).map(drop) }
}

/// Installs the program, at `version` or the tree's pin, unless it is there.
pub fn ensure_installed(ctx: &Ctx, version: Option<&str>) -> Result<()> {
    if is_there(ctx) {
        return Ok(());
    }
    let bin = ctx.root.join("build-tools/bin");
    std::fs::create_dir_all(&bin).with_context(|| format!("cannot make the folder `{}`", bin.display()))?;
    go::install_command(&ctx.tools, &ctx.environment, ctx.globals.offline, &package(ctx, version)?, &bin)?.run()
}

/// Puts all sources below `top`, and returns the lines of the manifest. `root` is the folder of a root file system.
pub(super) fn collect(ctx: &Ctx, root: &Path, top: &Path) -> Result<String> {
    let tools = tools(ctx);
    let mut manifest = String::new();
    for found in [Found::InSource(&ctx.profile.packages.folder), Found::InPrograms(root)] {
        let lines = collect_command(&tools, found, top)?.stdout()?;
        if !lines.is_empty() {
            manifest.push_str(&lines);
            manifest.push('\n');
        }
    }
    Ok(manifest)
}
