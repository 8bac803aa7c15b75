//! What a plan asks of the tree that it is made for.

use crate::{Capabilities, Profile};
use anyhow::Result;
use std::path::{Path, PathBuf};

/// A package as the plan needs it.
#[derive(Clone, Debug)]
pub struct PackageFacts {
    /// Folder below `pkg/`.
    pub name: String,
    /// Absolute folder.
    pub dir: PathBuf,
    /// `org/image:tag`.
    pub reference: String,
    /// The same without EVE_HASH and without variants: by what name tools and parts are used.
    pub plain: String,
    /// The tag, where linuxkit would not find it itself.
    pub hash: Option<String>,
    /// The name of the build.yml in use.
    pub build_yml: String,
    /// Packages of the tree that it is made from; true where the build machine's architecture is meant.
    pub bases: Vec<(String, bool)>,
    /// The template that its build.yml is made from.
    pub yml_template: Option<PathBuf>,
    /// The text of a Dockerfile that is made from a template.
    pub generated_dockerfile: Option<String>,
}

/// What is composed of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Composed {
    /// The root file system.
    Rootfs,
    /// What installs it, where that is a root file system of its own.
    Installer,
}

impl Composed {
    /// The word in file names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rootfs => "rootfs",
            Self::Installer => "installer",
        }
    }
}

/// The tags that a push gives besides a package's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// EVE_HASH: the tag of everything, when the newest release is pushed.
    pub hash: Option<String>,
    /// EVE_REL.
    pub release: Option<String>,
}

/// What the plan knows of the tree. Everything is looked up when it is asked for, so a target pays for what it needs only.
pub trait Facts {
    /// The version without hypervisor and architecture: the folder's name.
    fn version(&self) -> &str;
    /// Seconds since the epoch of the commit (or `SOURCE_DATE_EPOCH`).
    fn epoch(&self) -> i64;
    /// The tree's root, absolute.
    fn root(&self) -> &Path;
    /// The package of this name, or an error with a near miss.
    fn package(&self, name: &str) -> Result<PackageFacts>;
    /// The text of a build.yml that is made from a template, which takes a look at the package's history.
    fn generated_yml(&self, package: &PackageFacts) -> Result<Option<String>>;
    /// A composed tree's yml with its tags filled in, the template's path, and the packages that it names.
    fn yml(&self, of: Composed) -> Result<(String, PathBuf, Vec<String>)>;
    /// A template with its tags filled in.
    fn fill(&self, template: &Path) -> Result<String>;
    /// A digest over the names and contents of a folder.
    fn folder_digest(&self, folder: &Path) -> Result<String>;
    /// The files below a folder, relative to it.
    fn folder_files(&self, folder: &Path) -> Result<Vec<PathBuf>>;
    /// A digest of a file's content.
    fn file_digest(&self, file: &Path) -> Result<String>;
    /// The tags of a push.
    fn release(&self) -> Result<Release>;
    /// The tree's profile.
    fn profile(&self) -> &Profile;
    /// What the tree and its engine can do.
    fn capabilities(&self) -> Capabilities;
}
