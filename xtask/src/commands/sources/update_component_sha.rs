//! `update-component-sha`: writes another hash or tag wherever the tree's ymls, Dockerfiles and Makefiles name an image. All files
//! are changed, or none.

use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{Tool, git::Git};
use clap::{Arg, ArgGroup, ArgMatches, Command};
use common::{artifact::Pending, error::usage};
use regex::Regex;
use std::{io::Write as _, path::Path};

/// Where images are named.
const FILES: &[&str] = &["*.yml", "*.yaml", "*.yml.in", "*.yaml.in", "*/Dockerfile", "*/Makefile"];

/// Its arguments.
pub fn arguments(command: Command) -> Command {
    command
        .arg(Arg::new("hash").long("hash").num_args(2).value_names(["OLD", "NEW"]).help("replace the hash OLD by NEW"))
        .arg(Arg::new("image").long("image").num_args(1..=2).value_names(["IMAGE[:NEW]", "NEW"]).help("give the image IMAGE the tag NEW"))
        .arg(Arg::new("pkg").long("pkg").num_args(1).value_name("DIR").help("give the image of the package in DIR its present tag"))
        .arg(Arg::new("words").num_args(2).value_names(["OLD", "NEW"]).help("the same as --hash OLD NEW"))
        .group(ArgGroup::new("mode").args(["hash", "image", "pkg", "words"]).required(true))
}

/// What is looked for, and what comes in its place.
struct Change {
    pattern: Regex,
    replacement: String,
    what: String,
}

/// `update-component-sha`.
pub fn run(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let change = change(ctx, arguments)?;
    let git = Git::new(ctx.tools.find(Tool::Git)?, ctx.tools.environment(), ctx.root.clone());
    let list = git.look(["ls-files", "-z", "--"].iter().chain(FILES))?;
    let mut pending = Vec::new();
    for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = String::from_utf8_lossy(name).into_owned();
        let path = ctx.root.join(&name);
        // A link's target has its own name in the list.
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

fn change(ctx: &Ctx, arguments: &ArgMatches) -> Result<Change> {
    let values = |name: &str| -> Vec<&str> { arguments.get_many::<String>(name).into_iter().flatten().map(String::as_str).collect() };
    if let ([old, new], _) | (_, [old, new]) = (values("hash").as_slice(), values("words").as_slice()) {
        check_tag(new)?;
        if old.is_empty() {
            return Err(usage("the hash to be replaced is empty"));
        }
        let pattern = Regex::new(&format!(r"\b{}\b", regex::escape(old))).context("a hash makes a pattern")?;
        return Ok(Change { pattern, replacement: new.replace('$', "$$"), what: format!("`{old}`") });
    }
    let reference = match (values("image").as_slice(), values("pkg").as_slice()) {
        ([image, tag], _) => format!("{image}:{tag}"),
        ([reference], _) => (*reference).to_owned(),
        (_, [folder]) => package_reference(ctx, folder)?,
        _ => return Err(usage("nothing says what to replace\nhint: cargo xtask update-component-sha --help")),
    };
    let Some((image, tag)) = reference.rsplit_once(':').filter(|(image, _)| !image.is_empty()) else {
        return Err(usage(format!("`{reference}` has no tag\nhint: --image IMAGE NEW, or --image IMAGE:NEW")));
    };
    check_tag(tag)?;
    let pattern = Regex::new(&format!(r"(?m)(\s|^){}:\S+", regex::escape(image))).context("an image's name makes a pattern")?;
    Ok(Change { pattern, replacement: format!("${{1}}{image}:{tag}").replace("$$", "$"), what: format!("the image `{image}`") })
}

/// `org/image:tag` of the package in `folder`.
fn package_reference(ctx: &Ctx, folder: &str) -> Result<String> {
    let path = Path::new(folder);
    if !path.is_dir() {
        return Err(usage(format!("the folder `{folder}` does not exist\nhint: --pkg pkg/xen-tools")));
    }
    let path = path.canonicalize().with_context(|| format!("cannot look at `{folder}`"))?;
    let inside = path.parent().is_some_and(|parent| parent.canonicalize().ok() == ctx.profile.packages.folder.canonicalize().ok());
    match path.file_name() {
        Some(name) if inside => ctx.tree()?.package_reference(&name.to_string_lossy()),
        _ => Err(usage(format!("`{folder}` is no package of this tree: it is not in {}", ctx.profile.packages.folder.display()))),
    }
}

fn check_tag(tag: &str) -> Result<()> {
    let good = !tag.is_empty() && tag.len() <= 128 && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if good { Ok(()) } else { Err(usage(format!("`{tag}` cannot be a tag: letters, digits, `.`, `_` and `-` can"))) }
}

/// The new file beside the old one, with its permissions.
fn prepare(path: &Path, text: &str) -> Result<Pending> {
    let pending = Pending::new(path)?;
    let mut file = pending.create()?;
    let permissions = path.metadata().with_context(|| format!("cannot look at `{}`", path.display()))?.permissions();
    file.write_all(text.as_bytes())
        .and_then(|()| file.set_permissions(permissions))
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(pending)
}
