//! A package's tag as a function of what git says of the tree, equal to what `linuxkit pkg show-tag` gives. Two runs of git
//! serve all packages: the caller makes them and hands their output to [`TreeState::parse`].
//!
//! What linuxkit does (`src/cmd/linuxkit/pkglib`): the tree id of the package's folder at HEAD; with extra sources the SHA-1 of
//! that id and theirs in hex, one after the other; when the folder has changes, `-dirty-` and the start of a SHA-256 over its files.

mod content;
mod index;
mod objects;
mod state;

pub use index::{Clean, Head, clean as clean_checkout};
pub use objects::blob_id;
pub use state::{LS_TREE, STATUS, TreeState};

use crate::build_yml::BuildYml;
use anyhow::{Context as _, Result, bail};
use std::{
    fmt,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// Digits of a dirty package's content hash in its tag.
const DIRTY_DIGITS: usize = 7;

/// What a person may set against what git says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Instead of the tree id; hides dirtiness (`--hash`).
    pub hash: Option<&'a str>,
    /// Instead of the organization in the build.yml (`--org`).
    pub org: Option<&'a str>,
    /// `--dev`: the organization is this user, the hash is `dev` when none is given.
    pub dev_user: Option<&'a str>,
    /// Dirty whatever git says (`--force-dirty`).
    pub force_dirty: bool,
}

/// The name of a package's image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// Organization.
    pub org: String,
    /// Image.
    pub image: String,
    /// The hash without dirtiness: a tree id, or what was given instead.
    pub hash: String,
    /// The digits after `-dirty-` when they are shown: never with a given hash.
    pub dirty: Option<String>,
    /// Whether the package has uncommitted changes, shown or not.
    pub is_dirty: bool,
    /// What stands after the colon: hash and dirtiness, put into the build.yml's template.
    pub tag: String,
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.org, self.image, self.tag)
    }
}

impl Tag {
    /// The full name, with the registry: `docker.io/…` unless the organization says another.
    #[must_use]
    pub fn canonical(&self) -> String {
        oci::expand_reference(&self.to_string())
    }

    /// Organization and image, without a tag.
    #[must_use]
    pub fn repository(&self) -> String {
        format!("{}/{}", self.org, self.image)
    }

    fn new(yml: &BuildYml, org: String, hash: String, dirty: Option<String>, is_dirty: bool) -> Result<Self> {
        let full = dirty.as_ref().map_or_else(|| hash.clone(), |digits| format!("{hash}-dirty-{digits}"));
        Ok(Self { org, image: yml.image.clone(), hash, dirty, is_dirty, tag: yml.tag_of(&full)? })
    }
}

/// The tag of the package in the folder `package` (absolute), described by its file `yml_name`. `root` is any folder of the
/// checkout that `state` speaks of. Files are read only when the package is dirty.
pub fn package_tag(state: &TreeState, root: &Path, package: &Path, yml_name: &str, options: &Options<'_>) -> Result<Tag> {
    let yml = BuildYml::read_names(&package.join(yml_name))?;
    tag_of_yml(state, root, package, &yml, options).with_context(|| format!("package `{}` has no tag", package.display()))
}

/// The same when the build.yml is read already.
pub fn tag_of_yml(state: &TreeState, root: &Path, package: &Path, yml: &BuildYml, options: &Options<'_>) -> Result<Tag> {
    let place = Place::find(root, package)?;
    // Sources outside of git are an error even where a given hash makes their ids useless.
    let sources = source_ids(state, &place, package, yml, &|state, path| state.id_of(path))?;
    let is_dirty = options.force_dirty || state.is_dirty(&place.top, &place.package)?;
    let org = options.org.or(options.dev_user).unwrap_or(&yml.org).to_owned();
    if let Some(given) = options.hash.filter(|hash| !hash.is_empty()).or(options.dev_user.map(|_| "dev")) {
        return Tag::new(yml, org, given.to_owned(), None, is_dirty);
    }
    let own = state.id_of(&place.package).with_context(|| not_in_git(package))?;
    let digits = if is_dirty { Some(content::hash(state, &place)?[..DIRTY_DIGITS].to_owned()) } else { None };
    Tag::new(yml, org, combine(own, &sources), digits, is_dirty)
}

/// The tag that the package will have once everything in it that git does not ignore is committed; for a clean package, its tag.
/// Files are hashed as they are: attributes that convert line ends are not looked at.
pub fn committed_tag(state: &TreeState, root: &Path, package: &Path, yml_name: &str) -> Result<Tag> {
    let yml = BuildYml::read_names(&package.join(yml_name))?;
    let context = || format!("package `{}` has no tag", package.display());
    let place = Place::find(root, package).with_context(context)?;
    let id_now = |state: &TreeState, path: &[u8]| objects::id_now(state, &place.top, path).ok().flatten().map(|id| objects::hex(&id));
    let sources = source_ids(state, &place, package, &yml, &id_now).with_context(context)?;
    let own = objects::id_now(state, &place.top, &place.package)?.with_context(|| not_in_git(package))?;
    Tag::new(&yml, yml.org.clone(), combine(objects::hex(&own), &sources), None, false)
}

fn not_in_git(package: &Path) -> String {
    format!("`{0}` is not in git\nhint: git add {0} && git commit", package.display())
}

/// Where the repository is, and where in it the package: names relative to the top, with `/` and without one at the end.
struct Place {
    top: PathBuf,
    package: Vec<u8>,
}

impl Place {
    fn find(root: &Path, package: &Path) -> Result<Self> {
        let package = clean(package);
        let top = find_top(&package)?;
        if find_top(root)? != top {
            bail!("it lies in another git repository than `{}`", root.display());
        }
        Ok(Self { package: below(&top, &package)?, top })
    }
}

/// The folder above `path`, or itself, that holds `.git`.
fn find_top(path: &Path) -> Result<PathBuf> {
    let top = path.ancestors().find(|folder| folder.join(".git").symlink_metadata().is_ok());
    Ok(top.with_context(|| format!("`{}` is in no git repository", path.display()))?.to_owned())
}

/// `path` as git names it below `top`; the top itself is the empty name.
fn below(top: &Path, path: &Path) -> Result<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt as _;
    let relative = path.strip_prefix(top).with_context(|| format!("`{}` lies outside of `{}`", path.display(), top.display()))?;
    Ok(relative.as_os_str().as_bytes().to_vec())
}

/// The path without `.` and `..`, by its text alone as Go's `filepath.Clean` does it.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

/// The files that tags speak of: those of git, and those that it would take. An editor's file that git ignores is in no tag, so it must
/// be in no image of that tag either.
#[derive(Clone, Debug)]
pub struct Counted {
    top: PathBuf,
    state: Arc<TreeState>,
}

impl Counted {
    /// Of the checkout that `root` is in.
    pub fn new(root: &Path, state: Arc<TreeState>) -> Result<Self> {
        Ok(Self { top: find_top(root)?, state })
    }

    /// Whether the file `path` is one, or the folder holds one.
    #[must_use]
    pub fn holds(&self, path: &Path) -> bool {
        below(&self.top, &clean(path)).is_ok_and(|name| self.state.covers(&name))
    }
}

type IdOf<'f> = dyn Fn(&TreeState, &[u8]) -> Option<String> + 'f;

/// The ids of the extra sources in hex, in the order of the build.yml.
fn source_ids(state: &TreeState, place: &Place, package: &Path, yml: &BuildYml, id_of: &IdOf<'_>) -> Result<Vec<String>> {
    let id = |(source, _): (&str, &str)| {
        let path = clean(&package.join(source));
        let name = below(&place.top, &path).with_context(|| format!("`extra-sources`: `{source}`"))?;
        id_of(state, &name).with_context(|| format!("`extra-sources`: {}", not_in_git(&path)))
    };
    yml.sources()?.into_iter().map(id).collect()
}

fn combine(own: String, sources: &[String]) -> String {
    if sources.is_empty() {
        return own;
    }
    objects::hex(&objects::sha1(&[own.as_bytes(), sources.concat().as_bytes()]))
}

#[cfg(test)]
mod eve_tests;
#[cfg(test)]
mod tests;
