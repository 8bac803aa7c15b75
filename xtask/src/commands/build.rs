//! The targets that make artifacts: preflight, plan, execute, and the last line.

use super::{Action, Run, Verb, target, verb};
use anyhow::Result;
use checkout::{Checkout, context::Ctx};
use child::{Need, Tool, docker};
use common::{display, display::short, error::usage};
use executor::{Engine, Outcome, State};
use knobs::{ImageFormat, InstallerFormat};
use linuxkit::LinuxkitEngine;
use native::NativeEngine;
use plan::{Action as Step, DiskJob, DiskKind, EngineKind, Goal, NodeId, PackageWork, Plan, StickJob, plan_goal};
use std::{collections::BTreeMap, time::Instant};

/// The targets, in the order of the help.
pub const VERBS: &[Verb] = &[
    target("live", "build a disk image that boots: packages, root file system, configuration, disk", |ctx| {
        Ok(Goal::Live(ctx.knobs.image.image_format))
    }),
    target("live-raw", "the same as a raw disk", live_disk).sets(&[("IMAGE_FORMAT", "raw")]),
    target("live-qcow2", "the same as qcow2, for QEMU", live_disk).sets(&[("IMAGE_FORMAT", "qcow2")]),
    target("live-vdi", "the same as vdi, for VirtualBox", live_disk).sets(&[("IMAGE_FORMAT", "vdi")]),
    target("live-gcp", "the same as an archive for Google's cloud", live_disk).sets(&[("IMAGE_FORMAT", "gcp")]),
    target("live-parallels", "the same as a bundle for Parallels Desktop", live_disk).sets(&[("IMAGE_FORMAT", "parallels")]),
    target("installer-raw", "build a disk that installs EVE", |_| Ok(Goal::Disk(DiskKind::Installer))),
    target("installer-iso", "build an ISO that installs EVE", |_| Ok(Goal::InstallerIso)),
    target("installer-net", "build a tar that installs EVE over the network", |_| Ok(Goal::InstallerNet)),
    target("verification-raw", "build a disk that installs EVE and checks the result", |_| Ok(Goal::Disk(DiskKind::Verification))),
    target("rootfs", "build the root file system", |_| Ok(Goal::Rootfs)),
    target("rootfs-kvm", "the same for KVM", |_| Ok(Goal::Rootfs)).sets(&[("HV", "kvm")]),
    target("rootfs-xen", "the same for Xen", |_| Ok(Goal::Rootfs)).sets(&[("HV", "xen")]),
    target("rootfs-acrn", "the same for ACRN", |_| Ok(Goal::Rootfs)).sets(&[("HV", "acrn")]),
    target("rootfstar", "build the root file system's tar", |_| Ok(Goal::RootfsTar)),
    target("config", "build config.img from the configuration folder", |_| Ok(Goal::Config)),
    verb::<Packages>("pkg", "build packages, and those that they start from").building(),
    target("pkgs", "build all packages", |ctx| Ok(Goal::Packages(ctx.tree()?.bulk_packages()?, ctx.knobs.packages.work))),
    target("eve", "build the image that holds every artifact", |_| Ok(Goal::Eve)),
    target("sbom", "list what is in the root file system", |_| Ok(Goal::Sbom)),
    target("initrd", "take the installer's initrd out of its package", |_| Ok(Goal::Parts(vec!["initrd.img"]))),
    target("installer-img", "make the installer's root file system, or take it out of its package", |_| Ok(Goal::InstallerImg)),
    target("installer", "installer.img, or the installer disk on trees with a composed installer", installer),
    target("installertar", "compose the installer's root file system as a tar, on trees with a composed installer", |_| {
        Ok(Goal::InstallerTar)
    }),
    target("verification", "take the verification's root file system out of its package", |_| Ok(Goal::Parts(vec!["verification.img"]))),
    target("kernel", "take the kernel out of its package", |_| Ok(Goal::Parts(vec!["kernel"]))),
    target("kernel-yml", "make the build.yml of packages that have a template for it", |ctx| {
        Ok(Goal::BuildYmls(ctx.tree()?.templated_packages()?))
    }),
    target("fullname-rootfs", "build the root file system under its versioned name", |_| Ok(Goal::Rootfs)),
];

fn live_disk(ctx: &Ctx) -> Result<Goal> {
    Ok(Goal::LiveDisk(ctx.knobs.image.image_format))
}

/// What `installer` means: an installer of its own, or a part of a package.
fn installer(ctx: &Ctx) -> Result<Goal> {
    Ok(match ctx.knobs.image.installer_format {
        InstallerFormat::Iso => Goal::InstallerIso,
        InstallerFormat::Net => Goal::InstallerNet,
        InstallerFormat::Raw if ctx.profile.templates.installer.is_some() => Goal::Disk(DiskKind::Installer),
        InstallerFormat::Raw => Goal::InstallerImg,
    })
}

/// `pkg`: the packages to build.
#[derive(clap::Args)]
pub struct Packages {
    /// folders below pkg/
    #[arg(value_name = "NAME", num_args = 1.., required = true)]
    name: Vec<String>,
    /// without the packages that the tree always builds before them
    #[arg(long)]
    alone: bool,
    /// build them again although their images exist
    #[arg(long)]
    force: bool,
}

impl Run for Packages {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let names = self.name.iter().map(|name| name.strip_prefix("pkg/").unwrap_or(name).trim_end_matches('/').to_owned()).collect();
        let work = ctx.knobs.packages.work;
        let goal = if self.alone { Goal::PackagesAlone(names, work) } else { Goal::Packages(names, work) };
        build_with(ctx, &ctx.tree()?, &goal, self.force)
    }
}

/// The goal of a target, for `why` and `graph`; none for a word that has no plan.
pub fn goal_of(ctx: &Ctx, target: &str) -> Result<Option<Goal>> {
    if let Some(name) = target.strip_prefix("pkg/") {
        return Ok(Some(Goal::Packages(vec![name.to_owned()], PackageWork::Build)));
    }
    if let Some(format) = target.strip_prefix("live-").and_then(|name| name.parse::<ImageFormat>().ok()) {
        return Ok(Some(Goal::LiveDisk(format)));
    }
    match VERBS.iter().find(|verb| verb.name == target && verb.sets.is_empty()).map(|verb| verb.action) {
        Some(Action::Builds(goal)) => goal(ctx).map(Some),
        _ => Ok(None),
    }
}

/// The plan of `goal` for the tree as it is.
pub fn plan(ctx: &Ctx, tree: &Checkout, goal: &Goal) -> Result<Plan> {
    plan_goal(goal, &ctx.knobs, tree)
}

/// The engine that the person or the tree chose.
pub fn engine(ctx: &Ctx, tree: &Checkout) -> Result<Box<dyn Engine>> {
    match ctx.engine {
        EngineKind::Native if ctx.profile.packages.published => Err(usage(format!(
            "the native engine cannot build {}: its packages start from Alpine packages and a registry's images\nhint: leave --engine native away, or give --engine linuxkit",
            ctx.profile.tree.name
        ))),
        EngineKind::Native => Ok(Box::new(NativeEngine::new(ctx, tree)?)),
        EngineKind::Linuxkit => Ok(Box::new(LinuxkitEngine::new(ctx)?)),
    }
}

/// How the executor runs for this tree.
#[must_use]
pub fn execution(ctx: &Ctx, tree: &Checkout) -> executor::Options {
    executor::Options {
        books: ctx.dist().join(ctx.knobs.image.arch.as_str()).join(tree.version()),
        jobs: ctx.globals.jobs,
        verbose: ctx.globals.verbose || ctx.knobs.host.verbose,
    }
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
    refuse_early(ctx, &plan)?;
    let options = execution(ctx, tree);
    eprintln!(
        "{} {} {} {}, {} engine",
        ctx.profile.tree.name,
        tree.version(),
        ctx.knobs.image.hv,
        ctx.knobs.image.arch,
        ctx.engine.as_str()
    );
    if ctx.globals.dry_run {
        return show(ctx, &plan, engine, &options);
    }
    warn_of_old_bases(ctx, tree)?;
    let folder = ctx.dist().join(ctx.knobs.image.arch.as_str()).join(tree.version());
    if tree.is_dirty() && ctx.knobs.image.rootfs_version.is_none() && !folder.exists() {
        eprintln!("note: tracked files are changed, so this is another version, in a folder of its own; ROOTFS_VERSION=dev keeps to one");
    }
    if ctx.knobs.image.rstats && ctx.knobs.image.dev {
        eprintln!("warning: RSTATS=y and DEV=y: where a package has a build.yml for both, the one for RSTATS is taken");
    }
    let states = executor::survey(&plan, engine, &options)?;
    if states.values().all(|state| matches!(state, State::Fresh(_))) {
        return report(ctx, &plan, &Outcome::default(), since);
    }
    preflight(ctx, &plan, &states)?;
    let _lock = executor::lock_tree(&ctx.dist())?;
    // Another run may have made things while we waited, so the executor looks again.
    let outcome = executor::run(&plan, engine, &options)?;
    report(ctx, &plan, &outcome, since)
}

/// Says when a package has changed and others still start from what it was: a Dockerfile names a base by its tag, so the change does
/// nothing until somebody bumps it there.
fn warn_of_old_bases(ctx: &Ctx, tree: &Checkout) -> Result<()> {
    if ctx.profile.packages.published {
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

fn show(ctx: &Ctx, plan: &Plan, engine: &dyn Engine, options: &executor::Options) -> Result<()> {
    let states = executor::survey(plan, engine, options)?;
    let reason = |node: &plan::Node| states.get(&node.id)?.due().map(str::to_owned);
    match ctx.globals.json {
        true => println!("{}", serde_json::to_string_pretty(&plan.to_json(&ctx.root, &reason))?),
        false => print!("{}", plan.to_text(&ctx.root, &reason)),
    }
    Ok(())
}

/// What the native engine does not do is said before anything is made for it.
fn refuse_early(ctx: &Ctx, plan: &Plan) -> Result<()> {
    if ctx.engine == EngineKind::Native && plan.nodes.iter().any(|node| matches!(node.action, Step::MakeSbom { .. })) {
        return Err(usage("sbom needs the linuxkit engine, for syft runs in a container\nhint: cargo xtask --engine linuxkit sbom"));
    }
    Ok(())
}

/// All tools that the stale nodes will start, looked for at once; nothing is looked for when nothing is stale.
pub fn preflight(ctx: &Ctx, plan: &Plan, states: &BTreeMap<NodeId, State>) -> Result<()> {
    let mut needs = Vec::new();
    let mut containers = false;
    let mut want = |tool: Tool, purpose: String| {
        if needs.iter().all(|need: &Need| need.tool != tool) {
            needs.push(Need::new(tool, purpose));
        }
    };
    for node in plan.nodes.iter().filter(|node| matches!(states.get(&node.id), Some(State::Stale(_)))) {
        match &node.action {
            Step::ConvertDisk { format, .. } if *format != ImageFormat::Gcp => {
                want(Tool::QemuImg, format!("to convert the disk to {format}"));
            }
            Step::BuildPackage(_) | Step::ComposeRootfs { .. } | Step::ExportParts { .. } | Step::BuildEve(_)
                if ctx.engine == EngineKind::Linuxkit =>
            {
                want(Tool::Linuxkit, "to build packages and root file systems".to_owned());
                containers = true;
            }
            Step::PackRootfs { tool: Some(_), .. }
            | Step::MakeConfig { tool: Some(_), .. }
            | Step::MakeDisk(DiskJob { tool: Some(_), .. })
            | Step::MakeIso { tool: Some(_), .. }
            | Step::MakeStick(StickJob { tool: Some(_), .. })
            | Step::MakeSbom { .. }
                if ctx.engine == EngineKind::Linuxkit =>
            {
                containers = true;
            }
            _ => {}
        }
    }
    if containers {
        needs.push(Need::new(Tool::Docker, "to run the steps of the linuxkit engine"));
    }
    // The original's tools do their work in any version, so the linuxkit engine does not ask for it.
    if ctx.engine == EngineKind::Native || needs.iter().any(|need| ctx.tools.find(need.tool).is_err()) {
        super::doctor::ensure(ctx, &needs)?;
    }
    if containers {
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
        match &node.action {
            Step::BuildPackage(job) => artifacts.push((id.to_string(), job.image.to_string(), None)),
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
    for (at, (node, path, size)) in artifacts.iter().enumerate() {
        let size = size.map_or_else(String::new, |size| format!(", {}", display::size(size)));
        let took = if at + 1 == artifacts.len() { format!(" ({took})") } else { String::new() };
        println!("{}: {path}{size}{took}", state_of(node));
    }
    Ok(())
}
