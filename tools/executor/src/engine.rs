//! The trait of an engine, which makes steps: natively in this process, or with docker and linuxkit.

use crate::Job;
use anyhow::Result;
use child::{Tool, ToolNeed};
use plan::{Node, Step, steps};

/// The work of a step, which reports to its job.
type Work<'e> = dyn FnOnce(&Job<'_>) -> Result<()> + 'e;

/// How an engine makes one step: the programs that it starts, and the work. Created for all steps before any runs, so that all missing
/// programs are reported at once.
pub struct Making<'e> {
    needs: Vec<ToolNeed>,
    run: Box<Work<'e>>,
}

impl<'e> Making<'e> {
    /// The step is made by `run`, which must write all its outputs.
    pub fn by(run: impl FnOnce(&Job<'_>) -> Result<()> + 'e) -> Self {
        Self { needs: vec![], run: Box::new(run) }
    }

    /// Adds a program that `run` starts.
    #[must_use]
    pub fn with(mut self, tool: Tool, purpose: impl Into<String>) -> Self {
        self.needs.push(ToolNeed::new(tool, purpose));
        self
    }

    /// The programs that `run` starts.
    #[must_use]
    pub fn needs(&self) -> &[ToolNeed] {
        &self.needs
    }
}

macro_rules! define_engine {
    ($($method:ident $step:ident,)*) => {
        /// An engine, with one method per step. A method's error says why the engine cannot make the step, and is printed before anything
        /// is made.
        pub trait Engine: Sync {
            /// The digest of a package's image, if it exists for all requested architectures.
            fn find_package(&self, package: &steps::BuildPackage) -> Result<Option<String>>;

            /// Takes a package's image from elsewhere instead of building it; false if there is none to take. `progress` gets the bytes that
            /// have come, and those that must come.
            fn take_package(&self, _package: &steps::BuildPackage, _progress: &(dyn Fn(u64, u64) + Sync)) -> Result<bool> {
                Ok(false)
            }

            /// The code and the programs that make `step`, if what they make may be kept for other builds: two engines with the same recipe
            /// make the same bytes from the same inputs. None: the result is not kept.
            fn recipe(&self, _step: &Step) -> Option<String> {
                None
            }

            /// Removes incomplete outputs that a failed node may have left under final names.
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

/// Makes `node`, all its outputs. Logs and progress go to `job`.
pub fn make(engine: &dyn Engine, node: &Node, job: &Job<'_>) -> Result<()> {
    let result = making(engine, &node.step).and_then(|making| (making.run)(job));
    if result.is_err() {
        engine.clean_up(node);
    }
    result
}
