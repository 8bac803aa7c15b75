//! What an engine tells while it makes a node: a log in a file, progress, warnings.

use super::progress::ProgressLine;
use anyhow::{Context as _, Result};
use child::Output;
use plan::Node;
use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// One node in the making.
pub struct Job<'p> {
    name: String,
    path: PathBuf,
    log: Mutex<File>,
    verbose: bool,
    progress: &'p ProgressLine,
    warnings: Mutex<Vec<String>>,
}

impl<'p> Job<'p> {
    pub(super) fn start(node: &Node, path: &Path, verbose: bool, progress: &'p ProgressLine) -> Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        }
        // The tools that the node starts append to the same file.
        let _ = std::fs::remove_file(path);
        let log =
            File::options().create(true).append(true).open(path).with_context(|| format!("cannot write the log `{}`", path.display()))?;
        Ok(Self { name: node.id.to_string(), path: path.to_owned(), log: Mutex::new(log), verbose, progress, warnings: Mutex::default() })
    }

    /// The log's path, for a message.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.path
    }

    /// A line for the log; shown too when the person asked to see the tools.
    pub fn log(&self, line: &str) {
        // A log that cannot be written must not stop the build.
        let _ = writeln!(self.log.lock().unwrap_or_else(PoisonError::into_inner), "{line}");
        if self.verbose {
            self.progress.line(&format!("{}: {line}", self.name));
        }
    }

    /// Where a tool's output goes that this node starts: to the log.
    #[must_use]
    pub fn output(&self) -> Output {
        Output::default().with_log(&self.path)
    }

    /// How far the node is.
    pub fn step(&self, detail: &str) {
        self.progress.step(&self.name, detail);
    }

    /// Something that the person must see although the build goes on.
    pub fn warn(&self, line: &str) {
        self.log(&format!("warning: {line}"));
        self.progress.line(&format!("warning: {}: {line}", self.name));
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{}: {line}", self.name));
    }

    pub(super) fn finish(self) -> Vec<String> {
        self.warnings.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
