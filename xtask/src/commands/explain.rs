//! `why` and `graph`: print a plan, with the reason for each step or as a graph.

use super::build;
use anyhow::Result;
use checkout::context::Ctx;
use plan::Node;

/// The target whose plan to print.
#[derive(clap::Args)]
pub struct Target {
    /// live, live-gcp and its like, installer-raw and its like, rootfs, rootfstar, config, sbom, eve, pkgs, or pkg/NAME
    #[arg(value_name = "TARGET", default_value = "live")]
    target: String,
}

/// The target to draw, and how.
#[derive(clap::Args)]
pub struct Graph {
    #[command(flatten)]
    target: Target,
    /// print a picture in SVG, drawn without Graphviz
    #[arg(long)]
    svg: bool,
}

/// `graph`: draws the plan.
pub fn draw(ctx: &Ctx, Graph { target, svg }: Graph) -> Result<()> {
    let plan = build::plan(ctx, &ctx.tree()?, &build::planned_goal(ctx, &target.target)?)?;
    print!("{}", if svg { plan.to_svg() } else { plan.to_dot() });
    Ok(())
}

/// `why`: prints for each step whether it is due.
pub fn explain(ctx: &Ctx, target: Target) -> Result<()> {
    let tree = ctx.tree()?;
    let plan = build::plan(ctx, &tree, &build::planned_goal(ctx, &target.target)?)?;
    let states = executor::survey(&plan, build::engine(ctx, &tree)?.as_ref(), &build::execution(ctx, &tree)?)?;
    let reason = |node: &Node| states.get(&node.id)?.due();
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
