//! Computes a package's tag from git's state, equal to `linuxkit pkg show-tag`. Two git commands serve all packages: the caller
//! runs them and passes their output to [`TreeState::parse`].
//!
//! linuxkit's rule (`src/cmd/linuxkit/pkglib`): the tree id of the package's folder at HEAD; with extra sources, the SHA-1 of
//! that id and theirs in hex, concatenated; for a folder with changes, also `-dirty-` and the first digits of a SHA-256 of its
//! files. That hash leaves out names, modes and links; [`DirtyRule::Everything`] does not.

mod content;
mod index;
mod objects;
mod seen;
mod state;

pub use index::{Clean, Head, clean as clean_checkout};
pub use objects::blob_id;
pub(crate) use objects::{hex, settled_id};
pub use seen::Seen;
pub use state::{FLAGS, Future, LS_TREE, STATUS, TreeState};

use crate::build_yml::BuildYml;
use anyhow::{Context as _, Result, bail};
use std::{
    fmt,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// Digits of the content hash in a dirty tag.
const DIRTY_DIGITS: usize = 7;

/// What makes a tag dirty, and its digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DirtyRule {
    /// linuxkit's: changes that git shows in the package's folder, and the bytes of its files.
    #[default]
    Linuxkit,
    /// Everything that enters the image: names, types, executable bits, link targets and bytes, also of extra sources and of files that
    /// git was told not to look at.
    Everything,
}

/// Options that override git's state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// The rule of a dirty tag.
    pub rule: DirtyRule,
    /// Replaces the tree id and hides dirtiness (`--hash`).
    pub hash: Option<&'a str>,
    /// Replaces the organization of the build.yml (`--org`).
    pub org: Option<&'a str>,
    /// `--dev`: the organization is this user, and the default hash is `dev`.
    pub dev_user: Option<&'a str>,
    /// Treat the package as dirty (`--force-dirty`).
    pub force_dirty: bool,
    /// The top of the checkout, if the package is known to be in no other repository ([`Seen::top_of`]); otherwise it is searched.
    pub top: Option<&'a Path>,
}

/// Name of a package's image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// Organization.
    pub org: String,
    /// Image name.
    pub image: String,
    /// The hash without the dirty suffix: a tree id, or the given hash.
    pub hash: String,
    /// The digits after `-dirty-`; `None` with a given hash.
    pub dirty: Option<String>,
    /// Whether the package has uncommitted changes, shown in the tag or not.
    pub is_dirty: bool,
    /// The tag after the colon: hash and dirty suffix in the build.yml's template.
    pub tag: String,
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.org, self.image, self.tag)
    }
}

impl Tag {
    /// The full name with registry: `docker.io/…` unless the organization contains one.
    #[must_use]
    pub fn canonical(&self) -> String {
        oci::expand_reference(&self.to_string())
    }

    /// Organization and image name, without tag.
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
/// checkout of `state`. Reads files only if the package is dirty.
pub fn package_tag(state: &TreeState, root: &Path, package: &Path, yml_name: &str, options: &Options<'_>) -> Result<Tag> {
    let yml = BuildYml::read_names(&package.join(yml_name))?;
    tag_of_yml(state, root, package, &yml, options)
        .with_context(|| format!("cannot compute the tag of the package `{}`", package.display()))
}

/// A file in the folder `package` or in its `extra-sources` that is not what the commit has, though git calls it clean, because it is marked
/// `assume-unchanged` or `skip-worktree`. linuxkit believes git, and gives such a package the tag of the commit.
pub fn hidden_change(state: &TreeState, root: &Path, package: &Path, yml: &BuildYml) -> Result<Option<PathBuf>> {
    if state.hidden.is_empty() {
        return Ok(None);
    }
    let place = Place::find(root, package)?;
    for (folder, _) in content_folders(&place, package, yml)? {
        if let Some(path) = state.hidden_change(&place.top, &folder)? {
            return Ok(Some(place.top.join(path)));
        }
    }
    Ok(None)
}

/// As [`package_tag`], for a parsed build.yml.
pub fn tag_of_yml(state: &TreeState, root: &Path, package: &Path, yml: &BuildYml, options: &Options<'_>) -> Result<Tag> {
    let place = match options.top {
        Some(top) => Place { package: below(top, package)?, top: top.to_owned() },
        None => Place::find(root, package)?,
    };
    // Sources that git does not track are an error even if a given hash makes their ids unnecessary.
    let id_of = |state: &TreeState, path: &[u8]| state.id_of(path).or_else(|| uncommitted_id(state, path, options.rule));
    let sources = source_ids(state, &place, package, yml, &id_of)?;
    let folders = match options.rule {
        DirtyRule::Linuxkit => vec![(place.package.clone(), "")],
        DirtyRule::Everything => content_folders(&place, package, yml)?,
    };
    let mut is_dirty = options.force_dirty;
    for (folder, _) in &folders {
        is_dirty |= state.is_dirty(&place.top, folder)?;
        is_dirty |= options.rule == DirtyRule::Everything && state.hides_changes(&place.top, folder)?;
    }
    let org = options.org.or(options.dev_user).unwrap_or(&yml.org).to_owned();
    if let Some(given) = options.hash.filter(|hash| !hash.is_empty()).or(options.dev_user.map(|_| "dev")) {
        return Tag::new(yml, org, given.to_owned(), None, is_dirty);
    }
    let own = id_of(state, &place.package).with_context(|| not_in_git(package))?;
    let hash = || match options.rule {
        DirtyRule::Linuxkit => content::hash(state, &place),
        DirtyRule::Everything => content::hash_of_everything(state, &place.top, &folders),
    };
    let digits = if is_dirty { Some(hash()?[..DIRTY_DIGITS].to_owned()) } else { None };
    Tag::new(yml, org, combine(own, &sources), digits, is_dirty)
}

/// The tag of the package after committing everything in it that git does not ignore; for a clean package, its tag. Files are
/// hashed unconverted: gitattributes are ignored.
pub fn committed_tag(state: &TreeState, root: &Path, package: &Path, yml_name: &str) -> Result<Tag> {
    future_tag(state, root, package, yml_name, &Future::default())
}

/// As [`committed_tag`], after the files in `future` have got their new content.
pub fn future_tag(state: &TreeState, root: &Path, package: &Path, yml_name: &str, future: &Future) -> Result<Tag> {
    let yml = BuildYml::read_names(&package.join(yml_name))?;
    let context = || format!("cannot compute the tag of the package `{}`", package.display());
    let place = Place::find(root, package).with_context(context)?;
    let id_now = |state: &TreeState, path: &[u8]| state.id_now(&place.top, path, future).ok().flatten().map(|id| objects::hex(&id));
    let sources = source_ids(state, &place, package, &yml, &id_now).with_context(context)?;
    let own = state.id_now(&place.top, &place.package, future)?.with_context(|| not_in_git(package))?;
    Tag::new(&yml, yml.org.clone(), combine(objects::hex(&own), &sources), None, false)
}

/// The id of a folder that no commit has yet: git's null id. The digits after `-dirty-` tell such packages apart, so linuxkit's rule, which
/// hashes less than everything, has none.
fn uncommitted_id(state: &TreeState, path: &[u8], rule: DirtyRule) -> Option<String> {
    (rule == DirtyRule::Everything && state.has_changes(path)).then(|| "0".repeat(40))
}

fn not_in_git(package: &Path) -> String {
    format!("git does not track `{0}`\nhint: git add {0} && git commit", package.display())
}

/// The folders and files that the tag of a package depends on, below the top: its own folder and its extra sources.
pub fn counted_folders(root: &Path, package: &Path, yml: &BuildYml) -> Result<Vec<Vec<u8>>> {
    let place = Place::find(root, package)?;
    Ok(content_folders(&place, package, yml)?.into_iter().map(|(folder, _)| folder).collect())
}

/// The top of the repository around `root`, and the path of `root` below it.
pub fn top_of(root: &Path) -> Result<(PathBuf, Vec<u8>)> {
    let place = Place::find(root, root)?;
    Ok((place.top, place.package))
}

/// Top of the repository, and the package's path relative to it (`/` between parts, none at the end).
struct Place {
    top: PathBuf,
    package: Vec<u8>,
}

impl Place {
    fn find(root: &Path, package: &Path) -> Result<Self> {
        let package = clean(package);
        let top = find_top(&package)?;
        if find_top(root)? != top {
            bail!("it is in another git repository than `{}`", root.display());
        }
        Ok(Self { package: below(&top, &package)?, top })
    }
}

/// The nearest ancestor of `path`, or itself, that contains `.git`.
fn find_top(path: &Path) -> Result<PathBuf> {
    let top = path.ancestors().find(|folder| folder.join(".git").symlink_metadata().is_ok());
    Ok(top.with_context(|| format!("`{}` is not in a git repository", path.display()))?.to_owned())
}

/// `path` relative to `top` in git's form; empty for the top.
fn below(top: &Path, path: &Path) -> Result<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt as _;
    let relative = path.strip_prefix(top).with_context(|| format!("`{}` is outside `{}`", path.display(), top.display()))?;
    Ok(relative.as_os_str().as_bytes().to_vec())
}

/// The path without `.` and `..`, resolved textually like Go's `filepath.Clean`.
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

/// The files that tags depend on: tracked ones, and untracked ones that git does not ignore. Ignored files, such as an
/// editor's, are in no tag and so must not be in an image with that tag.
#[derive(Clone, Debug)]
pub struct Counted {
    top: PathBuf,
    state: Arc<TreeState>,
}

impl Counted {
    /// For the checkout that contains `root`.
    pub fn new(root: &Path, state: Arc<TreeState>) -> Result<Self> {
        Ok(Self { top: find_top(root)?, state })
    }

    /// Whether `path` is such a file, or a folder that contains one.
    #[must_use]
    pub fn holds(&self, path: &Path) -> bool {
        below(&self.top, &clean(path)).is_ok_and(|name| self.state.covers(&name))
    }
}

type IdOf<'f> = dyn Fn(&TreeState, &[u8]) -> Option<String> + 'f;

/// The folders whose files enter the image, below the top, each with its place in the build context.
fn content_folders<'y>(place: &Place, package: &Path, yml: &'y BuildYml) -> Result<Vec<(Vec<u8>, &'y str)>> {
    let mut folders = vec![(place.package.clone(), "")];
    for (source, destination) in yml.sources()? {
        folders.push((below(&place.top, &clean(&package.join(source)))?, destination));
    }
    Ok(folders)
}

/// Ids of the extra sources in hex, in the order of the build.yml.
fn source_ids(state: &TreeState, place: &Place, package: &Path, yml: &BuildYml, id_of: &IdOf<'_>) -> Result<Vec<String>> {
    let id = |(source, _): (&str, &str)| {
        let path = clean(&package.join(source));
        let name = below(&place.top, &path).with_context(|| format!("invalid `extra-sources`: `{source}`"))?;
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
