//! `shell`: opens a shell in the sandbox of a package's RUN lines: before a line, where one failed, or after the last. In a checkout of
//! lf-edge/eve, whose Go code is built in a container, it opens a shell in that container.

use super::{build, containers};
use anyhow::{Context as _, Result};
use checkout::{Checkout, context::Ctx};
use common::error::usage;
use knobs::GoKnobs;
use native::{NativeEngine, StopAt, Stopped};
use pkgbuild::dockerfile::{Dockerfile, Instruction};
use plan::{Goal, NodeId, PackageWork, Plan};
use sandbox::Sandbox;
use std::path::Path;

/// The package, and the settings of the Go builder.
#[derive(clap::Args)]
pub struct Shell {
    /// folder below pkg/: the package in whose build the shell runs, with a stage of its Dockerfile and the line of a RUN, before which the
    /// shell opens; in a checkout of lf-edge/eve it is always pillar's
    #[arg(value_name = "PACKAGE[:STAGE[:LINE]]")]
    package: Option<String>,
    /// the Dockerfile's stage whose last RUN the shell follows [default: that of the last RUN of the build]
    #[arg(long, value_name = "NAME")]
    stage: Option<String>,
    #[command(flatten)]
    go: GoKnobs,
}

/// `shell`.
pub fn run(ctx: &Ctx, Shell { package, stage, go }: Shell) -> Result<()> {
    if ctx.capabilities().tools_run_in_containers {
        if package.is_some() || stage.is_some() {
            return Err(usage(
                "this shell is always in the Go builder\nhint: --engine native has one for each package of a tree that it builds",
            ));
        }
        return containers::open_shell(ctx, go);
    }
    let tree = ctx.tree()?;
    let Some(package) = package else {
        return Err(usage("`shell` needs a package, in whose build it runs\nhint: cargo xtask shell kernel"));
    };
    let (name, place) = parse_place(&package, stage)?;
    let place = check_place(&ctx.profile.packages.folder, &name, place)?;
    let plan = build::plan(ctx, &tree, &Goal::Packages(vec![name.clone()], PackageWork::Build))?;
    if ctx.globals.dry_run {
        let at = place.line.map_or("where its last RUN ended".to_owned(), |line| format!("before the RUN in line {line}"));
        println!("build pkg/{name} without writing its image, then open a shell {at}");
        return Ok(());
    }
    let watching = NativeEngine::watching(ctx, &tree, place.clone())?;
    let outcome = watch(ctx, &tree, &plan, &name, &watching)?;
    let stopped = outcome.as_ref().is_err_and(|error| error.chain().any(<dyn std::error::Error>::is::<Stopped>));
    if let Some(line) = place.line.filter(|_| !stopped) {
        outcome?;
        return Err(usage(format!(
            "pkg/{name}: this build does not come to the RUN in line {line}\nhint: cargo xtask shell {name} opens a shell after its last RUN"
        )));
    }
    let Some((step, files)) = watching.seen() else {
        outcome?;
        return Err(usage(format!(
            "pkg/{name} runs nothing in this build: its Dockerfile has no RUN, so there is nowhere to open a shell"
        )));
    };
    match &outcome {
        Err(_) if stopped => eprintln!("the shell is at {}, before: {}", step.place, step.command),
        Err(error) => {
            eprint!("{}", common::error::render(error));
            eprintln!("the shell is where it failed, with the files as they were before: {}", step.command);
        }
        Ok(()) => eprintln!("the shell is at {}, after: {}", step.place, step.command),
    }
    eprintln!("what is changed here is discarded; `exit` ends the shell");
    Sandbox::new(&ctx.tools, ctx.dist().spool(), super::machines::shown()).open_shell(&step, &files)
}

/// The package and the place of `PACKAGE[:STAGE[:LINE]]`, and of `--stage`.
fn parse_place(word: &str, stage: Option<String>) -> Result<(String, StopAt)> {
    let mut parts = word.splitn(3, ':');
    let name = parts.next().unwrap_or_default();
    let name = name.strip_prefix("pkg/").unwrap_or(name).trim_end_matches('/').to_owned();
    let (named, line) = (parts.next().filter(|stage| !stage.is_empty()).map(str::to_owned), parts.next());
    let wrong = |line| usage(format!("`{word}`: `{line}` is not the number of a line\nhint: cargo xtask shell {name}:STAGE:12"));
    let line = line.map(|line| line.parse().map_err(|_| wrong(line))).transpose()?;
    if let (Some(named), Some(stage)) = (&named, &stage) {
        return Err(usage(format!("two stages, {named} and {stage}\nhint: omit --stage")));
    }
    Ok((name, StopAt { stage: named.or(stage), line }))
}

/// The place, if the Dockerfile has it: a number that is no stage is the line of a RUN, and the stage of a line is the one it stands in. A
/// Dockerfile that is missing or cannot be read is an error of the build.
fn check_place(packages: &Path, name: &str, StopAt { stage, line }: StopAt) -> Result<StopAt> {
    let text = std::fs::read_to_string(packages.join(name).join("Dockerfile")).ok();
    let Some(file) = text.and_then(|text| Dockerfile::parse(&text, name).ok()) else { return Ok(StopAt { stage, line }) };
    let label = |index: usize| file.stages[index].name.clone().unwrap_or_else(|| index.to_string());
    let found = stage.as_deref().and_then(|stage| file.find_stage(stage, file.stages.len()));
    let (stage, line) = match (stage, line) {
        (Some(stage), None) if found.is_none() && stage.parse::<usize>().is_ok() => (None, stage.parse().ok()),
        other => other,
    };
    let lines = |index: usize| -> Vec<usize> {
        let runs = file.stages[index].items.iter().filter(|item| matches!(item.instruction, Instruction::Run(_)));
        runs.map(|item| item.line).collect()
    };
    let shown = |index: usize| match &*lines(index) {
        [] => format!("{} (no RUN)", label(index)),
        [line] => format!("{} (RUN in line {line})", label(index)),
        several => format!("{} (RUN in lines {})", label(index), several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    };
    let hint = || format!("hint: its stages: {}", (0..file.stages.len()).map(shown).collect::<Vec<_>>().join(", "));
    if let (Some(stage), None) = (&stage, found) {
        return Err(usage(format!("pkg/{name} has no stage `{stage}`\n{}", hint())));
    }
    let Some(wanted) = line else { return Ok(StopAt { stage, line }) };
    match (0..file.stages.len()).find(|&index| lines(index).contains(&wanted)) {
        None => Err(usage(format!("pkg/{name} has no RUN in line {wanted}\n{}", hint()))),
        Some(index) if stage.is_some() && found != Some(index) => {
            let (wrong, right) = (stage.unwrap_or_default(), label(index));
            Err(usage(format!("pkg/{name}: line {wanted} is not in the stage {wrong}\nhint: cargo xtask shell {name}:{right}:{wanted}")))
        }
        Some(index) => Ok(StopAt { stage: Some(label(index)), line }),
    }
}

/// Builds what the package starts from, then the package, watched; returns how its build ended.
fn watch(ctx: &Ctx, tree: &Checkout, plan: &Plan, name: &str, watching: &NativeEngine) -> Result<Result<()>> {
    let is_package = |id: &NodeId| matches!(id, NodeId::Package(package, _) if package == name);
    let node = plan.nodes.iter().find(|node| is_package(&node.id) && plan.goals.contains(&node.id)).context("the plan has the package")?;
    let options = build::execution(ctx, tree)?;
    let engine = build::engine(ctx, tree)?;
    let needs = node.needs.iter().map(|need| need.id.clone()).collect();
    let bases = Plan { goals: needs, nodes: plan.nodes.iter().filter(|other| other.id != node.id).cloned().collect() };
    let _lock = executor::lock_tree(&ctx.dist())?;
    executor::run(&bases, engine.as_ref(), &options)?;
    Ok(executor::run_always(std::slice::from_ref(node), watching, &options).map(drop))
}
