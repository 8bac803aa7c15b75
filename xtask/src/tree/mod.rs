//! Read-only facts of a tree: its profile, what git says of it, its packages and their tags, its templates. Each is looked up
//! once, when it is first asked for.

mod profile;
mod template;
mod version;

pub use profile::{FILE as PROFILE, Profile};
pub use version::GitFacts;

use crate::{
    context::Ctx,
    error::{did_you_mean, usage},
    execute::stamp::hex,
    knobs::{Arch, Knobs},
    plan::{Facts, PackageFacts},
    tools::{Tool, git::Git},
};
use anyhow::{Context as _, Result};
use pkgbuild::{
    dockerfile::Dockerfile,
    tags::{self, TreeState},
};
use sha2::{Digest as _, Sha256};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

/// A tree as git sees it now.
pub struct Tree {
    root: PathBuf,
    dist: PathBuf,
    profile: Profile,
    knobs: Knobs,
    version: String,
    epoch: i64,
    commit: String,
    dirty: bool,
    state: TreeState,
    packages: RefCell<BTreeMap<String, PackageFacts>>,
}

impl Tree {
    /// Asks git, four times in all.
    pub fn read(ctx: &Ctx) -> Result<Self> {
        let git = Git::new(ctx.tools.find(Tool::Git)?, ctx.tools.environment(), ctx.root.clone());
        let (short_id, commit_time) = version::parse_log(&git.look_text(["log", "-1", "--abbrev=8", "--format=%h%n%ct"])?)?;
        let describe = git.look_text(["describe", "--always", "--tags"])?;
        let state = TreeState::parse(&git.look(tags::LS_TREE)?, &git.look(tags::STATUS)?)?;
        let facts = GitFacts {
            branch: state.branch().to_owned(),
            short_id,
            commit_time,
            describe,
            dirty_since: dirty_since(&ctx.root, &state, commit_time),
        };
        let version = ctx.knobs.rootfs_version.clone().unwrap_or_else(|| version::version(&facts, ctx.knobs.dev));
        Ok(Self {
            root: ctx.root.clone(),
            dist: ctx.dist(),
            profile: ctx.profile.clone(),
            knobs: ctx.knobs.clone(),
            version,
            epoch: ctx.environment.source_date_epoch().unwrap_or(commit_time),
            commit: state.commit().to_owned(),
            dirty: facts.dirty_since.is_some(),
            state,
            packages: RefCell::default(),
        })
    }

    /// The version: a folder's name below `dist/<arch>`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The commit's id when no tracked file is changed.
    #[must_use]
    pub fn commit_if_clean(&self) -> Option<String> {
        (!self.dirty).then(|| self.commit.clone())
    }

    /// The names of all packages: folders with a build.yml.
    pub fn package_names(&self) -> Result<Vec<String>> {
        let folder = &self.profile.packages;
        let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
        let mut names = BTreeSet::new();
        for entry in entries {
            let path = entry?.path();
            if path.join("build.yml").is_file()
                && let Some(name) = path.file_name()
            {
                names.insert(name.to_string_lossy().into_owned());
            }
        }
        Ok(names.into_iter().collect())
    }

    /// `org/image:tag` of a package.
    pub fn package_reference(&self, name: &str) -> Result<String> {
        Ok(self.look_up(name)?.reference)
    }

    /// The reference that a package has as it is committed, or will have once its present state is.
    pub fn committed_reference(&self, name: &str) -> Result<String> {
        let (dir, build_yml) = self.package_dir(name)?;
        let tag = tags::committed_tag(&self.state, &self.root, &dir, build_yml)?;
        Ok(tag.to_string())
    }

    fn package_dir(&self, name: &str) -> Result<(PathBuf, &'static str)> {
        let dir = self.profile.packages.join(name);
        let yml = if self.knobs.dev && dir.join("build-dev.yml").is_file() { "build-dev.yml" } else { "build.yml" };
        if name.is_empty() || name.contains('/') || !dir.is_dir() {
            let names = self.package_names()?;
            let near = did_you_mean(name, names.iter().map(String::as_str));
            let hint = near.map_or_else(|| format!("packages are {}", names.join(", ")), |near| format!("did you mean {near}?"));
            return Err(usage(format!("there is no package `{name}` in {}\nhint: {hint}", self.profile.packages.display())));
        }
        if !dir.join(yml).is_file() {
            return Err(usage(format!(
                "`{}` is no package: it has no build.yml\nhint: a build.yml names at least `image:`",
                dir.display()
            )));
        }
        Ok((dir, yml))
    }

    fn look_up(&self, name: &str) -> Result<PackageFacts> {
        if let Some(known) = self.packages.borrow().get(name) {
            return Ok(known.clone());
        }
        let (dir, build_yml) = self.package_dir(name)?;
        let options = tags::Options { hash: self.knobs.eve_hash.as_deref(), ..tags::Options::default() };
        let reference = tags::package_tag(&self.state, &self.root, &dir, build_yml, &options)?.to_string();
        let facts = PackageFacts { name: name.to_owned(), bases: self.bases(&dir)?, dir, reference, build_yml: build_yml.to_owned() };
        self.packages.borrow_mut().insert(name.to_owned(), facts.clone());
        Ok(facts)
    }

    /// The packages of this tree that a Dockerfile starts from or copies from, by their present tags. Others are images that
    /// must be in the cache.
    fn bases(&self, dir: &Path) -> Result<Vec<(String, bool)>> {
        let path = dir.join("Dockerfile");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let mut bases = BTreeSet::new();
        for image in Dockerfile::parse(&text, &path.display().to_string())?.images() {
            let Some((repository, tag)) = image.reference.rsplit_once(':') else { continue };
            let Some(name) = repository.rsplit('/').next().and_then(|image| image.strip_prefix("eve-")) else { continue };
            if self.profile.packages.join(name).is_dir() && self.package_reference(name)?.ends_with(&format!(":{tag}")) {
                bases.insert((name.to_owned(), image.on_build_machine));
            }
        }
        Ok(bases.into_iter().collect())
    }

    /// The package that a template's name stands for: `GPT_TOOLS` → `gpt-tools`, unless the profile says otherwise.
    fn template_package(&self, word: &str) -> String {
        let regular = || word.to_ascii_lowercase().replace('_', "-");
        self.profile.template_tags.get(&format!("{word}_TAG")).cloned().unwrap_or_else(regular)
    }

    fn full_version(&self, arch: Arch) -> String {
        format!("{}-{}-{arch}", self.version, self.knobs.hv)
    }
}

impl Facts for Tree {
    fn version(&self) -> &str {
        &self.version
    }

    fn epoch(&self) -> i64 {
        self.epoch
    }

    fn dist(&self) -> &Path {
        &self.dist
    }

    fn package(&self, name: &str) -> Result<PackageFacts> {
        self.look_up(name)
    }

    fn rootfs_yml(&self) -> Result<(String, PathBuf, Vec<String>)> {
        let template = self.profile.rootfs_template.clone();
        let text = std::fs::read_to_string(&template).with_context(|| format!("cannot read the template `{}`", template.display()))?;
        let arch = self.knobs.arch;
        let mut packages = BTreeSet::new();
        let name = crate::execute::short(&template, &self.root).to_string();
        let text = template::fill(&text, &name, &self.full_version(arch), &mut |word| {
            let package = self.template_package(word);
            let reference = self.package_reference(&package)?;
            packages.insert(package);
            Ok(format!("{reference}-{arch}"))
        })?;
        Ok((text, template, packages.into_iter().collect()))
    }

    fn folder_digest(&self, folder: &Path) -> Result<String> {
        folder_digest(folder)
    }

    fn profile(&self) -> &Profile {
        &self.profile
    }
}

/// The newest modification time of the tracked files that are changed.
fn dirty_since(root: &Path, state: &TreeState, commit_time: i64) -> Option<i64> {
    state.changed_tracked().map(|path| std::fs::symlink_metadata(root.join(path)).map_or(commit_time, |metadata| metadata.mtime())).max()
}

/// A digest over the names and contents below a folder.
fn folder_digest(folder: &Path) -> Result<String> {
    if !folder.is_dir() {
        return Err(usage(format!("the configuration folder `{}` does not exist\nhint: CONF_DIR names another", folder.display())));
    }
    let mut hash = Sha256::new();
    for entry in walkdir::WalkDir::new(folder).follow_links(true).sort_by_file_name() {
        let entry = entry.with_context(|| format!("cannot read the folder `{}`", folder.display()))?;
        hash.update(entry.path().strip_prefix(folder)?.as_os_str().as_bytes());
        hash.update([0, u8::from(entry.file_type().is_dir())]);
        if entry.file_type().is_file() {
            let mut bytes = Vec::new();
            std::fs::File::open(entry.path())
                .and_then(|mut file| file.read_to_end(&mut bytes))
                .with_context(|| format!("cannot read `{}`", entry.path().display()))?;
            hash.update(bytes.len().to_le_bytes());
            hash.update(&bytes);
        }
    }
    Ok(format!("sha256:{}", hex(&hash.finalize())))
}
