//! `update-component-sha`: replaces a hash or an image's tag in the tree's ymls, Dockerfiles and Makefiles. Changes all files or none.

use crate::rewrite::write_all;
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use common::error::usage;
use pkgbuild::bump;
use regex::{NoExpand, Regex};
use std::path::{Path, PathBuf};

/// The files that may name an image.
const FILES: &[&str] = &["*.yml", "*.yaml", "*.yml.in", "*.yaml.in", "*/Dockerfile", "*/Dockerfile.in", "*/Makefile"];

/// The text to replace.
pub enum Options {
    /// A hash, wherever it is a whole word.
    Hash {
        /// The hash to find.
        old: String,
        /// The hash to write.
        new: String,
    },
    /// The tag of an image.
    Image {
        /// The image without its tag, such as `lfedge/eve-grub`.
        image: String,
        /// The tag to write.
        tag: String,
    },
    /// The tag of a package's image; the new tag is the package's current one.
    Package {
        /// The package's folder.
        folder: PathBuf,
    },
}

/// A file with another text.
pub struct Edit {
    /// Below the tree's root.
    pub name: String,
    /// Absolute.
    pub path: PathBuf,
    /// The text to write; may be the present one.
    pub new: String,
    /// Whether the text changes.
    pub changes: bool,
}

/// What is found and replaced.
enum Change {
    Word { pattern: Regex, new: String, old: String },
    Tag { image: String, tag: String },
}

impl Change {
    /// The new text; none if nothing is found.
    fn of(&self, text: &str) -> Option<String> {
        match self {
            Self::Word { pattern, new, .. } => pattern.is_match(text).then(|| pattern.replace_all(text, NoExpand(new)).into_owned()),
            Self::Tag { image, tag } => bump::names_image(text, image).then(|| bump::set_tag(text, image, tag)),
        }
    }
}

/// Changes the files and prints their names; with `--dry-run` only prints.
pub fn update_component_sha(ctx: &Ctx, options: &Options) -> Result<()> {
    let edits = edits(ctx, options)?;
    if !ctx.globals.dry_run {
        let changed = edits.iter().filter(|edit| edit.changes);
        write_all(changed.map(|edit| (edit.path.as_path(), edit.new.as_str())))?;
    }
    edits.iter().for_each(|edit| println!("{}", edit.name));
    Ok(())
}

/// The files that name what is replaced, each with its new text. Fails if there are none.
pub fn edits(ctx: &Ctx, options: &Options) -> Result<Vec<Edit>> {
    let change = plan_change(ctx, options)?;
    let git = ctx.git(&ctx.root)?;
    let list = git.look(["ls-files", "-z", "--"].iter().chain(FILES))?;
    let mut edits = Vec::new();
    for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = String::from_utf8_lossy(name).into_owned();
        let path = ctx.root.join(&name);
        // Skip links: git lists a link's target too, under its own name.
        if format!("/{name}").contains("/vendor/") || !path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let Some(new) = change.of(&text) else { continue };
        edits.push(Edit { name, path, changes: new != text, new });
    }
    if edits.is_empty() {
        let what = match &change {
            Change::Word { old, .. } => format!("`{old}`"),
            Change::Tag { image, .. } => format!("the image `{image}`"),
        };
        bail!("no yml, Dockerfile or Makefile of the tree names {what}");
    }
    Ok(edits)
}

fn plan_change(ctx: &Ctx, options: &Options) -> Result<Change> {
    let reference = match options {
        Options::Hash { old, new } => return replace_hash(old, new),
        Options::Image { image, tag } => format!("{image}:{tag}"),
        Options::Package { folder } => package_reference(ctx, folder)?,
    };
    let Some((image, tag)) = reference.rsplit_once(':').filter(|(image, _)| !image.is_empty()) else {
        return Err(usage(format!("`{reference}` is not IMAGE:TAG")));
    };
    check_tag(tag)?;
    Ok(Change::Tag { image: image.to_owned(), tag: tag.to_owned() })
}

fn replace_hash(old: &str, new: &str) -> Result<Change> {
    check_tag(new)?;
    if old.is_empty() {
        return Err(usage("the hash to replace is empty"));
    }
    let pattern = Regex::new(&format!(r"\b{}\b", regex::escape(old))).context("a hash makes a pattern")?;
    Ok(Change::Word { pattern, new: new.to_owned(), old: old.to_owned() })
}

/// `org/image:tag` of the package in `folder`.
fn package_reference(ctx: &Ctx, folder: &Path) -> Result<String> {
    let shown = folder.display();
    if !folder.is_dir() {
        return Err(usage(format!("the folder `{shown}` does not exist\nhint: --pkg pkg/xen-tools")));
    }
    let path = folder.canonicalize().with_context(|| format!("cannot look at `{shown}`"))?;
    let inside = path.parent().is_some_and(|parent| parent.canonicalize().ok() == ctx.profile.packages.folder.canonicalize().ok());
    match path.file_name() {
        Some(name) if inside => ctx.tree()?.package_reference(&name.to_string_lossy()),
        _ => Err(usage(format!("`{shown}` is no package of this tree: it is not in {}", ctx.profile.packages.folder.display()))),
    }
}

fn check_tag(tag: &str) -> Result<()> {
    let good = !tag.is_empty() && tag.len() <= 128 && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if good { Ok(()) } else { Err(usage(format!("`{tag}` is no tag: a tag has 1 to 128 letters, digits, `.`, `_` and `-`"))) }
}
