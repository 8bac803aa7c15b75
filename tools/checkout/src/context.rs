//! The context of a command: the tree, the knobs, the global options. Created once, never changed.

use crate::{Ahead, Checkout};
use child::{Tool, Tools, environment::Environment, git::Git};
use knobs::{Knobs, StorePlace};
use plan::{Capabilities, Dist, EngineKind, Layout, Profile};
use std::path::{Path, PathBuf};

/// The options before the verb.
#[derive(Clone, Debug)]
pub struct Globals {
    /// Print the plan and make nothing.
    pub dry_run: bool,
    /// Never use the network.
    pub offline: bool,
    /// Print JSON.
    pub json: bool,
    /// How many nodes run at once.
    pub jobs: usize,
    /// Print the tools' output.
    pub verbose: bool,
    /// Open a shell where a RUN line of a package fails.
    pub shell_on_failure: bool,
    /// --root and --engine as they were given, each with a space before it: a command that a hint names has them, so that it can be pasted.
    pub place: String,
}

/// The context of a command.
pub struct Ctx {
    /// The tree's root, absolute.
    pub root: PathBuf,
    /// The engine that makes the nodes.
    pub engine: EngineKind,
    /// The options before the verb.
    pub globals: Globals,
    /// The knobs.
    pub knobs: Knobs,
    /// The tree's profile.
    pub profile: Profile,
    /// The programs of others.
    pub tools: Tools,
    /// The environment of the process.
    pub environment: Environment,
    /// What was begun before there was a context.
    pub ahead: Ahead,
}

impl Ctx {
    /// `dist/`.
    #[must_use]
    pub fn dist(&self) -> Dist {
        Dist::of(&self.root)
    }

    /// The folder of the build of `tree`.
    #[must_use]
    pub fn layout(&self, tree: &Checkout) -> Layout {
        self.dist().version(self.knobs.image.arch, tree.version())
    }

    /// The folder of results that all trees share; none if nothing is kept.
    #[must_use]
    pub fn store(&self) -> Option<PathBuf> {
        match &self.knobs.host.store {
            Some(StorePlace::Off) => None,
            Some(StorePlace::Folder(folder)) => Some(folder.clone()),
            None => Some(self.environment.cache().join("store")),
        }
    }

    /// The folder of compressed blocks in the store.
    #[must_use]
    pub fn blocks(&self) -> Option<PathBuf> {
        Some(self.store()?.join("blocks"))
    }

    /// The file in the store that says which layers of the image cache were compared with their digests.
    #[must_use]
    pub fn checked_layers(&self) -> Option<PathBuf> {
        Some(self.store()?.join("checked-layers"))
    }

    /// The folder of records of built packages in the store.
    #[must_use]
    pub fn built_packages(&self) -> Option<PathBuf> {
        Some(self.store()?.join("packages"))
    }

    /// The capabilities of the tree and its engine.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        Capabilities::of(&self.profile, self.engine)
    }

    /// git in `folder`; fails if git is missing.
    pub fn git(&self, folder: &Path) -> anyhow::Result<Git> {
        Ok(Git::new(self.tools.find(Tool::Git)?, self.tools.environment(), &self.environment, folder.to_owned()))
    }

    /// Reads the tree.
    pub fn tree(&self) -> anyhow::Result<Checkout> {
        Checkout::read(self)
    }
}
