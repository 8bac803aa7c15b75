//! Finds and reads the profile of a tree: its own `xtask.toml`, or the shipped profile whose files the tree has.

use super::image_names;
use anyhow::{Context as _, Result, bail};
use common::error::usage;
use plan::{
    PROFILE, Profile,
    layers::{self, TreeFiles},
    pins,
};
use std::{
    cell::RefCell,
    collections::HashMap,
    path::{Path, PathBuf},
    rc::Rc,
};

/// The existing files below `root` of the names in `list`, after filling in `{hv}` and `{platform}`.
#[must_use]
pub fn programs(list: &[String], root: &Path, hv: &str, platform: &str) -> Vec<PathBuf> {
    let paths = list.iter().map(|name| root.join(name.replace("{hv}", hv).replace("{platform}", platform)));
    paths.filter(|path| path.is_file()).collect()
}

/// Reads the profile of the tree at `root`: its own, otherwise the first shipped one whose files the tree has. The tree's
/// `build-tools/tools.toml` replaces the tools of a shipped profile.
pub fn read_profile(root: &Path) -> Result<Profile> {
    let mut profile = read_settings(root)?;
    let path = root.join(pins::FILE);
    if path.is_file() {
        if root.join(PROFILE).is_file() && !profile.tools.is_empty() {
            bail!("`{}` and [tools] in {PROFILE} both pin tools\nhint: keep {}", path.display(), pins::FILE);
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        profile.tools = pins::parse(&text).with_context(|| format!("`{}` is not valid", path.display()))?;
    }
    Ok(profile)
}

fn read_settings(root: &Path) -> Result<Profile> {
    let (path, files) = (root.join(PROFILE), Files::of(root));
    if !path.is_file() {
        let profile: Result<Profile> = layers::find(&files).ok_or_else(|| {
            usage(format!(
                "`{}` is no tree that can be built: it has no {PROFILE}, and it is not a known checkout of lf-edge/eve\n\
                 hint: --root DIR names another tree",
                root.display()
            ))
        })?;
        return Ok(of_this_tree(profile?, root).below(root));
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let profile = Profile::parse(&text, &files).with_context(|| format!("`{}` is not valid", path.display()))?;
    if profile.templates.script.is_none() {
        return Ok(profile.below(root));
    }
    check_names(&text, &root.join(&profile.packages.folder)).with_context(|| format!("`{}` is not valid", path.display()))?;
    Ok(of_this_tree(profile, root).below(root))
}

/// Fails if the text of a tree's own profile names a package that is not in `folder`. Those that it takes from a shipped profile may be
/// missing, because that is for trees of several ages.
fn check_names(text: &str, folder: &Path) -> Result<()> {
    let table: toml::Table = toml::from_str(text)?;
    let mut lists = Vec::new();
    for (key, value) in table.get("packages").and_then(toml::Value::as_table).into_iter().flatten() {
        match (key.as_str(), value) {
            ("docker_load" | "host_arch_too" | "first" | "forced", value) => lists.push((format!("packages.{key}"), value)),
            ("only" | "after", toml::Value::Table(rows)) => {
                lists.extend(rows.iter().map(|(row, value)| (format!("packages.{key}.{row}"), value)));
            }
            _ => {}
        }
    }
    let parts = table.get("parts").and_then(toml::Value::as_table).into_iter().flatten();
    lists.extend(parts.map(|(part, value)| (format!("parts.{part}"), value)));
    for (key, value) in lists {
        let names = value.as_array().map_or_else(|| vec![value], |names| names.iter().collect());
        for name in names.into_iter().filter_map(toml::Value::as_str) {
            if !folder.join(name).is_dir() {
                bail!("{key}: there is no package `{name}` in `{}`", folder.display());
            }
        }
    }
    Ok(())
}

/// Whether the folder is a tree: it has its own profile, or a shipped one fits.
#[must_use]
pub fn is_tree(root: &Path) -> bool {
    root.join(PROFILE).is_file() || layers::is_known(&Files::of(root))
}

/// The files of a tree. A profile asks for some words of a makefile, so texts are kept.
struct Files<'a> {
    root: &'a Path,
    texts: RefCell<HashMap<String, Option<Rc<str>>>>,
}

impl<'a> Files<'a> {
    fn of(root: &'a Path) -> Self {
        Self { root, texts: RefCell::default() }
    }
}

impl TreeFiles for Files<'_> {
    fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    fn text(&self, path: &str) -> Option<Rc<str>> {
        if let Some(known) = self.texts.borrow().get(path) {
            return known.clone();
        }
        let text: Option<Rc<str>> = std::fs::read_to_string(self.root.join(path)).ok().map(Into::into);
        self.texts.borrow_mut().insert(path.to_owned(), text.clone());
        text
    }
}

/// The profile with the names of the tree's own script, and without packages that the tree has not yet, or no longer.
fn of_this_tree(mut profile: Profile, root: &Path) -> Profile {
    let folder = root.join(&profile.packages.folder);
    let is_here = |name: &str| folder.join(name).is_dir();
    let script = profile.templates.script.as_ref().and_then(|script| std::fs::read_to_string(root.join(script)).ok());
    if let Some(script) = script {
        let names = image_names::read(&script, &|package, yml| folder.join(package).join(yml).is_file());
        profile.templates.table = names.table;
        profile.templates.tags.extend(names.packages);
    }
    let packages = &mut profile.packages;
    [&mut packages.docker_load, &mut packages.host_arch_too, &mut packages.first, &mut packages.forced]
        .into_iter()
        .chain(packages.only.values_mut())
        .chain(packages.after.values_mut())
        .for_each(|names| names.retain(|name| is_here(name)));
    packages.archives.values_mut().for_each(|archives| archives.retain(|_, package| is_here(package)));
    profile.parts.retain(|_, package| is_here(package));
    profile.verification = profile.verification.take().filter(|disk| disk.files.as_ref().is_none_or(|files| root.join(files).is_dir()));
    profile
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkout_is_known_by_its_files() {
        let folder = tempfile::tempdir().expect("folder");
        let error = read_profile(folder.path()).expect_err("no tree").to_string();
        assert!(error.contains("is no tree that can be built"), "{error}");
        let write = |file: &str, text: &str| {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
            std::fs::write(path, text).expect("file");
        };
        let steps = [
            ("pkg/kernel/build.yml", "eve-2022"),
            ("pkg/new-kernel/build.yml.in", "eve-2023"),
            ("kernel-version.mk", "eve-2024"),
            ("images/installer.yml.in", "eve"),
        ];
        for file in ["images/rootfs.yml.in", "pkg/pillar/build.yml", "images/modifiers/hv/k.yq"] {
            write(file, "");
        }
        write("tools/parse-pkgs.sh", "GRUB_TAG=${GRUB_TAG}\nGRUB_TAG=$(linuxkit_tag pkg/grub2)\n");
        write("Makefile", "GOVER ?= 9.8\n-smp 4\nefi efi_b conf imga\n");
        for (file, name) in steps {
            write(file, "");
            assert_eq!(read_profile(folder.path()).expect(file).tree.name, name);
        }
        let profile = read_profile(folder.path()).expect("found");
        assert_eq!(profile.templates.table, ["GRUB"]);
        assert_eq!(profile.templates.tags["GRUB_TAG"], "grub2");
        assert_eq!(profile.machine.processors, Some(4));
        assert_eq!(profile.knobs["GOVER"].to_text("kvm").as_deref(), Some("9.8"));
        assert!(profile.packages.docker_load.is_empty(), "the tree has none of these packages");
        // A fork says what differs; what it names itself must be there.
        for (own, wrong) in [
            ("", ""),
            ("[packages.after]\npillar = [\"kernel\"]\n", ""),
            ("[packages.after]\npillar = [\"kernle\"]\n", "packages.after.pillar: there is no package `kernle`"),
            ("[packages]\nfirst = [\"alpne\"]\n", "packages.first: there is no package `alpne`"),
            ("[parts]\nboot = \"u-bot\"\n", "parts.boot: there is no package `u-bot`"),
        ] {
            write("xtask.toml", &format!("extends = \"eve\"\n{own}[tree]\nname = \"fork\"\n"));
            let said = read_profile(folder.path()).map_or_else(|error| format!("{error:#}"), |_| String::new());
            assert!(said.contains(wrong) && said.is_empty() == wrong.is_empty(), "{own}: {said}");
        }
    }
}
