//! `why` and `graph`: a plan, explained and drawn.

use super::build;
use crate::{
    context::Ctx,
    error::usage,
    execute,
    plan::{Goal, Node},
};
use anyhow::Result;
use clap::{Arg, ArgMatches, Command};

const TARGETS: &str = "live, live-gcp and its like, installer-raw and its like, rootfs, rootfstar, config, sbom, eve, pkgs, or pkg/NAME";

/// Their arguments.
pub fn arguments(command: Command) -> Command {
    command.arg(Arg::new("target").value_name("TARGET").default_value("live").help(TARGETS))
}

fn goal(ctx: &Ctx, arguments: &ArgMatches) -> Result<Goal> {
    let target = arguments.get_one::<String>("target").map_or("live", String::as_str);
    let goal = build::goal_of(ctx, target)?;
    goal.ok_or_else(|| usage(format!("`{target}` has no plan\nhint: {TARGETS}")))
}

/// `why`.
pub fn why(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let tree = ctx.tree()?;
    let plan = build::plan(ctx, &tree, &goal(ctx, arguments)?)?;
    let states = execute::survey(&plan, build::engine(ctx, &tree)?.as_ref(), &ctx.execution(&tree))?;
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

/// `graph`.
pub fn graph(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let tree = ctx.tree()?;
    print!("{}", build::plan(ctx, &tree, &goal(ctx, arguments)?)?.to_dot());
    Ok(())
}
