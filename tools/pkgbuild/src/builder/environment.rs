//! What a build needs from outside: images to start from, and a way to run commands. The types that describe a step.

use anyhow::Result;
use filetree::{Node, Tree};
use std::collections::BTreeMap;

/// What the builder itself does not do. One environment may serve several builds at once.
pub trait Environment: Sync {
    /// The image that `FROM` or `--from` names, for `arch`: its configuration and its root file system.
    fn base_image(&self, reference: &str, arch: &str) -> Result<(oci::Config, Tree)>;

    /// Does a `RUN` step in process when it knows how (a deploy or archive step), and says whether it did. Asked before
    /// [`Environment::run`], for every architecture.
    fn builtin(&self, step: &Step, stage: &mut Tree) -> Result<bool> {
        let _ = (step, stage);
        Ok(false)
    }

    /// Whether programs of `arch` run on this machine. Without it a `RUN` for that architecture is refused.
    fn can_execute(&self, arch: &str) -> bool;

    /// Runs a step in a sandbox whose root is `stage`, and takes over what it changed. New files belong to 0:0; the builder
    /// clamps their times. New hard links are numbered from anywhere below 2⁶²: those of `stage` lie above.
    fn run(&self, step: &Step, stage: &mut Tree) -> Result<()>;
}

/// One `RUN`, ready to be executed.
#[derive(Clone, Debug)]
pub struct Step {
    /// Where it stands: `pkg/x/Dockerfile:12`.
    pub place: String,
    /// The text after `RUN` and its flags, lines joined: what a built-in step is recognized by.
    pub command: String,
    /// What to execute inside the stage.
    pub argv: Vec<String>,
    /// The whole environment of the command, `PATH` included.
    pub env: BTreeMap<String, String>,
    /// Absolute path inside the stage; it exists.
    pub workdir: String,
    /// Architecture of the stage, in Go's words.
    pub arch: String,
    /// Whether the network is to be had.
    pub network: bool,
    /// What is mounted for this step only.
    pub mounts: Vec<Mount>,
    /// No file that the step makes is younger, in seconds since the epoch.
    pub source_date_epoch: i64,
}

/// A mount that lasts one step.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Absolute path inside the stage.
    pub target: String,
    /// What is there.
    pub kind: MountKind,
}

/// What a [`Mount`] shows.
#[derive(Clone, Debug)]
pub enum MountKind {
    /// A file or folder of the context, of a stage or of an image. Changes are lost.
    Bind {
        /// What is shown.
        node: Node,
        /// Whether the command may write to it.
        writable: bool,
    },
    /// An empty folder whose content is lost.
    Scratch,
}
