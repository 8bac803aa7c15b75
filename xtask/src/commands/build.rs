//! The targets that make artifacts: preflight, plan, execute, and the last line.

use crate::{
    context::{Ctx, EngineKind},
    engine::{Engine, native::Native},
    execute::{self, Outcome, State, progress, short},
    knobs::ImageFormat,
    plan::{Action, Goal, ImageRef, NodeId, Plan, plan_goal},
    tools::{Need, Tool},
    tree::Tree,
};
use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::{collections::BTreeMap, time::Instant};

/// `live`: the disk in the format that the knobs say.
pub fn live(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    build(ctx, &Goal::Live(ctx.knobs.image_format))
}

/// `rootfs`.
pub fn rootfs(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    build(ctx, &Goal::Rootfs)
}

/// `rootfstar`.
pub fn rootfs_tar(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    build(ctx, &Goal::RootfsTar)
}

/// `config`.
pub fn config(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    build(ctx, &Goal::Config)
}

/// `pkg NAME…`.
pub fn package_arguments(command: Command) -> Command {
    command
        .arg(Arg::new("name").value_name("NAME").num_args(1..).required(true).help("folders below pkg/"))
        .arg(Arg::new("force").long("force").action(ArgAction::SetTrue).help("build them again although their images exist"))
}

/// `pkg NAME…`.
pub fn packages(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let names = arguments.get_many::<String>("name").into_iter().flatten();
    let names: Vec<String> = names.map(|name| name.strip_prefix("pkg/").unwrap_or(name).trim_end_matches('/').to_owned()).collect();
    if arguments.get_flag("force") {
        let tree = ctx.tree()?;
        let engine = native(ctx, &tree)?;
        for name in &names {
            engine.forget(ImageRef { reference: tree.package_reference(name)?, arch: ctx.knobs.arch });
        }
        return build_with(ctx, &tree, &engine, &Goal::Packages(names));
    }
    build(ctx, &Goal::Packages(names))
}

/// `pkgs`.
pub fn all_packages(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    let names = ctx.tree()?.package_names()?;
    build(ctx, &Goal::Packages(names))
}

/// The plan of `goal` for the tree as it is.
pub fn plan(ctx: &Ctx, tree: &Tree, goal: &Goal) -> Result<Plan> {
    plan_goal(goal, &ctx.knobs, tree)
}

/// The native engine, or one line that says why not.
pub fn native(ctx: &Ctx, tree: &Tree) -> Result<Native> {
    match ctx.engine {
        EngineKind::Native => Native::new(ctx, tree),
        EngineKind::Linuxkit => bail!(
            "the linuxkit engine is not part of this version: it plans, but cannot make anything yet\nhint: `--engine native` makes the same artifacts without docker"
        ),
    }
}

fn build(ctx: &Ctx, goal: &Goal) -> Result<()> {
    let tree = ctx.tree()?;
    let engine = native(ctx, &tree)?;
    build_with(ctx, &tree, &engine, goal)
}

fn build_with(ctx: &Ctx, tree: &Tree, engine: &Native, goal: &Goal) -> Result<()> {
    let since = Instant::now();
    let plan = plan(ctx, tree, goal)?;
    let options = ctx.execution(tree);
    if ctx.globals.dry_run {
        return show(ctx, &plan, engine, &options);
    }
    eprintln!("{} {} {} {}, {} engine", ctx.profile.tree.name, tree.version(), ctx.knobs.hv, ctx.knobs.arch, ctx.engine.as_str());
    let states = execute::survey(&plan, engine, &options)?;
    if states.values().all(|state| matches!(state, State::Fresh(_))) {
        return report(ctx, &plan, &Outcome::default(), since);
    }
    preflight(ctx, &plan, &states)?;
    let _lock = execute::lock_tree(&ctx.dist())?;
    // Another run may have made things while we waited, so the executor looks again.
    let outcome = execute::run(&plan, engine, &options)?;
    report(ctx, &plan, &outcome, since)
}

fn show(ctx: &Ctx, plan: &Plan, engine: &dyn Engine, options: &execute::Options) -> Result<()> {
    let states = execute::survey(plan, engine, options)?;
    let reason = |node: &crate::plan::Node| match states.get(&node.id) {
        Some(State::Stale(reason)) => Some(reason.clone()),
        _ => None,
    };
    print!("{}", plan.to_text(&ctx.root, &reason));
    Ok(())
}

/// All tools that the stale nodes will start, looked for at once; nothing is looked for when nothing is stale.
fn preflight(ctx: &Ctx, plan: &Plan, states: &BTreeMap<NodeId, State>) -> Result<()> {
    let mut needs = Vec::new();
    for node in plan.nodes.iter().filter(|node| matches!(states.get(&node.id), Some(State::Stale(_)))) {
        match &node.action {
            Action::ConvertDisk { format, .. } if *format != ImageFormat::Gcp => {
                needs.push(Need::new(Tool::QemuImg, format!("to convert the disk to {format}")));
            }
            _ => {}
        }
    }
    super::doctor::ensure(ctx, &needs)
}

/// The last lines: what was made, where, how large, in what time.
fn report(ctx: &Ctx, plan: &Plan, outcome: &Outcome, since: Instant) -> Result<()> {
    let took = progress::seconds(since.elapsed());
    let state = if outcome.made.is_empty() { "up to date" } else { "made" };
    let mut artifacts = Vec::new();
    for id in &plan.goals {
        let Some(node) = plan.node(id) else { continue };
        match &node.action {
            Action::BuildPackage { image, .. } => artifacts.push((id.to_string(), image.to_string(), None)),
            _ if matches!(id, NodeId::Current | NodeId::Firmware) => {}
            _ => {
                for path in &node.outputs {
                    let size = std::fs::metadata(path).map(|metadata| metadata.len()).ok();
                    artifacts.push((id.to_string(), short(path, &ctx.root).to_string(), size));
                }
            }
        }
    }
    if ctx.globals.json {
        let made: Vec<_> =
            outcome.made.iter().map(|(id, took)| serde_json::json!({"node": id.to_string(), "seconds": took.as_secs_f64()})).collect();
        let artifacts: Vec<_> =
            artifacts.iter().map(|(node, path, size)| serde_json::json!({"node": node, "path": path, "bytes": size})).collect();
        let value = serde_json::json!({"state": state, "artifacts": artifacts, "made": made, "warnings": outcome.warnings, "seconds": since.elapsed().as_secs_f64()});
        println!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(());
    }
    for (_, path, size) in &artifacts {
        let size = size.map_or_else(String::new, |size| format!(", {}", progress::size(size)));
        println!("{state}: {path}{size} ({took})");
    }
    Ok(())
}
