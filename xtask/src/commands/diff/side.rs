//! One side of a comparison: the file systems of an image or of a built version, or the packages and sources of a commit.

use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use common::error::{did_you_mean, usage};
use imagefs::{Changed, Comparison, FileChange, ImageContents, LookedUp, Spec, images_of, line_changes, look_up, open_all, split_image};
use pkgbuild::{
    build_yml::BuildYml,
    tags::{self, TreeState},
};
use plan::Layout;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// A partition of a side, or its only file system.
pub(super) struct Part {
    /// The partition, or `rootfs` and `config` of a version; empty for the only one.
    pub name: String,
    pub contents: ImageContents,
    /// Whether it is CONFIG, whose lines are shown.
    pub is_configuration: bool,
}

/// A side.
pub(super) enum Side {
    Parts(Vec<Part>),
    Tree(Box<Commit>),
}

impl Side {
    pub(super) fn open(ctx: &Ctx, text: &str) -> Result<Self> {
        let spec = Spec::parse(text, None);
        if spec.file.is_file() {
            return of_image(&spec).map(Self::Parts);
        }
        let versions = ctx.dist().arch(ctx.knobs.image.arch);
        let folders = [PathBuf::from(text), versions.join(text)];
        if let Some(folder) = folders.iter().find(|folder| !text.is_empty() && Layout::at(folder.as_path()).part("rootfs.img").is_file()) {
            return of_version(folder).map(Self::Parts);
        }
        let git = ctx.git(&ctx.root)?;
        let name = format!("{text}^{{commit}}");
        if !text.starts_with('-') && git.finds(["rev-parse", "--verify", "--quiet", &name])? {
            let commit = git.look_text(["rev-parse", "--verify", "--quiet", &name])?;
            return Ok(Self::Tree(Box::new(Commit::read(ctx, &commit)?)));
        }
        if let Some(folder) = folders.iter().find(|folder| !text.is_empty() && folder.is_dir()) {
            bail!("`{}` has no installer/rootfs.img\nhint: cargo xtask rootfs", folder.display());
        }
        let built: Vec<String> = std::fs::read_dir(&versions)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        let near = did_you_mean(text, built.iter().map(String::as_str)).map_or_else(String::new, |near| format!("; did you mean {near}?"));
        let built = if built.is_empty() { "none is built".to_owned() } else { built.join(", ") };
        Err(usage(format!("`{text}` is no file, no version below `{}` ({built}), and no commit{near}", versions.display())))
    }
}

fn of_image(spec: &Spec) -> Result<Vec<Part>> {
    if !spec.steps.is_empty() {
        let LookedUp::Entry(volume, path) = look_up(spec)? else { bail!("`{}` has no steps", spec.file.display()) };
        if !path.is_empty() {
            bail!("`/{}` is a file or folder in an image\nhint: diff compares whole file systems", String::from_utf8_lossy(&path));
        }
        return Ok(vec![Part { name: String::new(), is_configuration: false, contents: ImageContents::Files(volume) }]);
    }
    let part = |(name, contents): (String, ImageContents)| Part { is_configuration: name == "CONFIG", name, contents };
    Ok(open_all(&spec.file)?.into_iter().map(part).collect())
}

fn of_version(folder: &Path) -> Result<Vec<Part>> {
    let layout = Layout::at(folder);
    let mut parts = Vec::new();
    for (name, file) in [("rootfs", "rootfs.img"), ("config", "config.img")] {
        let path = layout.part(file);
        if path.is_file() {
            let contents = ImageContents::Files(Box::new(imagefs::open_file(&path, None)?));
            parts.push(Part { name: name.to_owned(), is_configuration: name == "config", contents });
        }
    }
    Ok(parts)
}

/// Names and tags of the images of a built side.
pub(super) fn packages_of(parts: &[Part]) -> Vec<(String, String)> {
    let volumes = parts.iter().filter_map(|part| match &part.contents {
        ImageContents::Files(volume) => Some(volume),
        ImageContents::Bytes(..) | ImageContents::Unread(_) => None,
    });
    volumes.flat_map(|volume| images_of(volume)).map(|reference| split_image(&reference.image)).collect()
}

/// What a commit says without a build: tags of packages, templates and configuration.
pub(super) struct Commit {
    pub commit: String,
    /// The folder of a package by the name of its image, with the image's tag.
    packages: BTreeMap<String, String>,
    /// Templates and configuration by path.
    texts: BTreeMap<String, Text>,
}

/// A file or link of a commit.
#[derive(PartialEq, Eq)]
struct Text {
    /// Git's mode: `100644`, `100755`, or `120000` of a link, whose bytes are its target.
    mode: String,
    bytes: Vec<u8>,
}

/// The folders of templates and of the configuration, relative to the tree, with `/` at the end.
fn folders_of_texts(ctx: &Ctx) -> BTreeSet<String> {
    let templates = &ctx.profile.templates;
    let programs = [&templates.patches, &templates.installer_patches, &templates.verification_patches];
    let files = [Some(&templates.rootfs), templates.installer.as_ref()].into_iter().flatten().map(PathBuf::as_path);
    let files = files.chain(programs.into_iter().flatten().map(Path::new));
    let folders = files.filter_map(Path::parent).chain([ctx.knobs.image.conf_dir.as_path()]);
    let relative = folders.filter_map(|folder| {
        // A folder outside is of no commit.
        if folder.is_absolute() { folder.strip_prefix(&ctx.root).ok() } else { Some(folder) }
    });
    relative.filter(|folder| !folder.as_os_str().is_empty()).map(|folder| format!("{}/", folder.display())).collect()
}

impl Commit {
    fn read(ctx: &Ctx, commit: &str) -> Result<Self> {
        let git = ctx.git(&ctx.root)?;
        let listing = git.look(["ls-tree", "-r", "-t", "-z", "--full-tree", commit])?;
        // No status: what is not committed is no part of a commit.
        let state = TreeState::parse(&listing, b"")?;
        let prefix = git.look_text(["rev-parse", "--show-prefix"])?;
        let folder = ctx.profile.packages.folder.strip_prefix(&ctx.root).unwrap_or(&ctx.profile.packages.folder).display().to_string();
        let paths = listing.split(|byte| *byte == 0).filter_map(|record| std::str::from_utf8(record).ok()?.split_once('\t'));
        let (mut packages, mut texts) = (BTreeMap::new(), BTreeMap::new());
        let folders = folders_of_texts(ctx);
        for (head, path) in paths {
            let Some(path) = path.strip_prefix(&prefix) else { continue };
            let below = path.strip_prefix(&format!("{folder}/")).and_then(|path| path.split_once('/'));
            if let Some((package, "build.yml")) = below {
                let text = git.look_text(["show", &format!("{commit}:{prefix}{path}")])?;
                let yml = BuildYml::parse(&text, path)?;
                let place = ctx.root.join(&folder).join(package);
                let tag = tags::tag_of_yml(&state, &ctx.root, &place, &yml, &tags::Options::default());
                let tag = tag.with_context(|| format!("cannot compute the tag of {package} in {commit}"))?;
                packages.insert(tag.repository(), tag.tag.clone());
            }
            let mode = head.split(' ').next().unwrap_or_default();
            if folders.iter().any(|folder| path.starts_with(folder.as_str())) && (mode.starts_with("100") || mode == "120000") {
                let bytes = git.look(["show", &format!("{commit}:{prefix}{path}")])?;
                texts.insert(path.to_owned(), Text { mode: mode.to_owned(), bytes });
            }
        }
        Ok(Self { commit: commit.to_owned(), packages, texts })
    }

    /// The packages that an image is made of, with this commit's tags. An image's tag ends with its architecture.
    pub(super) fn packages_among(&self, built: &[(String, String)]) -> Vec<(String, String)> {
        let tag = |(name, tag): &(String, String)| {
            let arch = tag.rsplit_once('-').map_or("", |(_, arch)| arch);
            Some((name.clone(), format!("{}-{arch}", self.packages.get(name)?)))
        };
        built.iter().filter_map(tag).collect()
    }

    /// What differs between two commits.
    pub(super) fn compare(&self, new: &Self) -> Result<Comparison> {
        let list = |commit: &Self| commit.packages.iter().map(|(name, tag)| (name.clone(), tag.clone())).collect::<Vec<_>>();
        let mut found = Comparison { packages: imagefs::package_changes(&list(self), &list(new)), ..Comparison::default() };
        let paths: BTreeSet<&String> = self.texts.keys().chain(new.texts.keys()).collect();
        for path in paths {
            compare_texts(path, self.texts.get(path), new.texts.get(path), &mut found);
        }
        eprintln!("note: packages, templates and configuration are compared; files and sizes need a build of both commits");
        Ok(found)
    }
}

/// Adds what differs between two states of a file: its lines, and the file itself if the lines do not show all.
fn compare_texts(path: &str, old: Option<&Text>, new: Option<&Text>, found: &mut Comparison) {
    if old == new {
        return;
    }
    let text = |text: Option<&Text>| text.map(|text| String::from_utf8_lossy(&text.bytes).into_owned()).unwrap_or_default();
    let size = |text: Option<&Text>| text.map_or(0, |text| text.bytes.len() as u64);
    let lines = line_changes(&text(old), &text(new));
    let change = match (old, new) {
        (None, _) => Changed::Added,
        (_, None) => Changed::Removed,
        // A file that has become a link, or the other way round, is another type.
        (Some(old), Some(new)) if old.bytes == new.bytes && old.mode[..3] == new.mode[..3] => Changed::Attributes,
        _ => Changed::Content,
    };
    let has_same_mode = old.zip(new).is_none_or(|(old, new)| old.mode == new.mode);
    // Without lines, the final newline, bytes that are no text or an empty file differ.
    if lines.is_empty() || !has_same_mode {
        found.files.push(FileChange { path: path.to_owned(), change, old_size: size(old), new_size: size(new) });
    }
    if !lines.is_empty() {
        found.lines.push((path.to_owned(), lines));
    }
}
