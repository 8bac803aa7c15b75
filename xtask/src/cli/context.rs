//! Makes the context of a command from options and knobs: finds the tree, chooses the engine, and says where the tools are.

use super::globals::{OnFailure, Options};
use anyhow::{Context as _, Result};
use checkout::{
    Ahead,
    context::{Ctx, Globals},
};
use child::{Tool, Tools, environment::Environment};
use common::{
    Arch,
    error::{did_you_mean, usage},
};
use knobs::{Knobs, Source};
use plan::{EngineKind, Profile};
use std::path::{Path, PathBuf};

/// Makes the context; fails if the tree does not know HV or PLATFORM, does not have HV for ZARCH, or if docker runs the RUN lines and a shell
/// should open where one fails.
pub fn build(
    options: Options,
    on_failure: OnFailure,
    mut knobs: Knobs,
    profile: Profile,
    root: PathBuf,
    environment: &Environment,
    ahead: Ahead,
) -> Result<Ctx> {
    check_hypervisor(&knobs.image.hv, knobs.hypervisor_source(), &profile)?;
    check_arch(&knobs.image.hv, knobs.image.arch, &profile)?;
    check_platform(&knobs.image.platform, &profile, &root)?;
    let engine = engine(&options, &profile);
    if on_failure.shell_on_failure && engine != EngineKind::Native {
        return Err(usage(
            "--shell-on-failure needs the native engine: docker runs the RUN lines here, and removes their files when one fails\nhint: omit \
             --shell-on-failure, or give --engine native for a tree that it builds",
        ));
    }
    let keys = knobs.host.keys.map_or_else(|| environment.config().join("keys"), |folder| root.join(folder));
    knobs.host.keys = Some(keys);
    let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let globals = Globals {
        dry_run: options.dry_run,
        offline: options.offline,
        json: options.json,
        jobs: options.jobs.filter(|jobs| *jobs > 0).unwrap_or_else(processors),
        verbose: options.verbose,
        shell_on_failure: on_failure.shell_on_failure,
        place: place(&options),
    };
    let tools = tools(engine, &knobs, &root, environment);
    Ok(Ctx { root, engine, globals, knobs, profile, tools, environment: environment.clone(), ahead })
}

/// See [`Globals::place`].
fn place(options: &Options) -> String {
    let root = options.root.as_ref().map(|root| format!(" --root {}", child::cmd::quote(root.as_os_str())));
    let engine = options.engine.as_ref().map(|engine| format!(" --engine {engine}"));
    root.into_iter().chain(engine).collect()
}

/// The engine: `--engine`, else the profile's.
pub(super) fn engine(options: &Options, profile: &Profile) -> EngineKind {
    match options.engine.as_ref().unwrap_or(&profile.tree.engine).as_str() {
        "linuxkit" => EngineKind::Linuxkit,
        _ => EngineKind::Native,
    }
}

/// Where the tools are. Prefers the linuxkit that `build-tools` installed. With the linuxkit engine, tools get all environment variables
/// except knobs; we pass each knob only to the tools that need it.
fn tools(engine: EngineKind, knobs: &Knobs, root: &Path, environment: &Environment) -> Tools {
    let is_knob = |name: &str| knobs::find(name).is_some_and(|knob| !knob.name.ends_with("_PROXY"));
    let variables = environment.all().map(|(name, value)| (name.into(), value.into()));
    let tools = Tools::new(variables, engine == EngineKind::Linuxkit, &is_knob);
    let linuxkit = root.join("build-tools/bin/linuxkit");
    let tools = if linuxkit.is_file() { tools.prefer(Tool::Linuxkit, linuxkit) } else { tools };
    match knobs.host.docker.as_str() {
        "docker" => tools,
        other => tools.prefer(Tool::Docker, other),
    }
}

/// Fails unless HV is one of the tree's hypervisors.
pub(super) fn check_hypervisor(hv: &str, source: Source, profile: &Profile) -> Result<()> {
    let known = &profile.tree.hypervisors;
    if known.iter().any(|known| known == hv) {
        return Ok(());
    }
    let near = did_you_mean(hv, known.iter().map(String::as_str));
    let example = near.or(known.first().map(String::as_str)).unwrap_or("kvm");
    let near = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
    let name = &profile.tree.name;
    Err(usage(format!("HV={hv} ({source}): {name} takes {}{near}\nhint: --hv {example} or HV={example}", known.join(", "))))
}

/// Fails if the tree does not have the hypervisor for the architecture.
fn check_arch(hv: &str, arch: Arch, profile: &Profile) -> Result<()> {
    match profile.hypervisor_arches(hv) {
        Some(arches) if arches.iter().all(|known| known != arch.as_str()) => Err(usage(format!(
            "HV={hv} ZARCH={arch}: {} has {hv} for {} only\nhint: HV=kvm, or --zarch {}",
            profile.tree.name,
            arches.join(", "),
            arches.first().map_or("amd64", String::as_str)
        ))),
        _ => Ok(()),
    }
}

/// What trees have for whom PLATFORM=evaluation makes three root file systems.
const EVALUATION: &str = "images/modifiers/platform/evaluation/rootfs-generic.yq";

/// Fails if PLATFORM is not generic in a tree without platforms and boards, and for an evaluation image of several root file systems.
fn check_platform(platform: &str, profile: &Profile, root: &Path) -> Result<()> {
    if platform == "evaluation" && root.join(EVALUATION).is_file() {
        return Err(usage(
            "PLATFORM=evaluation makes three root file systems in this tree, which is not supported\nhint: its own make; docs/DEVIATIONS.md, row 143",
        ));
    }
    let has_some = profile.tree.platforms || profile.parts.contains_key("bsp-imx");
    if has_some || platform == "generic" {
        return Ok(());
    }
    Err(usage(format!(
        "PLATFORM={platform}: {} has only the platform generic\nhint: lf-edge/eve has more: --root DIR names a checkout",
        profile.tree.name
    )))
}

/// The tree's root: the named folder, else the current folder or the closest folder above it with a profile, else the workspace.
pub fn find_root(named: Option<&Path>, environment: &Environment) -> Result<PathBuf> {
    if let Some(named) = named {
        return named.canonicalize().map_err(|error| usage(format!("--root {}: {error}", named.display())));
    }
    let here = std::env::current_dir().context("there is no current folder")?;
    let above = here.ancestors().find(|folder| checkout::is_tree(folder)).map(Path::to_owned);
    above.or_else(|| environment.workspace()).ok_or_else(|| {
        usage(format!(
            "no tree here: neither `{}` nor a folder above it has an {}\nhint: --root DIR names one",
            here.display(),
            plan::PROFILE
        ))
    })
}
