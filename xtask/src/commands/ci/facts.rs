//! Reads what a plan needs: the crates of the workspace, the packages with the files and the packages that they are made of, and the images
//! of all architectures and hypervisors. And the files that differ from a commit.

use anyhow::{Context as _, Result};
use checkout::{Ahead, Checkout, context::Ctx};
use child::cargo::Cargo;
use common::Arch;
use plan::{Composed, Facts as _};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// The facts of a tree. Paths are relative to its root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The crates of the workspace; none in a tree without one.
    pub crates: BTreeMap<String, Crate>,
    /// The crates that decide the bytes of images.
    pub image_crates: BTreeSet<String>,
    /// The packages.
    pub packages: BTreeMap<String, Package>,
    /// The folder of all packages.
    pub packages_folder: String,
    /// What `pkgs` builds on this machine, by architecture.
    pub bulk: BTreeMap<String, BTreeSet<String>>,
    /// The images.
    pub images: Vec<Image>,
    /// Folders and files that all images are made from: templates, configuration, the profile.
    pub image_folders: Vec<String>,
    /// This machine's architecture.
    pub host: String,
    /// Whether pages of reference are generated here.
    pub has_reference: bool,
    /// Whether pkg/pillar has tests.
    pub has_pillar: bool,
}

/// A crate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crate {
    /// Its folder.
    pub folder: String,
    /// The crates of the workspace that it or its tests need.
    pub needs: BTreeSet<String>,
}

/// A package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// Its own folder and those of its extra sources.
    pub folders: Vec<String>,
    /// The packages that its files name.
    pub needs: BTreeSet<String>,
    /// The crates of the programs that it contains.
    pub programs: BTreeSet<String>,
}

/// An image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Its architecture.
    pub arch: String,
    /// Its hypervisor.
    pub hv: String,
    /// The packages in it, and those that other parts of a disk come from.
    pub packages: BTreeSet<String>,
}

/// The crate whose code, with all that it needs, makes the bytes of images.
const MAKES_IMAGES: &str = "native";

/// Reads the facts.
pub fn read(ctx: &Ctx) -> Result<Facts> {
    let tree = ctx.tree()?;
    let crates = if ctx.root.join("Cargo.toml").is_file() { crates(ctx)? } else { BTreeMap::new() };
    let mut image_crates = BTreeSet::new();
    let mut rest = vec![MAKES_IMAGES];
    while let Some(name) = rest.pop() {
        let Some(found) = crates.get(name) else { continue };
        if image_crates.insert(name.to_owned()) {
            rest.extend(found.needs.iter().map(String::as_str));
        }
    }
    image_crates.remove("skips");
    let relative = |path: &Path| path.strip_prefix(&ctx.root).unwrap_or(path).display().to_string();
    let (mut bulk, mut images) = (BTreeMap::new(), Vec::new());
    for arch in Arch::WORDS {
        let arch: Arch = arch.parse().map_err(anyhow::Error::msg)?;
        for hv in hypervisors(ctx, arch) {
            let tree = with_knobs(ctx, arch, &hv).tree()?;
            let (_, _, packages) = tree.yml(Composed::Rootfs)?;
            bulk.entry(arch.to_string()).or_insert_with(BTreeSet::new).extend(tree.bulk_packages()?);
            images.push(Image { arch: arch.to_string(), hv, packages: packages.into_iter().collect() });
        }
    }
    let templates = &ctx.profile.templates;
    let folders = [Some(&templates.rootfs), templates.installer.as_ref()].into_iter().flatten().filter_map(|path| path.parent());
    let mut image_folders: BTreeSet<String> = folders.map(relative).collect();
    image_folders.extend([relative(&ctx.root.join(&ctx.knobs.image.conf_dir)), plan::PROFILE.to_owned()]);
    Ok(Facts {
        image_crates,
        packages: packages(ctx, &tree)?,
        packages_folder: relative(&ctx.profile.packages.folder),
        bulk,
        images,
        image_folders: image_folders.into_iter().collect(),
        host: ctx.knobs.host_arch.to_string(),
        has_reference: crates.contains_key("xtask"),
        has_pillar: ctx.capabilities().has_pillar,
        crates,
    })
}

/// The hypervisors that the tree's CI builds for an architecture; all that the tree has for it, unless the profile says which.
fn hypervisors(ctx: &Ctx, arch: Arch) -> Vec<String> {
    let word = arch.as_str();
    if let Some(images) = &ctx.profile.ci.images {
        return images.get(word).cloned().unwrap_or_default();
    }
    let has = |hv: &&String| ctx.profile.hypervisor_arches(hv).is_none_or(|arches| arches.iter().any(|arch| arch == word));
    ctx.profile.tree.hypervisors.iter().filter(has).cloned().collect()
}

/// The context for another image.
fn with_knobs(ctx: &Ctx, arch: Arch, hv: &str) -> Ctx {
    let mut knobs = ctx.knobs.clone();
    knobs.image.arch = arch;
    hv.clone_into(&mut knobs.image.hv);
    Ctx {
        root: ctx.root.clone(),
        engine: ctx.engine,
        globals: ctx.globals.clone(),
        knobs,
        profile: ctx.profile.clone(),
        tools: ctx.tools.clone(),
        environment: ctx.environment.clone(),
        ahead: Ahead::default(),
    }
}

fn packages(ctx: &Ctx, tree: &Checkout) -> Result<BTreeMap<String, Package>> {
    let members = tree.bump_tree()?;
    let (named, table) = (pkgbuild::bump::ties(&members)?, &ctx.profile.packages);
    let of = |tied: pkgbuild::bump::Ties| {
        let tool = table.tool_images.contains(&tied.name).then(|| "eve-tools".to_owned());
        let programs = tool.into_iter().chain(table.programs.get(&tied.name).cloned()).collect();
        (tied.name, Package { folders: tied.folders, needs: tied.needs, programs })
    };
    Ok(named.into_iter().map(of).collect())
}

/// The crates of the workspace, as cargo lists them.
fn crates(ctx: &Ctx) -> Result<BTreeMap<String, Crate>> {
    let json = Cargo::new(&ctx.tools, &ctx.root)?.metadata().context("cannot list the crates of the workspace")?;
    parse_crates(&json, &ctx.root)
}

fn parse_crates(json: &str, root: &Path) -> Result<BTreeMap<String, Crate>> {
    #[derive(serde::Deserialize)]
    struct Metadata {
        packages: Vec<Listed>,
    }
    #[derive(serde::Deserialize)]
    struct Listed {
        name: String,
        manifest_path: std::path::PathBuf,
        dependencies: Vec<Dependency>,
    }
    #[derive(serde::Deserialize)]
    struct Dependency {
        name: String,
        path: Option<std::path::PathBuf>,
    }
    let listed = serde_json::from_str::<Metadata>(json).context("cannot read the output of `cargo metadata`")?.packages;
    let of = |one: Listed| {
        let folder = one.manifest_path.parent().unwrap_or(root);
        let folder = folder.strip_prefix(root).unwrap_or(folder).display().to_string();
        let needs = one.dependencies.into_iter().filter(|needed| needed.path.is_some()).map(|needed| needed.name).collect();
        (one.name, Crate { folder, needs })
    };
    Ok(listed.into_iter().map(of).collect())
}

/// The files that differ from the commit where this branch left `since`: committed, uncommitted and new ones.
pub fn changed_files(ctx: &Ctx, since: &str) -> Result<Vec<String>> {
    let git = ctx.git(&ctx.root)?;
    let base = git.look_text(["merge-base", "--end-of-options", since, "HEAD"]);
    let base = base.with_context(|| {
        format!("`{since}` is no commit that this branch comes from\nhint: --since main, and a checkout with its history")
    })?;
    let changed = git.look(["diff", "--name-only", "-z", "--no-renames", "--relative", &base, "--"])?;
    let new = git.look(["ls-files", "-z", "--others", "--exclude-standard"])?;
    let names = changed.split(|byte| *byte == 0).chain(new.split(|byte| *byte == 0)).filter(|name| !name.is_empty());
    let names: BTreeSet<String> = names.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    Ok(names.into_iter().collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn cargos_list_is_read() {
        let json = r#"{"packages":[{"name":"a","manifest_path":"/t/tools/a/Cargo.toml","dependencies":[{"name":"serde","path":null},{"name":"b","path":"/t/b","kind":"dev"}]},{"name":"b","manifest_path":"/t/b/Cargo.toml","dependencies":[]}]}"#;
        let crates = parse_crates(json, Path::new("/t")).unwrap();
        assert_eq!(crates["a"], Crate { folder: "tools/a".to_owned(), needs: ["b".to_owned()].into() });
        assert_eq!(crates["b"].folder, "b");
        let error = format!("{:#}", parse_crates("{}", Path::new("/t")).unwrap_err());
        assert!(error.starts_with("cannot read the output of `cargo metadata`: missing field `packages`"), "{error}");
    }
}
