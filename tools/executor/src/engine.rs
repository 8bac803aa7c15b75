//! How steps are made: natively in this process, or by docker and linuxkit.

use crate::Job;
use anyhow::Result;
use child::{Tool, ToolNeed};
use plan::{Node, Step, steps};

/// The work of a step; what it tells goes to the job.
type Work<'e> = dyn FnOnce(&Job<'_>) -> Result<()> + 'e;

/// How an engine makes one step: the programs that it starts, and the work itself. Made before anything is run, so that all missing
/// programs are reported at once.
pub struct Making<'e> {
    needs: Vec<ToolNeed>,
    run: Box<Work<'e>>,
}

impl<'e> Making<'e> {
    /// By `run`, which leaves the step's outputs under their names.
    pub fn by(run: impl FnOnce(&Job<'_>) -> Result<()> + 'e) -> Self {
        Self { needs: vec![], run: Box::new(run) }
    }

    /// The same; it starts `tool`.
    #[must_use]
    pub fn with(mut self, tool: Tool, purpose: impl Into<String>) -> Self {
        self.needs.push(ToolNeed::new(tool, purpose));
        self
    }

    /// The programs that it starts.
    #[must_use]
    pub fn needs(&self) -> &[ToolNeed] {
        &self.needs
    }
}

macro_rules! define_engine {
    ($($method:ident $step:ident,)*) => {
        /// One way of making steps. Every step has a method. An error of it says why this engine cannot make the step; it is shown
        /// before anything is made.
        pub trait Engine: Sync {
            /// The digest of a package's image when it exists already, for all architectures that are asked for.
            fn find_package(&self, package: &steps::BuildPackage) -> Result<Option<String>>;

            /// Removes what a failed node may have left half made under a final name.
            fn clean_up(&self, _failed: &Node) {}

            $(
                #[doc = concat!("Makes a [`", stringify!($step), "`](steps::", stringify!($step), ").")]
                fn $method<'e>(&'e self, step: &'e steps::$step) -> Result<Making<'e>>;
            )*
        }

        /// How `engine` makes `step`.
        pub fn making<'e>(engine: &'e dyn Engine, step: &'e Step) -> Result<Making<'e>> {
            match step { $(Step::$step(step) => engine.$method(step),)* }
        }
    };
}
plan::for_each_step!(define_engine);

/// Makes `node`: afterwards its outputs stand under their names. What it has to tell goes to `job`.
pub fn make(engine: &dyn Engine, node: &Node, job: &Job<'_>) -> Result<()> {
    let result = making(engine, &node.step).and_then(|making| (making.run)(job));
    if result.is_err() {
        engine.clean_up(node);
    }
    result
}
