//! What is particular to a tree, as data: `xtask.toml` in its root, or for trees that have none a profile that ships with us
//! and is found by the files that such a tree has. docs/profiles.md explains the keys.

use crate::pins::Pins;
use anyhow::Result;
use common::Arch;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The file's name in a tree's root.
pub const FILE: &str = "xtask.toml";

/// Profiles of trees that know nothing of us, the most particular first.
const SHIPPED: &[&str] = &[include_str!("../profiles/eve-2023.toml"), include_str!("../profiles/eve.toml")];

/// A tree's profile. Paths are absolute once it was read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The tree and who builds it.
    pub tree: TreeTable,
    /// How a tree that is meant is known.
    #[serde(default)]
    pub detect: Detect,
    /// Its packages.
    pub packages: PackagesTable,
    /// Its templates.
    pub templates: TemplatesTable,
    /// The kernel that is no package of the tree, where that is so.
    pub kernel: Option<KernelTable>,
    /// The root file system.
    pub rootfs: RootfsTable,
    /// The live disk.
    pub live: DiskTable,
    /// The installer's disk, where there is one.
    pub installer: Option<DiskTable>,
    /// The verification disk, where there is one.
    pub verification: Option<DiskTable>,
    /// Files and folders that lie in packages and belong beside rootfs.img: name → package.
    #[serde(default)]
    pub parts: BTreeMap<String, String>,
    /// The virtual machine's firmware.
    pub firmware: FirmwareTable,
    /// The image that holds everything, where there is one.
    pub eve: Option<EveTable>,
    /// Where the bill of materials lies in rootfs.tar; syft makes one where it does not.
    pub sbom: Option<String>,
    /// Pinned tools that are built from source; `build-tools/tools.toml` of the tree, where it has one.
    #[serde(default)]
    pub tools: Pins,
    /// Values of knobs.
    #[serde(default)]
    pub knobs: BTreeMap<String, Value>,
}

/// `[tree]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeTable {
    /// The tree's name.
    pub name: String,
    /// The engine when nobody chooses.
    pub engine: String,
    /// What HV may be.
    #[serde(default = "default_hypervisors")]
    pub hypervisors: Vec<String>,
    /// Only `1.2.3`, `1.2.3-lts` and `1.2.3-rc4` are releases, and the newest of them is not called `latest`.
    #[serde(default)]
    pub exact_releases: bool,
    /// PLATFORM is part of names: of the version, of rootfs.tar, of the resolved ymls.
    #[serde(default)]
    pub platforms: bool,
}

/// `[detect]`: a tree has all of `files` and none of `absent`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detect {
    /// Paths that must be there.
    pub files: Vec<PathBuf>,
    /// Paths that must not.
    #[serde(default)]
    pub absent: Vec<PathBuf>,
}

/// `[packages]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackagesTable {
    /// Their folder.
    pub folder: PathBuf,
    /// The package that others start from, if the tree has one.
    pub archive: Option<String>,
    /// Packages that hold a program of this workspace.
    #[serde(default)]
    pub tool_images: Vec<String>,
    /// Their images are in a registry, so that what needs them need not build them.
    #[serde(default)]
    pub published: bool,
    /// `pkgs` leaves out names that contain one of these.
    #[serde(default)]
    pub skip: Vec<String>,
    /// What of those a hypervisor does not leave out.
    #[serde(default)]
    pub skip_not_for: BTreeMap<String, Vec<String>>,
    /// `pkgs` builds these before the others, whatever `skip` says.
    #[serde(default)]
    pub first: Vec<String>,
    /// Packages that docker must know too, besides linuxkit's cache.
    #[serde(default)]
    pub docker_load: Vec<String>,
    /// Packages that are built for this machine's architecture as well.
    #[serde(default)]
    pub host_arch_too: Vec<String>,
    /// The packages that there are for an architecture, where not all are.
    #[serde(default)]
    pub only: BTreeMap<String, Vec<String>>,
    /// What stands for build.yml in a package that has it: the first whose knob is set.
    #[serde(default = "default_variants")]
    pub variants: Vec<Variant>,
    /// A package is built after those that its Dockerfile starts from, although their images are in a registry.
    #[serde(default)]
    pub ordered: bool,
    /// Packages that must be built before one, though no Dockerfile says so.
    #[serde(default)]
    pub after: BTreeMap<String, Vec<String>>,
}

/// An entry of `variants` in `[packages]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// The file's name; `{hv}` and `{platform}` in it are replaced.
    pub yml: String,
    /// The switch that must be on.
    pub knob: Option<VariantKnob>,
}

/// A switch that chooses another build.yml.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum VariantKnob {
    /// A development build.
    Dev,
    /// A build that reports the use of resources.
    Rstats,
}

fn default_variants() -> Vec<Variant> {
    let variant = |yml: &str, knob| Variant { yml: yml.to_owned(), knob: Some(knob) };
    vec![variant("build-rstats.yml", VariantKnob::Rstats), variant("build-dev.yml", VariantKnob::Dev)]
}

/// `[kernel]`: where the name of the kernel's image stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelTable {
    /// A file of make variables, read with ZARCH and PLATFORM.
    pub makefile: String,
    /// How the image's name begins, which the version of an image with another kernel leaves out.
    pub prefix: String,
}

/// `[templates]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplatesTable {
    /// The root file system's.
    pub rootfs: PathBuf,
    /// The installer's, where that is composed as a root file system is.
    pub installer: Option<PathBuf>,
    /// The jq programs that change the root file system's for a hypervisor and a platform, with `{hv}` and `{platform}` in their
    /// names; those that are not there are not applied.
    #[serde(default)]
    pub patches: Vec<String>,
    /// The same for the installer's.
    #[serde(default)]
    pub installer_patches: Vec<String>,
    /// Words that stand for the hypervisor and the platform: `EVE_HV` → `{hv}`.
    #[serde(default)]
    pub words: BTreeMap<String, String>,
    /// The images' names go without `-amd64`.
    #[serde(default)]
    pub every_arch: bool,
    /// The name of a package's Dockerfile template.
    pub dockerfiles: Option<String>,
    /// The names of the table that `parse-pkgs` prints, without `_TAG`, in its order; all packages when there is none.
    #[serde(default)]
    pub table: Vec<String>,
    /// Irregular names: `DOM0ZTOOLS_TAG` → `dom0-ztools`, `PILLAR_DEV_TAG` → `pillar:build-dev.yml`.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// `[rootfs]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootfsTable {
    /// The most bytes of a rootfs.img.
    pub limit: u64,
    /// Others for some hypervisors and platforms; the first that fits counts.
    #[serde(default)]
    pub limits: Vec<Limit>,
}

/// An entry of `limits` in `[rootfs]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The hypervisor.
    pub hv: Option<String>,
    /// How the platform's name begins.
    pub platform: Option<String>,
    /// The most bytes.
    pub limit: u64,
}

/// `[live]`, `[installer]`, `[verification]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskTable {
    /// The words for the partitioner, in order. A word may hold several names.
    pub parts: Vec<String>,
    /// The size of the disk's file before it grows, in MiB.
    #[serde(default = "default_disk")]
    pub mebibytes: u64,
    /// The tool container makes the file, as large as it must be.
    #[serde(default)]
    pub grows: bool,
    /// A folder whose content lies beside the parts.
    pub files: Option<PathBuf>,
}

fn default_hypervisors() -> Vec<String> {
    ["kvm", "xen", "acrn"].map(str::to_owned).to_vec()
}

const fn default_disk() -> u64 {
    350
}

/// `[firmware]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirmwareTable {
    /// The package.
    pub package: String,
    /// Its files at the root of that package.
    pub files: Vec<String>,
    /// The files for an architecture that does not have all.
    #[serde(default)]
    pub only: BTreeMap<String, Vec<String>>,
}

/// `[eve]`: the image that holds everything and runs anywhere.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EveTable {
    /// The package's folder.
    pub folder: PathBuf,
    /// The image's name behind `EVE_TAG`, when templates have that name.
    pub tag: Option<String>,
    /// Files of that folder that the image needs beside the artifacts.
    pub copies: Vec<String>,
}

/// A knob's value as a profile may write it.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Text.
    Text(String),
    /// A number.
    Number(i64),
    /// A switch.
    Switch(bool),
    /// One of these for some hypervisors.
    ByHypervisor(BTreeMap<String, Value>),
}

impl Value {
    /// The value as a person would type it, for the hypervisor `hv`; none when it is said for others only.
    #[must_use]
    pub fn to_text(&self, hv: &str) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Number(number) => Some(number.to_string()),
            Self::Switch(on) => Some(if *on { "y" } else { "n" }.to_owned()),
            Self::ByHypervisor(values) => values.get(hv)?.to_text(hv),
        }
    }
}

impl Profile {
    /// The profiles that ship with this program, the most particular first.
    pub fn shipped() -> impl Iterator<Item = Self> {
        SHIPPED.iter().map(|text| Self::parse(text).expect("a test reads all profiles that ship with us"))
    }

    /// The profile of this name that ships with us, for the tree at `root`.
    #[must_use]
    pub fn named(name: &str, root: &Path) -> Self {
        Self::shipped().find(|profile| profile.tree.name == name).expect("a profile of this name").below(root)
    }

    /// Reads the text of a profile; an error names the line and the key.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }

    /// The same profile with its paths below `root`.
    #[must_use]
    pub fn below(mut self, root: &Path) -> Self {
        self.packages.folder = root.join(&self.packages.folder);
        self.templates.rootfs = root.join(&self.templates.rootfs);
        self.templates.installer = self.templates.installer.as_ref().map(|template| root.join(template));
        for disk in [&mut self.installer, &mut self.verification].into_iter().flatten() {
            disk.files = disk.files.as_ref().map(|files| root.join(files));
        }
        if let Some(eve) = &mut self.eve {
            eve.folder = root.join(&eve.folder);
        }
        self
    }

    /// The firmware's files for `arch`.
    #[must_use]
    pub fn firmware_files(&self, arch: Arch) -> &[String] {
        self.firmware.only.get(arch.as_str()).unwrap_or(&self.firmware.files)
    }

    /// The most bytes of a rootfs.img for a hypervisor and a platform.
    #[must_use]
    pub fn rootfs_limit(&self, hv: &str, platform: &str) -> u64 {
        let fits = |limit: &&Limit| {
            limit.hv.as_ref().is_none_or(|known| known == hv)
                && limit.platform.as_ref().is_none_or(|start| platform.starts_with(start.as_str()))
        };
        self.rootfs.limits.iter().find(fits).map_or(self.rootfs.limit, |limit| limit.limit)
    }

    /// Whether `pkgs` builds the package `name` for `arch`.
    #[must_use]
    pub fn in_bulk(&self, name: &str, arch: Arch, hv: &str) -> bool {
        if let Some(only) = self.packages.only.get(arch.as_str()) {
            return only.iter().any(|known| known == name);
        }
        let but = self.packages.skip_not_for.get(hv).map_or(&[][..], Vec::as_slice);
        let skipped = |word: &&String| name.contains(word.as_str()) && !but.contains(word);
        self.packages.first.iter().any(|first| first == name) || self.packages.skip.iter().find(skipped).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_trees_profile_is_valid_and_unknown_keys_are_named() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let text = std::fs::read_to_string(root.join(FILE)).expect("read");
        assert_eq!(Profile::parse(&text).expect("valid").rootfs.limit, 262_144_000);
        let text = text.replace("limit =", "limt =");
        let error = format!("{:#}", Profile::parse(&text).expect_err("refused"));
        assert!(error.contains("limt"), "{error}");
    }

    #[test]
    fn what_is_built_in_bulk_is_data() {
        let profile = Profile::shipped().next().expect("one");
        for (name, arch, built) in [
            ("alpine", Arch::Amd64, true),
            ("alpine-base", Arch::Amd64, false),
            ("eve", Arch::Amd64, false),
            ("pillar", Arch::Amd64, true),
            ("pillar", Arch::Riscv64, false),
            ("grub", Arch::Riscv64, true),
        ] {
            assert_eq!(profile.in_bulk(name, arch, "kvm"), built, "{name} {arch}");
        }
    }
}
