//! The targets that make artifacts: preflight, plan, execute, and the last line.

use anyhow::Result;
use checkout::{Checkout, context::Ctx};
use child::{Need, Tool, docker};
use clap::{Arg, ArgAction, ArgMatches, Command};
use common::{display, display::short, error::usage};
use executor::{Engine, Outcome, State, making};
use knobs::ImageFormat;
use linuxkit::LinuxkitEngine;
use native::NativeEngine;
use plan::{DiskKind, EngineKind, Goal, NodeId, PackageWork, Plan, plan_goal};
use std::{collections::BTreeMap, time::Instant};

/// `live`: the disk in the format that the knobs say.
pub fn live(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    build(ctx, &Goal::Live(ctx.knobs.image_format))
}

/// `live-FORMAT`.
pub fn live_disk(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    build(ctx, &Goal::LiveDisk(ctx.knobs.image_format))
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

/// `initrd`.
pub fn initrd(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    build(ctx, &Goal::Parts(vec!["initrd.img"]))
}

/// `installer-img`.
pub fn installer_img(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    build(ctx, &Goal::InstallerImg)
}

/// `installer`: what plain `installer` was in the tree's Makefile.
pub fn installer(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    build(ctx, &installer_goal(ctx))
}

/// What plain `installer` means.
fn installer_goal(ctx: &Ctx) -> Goal {
    match ctx.knobs.text("INSTALLER_IMG_FORMAT") {
        "iso" => Goal::InstallerIso,
        "net" => Goal::InstallerNet,
        _ if ctx.capabilities().installer_is_composed => Goal::Disk(DiskKind::Installer),
        _ => Goal::InstallerImg,
    }
}

/// `installertar`.
pub fn installer_tar(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    build(ctx, &Goal::InstallerTar)
}

/// `verification`.
pub fn verification_img(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    build(ctx, &Goal::Parts(vec!["verification.img"]))
}

/// `kernel`.
pub fn kernel(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    build(ctx, &Goal::Parts(vec!["kernel"]))
}

/// `installer-raw`.
pub fn installer_raw(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    build(ctx, &Goal::Disk(DiskKind::Installer))
}

/// `installer-iso`.
pub fn installer_iso(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    build(ctx, &Goal::InstallerIso)
}

/// `installer-net`.
pub fn installer_net(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    build(ctx, &Goal::InstallerNet)
}

/// `verification-raw`.
pub fn verification_raw(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    build(ctx, &Goal::Disk(DiskKind::Verification))
}

/// `sbom`.
pub fn sbom(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    build(ctx, &Goal::Sbom)
}

/// `eve`.
pub fn eve(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    build(ctx, &Goal::Eve)
}

/// `kernel-yml`: the build.yml of every package that has a template for it.
pub fn kernel_yml(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    let tree = ctx.tree()?;
    let names = tree.templated_packages()?;
    build_with(ctx, &tree, &Goal::BuildYmls(names), false)
}

/// `pkg NAME…`.
pub fn package_arguments(command: Command) -> Command {
    command
        .arg(Arg::new("name").value_name("NAME").num_args(1..).required(true).help("folders below pkg/"))
        .arg(Arg::new("alone").long("alone").action(ArgAction::SetTrue).help("without those that the tree builds before them by habit"))
        .arg(Arg::new("force").long("force").action(ArgAction::SetTrue).help("build them again although their images exist"))
}

/// `pkg NAME…`.
pub fn packages(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let names = arguments.get_many::<String>("name").into_iter().flatten();
    let names: Vec<String> = names.map(|name| name.strip_prefix("pkg/").unwrap_or(name).trim_end_matches('/').to_owned()).collect();
    let goal = match arguments.get_flag("alone") {
        true => Goal::PackagesAlone(names, ctx.knobs.package_work()),
        false => Goal::Packages(names, ctx.knobs.package_work()),
    };
    build_with(ctx, &ctx.tree()?, &goal, arguments.get_flag("force"))
}

/// `pkgs`.
pub fn all_packages(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    let tree = ctx.tree()?;
    let names = tree.bulk_packages()?;
    build_with(ctx, &tree, &Goal::Packages(names, ctx.knobs.package_work()), false)
}

/// What a target is, for those who only look at its plan; none for a word that has no plan.
pub fn goal_of(ctx: &Ctx, target: &str) -> Result<Option<Goal>> {
    let format = |name: &str| name.parse::<ImageFormat>().ok();
    Ok(Some(match target {
        "live" => Goal::Live(ctx.knobs.image_format),
        "installer-raw" => Goal::Disk(DiskKind::Installer),
        "installer-iso" => Goal::InstallerIso,
        "installer-net" => Goal::InstallerNet,
        "installer" => installer_goal(ctx),
        "installer-img" => Goal::InstallerImg,
        "installertar" => Goal::InstallerTar,
        "verification-raw" => Goal::Disk(DiskKind::Verification),
        "rootfs" | "fullname-rootfs" => Goal::Rootfs,
        "rootfstar" => Goal::RootfsTar,
        "config" => Goal::Config,
        "eve" => Goal::Eve,
        "sbom" => Goal::Sbom,
        "pkgs" => Goal::Packages(ctx.tree()?.bulk_packages()?, PackageWork::Build),
        other => match (other.strip_prefix("live-").and_then(format), other.strip_prefix("pkg/")) {
            (Some(format), _) => Goal::LiveDisk(format),
            (None, Some(name)) => Goal::Packages(vec![name.to_owned()], PackageWork::Build),
            (None, None) => return Ok(None),
        },
    }))
}

/// The plan of `goal` for the tree as it is.
pub fn plan(ctx: &Ctx, tree: &Checkout, goal: &Goal) -> Result<Plan> {
    plan_goal(goal, &ctx.knobs, tree)
}

/// The engine that the person or the tree chose, for a whole build of the tree.
pub fn engine(ctx: &Ctx, tree: &Checkout) -> Result<Box<dyn Engine>> {
    if !ctx.capabilities().tree_can_be_built() {
        return Err(usage(format!(
            "the native engine cannot build {}: its packages start from Alpine packages and a registry's images\nhint: leave --engine native away, or give --engine linuxkit",
            ctx.profile.tree.name
        )));
    }
    engine_for_images(ctx, tree)
}

/// The same for images of files that are there already, which either engine makes for any tree.
pub fn engine_for_images(ctx: &Ctx, tree: &Checkout) -> Result<Box<dyn Engine>> {
    match ctx.engine {
        EngineKind::Native => Ok(Box::new(NativeEngine::new(ctx, tree)?)),
        EngineKind::Linuxkit => Ok(Box::new(LinuxkitEngine::new(ctx)?)),
    }
}

/// How the executor runs for this tree.
#[must_use]
pub fn execution(ctx: &Ctx, tree: &Checkout) -> executor::Options {
    executor::Options { layout: ctx.layout(tree), jobs: ctx.globals.jobs, verbose: ctx.globals.verbose || ctx.knobs.verbose }
}

/// Plans and makes `goal`.
pub fn build(ctx: &Ctx, goal: &Goal) -> Result<()> {
    build_with(ctx, &ctx.tree()?, goal, false)
}

fn build_with(ctx: &Ctx, tree: &Checkout, goal: &Goal, force: bool) -> Result<()> {
    let since = Instant::now();
    let mut plan = plan(ctx, tree, goal)?;
    if force {
        plan.force_goals();
    }
    let engine = engine(ctx, tree)?;
    let engine = engine.as_ref();
    let options = execution(ctx, tree);
    let states = executor::survey(&plan, engine, &options)?;
    let needs = needs(&plan, &states, engine)?;
    eprintln!("{} {} {} {}, {} engine", ctx.profile.tree.name, tree.version(), ctx.knobs.hv, ctx.knobs.arch, ctx.engine.as_str());
    if ctx.globals.dry_run {
        return show(ctx, &plan, &states);
    }
    warn_of_old_bases(ctx, tree)?;
    if tree.is_dirty() && ctx.knobs.rootfs_version.is_none() && !options.layout.path().exists() {
        eprintln!("note: tracked files are changed, so this is another version, in a folder of its own; ROOTFS_VERSION=dev keeps to one");
    }
    if ctx.knobs.rstats && ctx.knobs.dev {
        eprintln!("warning: RSTATS=y and DEV=y: where a package has a build.yml for both, the one for RSTATS is taken");
    }
    if states.values().all(|state| matches!(state, State::Fresh(_))) {
        return report(ctx, &plan, &Outcome::default(), since);
    }
    preflight(ctx, &needs)?;
    let _lock = executor::lock_tree(&ctx.dist())?;
    // Another run may have made things while we waited, so the executor looks again.
    let outcome = executor::run(&plan, engine, &options)?;
    report(ctx, &plan, &outcome, since)
}

/// Says when a package has changed and others still start from what it was: a Dockerfile names a base by its tag, so the change does
/// nothing until somebody bumps it there.
fn warn_of_old_bases(ctx: &Ctx, tree: &Checkout) -> Result<()> {
    if ctx.capabilities().packages_are_published {
        return Ok(());
    }
    for ((base, is_next), users) in tree.old_bases()? {
        let users = users.join(", ");
        match is_next {
            true => eprintln!("warning: {users} start from pkg/{base} as it will be when it is committed\nhint: git commit pkg"),
            false => eprintln!(
                "warning: pkg/{base} has changed, and {users} still start from what it was\nhint: cargo xtask bump {base}, and commit both before the next build"
            ),
        }
    }
    Ok(())
}

fn show(ctx: &Ctx, plan: &Plan, states: &BTreeMap<NodeId, State>) -> Result<()> {
    let reason = |node: &plan::Node| states.get(&node.id)?.due().map(str::to_owned);
    match ctx.globals.json {
        true => println!("{}", serde_json::to_string_pretty(&plan.to_json(&ctx.root, &reason))?),
        false => print!("{}", plan.to_text(&ctx.root, &reason)),
    }
    Ok(())
}

/// The programs that the stale nodes will start; an error where the engine does not make one of them.
pub fn needs(plan: &Plan, states: &BTreeMap<NodeId, State>, engine: &dyn Engine) -> Result<Vec<Need>> {
    let mut needs: Vec<Need> = Vec::new();
    for node in plan.nodes.iter().filter(|node| matches!(states.get(&node.id), Some(State::Stale(_)))) {
        for need in making(engine, &node.step)?.needs() {
            if needs.iter().all(|known| known.tool != need.tool) {
                needs.push(need.clone());
            }
        }
    }
    Ok(needs)
}

/// Looks for all programs at once; for none when nothing is stale.
pub fn preflight(ctx: &Ctx, needs: &[Need]) -> Result<()> {
    let any_version_serves = ctx.capabilities().tools_serve_in_any_version();
    if !any_version_serves || needs.iter().any(|need| ctx.tools.find(need.tool).is_err()) {
        super::doctor::ensure(ctx, needs)?;
    }
    if needs.iter().any(|need| need.tool == Tool::Docker) {
        docker::daemon_version(&ctx.tools)?;
    }
    Ok(())
}

/// The last lines: what was made, where, how large, in what time.
fn report(ctx: &Ctx, plan: &Plan, outcome: &Outcome, since: Instant) -> Result<()> {
    let took = display::seconds(since.elapsed());
    let state = if outcome.made.is_empty() { "up to date" } else { "made" };
    // Of several goals some may have been there.
    let state_of = |node: &str| match outcome.made.iter().any(|(id, _)| id.to_string() == node) {
        true => "made",
        false => "up to date",
    };
    let mut artifacts = Vec::new();
    for id in &plan.goals {
        let Some(node) = plan.node(id) else { continue };
        if let Some(package) = node.step.package() {
            artifacts.push((id.to_string(), package.image.to_string(), None));
            continue;
        }
        for path in node.outputs.iter().filter(|_| !matches!(id, NodeId::Current | NodeId::Firmware)) {
            let size = std::fs::metadata(path).map(|metadata| metadata.len()).ok();
            artifacts.push((id.to_string(), short(path, &ctx.root).to_string(), size));
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
    for (at, (node, path, size)) in artifacts.iter().enumerate() {
        let size = size.map_or_else(String::new, |size| format!(", {}", display::size(size)));
        let took = if at + 1 == artifacts.len() { format!(" ({took})") } else { String::new() };
        println!("{}: {path}{size}{took}", state_of(node));
    }
    Ok(())
}
