//! Runs a helper (makeflash, makeiso …) on files from the command line: its steps always run, and leave no stamps.

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

/// The steps of a helper, in order.
pub struct Asked<'c> {
    ctx: &'c Ctx,
    /// The tree, from which versions, times and tags come.
    pub tree: Checkout,
    /// The plan of the tool images that must be built first.
    before: Plan,
    nodes: Vec<Node>,
}

impl<'c> Asked<'c> {
    pub fn new(ctx: &'c Ctx) -> Result<Self> {
        Ok(Self { ctx, tree: ctx.tree()?, before: Plan::default(), nodes: Vec::new() })
    }

    /// Unix timestamp of everything in the images.
    pub fn epoch(&self) -> i64 {
        self.tree.epoch()
    }

    /// The folder for temporary results.
    pub fn scratch(&self) -> PathBuf {
        self.ctx.layout(&self.tree).scripts()
    }

    /// The tool image `package`, if the engine uses containers. Plans its build first if no registry has it.
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

    /// Adds a step with the name `name`. If it fails, its output is removed, unless `out` is a device or existed before.
    pub fn add(&mut self, name: &'static str, step: impl Into<Step>, out: &Path) {
        let step = step.into();
        let is_device = out.metadata().is_ok_and(|metadata| !metadata.is_file());
        let outputs = if is_device || step.changes_in_place() { vec![] } else { vec![out.to_owned()] };
        self.nodes.push(Node { id: NodeId::Asked(name), step, inputs: vec![], needs: vec![], outputs });
    }

    /// Runs all steps, and prints the size of their result `out`.
    pub fn make(self, out: &Path) -> Result<()> {
        let Self { ctx, tree, before, nodes } = self;
        if ctx.globals.dry_run {
            let plan = Plan { nodes: [before.nodes, nodes].concat(), goals: vec![] };
            print!("{}", plan.to_text(&ctx.root, &|_| Some("it was asked for".to_owned())));
            return Ok(());
        }
        let since = Instant::now();
        let engine = build::engine_for_images(ctx, &tree)?;
        let options = build::execution(ctx, &tree)?;
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
