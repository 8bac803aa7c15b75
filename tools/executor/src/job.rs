//! A node that is being made: its log file, its progress and its warnings.

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

/// A node that is being made.
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
        // Tools that the node starts append to the same file.
        let _ = std::fs::remove_file(path);
        let log =
            File::options().create(true).append(true).open(path).with_context(|| format!("cannot write the log `{}`", path.display()))?;
        Ok(Self { name: node.id.to_string(), path: path.to_owned(), log: Mutex::new(log), verbose, progress, warnings: Mutex::default() })
    }

    /// The path of the log, for messages.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.path
    }

    /// Writes a line to the log, and prints it if the tools' output is shown.
    pub fn log(&self, line: &str) {
        // A failed write to the log must not stop the build.
        let _ = writeln!(self.log.lock().unwrap_or_else(PoisonError::into_inner), "{line}");
        if self.verbose {
            self.progress.line(&format!("{}: {line}", self.name));
        }
    }

    /// The output of the tools that this node starts: the log.
    #[must_use]
    pub fn output(&self) -> Output {
        Output::default().with_log(&self.path)
    }

    /// Shows how far the node is.
    pub fn step(&self, detail: &str) {
        self.progress.step(&self.name, detail);
    }

    /// Prints a warning, and repeats it at the end of the build.
    pub fn warn(&self, line: &str) {
        self.log(&format!("warning: {line}"));
        self.progress.line(&format!("warning: {}: {line}", self.name));
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{}: {line}", self.name));
    }

    pub(super) fn finish(self) -> Vec<String> {
        self.warnings.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
