//! `why` and `graph`: a plan, explained and drawn.

use super::build;
use crate::{
    context::Ctx,
    error::usage,
    execute,
    plan::{Goal, PackageWork},
};
use anyhow::Result;
use clap::{Arg, ArgMatches, Command};

/// Their arguments.
pub fn arguments(command: Command) -> Command {
    command.arg(Arg::new("target").value_name("TARGET").default_value("live").help("live, rootfs, rootfstar, config, or pkg/NAME"))
}

fn goal(ctx: &Ctx, arguments: &ArgMatches) -> Result<Goal> {
    let target = arguments.get_one::<String>("target").map_or("live", String::as_str);
    Ok(match target {
        "live" => Goal::Live(ctx.knobs.image_format),
        "rootfs" => Goal::Rootfs,
        "rootfstar" => Goal::RootfsTar,
        "config" => Goal::Config,
        other => match other.strip_prefix("pkg/") {
            Some(name) => Goal::Packages(vec![name.to_owned()], PackageWork::Build),
            None => return Err(usage(format!("`{other}` has no plan\nhint: live, rootfs, rootfstar, config, or pkg/NAME"))),
        },
    })
}

/// `why`.
pub fn why(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let tree = ctx.tree()?;
    let plan = build::plan(ctx, &tree, &goal(ctx, arguments)?)?;
    let states = execute::survey(&plan, build::engine(ctx, &tree)?.as_ref(), &ctx.execution(&tree))?;
    for node in &plan.nodes {
        match states.get(&node.id) {
            Some(execute::State::Stale(reason)) => println!("{}: due, {reason}", node.id),
            _ => println!("{}: up to date", node.id),
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
