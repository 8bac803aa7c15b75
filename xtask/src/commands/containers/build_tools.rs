//! `build-tools` and `gosources`: build the tools that the tree pins from source.

use anyhow::Result;
use checkout::context::Ctx;
use helpers::build_tools::{ToolSettings, build_tools};
use knobs::{GoKnobs, ToolKnobs};

/// The tools to build.
#[derive(clap::Args)]
pub struct BuildTools {
    /// tools to build [default: all that are built from a commit]
    #[arg(value_name = "NAME", num_args = 0..)]
    names: Vec<String>,
    #[command(flatten)]
    tools: ToolKnobs,
    #[command(flatten)]
    go: GoKnobs,
}

/// `build-tools`.
pub fn run(ctx: &Ctx, BuildTools { names, tools, go }: BuildTools) -> Result<()> {
    build_tools(ctx, &ToolSettings { tools: &tools, go: &go }, &names)
}

/// The knobs of a command that builds tools.
#[derive(clap::Args)]
pub struct ToolOptions {
    #[command(flatten)]
    pub tools: ToolKnobs,
    #[command(flatten)]
    pub go: GoKnobs,
}

/// `gosources`.
pub fn build_go_sources(ctx: &Ctx, ToolOptions { tools, go }: ToolOptions) -> Result<()> {
    build_tools(ctx, &ToolSettings { tools: &tools, go: &go }, &["go-sources-and-licenses".to_owned()])
}
