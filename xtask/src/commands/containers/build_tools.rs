//! `build-tools` and `gosources`: the tools that the tree pins, built from source.

use crate::commands::Run;
use anyhow::Result;
use checkout::context::Ctx;
use helpers::build_tools::{ToolSettings, build_tools};
use knobs::{GoKnobs, ToolKnobs};

/// `build-tools [NAME…]`.
#[derive(clap::Args)]
pub struct BuildTools {
    /// tools to build; all that are built from a commit when none is named
    #[arg(value_name = "NAME", num_args = 0..)]
    names: Vec<String>,
    #[command(flatten)]
    tools: ToolKnobs,
    #[command(flatten)]
    go: GoKnobs,
}

impl Run for BuildTools {
    fn run(self, ctx: &Ctx) -> Result<()> {
        build_tools(ctx, &ToolSettings { tools: &self.tools, go: &self.go }, &self.names)
    }
}

/// `gosources`.
#[derive(clap::Args)]
pub struct GoSources {
    #[command(flatten)]
    tools: ToolKnobs,
    #[command(flatten)]
    go: GoKnobs,
}

impl Run for GoSources {
    fn run(self, ctx: &Ctx) -> Result<()> {
        build_tools(ctx, &ToolSettings { tools: &self.tools, go: &self.go }, &["go-sources-and-licenses".to_owned()])
    }
}
