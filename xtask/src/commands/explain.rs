//! `why` and `graph`: a plan, explained and drawn.

use super::build;
use anyhow::Result;
use checkout::context::Ctx;
use clap::{Arg, ArgMatches, Command};
use common::error::usage;
use plan::{Goal, Node};

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

/// `graph`.
pub fn graph(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let tree = ctx.tree()?;
    print!("{}", build::plan(ctx, &tree, &goal(ctx, arguments)?)?.to_dot());
    Ok(())
}
