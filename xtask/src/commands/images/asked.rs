//! An image that a person asks for by the names of its files: some nodes outside of any plan, made whatever there is.

use crate::commands::build;
use anyhow::Result;
use checkout::{Checkout, context::Ctx};
use common::display;
use executor::{Engine, State};
use linuxkit::LinuxkitEngine;
use native::NativeEngine;
use plan::{Action, EngineKind, Facts as _, Goal, ImageRef, Node, NodeId, Plan};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

/// What is to be made, in order.
pub struct Asked<'c> {
    ctx: &'c Ctx,
    /// The tree, for versions, times and tags.
    pub tree: Checkout,
    /// What the tree must build before.
    before: Plan,
    nodes: Vec<Node>,
}

impl<'c> Asked<'c> {
    pub fn new(ctx: &'c Ctx) -> Result<Self> {
        Ok(Self { ctx, tree: ctx.tree()?, before: Plan::default(), nodes: Vec::new() })
    }

    /// Seconds since the epoch for all that is made.
    pub fn epoch(&self) -> i64 {
        self.tree.epoch()
    }

    /// Where files are put that nobody asked for.
    pub fn scratch(&self) -> PathBuf {
        build::execution(self.ctx, &self.tree).books.join("scripts")
    }

    /// The tool image for an engine that works in containers. Where no registry has it, it is built first.
    pub fn tool(&mut self, package: &str) -> Result<Option<ImageRef>> {
        if self.ctx.engine == EngineKind::Native {
            return Ok(None);
        }
        if !self.ctx.profile.packages.published {
            let work = plan::PackageWork::Build;
            self.before = build::plan(self.ctx, &self.tree, &Goal::PackagesAlone(vec![package.to_owned()], work))?;
        }
        Ok(Some(ImageRef { reference: self.tree.package(package)?.plain, arch: self.ctx.knobs.host_arch }))
    }

    /// Adds a step with the name `name`. What it makes is removed when it fails, unless `out` is a device or was there before.
    pub fn add(&mut self, name: &'static str, action: Action, out: &Path) {
        let is_device = out.metadata().is_ok_and(|metadata| !metadata.is_file());
        // A disk that was there before is changed in its place, and stays whatever happens.
        let is_kept = matches!(&action, Action::MakeDisk(disk) if disk.keep);
        let outputs = if is_device || is_kept { vec![] } else { vec![out.to_owned()] };
        self.nodes.push(Node { id: NodeId::Asked(name), action, inputs: vec![], needs: vec![], outputs });
    }

    /// Makes it all; `out` is what the person asked for.
    pub fn make(self, out: &Path) -> Result<()> {
        let Self { ctx, tree, before, nodes } = self;
        if ctx.globals.dry_run {
            let plan = Plan { nodes: [before.nodes, nodes].concat(), goals: vec![] };
            print!("{}", plan.to_text(&ctx.root, &|_| Some("it was asked for".to_owned())));
            return Ok(());
        }
        let since = Instant::now();
        let engine: Box<dyn Engine> = match ctx.engine {
            EngineKind::Native => Box::new(NativeEngine::new(ctx, &tree)?),
            EngineKind::Linuxkit => Box::new(LinuxkitEngine::new(ctx)?),
        };
        let options = build::execution(ctx, &tree);
        let mut states = executor::survey(&before, engine.as_ref(), &options)?;
        states.extend(nodes.iter().map(|node| (node.id.clone(), State::Stale("it was asked for".to_owned()))));
        let all = Plan { nodes: [before.nodes.clone(), nodes.clone()].concat(), goals: vec![] };
        build::preflight(ctx, &all, &states)?;
        let _lock = executor::lock_tree(&ctx.dist())?;
        executor::run(&before, engine.as_ref(), &options)?;
        let options = executor::Options { books: options.books.join("scripts"), ..options };
        executor::run_always(&nodes, engine.as_ref(), &options)?;
        let size = display::size(out.metadata()?.len());
        println!("made: {}, {size} ({})", out.display(), display::seconds(since.elapsed()));
        Ok(())
    }
}
