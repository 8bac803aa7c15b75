//! Collects the sources of Go modules with the program go-sources-and-licenses: modules in the tree's go.mod files, and modules that the
//! programs of an image record. Builds that program at the tree's pin if it is missing.

use crate::build_tools::{self, ToolSettings};
use anyhow::Result;
use checkout::context::Ctx;
use child::{Tool, Tools, go_sources::Modules, go_sources::collect_command};
use std::path::{Path, PathBuf};

/// The tool's name in build-tools/tools.toml and below build-tools/bin.
const NAME: &str = "go-sources-and-licenses";

fn program(ctx: &Ctx) -> PathBuf {
    ctx.root.join("build-tools/bin").join(NAME)
}

fn tools(ctx: &Ctx) -> Tools {
    let program = program(ctx);
    if program.is_file() { ctx.tools.clone().prefer(Tool::GoSources, program) } else { ctx.tools.clone() }
}

/// Prints how the tool would be built.
pub fn show(ctx: &Ctx, settings: &ToolSettings<'_>) -> Result<()> {
    if is_installed(ctx) { Ok(()) } else { build_tools::show_pin(ctx, settings, NAME) }
}

fn is_installed(ctx: &Ctx) -> bool {
    program(ctx).is_file() || ctx.tools.find(Tool::GoSources).is_ok()
}

/// Fails if the tool is neither installed nor pinned by this tree.
pub fn check(ctx: &Ctx, settings: &ToolSettings<'_>) -> Result<()> {
    if is_installed(ctx) { Ok(()) } else { build_tools::check_pin(ctx, settings, NAME) }
}

/// Builds the tool unless it is installed.
pub fn ensure(ctx: &Ctx, settings: &ToolSettings<'_>) -> Result<()> {
    if is_installed(ctx) { Ok(()) } else { build_tools::ensure(ctx, settings, NAME) }
}

/// Puts all sources below `top` and returns the lines of the manifest. `root` is the folder of a root file system.
pub(super) fn collect(ctx: &Ctx, root: &Path, top: &Path) -> Result<String> {
    let tools = tools(ctx);
    let mut manifest = String::new();
    for found in [Modules::InSource(&ctx.profile.packages.folder), Modules::InPrograms(root)] {
        let lines = collect_command(&tools, found, top)?.stdout()?;
        if !lines.is_empty() {
            manifest.push_str(&lines);
            manifest.push('\n');
        }
    }
    Ok(manifest)
}
