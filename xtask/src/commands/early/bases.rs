//! Finds, before the first step, the images that Dockerfiles start from and that there will not be: neither in the image cache, nor made by
//! this build, nor a stage of the Dockerfile.

use super::{package_names, package_of};
use anyhow::Result;
use checkout::{Checkout, context::Ctx};
use common::{
    Arch,
    display::short,
    error::{did_you_mean, usage},
};
use executor::State;
use oci::Cache;
use pkgbuild::{
    build_yml::BuildYml,
    debian::NATIVE_BUILD_ARGS,
    dockerfile::{Dockerfile, ImageUse},
};
use plan::{EngineKind, NodeId, Plan, steps::BuildPackage};
use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

/// Fails if a package that is due starts from an image that there will not be; says it of all of them. With `-n` it is a warning.
pub fn check(ctx: &Ctx, tree: &Checkout, plan: &Plan, states: &HashMap<NodeId, State>) -> Result<()> {
    if ctx.engine != EngineKind::Native {
        return Ok(());
    }
    let packages = || plan.nodes.iter().filter_map(|node| Some((&node.id, node.step.package()?)));
    let is_due = |id: &NodeId| matches!(states.get(id), Some(State::Stale(_)));
    check_ymls(ctx, tree, packages().filter(|(id, _)| is_due(id)).map(|(_, package)| package))?;
    let made: BTreeSet<&str> = packages().map(|(_, package)| package.image.reference.as_str()).collect();
    let cache = Cache::open(&ctx.environment.linuxkit_cache())?;
    let (mut problems, mut hints) = (Vec::new(), BTreeSet::new());
    for (_, package) in packages().filter(|(id, _)| is_due(id)) {
        // The build reports errors of a Dockerfile.
        let (arch, host) = (package.image.arch, ctx.knobs.host_arch);
        let arch_of = |image: &ImageUse| if image.on_build_machine { host } else { arch };
        let is_missing = |image: &ImageUse| -> Result<bool> {
            let name = image.reference.as_str();
            Ok(!made.contains(name) && !name.contains('$') && cache.find(name, arch_of(image).as_str())?.is_none())
        };
        // Remembered, but without the arguments of the build.
        let Ok(remembered) = tree.known().images(&package.dir.join("Dockerfile"), None) else { continue };
        let remembered = remembered.of(arch.as_str(), host.as_str()).unwrap_or_default();
        if !remembered.iter().map(is_missing).collect::<Result<Vec<_>>>()?.contains(&true) {
            continue;
        }
        let Ok(images) = images_of(package, host) else { continue };
        for image in images {
            if is_missing(&image)? {
                let (problem, hint) = describe(ctx, tree, package, &image.reference, arch_of(&image))?;
                problems.push(problem);
                hints.insert(hint);
            }
        }
    }
    let hints: Vec<String> = hints.iter().map(|hint| format!("hint: {hint}")).collect();
    let text = match problems.as_slice() {
        [] => return Ok(()),
        [one] => format!("{one}\n{}", hints.join("\n")),
        more => format!("{} images are missing:\n  {}\n{}", more.len(), more.join("\n  "), hints.join("\n")),
    };
    if ctx.globals.dry_run {
        eprintln!("warning: {text}");
        return Ok(());
    }
    Err(usage(text))
}

/// Fails if the build.yml of one of the `packages` is wrong, beyond what a plan needs of it; says it of all of them. With `-n` it is a warning.
fn check_ymls<'p>(ctx: &Ctx, tree: &Checkout, packages: impl Iterator<Item = &'p BuildPackage>) -> Result<()> {
    let wrong = tree.known().wrong_ymls();
    if wrong.is_empty() {
        return Ok(());
    }
    let paths: BTreeSet<_> = packages.map(|package| package.dir.join(&package.build_yml)).collect();
    let errors = paths.iter().filter(|path| wrong.contains(path.as_os_str())).filter_map(|path| {
        let text = std::fs::read_to_string(path).ok()?;
        BuildYml::parse(&text, &short(path, &ctx.root).to_string()).err()
    });
    let errors: Vec<String> = errors.map(|error| error.to_string()).collect();
    if errors.is_empty() {
        return Ok(());
    }
    let text = errors.join("\n");
    if ctx.globals.dry_run {
        eprintln!("warning: {text}");
        return Ok(());
    }
    Err(usage(text))
}

/// The images that the native engine starts the package from, and copies from.
fn images_of(package: &BuildPackage, host: Arch) -> Result<Vec<ImageUse>> {
    let path = package.dir.join("Dockerfile");
    let file = Dockerfile::parse(&std::fs::read_to_string(&path)?, &path.display().to_string())?;
    let given = NATIVE_BUILD_ARGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let args = given.chain(BuildYml::read(&package.dir.join(&package.build_yml))?.build_args()?).collect();
    Ok(file.images_for(package.image.arch.as_str(), host.as_str(), &args))
}

/// What is wrong with the image `name` for `arch` in the package's Dockerfile, and what to do.
fn describe(ctx: &Ctx, tree: &Checkout, package: &BuildPackage, name: &str, arch: Arch) -> Result<(String, String)> {
    let path = package.dir.join("Dockerfile");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let line = text.lines().position(|line| !line.trim_start().starts_with('#') && line.split([' ', '=']).any(|word| word == name));
    let shown = short(&path, &ctx.root);
    let place = line.map_or_else(|| shown.to_string(), |line| format!("{shown}:{}", line + 1));
    let of_tree = package_of(name);
    if let Some(base) = of_tree.filter(|base| ctx.profile.packages.folder.join(base).is_dir()) {
        let now = tree.package_reference(base)?;
        return Ok((
            format!("{place}: {name}: the image cache has no such image ({arch}); pkg/{base} is now {now}"),
            format!("cargo xtask bump {base} writes the present tag, which exists once the package's changes are committed"),
        ));
    }
    if let Some(base) = of_tree
        && let Some(near) = did_you_mean(base, package_names(ctx).iter().map(String::as_str))
    {
        let now = tree.package_reference(near)?;
        return Ok((format!("{place}: {name}: there is no package {base}"), format!("did you mean {now}?")));
    }
    if did_you_mean(name, ["scratch"]).is_some() {
        return Ok((format!("{place}: {name} ({arch}) is no image of this tree"), "did you mean scratch?".to_owned()));
    }
    let stages = stages(&text, &path);
    let near = did_you_mean(name, stages.iter().map(String::as_str));
    let is_stage = near.is_some() || Arch::ALL.iter().any(|arch| name.contains(arch.as_str()));
    if !name.contains([':', '/', '@']) && !stages.is_empty() && is_stage {
        let hint = match near {
            Some(near) if !name.contains(arch.as_str()) => format!("did you mean {near}?"),
            _ => "docs/BUILD.md, Cross-compilation: one stage for each pair of target and build machine".to_owned(),
        };
        return Ok((format!("{place}: {name} is no stage of this Dockerfile, which has {}", stages.join(", ")), hint));
    }
    let own = ctx.profile.packages.archive.as_deref().and_then(|archive| tree.package_reference(archive).ok());
    let own = own.map_or_else(String::new, |own| format!("FROM {own} and Debian's packages in PKGS (docs/CONTRIBUTING.md); or "));
    Ok((
        format!("{place}: {name} ({arch}) is no image of this tree and not in the image cache; a build takes no images from registries"),
        format!("{own}`linuxkit cache pull {name}` puts it into the image cache"),
    ))
}

/// The names of a Dockerfile's stages.
fn stages(text: &str, path: &Path) -> Vec<String> {
    let file = Dockerfile::parse(text, &path.display().to_string());
    file.map_or_else(|_| Vec::new(), |file| file.stages.into_iter().filter_map(|stage| stage.name).collect())
}
