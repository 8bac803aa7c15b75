//! The verbs that build artifacts. Each plans a goal, checks the tools, executes the plan and prints the artifacts.

use super::{
    Action, Run, Verb,
    cve::{self, Sbom},
    early, store, target, target_and, verb,
};
use anyhow::{Context as _, Result};
use checkout::{Checkout, context::Ctx};
use child::{Tool, ToolNeed, docker};
use common::{
    display,
    display::short,
    error::{did_you_mean, usage},
};
use executor::{Engine, RunSummary, State, States, making};
use knobs::{CacheMode, FORMATS, ImageFormat, InstallerFormat};
use linuxkit::LinuxkitEngine;
use native::NativeEngine;
use oci::DamagedBlob;
use plan::{Composed, DiskKind, EngineKind, Goal, NodeId, PackageWork, Plan, plan_goal};
use std::time::{Duration, Instant};

/// The verbs in the order of the help: `live`, a verb for each of its formats, and the others.
pub const VERBS: &[&[Verb]] = &[&[LIVE], &FORMAT_VERBS, OTHERS];

const LIVE: Verb = target("live", "build a disk image that boots: packages, root file system, configuration, disk", live);

const OTHERS: &[Verb] = &[
    target("installer-raw", "build a disk that installs EVE", |_| Ok(Goal::Disk(DiskKind::Installer))),
    target("installer-iso", "build an ISO that installs EVE", |_| Ok(Goal::InstallerIso)),
    target("installer-net", "build a tar that installs EVE over the network", |_| Ok(Goal::InstallerNet)),
    target("verification-raw", "build a disk that installs EVE and checks the machine", |_| Ok(Goal::Disk(DiskKind::Verification))),
    target("rootfs", "build the root file system", |_| Ok(Goal::Rootfs)),
    target("rootfs-kvm", "build the root file system for KVM", |_| Ok(Goal::Rootfs)).sets(&[("HV", "kvm")]),
    target("rootfs-xen", "build the root file system for Xen", |_| Ok(Goal::Rootfs)).sets(&[("HV", "xen")]),
    target("rootfs-acrn", "build the root file system for ACRN", |_| Ok(Goal::Rootfs)).sets(&[("HV", "acrn")]),
    target("rootfstar", "build rootfs.tar, the tar of the root file system", |_| Ok(Goal::RootfsTar)),
    target("rootfs-yml", "write the yml of the root file system: the images that it is made of", |_| Ok(Goal::Yml(Composed::Rootfs)))
        .without_packages(),
    target("installer-yml", "write the yml of the installer's root file system", |_| Ok(Goal::Yml(Composed::Installer))).without_packages(),
    target("config", "build config.img from the configuration folder", |_| Ok(Goal::Config)).without_packages(),
    verb("pkg", "build packages, and the packages in their FROM lines", &Run(build_packages)).building(),
    target("pkgs", "build all packages", |ctx| Ok(Goal::AllPackages(ctx.knobs.packages.work))),
    target("eve", "build the image lfedge/eve, which contains every artifact", |_| Ok(Goal::Eve)),
    target_and(
        "sbom",
        "write the bill of materials (SPDX) of the root file system, and look up its packages",
        |_| Ok(Goal::Sbom),
        &Run(write_sbom),
    ),
    target("initrd", "extract the initrd from its package", |_| Ok(Goal::Parts(vec!["initrd.img"]))),
    target("installer-img", "build installer.img, the installer's root file system, or extract it from its package", |_| {
        Ok(Goal::InstallerImg)
    }),
    target("installer", "build installer.img, or the installer disk on trees with a composed installer", installer),
    target("installertar", "build the tar of the installer's root file system, on trees with a composed installer", |_| {
        Ok(Goal::InstallerTar)
    }),
    target("verification", "build verification.img, the verification's root file system, or extract it from its package", |_| {
        Ok(Goal::VerificationImg)
    }),
    target("kernel", "extract the kernel from its package", |_| Ok(Goal::Parts(vec!["kernel"]))),
    target("kernel-yml", "write the build.yml of packages that have a template for it", |ctx| {
        Ok(Goal::BuildYmls(ctx.tree()?.templated_packages()?))
    })
    .without_packages(),
    target("fullname-rootfs", "build the root file system under its versioned name", |_| Ok(Goal::Rootfs)),
];

/// The knob that each format's verb sets.
const FORMAT_KNOBS: [(&str, &str); FORMATS.len()] = {
    let mut knobs = [("IMAGE_FORMAT", ""); FORMATS.len()];
    let mut at = 0;
    while at < FORMATS.len() {
        knobs[at].1 = FORMATS[at].format.as_str();
        at += 1;
    }
    knobs
};

const FORMAT_VERBS: [Verb; FORMATS.len()] = {
    const SETS: &[(&str, &str)] = &FORMAT_KNOBS;
    let mut verbs = [LIVE; FORMATS.len()];
    let mut at = 0;
    while at < FORMATS.len() {
        let (sets, _) = SETS.split_at(at).1.split_at(1);
        verbs[at] = target(FORMATS[at].verb, FORMATS[at].help, live_disk).sets(sets);
        at += 1;
    }
    verbs
};

fn live(ctx: &Ctx) -> Result<Goal> {
    Ok(Goal::Live(ctx.knobs.image.image_format))
}

fn live_disk(ctx: &Ctx) -> Result<Goal> {
    Ok(Goal::LiveDisk(ctx.knobs.image.image_format))
}

/// The goal of `installer`, by INSTALLER_IMG_FORMAT and the tree.
fn installer(ctx: &Ctx) -> Result<Goal> {
    Ok(match ctx.knobs.image.installer_format {
        InstallerFormat::Iso => Goal::InstallerIso,
        InstallerFormat::Net => Goal::InstallerNet,
        InstallerFormat::Raw if ctx.capabilities().installer_is_composed => Goal::Disk(DiskKind::Installer),
        InstallerFormat::Raw => Goal::InstallerImg,
    })
}

/// The packages to build.
#[derive(clap::Args)]
pub struct Packages {
    /// folders below pkg/
    #[arg(value_name = "NAME", num_args = 1.., required = true)]
    name: Vec<String>,
    /// leave out packages that the tree always builds first
    #[arg(long)]
    alone: bool,
    /// build packages again whose images exist
    #[arg(long)]
    force: bool,
}

/// `pkg`.
fn build_packages(ctx: &Ctx, Packages { name, alone, force }: Packages) -> Result<()> {
    let mut names: Vec<String> =
        name.iter().map(|name| name.strip_prefix("pkg/").unwrap_or(name).trim_end_matches('/').to_owned()).collect();
    let elsewhere = &ctx.profile.packages.elsewhere;
    for (name, repository) in names.iter().filter_map(|name| elsewhere.get_key_value(name)).filter(|_| !alone) {
        eprintln!("note: pkg/{name} is built in {repository}: there is nothing to do for it here");
    }
    names.retain(|name| alone || !elsewhere.contains_key(name));
    if names.is_empty() {
        return Ok(());
    }
    let work = ctx.knobs.packages.work;
    let goal = if alone { Goal::PackagesAlone(names, work) } else { Goal::Packages(names, work) };
    build_with(ctx, &ctx.tree()?, &goal, force)
}

/// `sbom`.
fn write_sbom(ctx: &Ctx, args: Sbom) -> Result<()> {
    if let Some(file) = args.given(ctx)? {
        return cve::look(ctx, &args, &file);
    }
    let tree = ctx.tree()?;
    build_with(ctx, &tree, &Goal::Sbom, false)?;
    if !args.looks_up() {
        return Ok(());
    }
    let plan = plan(ctx, &tree, &Goal::Sbom)?;
    let file = plan.node(&NodeId::Sbom).and_then(|node| node.outputs.first());
    cve::look(ctx, &args, file.context("the plan has no bill of materials")?)
}

/// The goal of a target, for verbs that show its plan; fails for other words.
pub fn planned_goal(ctx: &Ctx, target: &str) -> Result<Goal> {
    goal_of(ctx, target)?.ok_or_else(|| {
        let has_plan = |verb: &&Verb| verb.sets.is_empty() && matches!(verb.action, Action::Builds(_));
        let names = VERBS.iter().copied().flatten().filter(has_plan).map(|verb| verb.name);
        let hint = did_you_mean(target, names).map_or_else(
            || {
                "live, live-gcp and its like, installer-raw and its like, rootfs, rootfstar, config, sbom, eve, pkgs, or pkg/NAME"
                    .to_owned()
            },
            |near| format!("did you mean {near}?"),
        );
        usage(format!("`{target}` has no plan\nhint: {hint}"))
    })
}

/// The goal of a target; none for other words.
pub fn goal_of(ctx: &Ctx, target: &str) -> Result<Option<Goal>> {
    if let Some(name) = target.strip_prefix("pkg/") {
        return Ok(Some(Goal::Packages(vec![name.to_owned()], PackageWork::Build)));
    }
    if let Some(format) = target.strip_prefix("live-").and_then(|name| name.parse::<ImageFormat>().ok()) {
        return Ok(Some(Goal::LiveDisk(format)));
    }
    match VERBS.iter().copied().flatten().find(|verb| verb.name == target && verb.sets.is_empty()).map(|verb| verb.action) {
        Some(Action::Builds(goal)) => goal(ctx).map(Some),
        _ => Ok(None),
    }
}

/// The plan of `goal` for the present tree.
pub fn plan(ctx: &Ctx, tree: &Checkout, goal: &Goal) -> Result<Plan> {
    plan_goal(goal, &ctx.knobs, tree)
}

/// The chosen engine, for a whole build of the tree; fails if it cannot build this tree.
pub fn engine(ctx: &Ctx, tree: &Checkout) -> Result<Box<dyn Engine>> {
    if !ctx.capabilities().tree_can_be_built() {
        return Err(usage(format!(
            "the native engine cannot build {}: its packages need Alpine packages and images from a registry\nhint: omit --engine native, or give --engine linuxkit",
            ctx.profile.tree.name
        )));
    }
    engine_for_images(ctx, tree)
}

/// The chosen engine, for images of existing files, which both engines make for every tree.
pub fn engine_for_images(ctx: &Ctx, tree: &Checkout) -> Result<Box<dyn Engine>> {
    match ctx.engine {
        EngineKind::Native => Ok(Box::new(NativeEngine::new(ctx, tree)?)),
        EngineKind::Linuxkit => Ok(Box::new(LinuxkitEngine::new(ctx)?)),
    }
}

/// The executor's options for this tree.
pub fn execution(ctx: &Ctx, tree: &Checkout) -> Result<executor::Options> {
    Ok(executor::Options {
        tree: ctx.root.clone(),
        layout: ctx.layout(tree),
        jobs: ctx.globals.jobs,
        verbose: ctx.globals.verbose || ctx.knobs.host.verbose,
        read_artifacts: ctx.knobs.host.check_artifacts,
        store: store::of_build(ctx)?,
    })
}

/// Plans and builds `goal`.
pub fn build(ctx: &Ctx, goal: &Goal) -> Result<()> {
    build_with(ctx, &ctx.tree()?, goal, false)
}

pub(in crate::commands) fn build_with(ctx: &Ctx, tree: &Checkout, goal: &Goal, force: bool) -> Result<()> {
    let since = Instant::now();
    let mut plan = plan(ctx, tree, goal)?;
    if force {
        plan.force_goals();
    }
    let engine = engine(ctx, tree)?;
    let engine = engine.as_ref();
    let options = execution(ctx, tree)?;
    let states = without_damage(ctx, || executor::survey(&plan, engine, &options))?;
    let needs = needs(&plan, &states, engine)?;
    early::check(ctx, &plan, &states)?;
    eprintln!(
        "{} {} {} {}, {} engine",
        ctx.profile.tree.name,
        tree.version(),
        ctx.knobs.image.hv,
        ctx.knobs.image.arch,
        ctx.engine.as_str()
    );
    if ctx.globals.dry_run {
        // A package that the registry has needs no base.
        if !has_registry(ctx) {
            early::bases::check(ctx, tree, &plan, &states)?;
            early::check_keys(ctx, &plan, &states)?;
            early::room::check(ctx, &plan, &states)?;
        }
        return show(ctx, &plan, &states);
    }
    warn_of_old_bases(ctx, tree)?;
    warn_of_missing_hypervisor(ctx, &plan);
    if tree.is_dirty() && ctx.knobs.image.rootfs_version.is_none() && !options.layout.path().exists() {
        eprintln!(
            "note: tracked files have changed, so this build has a new version and a new folder; ROOTFS_VERSION=dev keeps one folder"
        );
    }
    if ctx.knobs.image.rstats && ctx.knobs.image.dev {
        eprintln!("warning: RSTATS=y and DEV=y: packages with a build.yml for each use the one for RSTATS");
    }
    if states.values().all(|state| matches!(state, State::Fresh(_))) {
        check_locked(ctx, &plan, engine, &options)?;
        return report(ctx, &plan, &RunSummary::default(), since);
    }
    let (states, needs) = match take_packages(ctx, &plan, engine, &options)? {
        true => {
            let states = without_damage(ctx, || executor::survey(&plan, engine, &options))?;
            let needs = self::needs(&plan, &states, engine)?;
            (states, needs)
        }
        false => (states, needs),
    };
    early::bases::check(ctx, tree, &plan, &states)?;
    early::dockerfiles::check(ctx, &plan, &states)?;
    early::check_keys(ctx, &plan, &states)?;
    early::room::check(ctx, &plan, &states)?;
    preflight(ctx, &needs)?;
    let _lock = executor::lock_tree(&ctx.dist())?;
    // Another run may have built something while we waited for the lock, so the executor surveys again.
    let outcome = without_damage(ctx, || executor::run(&plan, engine, &options)).map_err(|error| early::room::explain(ctx, error))?;
    check_locked(ctx, &plan, engine, &options)?;
    report(ctx, &plan, &outcome, since)
}

/// With LOCKED: fails if an artifact that was built, taken or there already is not what the signed list names.
fn check_locked(ctx: &Ctx, plan: &Plan, engine: &dyn Engine, options: &executor::Options) -> Result<()> {
    native::locked(ctx)?.map_or(Ok(()), |locked| locked.check_artifacts(&executor::kept_artifacts(plan, engine, options)?))
}

/// Whether packages may come from the team's registry.
fn has_registry(ctx: &Ctx) -> bool {
    ctx.knobs.host.team_cache.is_some() && ctx.knobs.host.cache_mode != CacheMode::Off
}

/// Takes packages from the team's registry; returns whether any was taken.
fn take_packages(ctx: &Ctx, plan: &Plan, engine: &dyn Engine, options: &executor::Options) -> Result<bool> {
    let Some(place) = ctx.knobs.host.team_cache.as_deref().filter(|_| has_registry(ctx)) else { return Ok(false) };
    let since = Instant::now();
    let taken = executor::take_packages(plan, engine, options)?;
    if !taken.is_empty() {
        let names: Vec<String> = taken.iter().map(ToString::to_string).collect();
        eprintln!("taken from {place} in {}: {}", display::seconds(since.elapsed()), names.join(" "));
    }
    Ok(!taken.is_empty())
}

/// Warns if the root file system in the plan is for a hypervisor that it does not have.
fn warn_of_missing_hypervisor(ctx: &Ctx, plan: &Plan) {
    let knobs = &ctx.knobs.image;
    let makes = [NodeId::Tar(Composed::Rootfs), NodeId::RootfsImg];
    let wants_file = ctx.profile.rootfs.hypervisor_files.contains_key(&knobs.hv);
    if wants_file && knobs.acrn_bin.is_none() && makes.iter().any(|id| plan.node(id).is_some()) {
        eprintln!(
            "warning: HV={} without ACRN_BIN: the image has no hypervisor and starts Linux alone\nhint: ACRN_BIN=FILE, the acrn.bin of a build of ACRN",
            knobs.hv
        );
    }
}

/// Does `work`, and does it again without each damaged blob of the cache that it meets: the images of that blob are then built again.
fn without_damage<T>(ctx: &Ctx, work: impl Fn() -> Result<T>) -> Result<T> {
    const MOST: usize = 20;
    for _ in 0..MOST {
        let error = match work() {
            Err(error) if !ctx.capabilities().linuxkit_keeps_images() && !ctx.globals.dry_run => error,
            outcome => return outcome,
        };
        let Some(blob) = error.chain().find_map(|cause| cause.downcast_ref::<DamagedBlob>()) else { return Err(error) };
        let what = blob.to_string();
        eprintln!("warning: {}; it is removed, and its image is built again", what.lines().next().unwrap_or_default());
        std::fs::remove_file(&blob.path).with_context(|| format!("cannot remove `{}`", blob.path.display()))?;
    }
    work()
}

/// Warns if a package has changed but Dockerfiles still name its old tag in FROM: the change has no effect until `bump` writes the new
/// tag there.
fn warn_of_old_bases(ctx: &Ctx, tree: &Checkout) -> Result<()> {
    if ctx.capabilities().packages_are_published {
        return Ok(());
    }
    for ((base, is_next), users) in tree.old_bases()? {
        let name = if users.len() == 1 { "names" } else { "name" };
        let users = users.join(", ");
        match is_next {
            true => eprintln!("warning: {users}: FROM names the tag that pkg/{base} has once it is committed\nhint: git commit pkg"),
            false => eprintln!(
                "warning: pkg/{base} has changed, but {users} still {name} its old tag in FROM\nhint: cargo xtask bump {base}, and commit both before the next build"
            ),
        }
    }
    Ok(())
}

fn show(ctx: &Ctx, plan: &Plan, states: &States) -> Result<()> {
    let reason = |node: &plan::Node| states.get(&node.id)?.due();
    match ctx.globals.json {
        true => println!("{}", serde_json::to_string_pretty(&plan.to_json(&ctx.root, &reason))?),
        false => print!("{}", plan.to_text(&ctx.root, &reason)),
    }
    Ok(())
}

/// The programs that stale nodes start; fails if the engine cannot make one of the nodes.
pub fn needs(plan: &Plan, states: &States, engine: &dyn Engine) -> Result<Vec<ToolNeed>> {
    let mut needs: Vec<ToolNeed> = Vec::new();
    for node in plan.nodes.iter().filter(|node| matches!(states.get(&node.id), Some(State::Stale(_)))) {
        for need in making(engine, &node.step)?.needs() {
            if needs.iter().all(|known| known.tool != need.tool) {
                needs.push(need.clone());
            }
        }
    }
    Ok(needs)
}

/// Checks all programs of `needs`, and docker's daemon.
pub fn preflight(ctx: &Ctx, needs: &[ToolNeed]) -> Result<()> {
    let any_version_serves = ctx.capabilities().tools_serve_in_any_version();
    if !any_version_serves || needs.iter().any(|need| ctx.tools.find(need.tool).is_err()) {
        super::doctor::ensure(ctx, needs)?;
    }
    if needs.iter().any(|need| need.tool == Tool::Docker) {
        docker::daemon_version(&ctx.tools)?;
    }
    Ok(())
}

/// Prints the artifacts with their sizes, and the time that the build took.
fn report(ctx: &Ctx, plan: &Plan, outcome: &RunSummary, since: Instant) -> Result<()> {
    let took = display::seconds(since.elapsed());
    let has = |nodes: &[(NodeId, Duration)], id: &str| nodes.iter().any(|(node, _)| node.to_string() == id);
    let state = match (outcome.made.is_empty(), outcome.taken.is_empty()) {
        (false, _) => "made",
        (true, false) => "taken from the store",
        (true, true) => "up to date",
    };
    // Some of several goals may have been up to date.
    let state_of = |node: &str| match (has(&outcome.made, node), has(&outcome.taken, node)) {
        (true, _) => "made",
        (false, true) => "taken from the store",
        (false, false) => "up to date",
    };
    let mut artifacts = Vec::new();
    for id in &plan.goals {
        let Some(node) = plan.node(id) else { continue };
        if let Some(package) = node.step.package() {
            artifacts.push((id.to_string(), package.image.to_string(), None));
            continue;
        }
        for path in node.outputs.iter().filter(|_| !matches!(id, NodeId::Current | NodeId::LiveImg | NodeId::Firmware)) {
            let size = std::fs::metadata(path).map(|metadata| metadata.len()).ok();
            artifacts.push((id.to_string(), short(path, &ctx.root).to_string(), size));
        }
    }
    if ctx.globals.json {
        let steps = |nodes: &[(NodeId, Duration)]| -> Vec<_> {
            let step = |(id, took): &(NodeId, Duration)| serde_json::json!({"node": id.to_string(), "seconds": took.as_secs_f64()});
            nodes.iter().map(step).collect()
        };
        let (made, taken) = (steps(&outcome.made), steps(&outcome.taken));
        let artifacts: Vec<_> =
            artifacts.iter().map(|(node, path, size)| serde_json::json!({"node": node, "path": path, "bytes": size})).collect();
        let value = serde_json::json!({"state": state, "artifacts": artifacts, "made": made, "taken": taken, "warnings": outcome.warnings, "seconds": since.elapsed().as_secs_f64()});
        println!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(());
    }
    for (at, (node, path, size)) in artifacts.iter().enumerate() {
        let size = size.map_or_else(String::new, |size| format!(", {}", display::size(size)));
        let took = if at + 1 == artifacts.len() { format!(" ({took})") } else { String::new() };
        println!("{}: {path}{size}{took}", state_of(node));
    }
    Ok(())
}
