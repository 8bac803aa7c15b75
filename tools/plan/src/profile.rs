//! The profile of a tree: its peculiarities as data, from `xtask.toml` in its root, or for trees without one a profile that ships with
//! xtask and is chosen by the tree's files. docs/profiles.md explains the keys.

use crate::{
    layers::{self, Detect, TreeFiles},
    pins::Pins,
    tables::{BuildArgument, MachineTable, PatchLanguage, TargetTable},
};
use anyhow::Result;
use common::Arch;
use knobs::RootfsFormat;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The file's name in a tree's root.
pub const FILE: &str = "xtask.toml";

/// A tree's profile. [`Profile::below`] makes its paths absolute.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The tree and its default engine.
    pub tree: TreeTable,
    /// The files by which a shipped profile is chosen.
    #[serde(default)]
    pub detect: Detect,
    /// Its packages.
    pub packages: PackagesTable,
    /// Its templates.
    pub templates: TemplatesTable,
    /// The kernel, if it is not a package of the tree.
    pub kernel: Option<KernelTable>,
    /// The root file system.
    pub rootfs: RootfsTable,
    /// The live disk.
    pub live: DiskTable,
    /// The installer's disk, if the tree has one.
    pub installer: Option<DiskTable>,
    /// The verification disk, if the tree has one.
    pub verification: Option<DiskTable>,
    /// Files and folders that are copied from packages beside rootfs.img: name → package.
    #[serde(default)]
    pub parts: BTreeMap<String, String>,
    /// The virtual machine's firmware.
    pub firmware: FirmwareTable,
    /// The virtual machine of the tree's Makefile.
    #[serde(default)]
    pub machine: MachineTable,
    /// The image that contains all artifacts, if the tree has one.
    pub eve: Option<EveTable>,
    /// The image that contains all artifacts and a program of this workspace that makes more of them, if the tree has one.
    pub bundle: Option<BundleTable>,
    /// The path of the bill of materials in rootfs.tar; if unset, syft makes it.
    pub sbom: Option<String>,
    /// Pinned tools that are built from source; replaced by `build-tools/tools.toml` of the tree, if it exists.
    #[serde(default)]
    pub tools: Pins,
    /// Targets of the tree's Makefile that only call containers and scripts.
    #[serde(default)]
    pub targets: BTreeMap<String, TargetTable>,
    /// What the project's CI builds.
    #[serde(default)]
    pub ci: CiTable,
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
    /// The default engine.
    pub engine: String,
    /// The allowed values of HV.
    #[serde(default = "default_hypervisors")]
    pub hypervisors: Vec<String>,
    /// The architectures of a hypervisor that the tree does not have for all.
    #[serde(default)]
    pub hypervisor_arches: BTreeMap<String, Vec<String>>,
    /// Only tags like `1.2.3`, `1.2.3-lts` and `1.2.3-rc4` are releases, and the newest one is not called `latest`.
    #[serde(default)]
    pub exact_releases: bool,
    /// The Go builder builds for ZARCH.
    #[serde(default)]
    pub go_for_target: bool,
    /// The folder of the version that contains the collected sources; the version's folder itself if unset.
    pub sources_folder: Option<PathBuf>,
    /// PLATFORM is part of names: of the version, of rootfs.tar, of the resolved ymls.
    #[serde(default)]
    pub platforms: bool,
}

/// `[packages]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackagesTable {
    /// Their folder.
    pub folder: PathBuf,
    /// The package that the others are built from, if the tree has one.
    pub archive: Option<String>,
    /// Packages that contain the program of the tool images.
    #[serde(default)]
    pub tool_images: Vec<String>,
    /// Packages of images that contain a program of this workspace: package → crate. The program is compiled for this machine's
    /// architecture only.
    #[serde(default)]
    pub programs: BTreeMap<String, String>,
    /// Their images are in a registry, so they can be fetched instead of built.
    #[serde(default)]
    pub published: bool,
    /// `pkgs` skips packages whose names contain one of these, or end in one that has `$` at its end.
    #[serde(default)]
    pub skip: Vec<String>,
    /// Words of `skip` that do not apply for a hypervisor.
    #[serde(default)]
    pub skip_not_for: BTreeMap<String, Vec<String>>,
    /// `pkgs` builds these before the others, even if `skip` matches.
    #[serde(default)]
    pub first: Vec<String>,
    /// Packages whose images are also loaded into docker.
    #[serde(default)]
    pub docker_load: Vec<String>,
    /// Packages that are also built for this machine's architecture.
    #[serde(default)]
    pub host_arch_too: Vec<String>,
    /// The only packages of an architecture that does not have all.
    #[serde(default)]
    pub only: BTreeMap<String, Vec<String>>,
    /// Files that replace a package's build.yml: the first that exists and whose switch is on.
    #[serde(default = "default_variants")]
    pub variants: Vec<Variant>,
    /// Build arguments of packages that knobs switch on.
    #[serde(default)]
    pub build_args: BTreeMap<String, Vec<BuildArgument>>,
    /// A package is built after those that its Dockerfile starts from, even if their images are in a registry.
    #[serde(default)]
    pub ordered: bool,
    /// Folders whose files keep the tags that they name, whatever the packages' tags are now.
    #[serde(default)]
    pub frozen: Vec<PathBuf>,
    /// Packages that must be built before a package although its Dockerfile does not name them.
    #[serde(default)]
    pub after: BTreeMap<String, Vec<String>>,
    /// Packages that are built even if their images exist, with all that is built for them: their tags do not show what is in them.
    #[serde(default)]
    pub forced: Vec<String>,
    /// Archives of images of other packages in the folder of a package: package → file → other package.
    #[serde(default)]
    pub archives: BTreeMap<String, BTreeMap<String, String>>,
    /// `cache-export-docker-load` of a package builds nothing first.
    #[serde(default)]
    pub load_without_build: bool,
    /// Names of packages that another repository builds, and that repository: nothing is done for them.
    #[serde(default)]
    pub elsewhere: BTreeMap<String, String>,
}

impl PackagesTable {
    /// The archives in the folder of the package `name`: file and other package.
    pub fn archives_in(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        self.archives.get(name).into_iter().flatten().map(|(file, other)| (file.as_str(), other.as_str()))
    }
}

/// `[ci]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CiTable {
    /// The hypervisors to build for, by architecture; if unset, all that the tree has for an architecture.
    pub images: Option<BTreeMap<String, Vec<String>>>,
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

/// A switch that selects a replacement of build.yml.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum VariantKnob {
    /// A development build.
    Dev,
    /// A build that measures the use of resources.
    Rstats,
}

fn default_variants() -> Vec<Variant> {
    let variant = |yml: &str, knob| Variant { yml: yml.to_owned(), knob: Some(knob) };
    vec![variant("build-rstats.yml", VariantKnob::Rstats), variant("build-dev.yml", VariantKnob::Dev)]
}

/// `[kernel]`: where to find the name of the kernel's image.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelTable {
    /// A file of make variables, read with ZARCH and PLATFORM.
    pub makefile: String,
    /// The start of the image's name, which is cut off in the version of an image with another kernel.
    pub prefix: String,
}

/// `[templates]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplatesTable {
    /// The root file system's template.
    pub rootfs: PathBuf,
    /// The installer's template, if the installer has its own root file system.
    pub installer: Option<PathBuf>,
    /// jq programs that change the root file system's template for a hypervisor and a platform; their names contain `{hv}` and
    /// `{platform}`. Missing ones are skipped.
    #[serde(default)]
    pub patches: Vec<String>,
    /// The same for the installer's.
    #[serde(default)]
    pub installer_patches: Vec<String>,
    /// jq programs that turn the installer's patched template into that of the verification, if the tree composes one.
    #[serde(default)]
    pub verification_patches: Vec<String>,
    /// The program whose rules decide what the patches mean.
    #[serde(default)]
    pub patch_language: PatchLanguage,
    /// Words to replace by the hypervisor and the platform: `EVE_HV` → `{hv}`.
    #[serde(default)]
    pub words: BTreeMap<String, String>,
    /// Image names in templates have no `-amd64` at the end.
    #[serde(default)]
    pub every_arch: bool,
    /// The file name of a package's Dockerfile template.
    pub dockerfiles: Option<String>,
    /// A script of the tree that has the names of images and their packages, in the form of lf-edge/eve's tools/parse-pkgs.sh.
    pub script: Option<String>,
    /// The names that `parse-pkgs` prints, in order, without `_TAG`; if empty, all packages.
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
    /// The largest size of rootfs.img in bytes.
    pub limit: u64,
    /// Other limits for some hypervisors and platforms; the first that matches is used.
    #[serde(default)]
    pub limits: Vec<Limit>,
    /// The place of the file ACRN_BIN in the images for a hypervisor.
    #[serde(default)]
    pub hypervisor_files: BTreeMap<String, String>,
    /// The largest size of an ext4 in bytes, where that differs: it fills its partition, and no update must fit beside it.
    pub ext4_limit: Option<u64>,
    /// The package whose programs check a signed root file system in the initrd; without it the tree cannot be signed.
    pub verity: Option<String>,
}

/// An entry of `limits` in `[rootfs]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The hypervisor.
    pub hv: Option<String>,
    /// The start of the platform's name.
    pub platform: Option<String>,
    /// The largest size in bytes.
    pub limit: u64,
}

/// `[live]`, `[installer]`, `[verification]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskTable {
    /// The partitions, in order. An entry may contain several names.
    pub parts: Vec<String>,
    /// The size of the disk in MiB, before it is resized to MEDIA_SIZE.
    #[serde(default = "default_disk")]
    pub mebibytes: u64,
    /// The tool container creates the file and chooses its size.
    #[serde(default)]
    pub grows: bool,
    /// A folder whose content is copied beside the parts.
    pub files: Option<PathBuf>,
    /// The file name of a composed installer's root file system.
    #[serde(default = "default_image")]
    pub image: String,
}

fn default_image() -> String {
    "installer.img".to_owned()
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
    /// The files at the root of that package's image.
    pub files: Vec<String>,
    /// The only files of an architecture that does not have all.
    #[serde(default)]
    pub only: BTreeMap<String, Vec<String>>,
}

/// `[eve]`: the image that contains all artifacts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EveTable {
    /// The package's folder.
    pub folder: PathBuf,
    /// The image's name, for `EVE_TAG` in templates.
    pub tag: Option<String>,
    /// Files of that folder to copy beside the artifacts.
    pub copies: Vec<String>,
}

/// `[bundle]`: the image that contains all artifacts and the program that makes others of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleTable {
    /// The package with the program, one of `tool_images`.
    pub package: String,
    /// The image's name without a tag.
    pub image: String,
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
    /// One value per hypervisor.
    ByHypervisor(BTreeMap<String, Value>),
}

impl Value {
    /// The value as text for the hypervisor `hv`; none if only other hypervisors have one.
    #[must_use]
    pub fn to_text(&self, hv: &str) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Number(number) => Some(number.to_string()),
            Self::Switch(on) => Some(if *on { "y" } else { "n" }.to_owned()),
            Self::ByHypervisor(values) => values.get(hv)?.to_text(hv),
        }
    }

    /// The values by hypervisor, if it has such.
    #[must_use]
    pub fn by_hypervisor(&self) -> Option<&BTreeMap<String, Value>> {
        match self {
            Self::ByHypervisor(values) => Some(values),
            _ => None,
        }
    }
}

impl Profile {
    /// The shipped profile `name`, for the tree at `root`, as it is without a look at the tree.
    #[must_use]
    pub fn named(name: &str, root: &Path) -> Self {
        layers::shipped::<Self>(name).expect("a test puts all shipped profiles together").below(root)
    }

    /// Parses a profile for `tree`; an error names the key, and the line unless the profile extends another.
    pub fn parse(text: &str, tree: &dyn TreeFiles) -> Result<Self> {
        layers::assemble(text, tree)
    }

    /// Makes the profile's paths absolute, below `root`.
    #[must_use]
    pub fn below(mut self, root: &Path) -> Self {
        self.packages.folder = root.join(&self.packages.folder);
        self.packages.frozen.iter_mut().for_each(|folder| *folder = root.join(&*folder));
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

    /// The row of the target `name`, and the text in place of `*` in the row's name.
    #[must_use]
    pub fn target<'n>(&self, name: &'n str) -> Option<(&TargetTable, &'n str)> {
        let family = || self.targets.iter().find_map(|(row, table)| Some((table, name.strip_prefix(row.strip_suffix('*')?)?)));
        self.targets.get(name).map(|row| (row, "")).or_else(family)
    }

    /// The firmware's files for `arch`.
    #[must_use]
    pub fn firmware_files(&self, arch: Arch) -> &[String] {
        self.firmware.only.get(arch.as_str()).unwrap_or(&self.firmware.files)
    }

    /// The architectures of the hypervisor `hv`, if the tree does not have it for all.
    #[must_use]
    pub fn hypervisor_arches(&self, hv: &str) -> Option<&[String]> {
        self.tree.hypervisor_arches.get(hv).map(Vec::as_slice)
    }

    /// The largest size of rootfs.img in bytes, for a file system, a hypervisor and a platform.
    #[must_use]
    pub fn rootfs_limit(&self, format: RootfsFormat, hv: &str, platform: &str) -> u64 {
        if let Some(limit) = self.rootfs.ext4_limit.filter(|_| format == RootfsFormat::Ext4) {
            return limit;
        }
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
        let holds = |word: &str| word.strip_suffix('$').map_or_else(|| name.contains(word), |end| name.ends_with(end));
        let skipped = |word: &&String| holds(word) && !but.contains(word);
        self.packages.first.iter().any(|first| first == name) || self.packages.skip.iter().find(skipped).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::NoTree;

    #[test]
    fn this_trees_profile_is_valid_and_unknown_keys_are_named() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let text = std::fs::read_to_string(root.join(FILE)).expect("read");
        assert_eq!(Profile::parse(&text, &NoTree).expect("valid").rootfs.limit, 262_144_000);
        let ext4 = Profile::parse(&text, &NoTree).expect("valid").rootfs_limit(RootfsFormat::Ext4, "kvm", "generic");
        assert_eq!(ext4, diskimage::eve::Kind::Imga.size(0), "an ext4 may fill IMGA");
        let text = text.replace("limit =", "limt =");
        let error = format!("{:#}", Profile::parse(&text, &NoTree).expect_err("refused"));
        assert!(error.contains("limt"), "{error}");
    }

    #[test]
    fn what_is_built_in_bulk_is_data() {
        let profile = Profile::named("eve-2023", Path::new("/tree"));
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
