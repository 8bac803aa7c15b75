//! Plans the new tags of packages: finds every file of a tree that names a package's image with another tag than the package will have,
//! and rewrites the files in the order of dependencies. A file that is rewritten changes the tag of the package that it belongs to, so the
//! packages that name that one follow. Reads files; writes none.

mod diff;
mod names;
mod order;

pub use diff::unified;
pub use names::{names_image, set_tag};

use crate::{
    build_yml::BuildYml,
    dockerfile::Dockerfile,
    tags::{self, Future, TreeState},
};
use anyhow::{Context as _, Result, bail};
use names::{Found, Images};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// A package of the tree.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its folder, absolute.
    pub dir: PathBuf,
    /// The names of its build.yml and of the files that replace it; the first decides if two give the same name.
    pub ymls: Vec<String>,
}

/// A tree of packages.
#[derive(Clone, Debug)]
pub struct BumpTree<'t> {
    /// What git says about the checkout.
    pub state: &'t TreeState,
    /// The tree's folder, absolute.
    pub root: &'t Path,
    /// The packages.
    pub packages: Vec<Member>,
    /// Folders of files that name images: their ymls and jq programs.
    pub templates: Vec<PathBuf>,
    /// Folders whose files keep the tags that they name.
    pub frozen: Vec<PathBuf>,
}

/// What to move.
#[derive(Clone, Debug, Default)]
pub struct BumpStart {
    /// Only these packages and what follows from them; all if `None`.
    pub only: Option<BTreeSet<String>>,
    /// Files (absolute) that get another text first.
    pub edits: BTreeMap<PathBuf, String>,
}

/// A file with another text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Absolute path.
    pub path: PathBuf,
    /// The text in the working tree.
    pub old: String,
    /// The text to write.
    pub new: String,
    /// Whether git shows a change of the file already.
    pub is_dirty: bool,
}

/// A place that names another tag than the package will have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// The file, absolute.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// The image without its tag.
    pub image: String,
    /// The tag in the file.
    pub old: String,
    /// The tag that the package will have.
    pub new: String,
    /// The package.
    pub package: String,
    /// Whether the package has uncommitted changes besides those of the plan.
    pub is_dirty: bool,
}

/// The rewrites of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BumpPlan {
    /// Files to write, sorted by path.
    pub rewrites: Vec<Rewrite>,
    /// The stale places, in the order of the packages that own them.
    pub stale: Vec<Stale>,
}

/// A file that names images.
struct File {
    /// Below the top.
    name: Vec<u8>,
    path: PathBuf,
    /// In the working tree.
    old: String,
    /// After the edits.
    text: String,
    found: Vec<Found>,
    /// The packages whose tags depend on the file.
    owners: Vec<usize>,
}

/// Plans the rewrites of `tree`.
pub fn plan(tree: &BumpTree<'_>, start: &BumpStart) -> Result<BumpPlan> {
    let mut planner = Planner::read(tree, start)?;
    let order = order::order(&planner.needs(), &tree.packages)?;
    for package in order {
        let own: Vec<usize> = planner.owned[package].clone();
        for file in own {
            planner.rewrite(file)?;
        }
    }
    for file in 0..planner.files.len() {
        planner.rewrite(file)?;
    }
    Ok(planner.finish())
}

struct Planner<'t> {
    tree: &'t BumpTree<'t>,
    images: Images,
    files: Vec<File>,
    /// The files that each package's tag depends on.
    owned: Vec<Vec<usize>>,
    /// Whether references to a package move.
    moving: Vec<bool>,
    done: BTreeSet<usize>,
    future: Future,
    tags: HashMap<(usize, String), String>,
    plan: BumpPlan,
}

impl<'t> Planner<'t> {
    fn read(tree: &'t BumpTree<'t>, start: &BumpStart) -> Result<Self> {
        let images = Images::of(&tree.packages)?;
        let owners = owners(tree)?;
        let (top, _) = tags::top_of(tree.root)?;
        let mut files = Vec::new();
        for name in candidates(tree, &top, start)? {
            let path = top.join(OsStr::from_bytes(&name));
            if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
                continue;
            }
            let Ok(old) = std::fs::read_to_string(&path) else { continue };
            let text = start.edits.get(&path).unwrap_or(&old).clone();
            let found = names::find(&text, is_dockerfile(&path).then_some(path.as_path()), &images);
            let parents = (0..=name.len()).filter(|at| name.get(*at).is_none_or(|byte| *byte == b'/'));
            let owners: BTreeSet<usize> = parents.filter_map(|at| owners.get(&name[..at])).flatten().copied().collect();
            files.push(File { name, path, old, text, found, owners: owners.into_iter().collect() });
        }
        let mut owned = vec![Vec::new(); tree.packages.len()];
        for (index, file) in files.iter().enumerate() {
            file.owners.iter().for_each(|owner| owned[*owner].push(index));
        }
        let moving = tree.packages.iter().map(|package| start.only.as_ref().is_none_or(|only| only.contains(&package.name))).collect();
        let (done, future, tags, plan) = (BTreeSet::new(), Future::default(), HashMap::new(), BumpPlan::default());
        Ok(Self { tree, images, files, owned, moving, done, future, tags, plan })
    }

    /// The packages that each package's files name.
    fn needs(&self) -> Vec<BTreeSet<usize>> {
        let of = |(package, files): (usize, &Vec<usize>)| {
            let found = files.iter().flat_map(|file| &self.files[*file].found);
            found.map(|found| self.images.package(found)).filter(|needed| *needed != package).collect()
        };
        self.owned.iter().enumerate().map(of).collect()
    }

    /// Gives every reference of a file its tag; the packages that it names are done.
    fn rewrite(&mut self, index: usize) -> Result<()> {
        if !self.done.insert(index) {
            return Ok(());
        }
        let mut text = self.files[index].text.clone();
        // From the end, so that ranges stay right.
        for at in (0..self.files[index].found.len()).rev() {
            let found = self.files[index].found[at].clone();
            let package = self.images.package(&found);
            if !self.moving[package] || self.files[index].owners.contains(&package) {
                continue;
            }
            let new = self.tag(&found)? + &found.suffix;
            let old = self.files[index].text[found.range.clone()].to_owned();
            if old == new {
                continue;
            }
            text.replace_range(found.range.clone(), &new);
            let path = self.files[index].path.clone();
            let line = 1 + self.files[index].text[..found.range.start].matches('\n').count();
            let is_dirty = self.is_dirty(package)?;
            let member = &self.tree.packages[package];
            self.plan.stale.push(Stale { path, line, image: found.image, old, new, package: member.name.clone(), is_dirty });
        }
        let file = &self.files[index];
        if text == file.old {
            return Ok(());
        }
        self.future.write(&file.name, text.as_bytes());
        file.owners.iter().for_each(|owner| self.moving[*owner] = true);
        let is_dirty = self.tree.state.has_changes(&file.name);
        self.plan.rewrites.push(Rewrite { path: file.path.clone(), old: file.old.clone(), new: text, is_dirty });
        self.check_variables(index)
    }

    /// The tag that the package of a reference will have.
    fn tag(&mut self, found: &Found) -> Result<String> {
        let (package, yml) = (self.images.package(found), self.images.yml(found).to_owned());
        if let Some(known) = self.tags.get(&(package, yml.clone())) {
            return Ok(known.clone());
        }
        let dir = &self.tree.packages[package].dir;
        let tag = tags::future_tag(self.tree.state, self.tree.root, dir, &yml, &self.future)?.tag;
        self.tags.insert((package, yml), tag.clone());
        Ok(tag)
    }

    fn is_dirty(&self, package: usize) -> Result<bool> {
        let member = &self.tree.packages[package];
        let first = member.ymls.first().context("a package has a build.yml")?;
        let folders = tags::counted_folders(self.tree.root, &member.dir, &BuildYml::read_names(&member.dir.join(first))?)?;
        Ok(folders.iter().any(|folder| self.tree.state.has_changes(folder)))
    }

    /// Fails if a Dockerfile puts a package's name together from variables in a way that rewriting did not reach.
    fn check_variables(&mut self, index: usize) -> Result<()> {
        let path = self.files[index].path.clone();
        let Some(rewrite) = self.plan.rewrites.last().filter(|_| is_dockerfile(&path)) else { return Ok(()) };
        let Ok(parsed) = Dockerfile::parse(&rewrite.new, &path.display().to_string()) else { return Ok(()) };
        for image in parsed.images() {
            let Some(found) = names::of_reference(&image.reference, &self.images) else { continue };
            let package = self.images.package(&found);
            if !self.moving[package] || self.files[index].owners.contains(&package) {
                continue;
            }
            let wanted = format!("{}:{}{}", found.image, self.tag(&found)?, found.suffix);
            if image.reference != wanted {
                bail!(
                    "`{}` names {} by variables, and cannot be rewritten to {wanted}\nhint: write the image as one word, or its tag as the default of one ARG",
                    path.display(),
                    image.reference
                );
            }
        }
        Ok(())
    }

    fn finish(mut self) -> BumpPlan {
        self.plan.rewrites.sort_by(|a, b| a.path.cmp(&b.path));
        self.plan.stale.reverse();
        self.plan.stale.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
        self.plan
    }
}

/// Folders and files below the top → the packages whose tags depend on them.
fn owners(tree: &BumpTree<'_>) -> Result<HashMap<Vec<u8>, Vec<usize>>> {
    let mut owners: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
    for (index, package) in tree.packages.iter().enumerate() {
        for yml in &package.ymls {
            let names = BuildYml::read_names(&package.dir.join(yml))?;
            for folder in tags::counted_folders(tree.root, &package.dir, &names)? {
                let list = owners.entry(folder).or_default();
                if list.last() != Some(&index) {
                    list.push(index);
                }
            }
        }
    }
    Ok(owners)
}

/// The files that may name images, below the top: Dockerfiles and their templates, the ymls of packages, and the templates of images.
fn candidates(tree: &BumpTree<'_>, top: &Path, start: &BumpStart) -> Result<BTreeSet<Vec<u8>>> {
    let (_, root) = tags::top_of(tree.root)?;
    let below_top = |path: &Path| path.strip_prefix(top).map(|path| path.as_os_str().as_bytes().to_vec()).ok();
    let frozen: Vec<Vec<u8>> = tree.frozen.iter().filter_map(|folder| below_top(folder)).collect();
    let templates: Vec<Vec<u8>> = tree.templates.iter().filter_map(|folder| below_top(folder)).collect();
    let packages: BTreeSet<Vec<u8>> = tree.packages.iter().filter_map(|package| below_top(&package.dir)).collect();
    let mut names: BTreeSet<Vec<u8>> = BTreeSet::new();
    for path in tree.state.files_now(top, &root) {
        let mut parts = path.rsplitn(2, |byte| *byte == b'/');
        let (name, folder) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let is_yml = [b".yml".as_slice(), b".yml.in", b".yq"].iter().any(|end| name.ends_with(end));
        let wanted = name == b"Dockerfile"
            || name == b"Dockerfile.in"
            || (is_yml && name.starts_with(b"build") && packages.contains(folder))
            || (is_yml && templates.iter().any(|template| is_below(&path, template)));
        let is_vendored = path.split(|byte| *byte == b'/').any(|part| part == b"vendor");
        if wanted && !is_vendored && !frozen.iter().any(|folder| is_below(&path, folder)) {
            names.insert(path);
        }
    }
    names.extend(start.edits.keys().filter_map(|path| below_top(path)));
    Ok(names)
}

fn is_below(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| folder.is_empty() || rest.is_empty() || rest[0] == b'/')
}

fn is_dockerfile(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "Dockerfile")
}

/// A package, what its tag depends on, and what it starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ties {
    /// Its name.
    pub name: String,
    /// The folders whose files decide its tag, below the tree's root.
    pub folders: Vec<String>,
    /// The packages that its files name, whatever their tags are now.
    pub needs: BTreeSet<String>,
}

/// How the packages of a tree depend on each other and on files.
pub fn ties(tree: &BumpTree<'_>) -> Result<Vec<Ties>> {
    // Frozen files name packages too.
    let all = BumpTree { frozen: Vec::new(), ..tree.clone() };
    let planner = Planner::read(&all, &BumpStart::default())?;
    let (top, _) = tags::top_of(tree.root)?;
    let mut folders = vec![Vec::new(); tree.packages.len()];
    for (folder, packages) in owners(tree)? {
        let path = top.join(OsStr::from_bytes(&folder));
        let name = path.strip_prefix(tree.root).unwrap_or(&path).display().to_string();
        packages.into_iter().for_each(|package| folders[package].push(name.clone()));
    }
    let link = |((member, mut folders), needs): ((&Member, Vec<String>), BTreeSet<usize>)| {
        folders.sort_unstable();
        Ties { name: member.name.clone(), folders, needs: needs.into_iter().map(|index| tree.packages[index].name.clone()).collect() }
    };
    Ok(tree.packages.iter().zip(folders).zip(planner.needs()).map(link).collect())
}

/// An image outside of the tree that Dockerfiles name with two tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differing {
    /// The image without its tag.
    pub image: String,
    /// A file, absolute, and its tag.
    pub one: (PathBuf, String),
    /// Another file and its tag.
    pub other: (PathBuf, String),
}

/// The images outside of the tree that stages of its Dockerfiles start from with different tags. Tags of packages are [`plan`]'s.
pub fn differing(tree: &BumpTree<'_>) -> Result<Vec<Differing>> {
    let images = Images::of(&tree.packages)?;
    let (top, _) = tags::top_of(tree.root)?;
    let mut first: BTreeMap<String, (PathBuf, String)> = BTreeMap::new();
    let mut differing = Vec::new();
    for name in candidates(tree, &top, &BumpStart::default())? {
        let path = top.join(OsStr::from_bytes(&name));
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let Ok(parsed) = Dockerfile::parse(&text, &path.display().to_string()) else { continue };
        for (image, tag) in parsed.bases() {
            if names::of_reference(&format!("{image}:{tag}"), &images).is_some() {
                continue;
            }
            let known = first.entry(image.clone()).or_insert_with(|| (path.clone(), tag.clone()));
            if known.1 != tag {
                differing.push(Differing { image, one: known.clone(), other: (path.clone(), tag) });
            }
        }
    }
    Ok(differing)
}

#[cfg(test)]
mod tests;
