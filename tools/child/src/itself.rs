//! This program again: runs one of its own verbs on a tree, with a command line of its own.

use super::{Cmd, Tools};
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};

/// This program on a tree.
pub struct Itself {
    program: PathBuf,
    tools: Tools,
    root: PathBuf,
}

impl Itself {
    /// This program on the tree `root`.
    pub fn new(tools: &Tools, root: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find our own program")?;
        Ok(Self { program, tools: tools.clone(), root: root.to_owned() })
    }

    /// A command that runs it on the tree.
    pub fn command(&self) -> Cmd {
        Cmd::new(&self.program, self.tools.environment()).named("xtask").arg("--root").arg(&self.root)
    }

    /// Runs it with these words on our terminal, with `variables` in its environment.
    pub fn run<'v>(&self, words: &[String], variables: impl IntoIterator<Item = (&'v str, &'v str)>) -> Result<()> {
        let cmd = self.command().args(words);
        let cmd = variables.into_iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value));
        cmd.dir(&self.root).foreground().run()
    }
}
