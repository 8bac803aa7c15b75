//! Services that a build needs from its caller: base images, and execution of `RUN` commands.

use anyhow::Result;
use filetree::{Node, Tree};
use std::collections::BTreeMap;

/// Services for the builder. Several builds may use one host at the same time.
pub trait BuildHost: Sync {
    /// Configuration and root file system of the image that `FROM` or `--from` names, for `arch`.
    fn base_image(&self, reference: &str, arch: &str) -> Result<(oci::Config, Tree)>;

    /// Executes a `RUN` step in process if it is a known one (deploy, archive); returns whether it did. Called before
    /// [`BuildHost::run`], for every architecture.
    fn builtin(&self, step: &Step, stage: &mut Tree) -> Result<bool> {
        let _ = (step, stage);
        Ok(false)
    }

    /// Whether programs of `arch` can run on this machine. If not, a `RUN` that is no builtin is an error.
    fn can_execute(&self, arch: &str) -> bool;

    /// Runs a step in a sandbox with `stage` as its root, and applies the changes to `stage`. New files have owner 0:0; the
    /// builder clamps their times. Ids of new hard links must be below 2⁶²; those in `stage` are above.
    fn run(&self, step: &Step, stage: &mut Tree) -> Result<()>;
}

/// A `RUN` step.
#[derive(Clone, Debug)]
pub struct Step {
    /// Location: `pkg/x/Dockerfile:12`.
    pub place: String,
    /// Text after `RUN` and its flags, lines joined; identifies builtin steps.
    pub command: String,
    /// Command line inside the stage.
    pub argv: Vec<String>,
    /// Complete environment of the command, including `PATH`.
    pub env: BTreeMap<String, String>,
    /// Absolute path inside the stage of an existing folder.
    pub workdir: String,
    /// Architecture of the stage, as in Go's `GOARCH`.
    pub arch: String,
    /// Whether the command has network access.
    pub network: bool,
    /// Mounts for this step only.
    pub mounts: Vec<Mount>,
    /// Upper limit of the mtime of new files: Unix timestamp.
    pub source_date_epoch: i64,
}

/// A mount for one step.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Absolute path inside the stage.
    pub target: String,
    /// Content.
    pub kind: MountKind,
}

/// Content of a [`Mount`].
#[derive(Clone, Debug)]
pub enum MountKind {
    /// A file or folder of the context, a stage or an image. Changes are discarded.
    Bind {
        /// Mounted node.
        node: Node,
        /// Whether the command may write to it.
        writable: bool,
    },
    /// An empty folder, discarded after the step.
    Scratch,
}
