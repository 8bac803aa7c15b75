//! What every command gets: the tree, the knobs, the options. Built once, never changed.

use crate::Checkout;
use child::{Tools, environment::Environment};
use knobs::Knobs;
use plan::{Capabilities, Dist, EngineKind, Layout, Profile};
use std::path::PathBuf;

/// The options that stand before the verb.
#[derive(Clone, Debug)]
pub struct Globals {
    /// Print the plan, make nothing.
    pub dry_run: bool,
    /// Never ask the network.
    pub offline: bool,
    /// Fail when a pin has left the mirror.
    pub locked: bool,
    /// Print data for programs.
    pub json: bool,
    /// Nodes at once.
    pub jobs: usize,
    /// Show the tools' output.
    pub verbose: bool,
}

/// The context of a command.
pub struct Ctx {
    /// The tree's root, absolute.
    pub root: PathBuf,
    /// Who makes the nodes.
    pub engine: EngineKind,
    /// Options before the verb.
    pub globals: Globals,
    /// The knobs.
    pub knobs: Knobs,
    /// What is particular to the tree.
    pub profile: Profile,
    /// Where external tools are.
    pub tools: Tools,
    /// The environment that we were started in.
    pub environment: Environment,
}

impl Ctx {
    /// `dist/`.
    #[must_use]
    pub fn dist(&self) -> Dist {
        Dist::of(&self.root)
    }

    /// Where the build of `tree` lies.
    #[must_use]
    pub fn layout(&self, tree: &Checkout) -> Layout {
        self.dist().version(self.knobs.image.arch, tree.version())
    }

    /// What the tree and its engine can do.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        Capabilities::of(&self.profile, self.engine)
    }

    /// Reads git's facts of the tree.
    pub fn tree(&self) -> anyhow::Result<Checkout> {
        Checkout::read(self)
    }
}
