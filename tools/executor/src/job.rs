//! What an engine reports while it makes a node: lines for the node's log file, progress, warnings.

use super::{chunks::CopiedRange, progress::ProgressLine};
use anyhow::{Context as _, Result};
use child::{Meter, Output};
use plan::Node;
use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// The report of one node while it is made.
pub struct Job<'p> {
    name: String,
    path: PathBuf,
    log: Mutex<File>,
    verbose: bool,
    progress: &'p Arc<ProgressLine>,
    warnings: Mutex<Vec<String>>,
    written: Mutex<BTreeMap<PathBuf, Written>>,
}

/// What a step says of the bytes of an output.
#[derive(Clone, Debug)]
pub(crate) enum Written {
    /// Their digest.
    Hashed(String),
    /// Which of them it has copied.
    Copied(Vec<CopiedRange>),
}

impl<'p> Job<'p> {
    pub(super) fn start(node: &Node, path: &Path, verbose: bool, progress: &'p Arc<ProgressLine>) -> Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        }
        // Tools that the node starts append to the same file.
        let _ = std::fs::remove_file(path);
        let log =
            File::options().create(true).append(true).open(path).with_context(|| format!("cannot write the log `{}`", path.display()))?;
        Ok(Self {
            name: node.id.to_string(),
            path: path.to_owned(),
            log: Mutex::new(log),
            verbose,
            progress,
            warnings: Mutex::default(),
            written: Mutex::default(),
        })
    }

    /// Appends a line to the log; with `--verbose` also shows it, after the node's name.
    pub fn log(&self, line: &str) {
        // A failed write to the log must not stop the build.
        let _ = writeln!(self.log.lock().unwrap_or_else(PoisonError::into_inner), "{line}");
        if self.verbose {
            self.progress.line(&format!("{}: {line}", self.name));
        }
    }

    /// Where the lines of the tools go that this node starts: to the log; with `--verbose` also to the display, after the node's name.
    #[must_use]
    pub fn output(&self) -> Output {
        let (name, progress) = (self.name.clone(), Arc::clone(self.progress));
        let shown = self.verbose.then(|| Output::to(move |line| progress.line(&format!("{name}: {line}"))));
        shown.unwrap_or_default().with_log(&self.path)
    }

    /// Does `work` while this build prints nothing, for work that has the terminal for itself. It must not report to this job.
    pub fn alone<T>(&self, work: impl FnOnce() -> T) -> T {
        self.progress.silence(work)
    }

    /// Shows how far the node is.
    pub fn step(&self, detail: &str) {
        self.progress.step(&self.name, detail);
    }

    /// Shows that `done` of `total` bytes are done, and how long still.
    pub fn measure(&self, done: u64, total: u64) {
        self.progress.measure(&self.name, done, total);
    }

    /// [`measure`](Self::measure) for work that goes on in threads of its own.
    #[must_use]
    pub fn meter(&self) -> Meter {
        let (name, progress) = (self.name.clone(), Arc::clone(self.progress));
        Arc::new(move |done, total| progress.measure(&name, done, total))
    }

    /// Shows a warning at once and keeps it for the build's report.
    pub fn warn(&self, line: &str) {
        self.log(&format!("warning: {line}"));
        self.progress.line(&format!("warning: {}: {line}", self.name));
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{}: {line}", self.name));
    }

    /// The digest of an output, made by a [`DigestWriter`](crate::DigestWriter) that wrote all of it.
    pub fn wrote(&self, output: &Path, digest: String) {
        self.say(output, Written::Hashed(digest));
    }

    /// Which bytes of an output were copied from other artifacts: those that this process has hashed are not hashed again.
    pub fn copied(&self, output: &Path, ranges: Vec<CopiedRange>) {
        self.say(output, Written::Copied(ranges));
    }

    fn say(&self, output: &Path, written: Written) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(output.to_owned(), written);
    }

    pub(super) fn written(&self) -> BTreeMap<PathBuf, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn finish(self) -> Vec<String> {
        self.warnings.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
