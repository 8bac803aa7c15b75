//! `update-component-sha`: replaces a hash or an image's tag in the tree's ymls, Dockerfiles and Makefiles. Changes all files or none.

use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use common::{artifact::Pending, error::usage};
use regex::Regex;
use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

/// The files that may name an image.
const FILES: &[&str] = &["*.yml", "*.yaml", "*.yml.in", "*.yaml.in", "*/Dockerfile", "*/Makefile"];

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

/// A pattern, its replacement, and the name of the pattern's target for an error.
struct Change {
    pattern: Regex,
    replacement: String,
    what: String,
}

/// Changes the files and prints their names; with `--dry-run` only prints.
pub fn update_component_sha(ctx: &Ctx, options: &Options) -> Result<()> {
    let change = plan_change(ctx, options)?;
    let git = ctx.git(&ctx.root)?;
    let list = git.look(["ls-files", "-z", "--"].iter().chain(FILES))?;
    let mut pending = Vec::new();
    for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = String::from_utf8_lossy(name).into_owned();
        let path = ctx.root.join(&name);
        // Skip links: git lists a link's target too, under its own name.
        if format!("/{name}").contains("/vendor/") || !path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        if !change.pattern.is_match(&text) {
            continue;
        }
        let new = change.pattern.replace_all(&text, change.replacement.as_str());
        let file = if new == text || ctx.globals.dry_run { None } else { Some(prepare(&path, &new)?) };
        pending.push((name, file));
    }
    if pending.is_empty() {
        bail!("no yml, Dockerfile or Makefile of the tree names {}", change.what);
    }
    for (name, file) in pending {
        if let Some(file) = file {
            file.commit()?;
        }
        println!("{name}");
    }
    Ok(())
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
    let pattern = Regex::new(&format!(r"(?m)(\s|^){}:\S+", regex::escape(image))).context("an image's name makes a pattern")?;
    Ok(Change { pattern, replacement: format!("${{1}}{image}:{tag}").replace("$$", "$"), what: format!("the image `{image}`") })
}

fn replace_hash(old: &str, new: &str) -> Result<Change> {
    check_tag(new)?;
    if old.is_empty() {
        return Err(usage("the hash to replace is empty"));
    }
    let pattern = Regex::new(&format!(r"\b{}\b", regex::escape(old))).context("a hash makes a pattern")?;
    Ok(Change { pattern, replacement: new.replace('$', "$$"), what: format!("`{old}`") })
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

/// Writes the new file beside the old one, with the same permissions; `commit` renames it.
fn prepare(path: &Path, text: &str) -> Result<Pending> {
    let pending = Pending::new(path)?;
    let mut file = pending.create()?;
    let permissions = path.metadata().with_context(|| format!("cannot look at `{}`", path.display()))?.permissions();
    file.write_all(text.as_bytes())
        .and_then(|()| file.set_permissions(permissions))
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(pending)
}
