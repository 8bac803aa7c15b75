//! What is particular to a tree, as data: `xtask.toml` in its root.

use anyhow::{Context as _, Result};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The file's name in a tree's root.
pub const FILE: &str = "xtask.toml";

/// A tree's profile, flattened for its readers.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The tree's name.
    pub name: String,
    /// The engine when nobody chooses.
    pub engine: String,
    /// Folder of the packages, absolute.
    pub packages: PathBuf,
    /// The package that others start from, if the tree has one.
    pub archive: Option<String>,
    /// Packages that hold a program of this workspace.
    pub tool_images: Vec<String>,
    /// The template of the root file system, absolute.
    pub rootfs_template: PathBuf,
    /// Irregular template names: `DOM0ZTOOLS_TAG` → `dom0-ztools`.
    pub template_tags: BTreeMap<String, String>,
    /// The most bytes of a rootfs.img.
    pub rootfs_limit: u64,
    /// The partitions of a live disk, in order.
    pub live_parts: Vec<String>,
    /// The package with the virtual machine's firmware.
    pub firmware_package: String,
    /// The firmware's files at the root of that package.
    pub firmware_files: Vec<String>,
    /// Values of knobs.
    pub knobs: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tree: TreeTable,
    packages: Packages,
    templates: Templates,
    rootfs: Rootfs,
    live: Live,
    firmware: Firmware,
    #[serde(default)]
    knobs: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TreeTable {
    name: String,
    engine: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Packages {
    folder: PathBuf,
    archive: Option<String>,
    #[serde(default)]
    tool_images: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Templates {
    rootfs: PathBuf,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rootfs {
    limit: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Live {
    parts: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Firmware {
    package: String,
    files: Vec<String>,
}

impl Profile {
    /// Reads the profile of the tree at `root`.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join(FILE);
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!("`{}` is no tree that can be built: it has no {FILE}\nhint: --root DIR names another tree", root.display())
        })?;
        Self::parse(&text, root).with_context(|| format!("`{}` is not valid", path.display()))
    }

    fn parse(text: &str, root: &Path) -> Result<Self> {
        let file: File = toml::from_str(text)?;
        let knobs = file.knobs.into_iter().map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (name, text)
        });
        Ok(Self {
            name: file.tree.name,
            engine: file.tree.engine,
            packages: root.join(file.packages.folder),
            archive: file.packages.archive,
            tool_images: file.packages.tool_images,
            rootfs_template: root.join(file.templates.rootfs),
            template_tags: file.templates.tags,
            rootfs_limit: file.rootfs.limit,
            live_parts: file.live.parts,
            firmware_package: file.firmware.package,
            firmware_files: file.firmware.files,
            knobs: knobs.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_trees_profile_is_valid_and_unknown_keys_are_named() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let profile = Profile::read(root).expect("valid");
        assert_eq!(profile.rootfs_limit, 262_144_000);
        let text = std::fs::read_to_string(root.join(FILE)).expect("read").replace("limit =", "limt =");
        let error = format!("{:#}", Profile::parse(&text, root).expect_err("refused"));
        assert!(error.contains("limt"), "{error}");
    }
}
