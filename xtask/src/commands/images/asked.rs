//! Runs a helper (makeflash, makeiso …) on files from the command line: its steps are always executed, and never stamped.

use crate::commands::build;
use anyhow::Result;
use checkout::{Checkout, context::Ctx};
use common::display;
use executor::State;
use plan::{Facts as _, Goal, ImageRef, Layout, Node, NodeId, Plan, Step};
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
        self.ctx.layout(&self.tree).scripts()
    }

    /// The tool image for an engine that works in containers. Where no registry has it, it is built first.
    pub fn tool(&mut self, package: &str) -> Result<Option<ImageRef>> {
        let can = self.ctx.capabilities();
        if !can.tools_run_in_containers {
            return Ok(None);
        }
        if !can.packages_are_published {
            let work = plan::PackageWork::Build;
            self.before = build::plan(self.ctx, &self.tree, &Goal::PackagesAlone(vec![package.to_owned()], work))?;
        }
        Ok(Some(ImageRef { reference: self.tree.package(package)?.plain, arch: self.ctx.knobs.host_arch }))
    }

    /// Adds a step with the name `name`. What it makes is removed when it fails, unless `out` is a device or was there before.
    pub fn add(&mut self, name: &'static str, step: impl Into<Step>, out: &Path) {
        let step = step.into();
        let is_device = out.metadata().is_ok_and(|metadata| !metadata.is_file());
        let outputs = if is_device || step.changes_in_place() { vec![] } else { vec![out.to_owned()] };
        self.nodes.push(Node { id: NodeId::Asked(name), step, inputs: vec![], needs: vec![], outputs });
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
        let engine = build::engine_for_images(ctx, &tree)?;
        let options = build::execution(ctx, &tree);
        let mut states = executor::survey(&before, engine.as_ref(), &options)?;
        states.extend(nodes.iter().map(|node| (node.id.clone(), State::Stale("it was asked for".to_owned()))));
        let all = Plan { nodes: [before.nodes.clone(), nodes.clone()].concat(), goals: vec![] };
        build::preflight(ctx, &build::needs(&all, &states, engine.as_ref())?)?;
        let _lock = executor::lock_tree(&ctx.dist())?;
        executor::run(&before, engine.as_ref(), &options)?;
        let options = executor::Options { layout: Layout::at(options.layout.scripts()), ..options };
        executor::run_always(&nodes, engine.as_ref(), &options)?;
        let size = display::size(out.metadata()?.len());
        println!("made: {}, {size} ({})", out.display(), display::seconds(since.elapsed()));
        Ok(())
    }
}
