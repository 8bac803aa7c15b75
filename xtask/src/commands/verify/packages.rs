//! Builds packages again from their sources, apart from the image cache, and compares them with the images under their tags: those of the
//! team's registry if CACHE names one, else those of the image cache. With CACHE_MODE=write those of the registry that differ are replaced.

use crate::commands::build::{build_with, execution, plan};
use anyhow::{Context as _, Result, anyhow, bail};
use checkout::{Checkout, context::Ctx};
use common::{display, error::usage};
use native::{NativeEngine, first_difference};
use oci::{Cache, Image};
use plan::{EngineKind, Facts as _, Goal, Node, NodeId, PackageWork, Plan, steps::BuildPackage};
use registry::{Taken, Team};
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
    let (mut same, mut others) = (0, Vec::new());
    for node in plan.goals.iter().filter_map(|id| plan.node(id)) {
        let Some(package) = node.step.package() else { continue };
        match compare(ctx, &tree, node, package, team.as_deref())? {
            None => same += 1,
            Some((difference, place)) => {
                println!("{}: {difference}", package.image);
                others.push((package.name.clone(), place));
            }
        }
    }
    if others.is_empty() {
        println!("{same} packages are what their sources build");
        return Ok(());
    }
    Err(refuse(&others, same, team.as_deref()))
}

/// Where an image is that differs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    ImageCache,
    Registry,
    /// In the registry, which has what was built here now.
    Replaced,
}

/// The error about packages that differ, with what to do about those in each place.
fn refuse(others: &[(String, Place)], same: usize, team: Option<&Team>) -> anyhow::Error {
    let names = |place: Place| others.iter().filter(|other| other.1 == place).map(|other| other.0.as_str()).collect::<Vec<_>>().join(" ");
    let (cached, kept, replaced) = (names(Place::ImageCache), names(Place::Registry), names(Place::Replaced));
    let registry = team.map(|team| team.place().to_string()).unwrap_or_default();
    let place = match (cached.is_empty(), kept.is_empty() && replaced.is_empty()) {
        (false, true) => "the image cache".to_owned(),
        (false, false) => format!("{registry} and the image cache"),
        (true, _) => registry.clone(),
    };
    let mut hints = Vec::new();
    if !cached.is_empty() {
        hints.push(format!("build them anew: cargo xtask pkg --force {cached}"));
    }
    if !kept.is_empty() {
        hints.push(match team.is_some_and(Team::writes) {
            true => format!("{registry} keeps its own of {kept}; the warnings above tell why"),
            false => format!("cargo xtask verify {kept} CACHE={registry} CACHE_MODE=write replaces them"),
        });
    }
    if !replaced.is_empty() {
        hints.push(format!("who has taken them builds them anew: cargo xtask pkg --force {replaced}"));
    }
    anyhow!(
        "{} of {} packages in {place} {} from what their sources build: {}\nhint: {}",
        others.len(),
        others.len() + same,
        if cached.is_empty() && kept.is_empty() { "differed" } else { "differ" },
        others.iter().map(|other| other.0.as_str()).collect::<Vec<_>>().join(", "),
        hints.join("\nhint: "),
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

/// Builds a package apart from the cache. Returns the first difference to the image that others take, and where that is.
fn compare(ctx: &Ctx, tree: &Checkout, node: &Node, package: &BuildPackage, team: Option<&Team>) -> Result<Option<(String, Place)>> {
    let since = Instant::now();
    let cache = Cache::open(&ctx.environment.linuxkit_cache())?;
    let spool = ctx.dist().spool();
    let ours = cache.fork(&spool)?;
    // Apart from the image cache, whose blobs would be taken for those of the registry.
    let theirs = tempfile::Builder::new().prefix("verify-").tempdir_in(&spool);
    let theirs = theirs.with_context(|| format!("cannot create a folder in `{}`", spool.display()))?;
    let their_cache = Cache::open(theirs.path())?;
    let taken = team.map_or(Ok(Taken::Absent), |team| take(team, &their_cache, package))?;
    let our_cache = Cache::open(&ours.dir())?;
    let engine = NativeEngine::apart(ctx, tree, our_cache.clone())?;
    let options = execution(ctx, tree)?;
    let _lock = executor::lock_tree(&ctx.dist())?;
    executor::run_always(std::slice::from_ref(node), &engine, &options)?;
    let difference = match taken {
        Taken::Damaged => Some("what the registry has is damaged".to_owned()),
        Taken::Absent => first_difference(&image(&cache, package)?, &image(&our_cache, package)?)?,
        _ => first_difference(&image(&their_cache, package)?, &image(&our_cache, package)?)?,
    };
    eprintln!("{}: built again in {}", package.name, display::seconds(since.elapsed()));
    let place = match (team, difference.is_some() && taken != Taken::Absent) {
        (Some(team), true) if team.replace(&our_cache, &package.image.reference, package.image.arch) => Place::Replaced,
        (Some(_), true) => Place::Registry,
        _ => Place::ImageCache,
    };
    Ok(difference.map(|difference| (difference, place)))
}

/// Takes a package's image from the registry to compare it; notes what has nothing there. Fails if the registry does not answer.
fn take(team: &Team, cache: &Cache, package: &BuildPackage) -> Result<Taken> {
    if !native::is_exact(package) {
        eprintln!("note: {} has changes; the image cache's is compared", package.name);
        return Ok(Taken::Absent);
    }
    let taken = team.try_take(cache, &package.image.reference, package.image.arch, &|_| true, &|_, _| {});
    match taken {
        Taken::Absent => eprintln!("note: {} has no {}; the image cache's is compared", team.place(), package.image),
        Taken::Failed => bail!(
            "{} has failed, so {} cannot be compared with it\nhint: CACHE_MODE=off compares with the image cache",
            team.place(),
            package.name
        ),
        Taken::Yes | Taken::Damaged | Taken::Refused => {}
    }
    Ok(taken)
}

fn image(cache: &Cache, package: &BuildPackage) -> Result<Image> {
    let found = cache.find(&package.image.reference, package.image.arch.as_str())?;
    found.with_context(|| format!("{} is not in the image cache", package.image))
}
