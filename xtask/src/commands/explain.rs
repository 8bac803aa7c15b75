//! `why` and `graph`: a plan, explained and drawn.

use super::{Run, build};
use anyhow::Result;
use checkout::context::Ctx;
use common::error::usage;
use plan::{Goal, Node};

const TARGETS: &str = "live, live-gcp and its like, installer-raw and its like, rootfs, rootfstar, config, sbom, eve, pkgs, or pkg/NAME";

/// The target whose plan is meant.
#[derive(clap::Args)]
struct Target {
    /// live, live-gcp and its like, installer-raw and its like, rootfs, rootfstar, config, sbom, eve, pkgs, or pkg/NAME
    #[arg(value_name = "TARGET", default_value = "live")]
    target: String,
}

impl Target {
    fn goal(&self, ctx: &Ctx) -> Result<Goal> {
        let goal = build::goal_of(ctx, &self.target)?;
        goal.ok_or_else(|| usage(format!("`{}` has no plan\nhint: {TARGETS}", self.target)))
    }
}

/// `why`: says for each step whether it is due.
#[derive(clap::Args)]
pub struct Why {
    #[command(flatten)]
    target: Target,
}

impl Run for Why {
    fn run(self, ctx: &Ctx) -> Result<()> {
        explain(ctx, &self.target.goal(ctx)?)
    }
}

/// `graph`: draws the plan.
#[derive(clap::Args)]
pub struct Graph {
    #[command(flatten)]
    target: Target,
}

impl Run for Graph {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let tree = ctx.tree()?;
        print!("{}", build::plan(ctx, &tree, &self.target.goal(ctx)?)?.to_dot());
        Ok(())
    }
}

fn explain(ctx: &Ctx, goal: &Goal) -> Result<()> {
    let tree = ctx.tree()?;
    let plan = build::plan(ctx, &tree, goal)?;
    let states = executor::survey(&plan, build::engine(ctx, &tree)?.as_ref(), &build::execution(ctx, &tree))?;
    let reason = |node: &Node| states.get(&node.id)?.due().map(str::to_owned);
    if ctx.globals.json {
        println!("{}", serde_json::to_string_pretty(&plan.to_json(&ctx.root, &reason))?);
        return Ok(());
    }
    for node in &plan.nodes {
        match reason(node) {
            Some(reason) => println!("{}: due, {reason}", node.id),
            None => println!("{}: up to date", node.id),
        }
    }
    Ok(())
}
