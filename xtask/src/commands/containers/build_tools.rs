//! `build-tools` and `gosources`: build the tools that the tree pins from source.

use anyhow::Result;
use checkout::context::Ctx;
use helpers::build_tools::{ToolSettings, build_tools};
use knobs::{GoKnobs, GoSourcesKnobs, ToolKnobs};

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
    build_tools(ctx, &ToolSettings { linuxkit: Some(&tools), gosources: &tools.gosources, go: &go }, &names)
}

/// The knobs of a command that builds go-sources-and-licenses.
#[derive(clap::Args)]
pub struct GoSourcesOptions {
    #[command(flatten)]
    pub gosources: GoSourcesKnobs,
    #[command(flatten)]
    pub go: GoKnobs,
}

impl GoSourcesOptions {
    /// The settings of the build.
    pub fn settings(&self) -> ToolSettings<'_> {
        ToolSettings { linuxkit: None, gosources: &self.gosources, go: &self.go }
    }
}

/// `gosources`.
pub fn build_go_sources(ctx: &Ctx, options: GoSourcesOptions) -> Result<()> {
    build_tools(ctx, &options.settings(), &["go-sources-and-licenses".to_owned()])
}
