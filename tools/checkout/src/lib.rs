//! Reads the facts of a tree: its profile, git's state and version, packages and their tags, templates. Each is looked up once, when it is
//! first needed; nothing is changed. `plan` makes plans from the facts. Depends on `plan`, `child`, `pkgbuild`, `knobs`, `common`,
//! `diskimage` (dates) and `ymlpatch`.

mod ahead;
mod bases;
mod bumping;
pub mod context;
mod folders;
mod generated;
mod image_names;
mod kernel_tag;
mod kernel_yml;
mod look;
mod makefile;

mod package_tags;
mod profile;
mod release;
mod seen;
mod settings;
mod template;
mod template_images;
mod template_places;
mod unified_diff;
mod version;

pub use ahead::Ahead;
pub use folders::digest as folder_digest;
pub use profile::{is_tree, programs, read_profile};
pub use template::patch as patch_template;
pub use template_places::TemplatePlaces;
pub use version::GitFacts;

use crate::context::Ctx;
use anyhow::{Context as _, Result};
use child::git::Git;
use common::{Arch, digest::hex, error::did_you_mean, error::usage};
use knobs::Knobs;
use look::GitState;
use pkgbuild::{
    known::Known,
    tags::{self, Seen, TreeState},
};
use plan::{Capabilities, Composed, Facts, PackageFacts, PackageWork, Profile, Release, VariantKnob};
use sha2::{Digest as _, Sha256};
use std::{
    cell::{OnceCell, RefCell},
    collections::{BTreeSet, HashMap},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

/// The file in the cache folder with the facts of Dockerfiles and build.ymls.
const KNOWN: &str = "packages/known";

/// A tree in its present state.
pub struct Checkout {
    root: PathBuf,
    profile: Profile,
    knobs: Knobs,
    version: String,
    epoch: i64,
    commit: String,
    dirty: bool,
    /// All files; large, so shared with the builder.
    state: Arc<TreeState>,
    seen: Option<Seen>,
    describe: String,
    git: Git,
    can: Capabilities,
    builder: (String, String),
    packages: RefCell<HashMap<String, PackageFacts>>,
    known: Arc<Known>,
    base_packages: RefCell<HashMap<String, Option<String>>>,
    release: OnceCell<Release>,
    /// The kernel's image, which each template asks for.
    kernel_tag: OnceCell<String>,
}

impl Checkout {
    /// Reads the state of the tree from git.
    pub fn read(ctx: &Ctx) -> Result<Self> {
        let git = ctx.git(&ctx.root)?;
        let GitState { short_id, commit_time, describe, state, seen } =
            look::look(&ctx.root, &ctx.environment, &git, &|top| ctx.ahead.take(top))?;
        let facts = GitFacts {
            branch: state.branch().to_owned(),
            short_id,
            commit_time,
            describe,
            dirty_since: dirty_since(&ctx.root, &state, commit_time),
        };
        let version = ctx.knobs.image.rootfs_version.clone().unwrap_or_else(|| own_version(ctx, &facts));
        version::check_length(&version)?;
        Ok(Self {
            root: ctx.root.clone(),
            profile: ctx.profile.clone(),
            knobs: ctx.knobs.clone(),
            version,
            epoch: ctx.environment.source_date_epoch()?.unwrap_or(commit_time),
            commit: state.commit().to_owned(),
            dirty: facts.dirty_since.is_some(),
            state: Arc::new(state),
            seen,
            describe: facts.describe,
            git,
            can: ctx.capabilities(),
            builder: ctx.environment.builder(),
            packages: RefCell::default(),
            known: Arc::new(Known::new(Some(ctx.environment.cache().join(KNOWN)))),
            base_packages: RefCell::default(),
            release: OnceCell::new(),
            kernel_tag: OnceCell::new(),
        })
    }

    /// The files of packages that count for their tags.
    pub fn counted(&self) -> Result<tags::Counted> {
        tags::Counted::new(&self.root, Arc::clone(&self.state))
    }

    /// What is known of Dockerfiles.
    #[must_use]
    pub fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known)
    }

    /// The version, the name of a folder below `dist/<arch>`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The build.yml files that are generated from templates: path and text.
    pub fn generated_ymls(&self) -> Result<Vec<(PathBuf, String)>> {
        let mut ymls = Vec::new();
        for name in self.templated_packages()? {
            let dir = self.profile.packages.folder.join(&name);
            let text = self.yml_of_template(&name, &dir, &dir.join(generated::TEMPLATE))?;
            ymls.push((dir.join("build.yml"), text));
        }
        Ok(ymls)
    }

    /// Whether a tracked file is changed.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// The commit's id, if no tracked file is changed.
    #[must_use]
    pub fn commit_if_clean(&self) -> Option<String> {
        (!self.dirty).then(|| self.commit.clone())
    }

    /// The first file below `folder` that is not as in the commit: changed, untracked or ignored.
    pub fn first_uncommitted(&self, folder: &Path) -> Result<Option<PathBuf>> {
        let (top, _) = tags::top_of(&self.root)?;
        for file in folders::files(folder)? {
            let file = folder.join(file);
            let name = file.strip_prefix(&top).unwrap_or(&file).as_os_str().as_bytes();
            if self.state.id_of(name).is_none() || self.state.has_changes(name) {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// The names of all packages: folders with a build.yml or its template. A name that begins with `.` is not a package's, but that of a
    /// draft.
    pub fn package_names(&self) -> Result<Vec<String>> {
        let folder = &self.profile.packages.folder;
        let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
        let mut names = BTreeSet::new();
        for entry in entries {
            let path = entry?.path();
            if ["build.yml", generated::TEMPLATE].iter().any(|yml| self.has_file(&path.join(yml)))
                && let Some(name) = path.file_name().map(|name| name.to_string_lossy())
                && !name.starts_with('.')
            {
                names.insert(name.into_owned());
            }
        }
        Ok(names.into_iter().collect())
    }

    /// The packages whose build.yml is generated from a template.
    pub fn templated_packages(&self) -> Result<Vec<String>> {
        let folder = &self.profile.packages.folder;
        Ok(self.package_names()?.into_iter().filter(|name| self.plain_yml(&folder.join(name)) == generated::TEMPLATE).collect())
    }

    /// The packages that `pkgs` builds, in order.
    fn packages_of_pkgs(&self) -> Result<Vec<String>> {
        let (mut names, arch) = (self.package_names()?, self.knobs.image.arch);
        names.retain(|name| self.profile.in_bulk(name, arch, &self.knobs.image.hv));
        names.retain(|name| arch == self.knobs.host_arch || !self.profile.packages.programs.contains_key(name));
        // Packages of other architectures are left out; if there are only such, the plan says what is wrong.
        let mut for_arch = names.clone();
        for_arch.retain(|name| {
            let has_arch = |package: &PackageFacts| package.arches.is_empty() || package.arches.iter().any(|known| known == arch.as_str());
            self.look_at(name, has_arch).unwrap_or(true)
        });
        if !for_arch.is_empty() {
            names = for_arch;
        }
        let first = &self.profile.packages.first;
        names.sort_by_cached_key(|name| (!first.contains(name), name.clone()));
        if let Some(only) = self.profile.packages.only.get(arch.as_str()) {
            names.sort_by_key(|name| only.iter().position(|known| known == name));
        }
        Ok(names)
    }

    /// `org/image:tag` of a package.
    pub fn package_reference(&self, name: &str) -> Result<String> {
        self.look_at(name, |package| package.reference.clone())
    }

    /// The reference of a package if its present state were committed.
    pub fn committed_reference(&self, name: &str) -> Result<String> {
        let (dir, build_yml) = self.package_dir(name)?;
        let tag = tags::committed_tag(&self.state, &self.root, &dir, &build_yml)?;
        Ok(tag.to_string())
    }

    /// The folder of a package, and its build.yml for these knobs: the template, if it is generated.
    fn package_dir(&self, name: &str) -> Result<(PathBuf, String)> {
        let dir = self.profile.packages.folder.join(name);
        let yml = self
            .variant(&dir, |knob| match knob {
                VariantKnob::Dev => self.knobs.image.dev,
                VariantKnob::Rstats => self.knobs.image.rstats,
            })
            .unwrap_or_else(|| self.plain_yml(&dir).to_owned());
        let is_name = !name.is_empty() && !name.contains('/');
        if is_name && self.has_file(&dir.join(&yml)) {
            return Ok((dir, yml));
        }
        if !is_name || !dir.is_dir() {
            let names = self.package_names()?;
            let near = did_you_mean(name, names.iter().map(String::as_str));
            let hint = near.map_or_else(|| format!("packages are {}", names.join(", ")), |near| format!("did you mean {near}?"));
            return Err(usage(format!("there is no package `{name}` in {}\nhint: {hint}", self.profile.packages.folder.display())));
        }
        let folder = dir.display();
        Err(usage(format!("`{folder}` is not a package: it has no build.yml\nhint: a build.yml needs at least `image:`")))
    }

    /// The file that replaces build.yml in the package at `dir` with these switches on.
    fn variant(&self, dir: &Path, is_on: impl Fn(VariantKnob) -> bool) -> Option<String> {
        let live = self.profile.packages.variants.iter().filter(|variant| variant.knob.is_none_or(&is_on));
        let names = live.map(|variant| variant.yml.replace("{hv}", &self.knobs.image.hv).replace("{platform}", &self.knobs.image.platform));
        names.into_iter().find(|yml| self.has_file(&dir.join(yml)))
    }

    /// What `take` takes of a package's facts, which are found out once.
    fn look_at<T>(&self, name: &str, take: impl FnOnce(&PackageFacts) -> T) -> Result<T> {
        if let Some(known) = self.packages.borrow().get(name) {
            return Ok(take(known));
        }
        let facts = self.look_up(name)?;
        let taken = take(&facts);
        self.packages.borrow_mut().insert(name.to_owned(), facts);
        Ok(taken)
    }

    fn look_up(&self, name: &str) -> Result<PackageFacts> {
        let (dir, yml) = self.package_dir(name)?;
        let path = dir.join(&yml);
        let names = self.known.names(&path, self.file_id(&path).as_deref())?;
        let own_tag = |hash: Option<&str>| {
            tags::tag_of_yml(&self.state, &self.root, &dir, &names, &tags::Options { top: self.top_of(&dir), ..self.tag_options(hash) })
                .with_context(|| format!("cannot compute the tag of the package `{}`", dir.display()))
        };
        let tag = |yml: &str, hash: Option<&str>| tags::package_tag(&self.state, &self.root, &dir, yml, &self.tag_options(hash));
        let plain_yml = self.plain_yml(&dir);
        let own = own_tag(None)?;
        let (own, shown, is_dirty) = (own.to_string(), package_tags::shown_hash(&own), own.is_dirty);
        let plain = if yml == plain_yml || !self.has_file(&dir.join(plain_yml)) { own.clone() } else { tag(plain_yml, None)?.to_string() };
        let build_args = self.build_arguments(name, &dir)?;
        let hash = self.forced_hash()?.or_else(|| package_tags::own_hash(generated::variant_hash(&yml, &own, &plain), &shown, &build_args));
        let reference = match &hash {
            Some(hash) => own_tag(Some(hash))?.to_string(),
            None => own,
        };
        // A registry has images of other repositories' builds, whatever the build.yml says now.
        let arches = if self.can.packages_are_published { vec![] } else { names.arches.clone() };
        let generated_dockerfile = self.generated_dockerfile(&dir)?;
        Ok(PackageFacts {
            name: name.to_owned(),
            arches,
            bases: self.bases(&dir, generated_dockerfile.as_deref())?,
            reference,
            plain,
            hash,
            build_args,
            changes: self.unseen_changes(&dir, &names)?,
            hidden: self.hidden_change(&dir, &names)?,
            is_dirty,
            yml_template: (yml == generated::TEMPLATE).then(|| dir.join(&yml)),
            build_yml: if yml == generated::TEMPLATE { "build.yml".to_owned() } else { yml },
            generated_dockerfile,
            dir,
        })
    }

    /// The tag that replaces every package's own: EVE_HASH, or the release's if a release is pushed.
    fn forced_hash(&self) -> Result<Option<String>> {
        if self.knobs.image.eve_hash.is_none() && self.knobs.packages.work == PackageWork::Push {
            return Ok(self.release()?.hash);
        }
        Ok(self.knobs.image.eve_hash.clone())
    }

    /// The Dockerfile generated from a package's template, if it has one; linuxkit needs the file beside the template.
    fn generated_dockerfile(&self, dir: &Path) -> Result<Option<String>> {
        let Some(template) = self.profile.templates.dockerfiles.as_ref().map(|name| dir.join(name)).filter(|path| self.has_file(path))
        else {
            return Ok(None);
        };
        self.fill_template(&template, &mut BTreeSet::new()).map(Some)
    }

    /// A template's text with its tags filled in. Adds the packages in it to `packages`.
    fn fill_template(&self, template: &Path, packages: &mut BTreeSet<String>) -> Result<String> {
        let text = std::fs::read_to_string(template).with_context(|| format!("cannot read the template `{}`", template.display()))?;
        let name = common::display::short(template, &self.root).to_string();
        self.fill_text(&text, &|_, line| format!("{name}:{line}"), packages)
    }

    fn fill_text(&self, text: &str, place: &dyn Fn(&str, usize) -> String, packages: &mut BTreeSet<String>) -> Result<String> {
        template::fill(text, place, &self.words(), &mut |word| {
            if let Some(tag) = self.kernel_tag().filter(|_| word == "KERNEL") {
                return tag;
            }
            let package = self.template_package(word);
            // `pillar:build-dev.yml` is the image of a variant of a package.
            let (package, yml) = package.split_once(':').map_or((package.as_str(), None), |(package, yml)| (package, Some(yml)));
            let reference = match yml {
                Some(yml) => self.reference_of_yml(package, &self.package_dir(package)?.0, yml)?,
                None => self.package_reference(package)?,
            };
            packages.insert(package.to_owned());
            Ok(format!("{reference}{}", self.arch_suffix()))
        })
    }

    /// The suffix of image tags in templates.
    fn arch_suffix(&self) -> String {
        let arch = self.knobs.image.docker_arch_tag.as_deref().unwrap_or(self.knobs.image.arch.as_str());
        if self.profile.templates.every_arch { String::new() } else { format!("-{arch}") }
    }

    /// Words of templates that are not images, and their values.
    fn words(&self) -> Vec<(&str, String)> {
        let fill = |text: &String| text.replace("{hv}", &self.knobs.image.hv).replace("{platform}", &self.knobs.image.platform);
        let own = self.profile.templates.words.iter().map(|(word, text)| (word.as_str(), fill(text)));
        [("EVE_VERSION", self.full_version(self.knobs.image.arch))].into_iter().chain(own).collect()
    }

    /// The package of a template's name: `GPT_TOOLS` → `gpt-tools`, unless the profile has another for it.
    fn template_package(&self, word: &str) -> String {
        let regular = || word.to_ascii_lowercase().replace('_', "-");
        self.profile.templates.tags.get(&format!("{word}_TAG")).cloned().unwrap_or_else(regular)
    }

    fn full_version(&self, arch: Arch) -> String {
        format!("{}-{}-{arch}", self.version, self.knobs.image.hv)
    }
}

impl Facts for Checkout {
    fn version(&self) -> &str {
        &self.version
    }

    fn epoch(&self) -> i64 {
        self.epoch
    }

    fn package(&self, name: &str) -> Result<PackageFacts> {
        self.look_at(name, PackageFacts::clone)
    }

    fn bulk_packages(&self) -> Result<Vec<String>> {
        self.packages_of_pkgs()
    }

    fn generated_yml(&self, package: &PackageFacts) -> Result<Option<String>> {
        package.yml_template.as_ref().map(|template| self.yml_of_template(&package.name, &package.dir, template)).transpose()
    }

    fn yml(&self, of: Composed) -> Result<(String, PathBuf, Vec<String>)> {
        let (templates, knobs) = (&self.profile.templates, &self.knobs);
        let installer = || templates.installer.clone().context("only trees with an installer template plan an installer");
        let (template, patches) = match of {
            Composed::Rootfs => (templates.rootfs.clone(), templates.patches.clone()),
            Composed::Installer => (installer()?, templates.installer_patches.clone()),
            Composed::Verification => (installer()?, [&templates.installer_patches[..], &templates.verification_patches].concat()),
        };
        let mut text = std::fs::read_to_string(&template).with_context(|| format!("cannot read the template `{}`", template.display()))?;
        let patches = programs(&patches, &self.root, &knobs.image.hv, &knobs.image.platform);
        for patch in &patches {
            text = template::patch(&text, patch, templates.patch_language)?;
        }
        let mut packages = BTreeSet::new();
        let place = |word: &str, line: usize| {
            let origin = if patches.is_empty() { None } else { TemplatePlaces::read(&self.root, &template, &patches).of_word(word) };
            origin.unwrap_or_else(|| format!("{}:{line}", common::display::short(&template, &self.root)))
        };
        let text = self.fill_text(&text, &place, &mut packages)?;
        Ok((text, template, packages.into_iter().collect()))
    }

    fn fill(&self, template: &Path) -> Result<String> {
        self.fill_template(template, &mut BTreeSet::new())
    }

    fn release(&self) -> Result<Release> {
        if let Some(known) = self.release.get() {
            return Ok(known.clone());
        }
        let tags = self.git.look_text(["for-each-ref", "--format=%(refname:strip=2)", "refs/tags"])?;
        let mut release = release::of_push(self.state.branch(), &self.describe, &tags, self.profile.tree.exact_releases);
        if let Some(platform) = platform_name(self.can, &self.knobs) {
            release.release = release.release.map(|name| format!("{name}-{platform}"));
        }
        if let Some(hash) = &self.knobs.image.eve_hash {
            release.hash = Some(hash.clone());
        }
        if let Some(name) = self.knobs.packages.release.as_deref() {
            release.release = Some(name.to_owned());
        }
        Ok(self.release.get_or_init(|| release).clone())
    }

    fn root(&self) -> &Path {
        &self.root
    }

    fn capabilities(&self) -> Capabilities {
        self.can
    }

    fn folder_digest(&self, folder: &Path) -> Result<String> {
        folders::digest(folder)
    }

    fn folder_files(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        folders::files(folder)
    }

    fn file_digest(&self, file: &Path) -> Result<String> {
        let bytes = std::fs::read(file).map_err(|error| usage(format!("cannot read `{}`: {error}", file.display())))?;
        Ok(format!("sha256:{}", hex(&Sha256::digest(bytes))))
    }

    fn file_digest_if_there(&self, file: &Path) -> Result<Option<String>> {
        match file.try_exists() {
            Ok(false) => Ok(None),
            _ => self.file_digest(file).map(Some),
        }
    }

    fn profile(&self) -> &Profile {
        &self.profile
    }
}

/// The computed version, with the kernel if it is not the tree's own, and the platform on trees with platforms in names.
fn own_version(ctx: &Ctx, facts: &GitFacts) -> String {
    let plain = version::version(facts, &ctx.knobs.image.snapshot_version, ctx.knobs.image.dev, ctx.profile.tree.exact_releases);
    let kernel = ctx.profile.kernel.as_ref().and_then(|kernel| Some((ctx.knobs.image.kernel_tag.as_deref()?, kernel.prefix.as_str())));
    version::with_platform(plain, kernel, platform_name(ctx.capabilities(), &ctx.knobs))
}

/// The platform in names; none for `generic`.
fn platform_name(can: Capabilities, knobs: &Knobs) -> Option<&str> {
    Some(knobs.image.platform.as_str()).filter(|platform| can.platforms_have_names && *platform != "generic")
}

/// The newest modification time of the changed tracked files.
fn dirty_since(root: &Path, state: &TreeState, commit_time: i64) -> Option<i64> {
    state.changed_tracked().map(|path| std::fs::symlink_metadata(root.join(path)).map_or(commit_time, |metadata| metadata.mtime())).max()
}
