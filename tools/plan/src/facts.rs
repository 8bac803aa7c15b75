//! The trait of the facts of a tree that a plan is made from, and their types.

use crate::{Capabilities, Profile};
use anyhow::Result;
use common::Arch;
use std::path::{Path, PathBuf};

/// The facts of a package.
#[derive(Clone, Debug)]
pub struct PackageFacts {
    /// Folder below `pkg/`.
    pub name: String,
    /// Absolute folder.
    pub dir: PathBuf,
    /// `org/image:tag`.
    pub reference: String,
    /// `reference` without EVE_HASH and without variants: the image of a tool or of parts.
    pub plain: String,
    /// The tag, if linuxkit would not compute the same.
    pub hash: Option<String>,
    /// Build arguments that knobs switch on, `NAME=y`. The tag of `reference` has their names too.
    pub build_args: Vec<String>,
    /// A hash of its changes, if `reference` does not show all of them.
    pub changes: Option<String>,
    /// A file in it, absolute, that is not what the commit has, and that git does not look at, if `reference` does not show that.
    pub hidden: Option<PathBuf>,
    /// Whether it has changes that no commit has.
    pub is_dirty: bool,
    /// The name of the build.yml in use.
    pub build_yml: String,
    /// The architectures in its build.yml; empty where another repository built the images.
    pub arches: Vec<String>,
    /// Packages of the tree that it is built from.
    pub bases: Vec<BasePackage>,
    /// The template of its build.yml.
    pub yml_template: Option<PathBuf>,
    /// The text of its Dockerfile, if that is generated from a template.
    pub generated_dockerfile: Option<String>,
}

/// A package that another one is built from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BasePackage {
    /// The base's folder below `pkg/`.
    pub name: String,
    /// Whether it is needed for the build machine's architecture, not for that of the image.
    pub on_build_machine: bool,
    /// The architecture of the image that needs it; none for all.
    pub target: Option<Arch>,
}

common::words! {
    /// A root file system that is composed of images.
    Composed { /// EVE's root file system.
        Rootfs = "rootfs", /// The installer's, on trees where it has its own.
        Installer = "installer", /// The same that also checks the machine.
        Verification = "verification" }
}

/// Tags of a push, in addition to a package's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// EVE_HASH: the tag of all packages, if the newest release is pushed.
    pub hash: Option<String>,
    /// EVE_REL.
    pub release: Option<String>,
}

/// The facts of the tree. Each method looks its fact up when called, so a target costs only what it needs.
pub trait Facts {
    /// The version without hypervisor and architecture: the folder's name.
    fn version(&self) -> &str;
    /// The Unix timestamp of the commit (or `SOURCE_DATE_EPOCH`).
    fn epoch(&self) -> i64;
    /// The tree's root, absolute.
    fn root(&self) -> &Path;
    /// The package `name`; an error suggests a similar name.
    fn package(&self, name: &str) -> Result<PackageFacts>;
    /// The names of the packages that `pkgs` builds, in order.
    fn bulk_packages(&self) -> Result<Vec<String>>;
    /// The text of the package's build.yml, if that is generated from a template. Reads the package's history.
    fn generated_yml(&self, package: &PackageFacts) -> Result<Option<String>>;
    /// The yml of a composed root file system with its tags filled in, the template's path, and the packages that it names.
    fn yml(&self, of: Composed) -> Result<(String, PathBuf, Vec<String>)>;
    /// A template with its tags filled in.
    fn fill(&self, template: &Path) -> Result<String>;
    /// A digest of the names and contents of a folder's files.
    fn folder_digest(&self, folder: &Path) -> Result<String>;
    /// The files below a folder, relative to it.
    fn folder_files(&self, folder: &Path) -> Result<Vec<PathBuf>>;
    /// A digest of a file's content.
    fn file_digest(&self, file: &Path) -> Result<String>;
    /// The same for a file that may be missing.
    fn file_digest_if_there(&self, file: &Path) -> Result<Option<String>>;
    /// The tags of a push.
    fn release(&self) -> Result<Release>;
    /// The tree's profile.
    fn profile(&self) -> &Profile;
    /// The capabilities of the tree and its engine.
    fn capabilities(&self) -> Capabilities;
}
