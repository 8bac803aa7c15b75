//! The sources of Go modules: those that the tree's go.mod files name, and those that programs in an image say they are made of.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::{Tool, Tools, go, go_sources::Found, go_sources::collect_command};
use common::error::usage;
use plan::Pin;
use std::path::{Path, PathBuf};

/// The tool's name in a profile and below build-tools/bin.
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

fn package(ctx: &Ctx) -> Result<String> {
    let pin = pin(ctx)?;
    let version = ctx.knobs.optional("GOSOURCES_VERSION").unwrap_or(&pin.version);
    Ok(format!("{}@{version}", pin.source))
}

/// Prints how the tool would be installed and run.
pub fn show(ctx: &Ctx) -> Result<()> {
    if !is_there(ctx) {
        println!(
            "{}",
            go::install_command(&ctx.tools, &ctx.environment, ctx.globals.offline, &package(ctx)?, &ctx.root.join("build-tools/bin"))?
        );
    }
    Ok(())
}

/// Whether the tool is there.
fn is_there(ctx: &Ctx) -> bool {
    program(ctx).is_file() || ctx.tools.find(Tool::GoSources).is_ok()
}

/// Fails when the tool is neither there nor can be installed for this tree.
pub fn check(ctx: &Ctx) -> Result<()> {
    if is_there(ctx) { Ok(()) } else { pin(ctx).map(drop) }
}

/// Installs the tool unless it is there.
pub fn ensure(ctx: &Ctx) -> Result<()> {
    if is_there(ctx) {
        return Ok(());
    }
    let bin = ctx.root.join("build-tools/bin");
    std::fs::create_dir_all(&bin).with_context(|| format!("cannot make the folder `{}`", bin.display()))?;
    go::install_command(&ctx.tools, &ctx.environment, ctx.globals.offline, &package(ctx)?, &bin)?.run()
}

/// Puts all sources below `top`; the lines of the manifest.
pub fn collect(ctx: &Ctx, root: &Path, top: &Path) -> Result<String> {
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
