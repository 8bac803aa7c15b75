//! `shell`: opens a shell in the sandbox of a package's RUN lines: where one failed, else after the last. In a checkout of lf-edge/eve, whose Go
//! code is built in a container, it opens a shell in that container.

use super::{build, containers};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::error::usage;
use knobs::GoKnobs;
use native::NativeEngine;
use plan::{Goal, NodeId, PackageWork, Plan};
use sandbox::Sandbox;

/// The package, and the settings of the Go builder.
#[derive(clap::Args)]
pub struct Shell {
    /// folder below pkg/: the package in whose build the shell runs; in a checkout of lf-edge/eve it is always pillar's
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
    let Some(name) = package else {
        return Err(usage("`shell` needs a package, in whose build it runs\nhint: cargo xtask shell kernel"));
    };
    let name = name.strip_prefix("pkg/").unwrap_or(&name).trim_end_matches('/').to_owned();
    let plan = build::plan(ctx, &tree, &Goal::Packages(vec![name.clone()], PackageWork::Build))?;
    let is_package = |id: &NodeId| matches!(id, NodeId::Package(package, _) if *package == name);
    let node = plan.nodes.iter().find(|node| is_package(&node.id) && plan.goals.contains(&node.id)).context("the plan has the package")?;
    if ctx.globals.dry_run {
        println!("build pkg/{name} without writing its image, then open a shell where its last RUN ended");
        return Ok(());
    }
    let options = build::execution(ctx, &tree)?;
    let engine = build::engine(ctx, &tree)?;
    let needs = node.needs.iter().map(|need| need.id.clone()).collect();
    let bases = Plan { goals: needs, nodes: plan.nodes.iter().filter(|other| other.id != node.id).cloned().collect() };
    let watching = NativeEngine::watching(ctx, &tree, stage)?;
    let outcome = {
        let _lock = executor::lock_tree(&ctx.dist())?;
        executor::run(&bases, engine.as_ref(), &options)?;
        executor::run_always(std::slice::from_ref(node), &watching, &options)
    };
    let Some((step, files)) = watching.seen() else {
        outcome?;
        return Err(usage(format!(
            "pkg/{name} runs nothing in this build: its Dockerfile has no RUN, so there is nowhere to open a shell"
        )));
    };
    match &outcome {
        Err(error) => {
            eprintln!("{}the shell is where it failed, with the files as they were before: {}", common::error::render(error), step.command)
        }
        Ok(_) => eprintln!("the shell is at {}, after: {}", step.place, step.command),
    }
    eprintln!("what is changed here is discarded; `exit` ends the shell");
    Sandbox::new(&ctx.tools, ctx.dist().spool(), super::machines::shown()).open_shell(&step, &files)
}
