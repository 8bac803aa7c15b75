//! Builds packages again from their sources, apart from the image cache, and compares them with the images under their tags: those of the
//! team's registry if CACHE names one, else those of the image cache. With CACHE_MODE=write those of the registry that differ are replaced.

use crate::commands::build::{build_with, execution, plan};
use anyhow::{Context as _, Result, bail};
use checkout::{Checkout, context::Ctx};
use common::{display, error::usage};
use native::{NativeEngine, first_difference};
use oci::{Cache, Image};
use plan::{EngineKind, Facts as _, Goal, Node, NodeId, PackageWork, Plan, steps::BuildPackage};
use registry::Team;
use std::time::Instant;

/// Builds the packages `name`, all if it is empty, and compares.
pub(super) fn run(ctx: &Ctx, name: &[String]) -> Result<()> {
    if ctx.engine != EngineKind::Native {
        return Err(usage("docker's builds of a package differ each time, so they cannot be compared\nhint: --engine native"));
    }
    let tree = ctx.tree()?;
    let names: Vec<String> = match name.is_empty() {
        true => tree.bulk_packages()?,
        false => name.iter().map(|name| name.strip_prefix("pkg/").unwrap_or(name).trim_end_matches('/').to_owned()).collect(),
    };
    let goal = Goal::PackagesAlone(names.clone(), PackageWork::Build);
    let plan = plan(ctx, &tree, &goal)?;
    // The packages must be there, and what each is built from.
    build_with(ctx, &tree, &Goal::PackagesAlone(with_bases(&plan, names), PackageWork::Build), false)?;
    if ctx.globals.dry_run {
        return Ok(());
    }
    let team = native::team(ctx)?;
    let (mut same, mut other, replaces) = (0, Vec::new(), team.as_ref().is_some_and(|team| team.writes()));
    for node in plan.goals.iter().filter_map(|id| plan.node(id)) {
        let Some(package) = node.step.package() else { continue };
        match compare(ctx, &tree, node, package, team.as_deref())? {
            None => same += 1,
            Some(difference) => {
                println!("{}: {difference}", package.image);
                other.push(package.name.clone());
            }
        }
    }
    if other.is_empty() {
        println!("{same} packages are what their sources build");
        return Ok(());
    }
    let place = team.as_ref().map_or_else(|| "the image cache".to_owned(), |team| team.place().to_string());
    let names = other.join(" ");
    let hint = match &team {
        None => format!("build them anew: cargo xtask pkg --force {names}"),
        Some(_) if replaces => format!("who has taken them builds them anew: cargo xtask pkg --force {names}"),
        Some(team) => format!("cargo xtask verify {names} CACHE={} CACHE_MODE=write replaces them", team.place()),
    };
    bail!(
        "{} of {} packages in {place} {} from what their sources build: {}\nhint: {hint}",
        other.len(),
        other.len() + same,
        if replaces { "differed" } else { "differ" },
        other.join(", "),
    )
}

/// `names`, and before them the packages that their Dockerfiles start from.
fn with_bases(plan: &Plan, names: Vec<String>) -> Vec<String> {
    let goals = plan.goals.iter().filter_map(|id| plan.node(id));
    let bases = goals.flat_map(|node| &node.needs).filter_map(|need| match &need.id {
        NodeId::Package(name, _) => Some(name.clone()),
        _ => None,
    });
    let mut all: Vec<String> = Vec::new();
    for name in bases.chain(names) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// Builds a package apart from the cache. Returns the first difference to the image that others take.
fn compare(ctx: &Ctx, tree: &Checkout, node: &Node, package: &BuildPackage, team: Option<&Team>) -> Result<Option<String>> {
    let since = Instant::now();
    let cache = Cache::open(&ctx.environment.linuxkit_cache())?;
    let spool = ctx.dist().spool();
    let (theirs, ours) = (cache.fork(&spool)?, cache.fork(&spool)?);
    let their_cache = Cache::open(&theirs.dir())?;
    if let Some(team) = team
        && !native::take_package(Some(team), &their_cache, package, None)
    {
        if !team.works() {
            bail!(
                "{} has failed, so {} cannot be compared with it\nhint: CACHE_MODE=off compares with the image cache",
                team.place(),
                package.name
            );
        }
        let why = if native::is_exact(package) {
            format!("{} has no {}", team.place(), package.image)
        } else {
            format!("{} has changes", package.name)
        };
        eprintln!("note: {why}; the image cache's is compared");
    }
    let our_cache = Cache::open(&ours.dir())?;
    let engine = NativeEngine::apart(ctx, tree, our_cache.clone())?;
    let options = execution(ctx, tree)?;
    let _lock = executor::lock_tree(&ctx.dist())?;
    executor::run_always(std::slice::from_ref(node), &engine, &options)?;
    let difference = first_difference(&image(&their_cache, package)?, &image(&our_cache, package)?)?;
    eprintln!("{}: built again in {}", package.name, display::seconds(since.elapsed()));
    if let (Some(team), true) = (team, difference.is_some() && native::is_exact(package)) {
        team.distrust(&package.image.reference, package.image.arch);
        team.give(&our_cache, &package.image.reference, package.image.arch);
    }
    Ok(difference)
}

fn image(cache: &Cache, package: &BuildPackage) -> Result<Image> {
    let found = cache.find(&package.image.reference, package.image.arch.as_str())?;
    found.with_context(|| format!("{} is not in the image cache", package.image))
}
