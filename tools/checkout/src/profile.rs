//! Finds and reads the profile of a tree: its own `xtask.toml`, or the shipped profile whose files the tree has.

use anyhow::{Context as _, Result, bail};
use common::error::usage;
use plan::{Detect, PROFILE, Profile, pins};
use std::path::{Path, PathBuf};

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
    let path = root.join(PROFILE);
    if !path.is_file() {
        let shipped = Profile::shipped().find(|profile| fits(&profile.detect, root));
        let profile = shipped.ok_or_else(|| {
            usage(format!(
                "`{}` is no tree that can be built: it has no {PROFILE}, and it is not a known checkout of lf-edge/eve\n\
                 hint: --root DIR names another tree",
                root.display()
            ))
        })?;
        return Ok(profile.below(root));
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Profile::parse(&text).map(|profile| profile.below(root)).with_context(|| format!("`{}` is not valid", path.display()))
}

/// Whether the folder is a tree: it has its own profile, or a shipped one fits.
#[must_use]
pub fn is_tree(root: &Path) -> bool {
    root.join(PROFILE).is_file() || Profile::shipped().any(|profile| fits(&profile.detect, root))
}

/// Whether the tree has all of `files` and none of `absent`.
fn fits(detect: &Detect, root: &Path) -> bool {
    !detect.files.is_empty()
        && detect.files.iter().all(|path| root.join(path).exists())
        && !detect.absent.iter().any(|path| root.join(path).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkout_is_known_by_its_files() {
        let names: Vec<String> = Profile::shipped().map(|profile| profile.tree.name).collect();
        assert_eq!(names, ["eve-2023", "eve"]);
        let folder = tempfile::tempdir().expect("folder");
        let error = read_profile(folder.path()).expect_err("no tree").to_string();
        assert!(error.contains("is no tree that can be built"), "{error}");
        for file in Profile::shipped().next().expect("one").detect.files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
            std::fs::write(path, "").expect("file");
        }
        assert_eq!(read_profile(folder.path()).expect("found").tree.name, "eve-2023");
    }
}
