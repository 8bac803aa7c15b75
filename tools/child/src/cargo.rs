//! cargo: runs the tests and the checks of this repository.

use super::{Tool, Tools, cmd::Cmd};
use anyhow::Result;
use std::path::{Path, PathBuf};

/// cargo in the workspace.
pub struct Cargo {
    program: PathBuf,
    tools: Tools,
    root: PathBuf,
}

impl Cargo {
    /// The cargo that runs us, or that of the PATH.
    pub fn new(tools: &Tools, root: &Path) -> Result<Self> {
        Ok(Self { program: tools.find(Tool::Cargo)?, tools: tools.clone(), root: root.to_owned() })
    }

    fn command(&self, args: &[&str]) -> Cmd {
        Cmd::new(&self.program, self.tools.environment()).named("cargo").dir(&self.root).args(args)
    }

    /// Whether a subcommand such as `clippy` is installed.
    pub fn has(&self, subcommand: &str) -> bool {
        self.command(&[subcommand, "--version"]).status_ok().unwrap_or(false)
    }

    /// Runs cargo with its output on our terminal.
    pub fn run(&self, args: &[&str], variables: &[(&str, String)]) -> Result<()> {
        variables.iter().fold(self.command(args), |command, (name, value)| command.env(name, value)).foreground().run()
    }
}
