//! `bump`: writes the tags that packages will have into every file that names them, in the order of dependencies, shows the difference, and
//! commits it if asked to. `--check` changes nothing and fails where a tag is old.

use anyhow::{Context as _, Result, bail};
use checkout::{Checkout, context::Ctx};
use clap::ArgAction;
use common::{display::short, error::usage};
use helpers::{
    rewrite::write_all,
    update_component_sha::{self, Options},
};
use pkgbuild::bump::{self, BumpPlan, BumpStart, BumpTree, Stale};
use std::{collections::BTreeSet, path::PathBuf};

/// The packages and images whose tags to write.
#[derive(clap::Args)]
pub struct Bump {
    /// packages, or one NAME=TAG: the tag of a package or of any image, or an old hash and a new one [default: all packages]
    #[arg(value_name = "NAME[=TAG]", num_args = 0..)]
    names: Vec<String>,
    /// replace the hash OLD by NEW, and move what follows
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], action = ArgAction::Set, conflicts_with_all = ["names", "image"])]
    hash: Option<Vec<String>>,
    /// give the image IMAGE the tag NEW, and move what follows
    #[arg(long, num_args = 1..=2, value_names = ["IMAGE[:NEW]", "NEW"], action = ArgAction::Set, conflicts_with = "names")]
    image: Option<Vec<String>>,
    /// change nothing; fail if a file names another tag than the package has, or two Dockerfiles name an image with different tags
    #[arg(long, conflicts_with_all = ["commit", "hash", "image"])]
    check: bool,
    /// commit the changed files, and only these
    #[arg(long)]
    commit: bool,
    /// add a Signed-off-by line to the commit
    #[arg(long, requires = "commit")]
    signoff: bool,
}

/// `bump`.
pub fn run(ctx: &Ctx, arguments: Bump) -> Result<()> {
    let tree = ctx.tree()?;
    let packages = tree.bump_tree()?;
    let asked = Asked::of(ctx, &tree, &arguments)?;
    let plan = bump::plan(&packages, &asked.start)?;
    if arguments.check {
        return check(ctx, &packages, &plan, &arguments.names);
    }
    show(ctx, &plan)?;
    if arguments.commit {
        refuse_mixing(ctx, &plan)?;
    }
    if ctx.globals.dry_run || plan.rewrites.is_empty() {
        return Ok(());
    }
    write_all(plan.rewrites.iter().map(|rewrite| (rewrite.path.as_path(), rewrite.new.as_str())))?;
    if !arguments.commit {
        eprintln!("note: these are the tags of committed files: commit before the next build");
        return Ok(());
    }
    let sign: &[&str] = if arguments.signoff { &["--signoff"] } else { &[] };
    commit(ctx, &plan, &[], &message(&plan, asked.external.as_deref()), sign)
}

/// Moves what follows from changed `files` of the package `name`, shows the difference, and commits both under `subject` if there is one.
/// After an error no file that names a tag has changed.
pub fn follow(ctx: &Ctx, name: &str, files: &[PathBuf], subject: Option<&str>) -> Result<()> {
    let tree = ctx.tree()?;
    let only = Some(BTreeSet::from([name.to_owned()]));
    let plan = bump::plan(&tree.bump_tree()?, &BumpStart { only, ..BumpStart::default() })?;
    show(ctx, &plan)?;
    write_all(plan.rewrites.iter().map(|rewrite| (rewrite.path.as_path(), rewrite.new.as_str())))?;
    let Some(subject) = subject else {
        eprintln!("note: these are the tags of committed files: commit all together before the next build");
        return Ok(());
    };
    let [_, list] = message(&plan, None);
    commit(ctx, &plan, files, &[subject.to_owned(), list], &[])
}

/// What the command line asks for.
struct Asked {
    start: BumpStart,
    /// The words of a commit for an image or a hash that is none of the packages' own.
    external: Option<String>,
}

impl Asked {
    fn of(ctx: &Ctx, tree: &Checkout, arguments: &Bump) -> Result<Self> {
        let options = match (arguments.hash.as_deref(), arguments.image.as_deref()) {
            (Some([old, new]), _) => Some(Options::Hash { old: old.clone(), new: new.clone() }),
            (_, Some([image, tag])) => Some(Options::Image { image: image.clone(), tag: tag.clone() }),
            (_, Some([reference])) => {
                let split = reference.rsplit_once(':');
                let (image, tag) =
                    split.with_context(|| format!("`{reference}` has no tag\nhint: --image IMAGE NEW, or --image IMAGE:NEW"))?;
                Some(Options::Image { image: image.to_owned(), tag: tag.to_owned() })
            }
            _ => assignment(tree, &arguments.names)?,
        };
        if let Some(options) = options {
            let external = match &options {
                Options::Hash { old, new } => format!("{old} -> {new}"),
                Options::Image { image, tag } => format!("{image} -> {tag}"),
                Options::Package { folder } => folder.display().to_string(),
            };
            let changed = update_component_sha::edits(ctx, &options)?.into_iter().filter(|edit| edit.changes);
            let edits = changed.map(|edit| (edit.path, edit.new)).collect();
            return Ok(Self { start: BumpStart { only: Some(BTreeSet::new()), edits }, external: Some(external) });
        }
        let mut only = BTreeSet::new();
        for name in &arguments.names {
            let name = name.strip_prefix("pkg/").unwrap_or(name).trim_end_matches('/');
            // Refuses unknown names.
            tree.committed_reference(name)?;
            only.insert(name.to_owned());
        }
        let only = if only.is_empty() { None } else { Some(only) };
        Ok(Self { start: BumpStart { only, ..BumpStart::default() }, external: None })
    }
}

/// The change that `NAME=TAG` asks for, if it is one.
fn assignment(tree: &Checkout, names: &[String]) -> Result<Option<Options>> {
    let Some((name, tag)) = names.iter().find_map(|name| name.split_once('=')) else { return Ok(None) };
    if names.len() > 1 {
        return Err(usage("NAME=TAG stands alone\nhint: one command for each image"));
    }
    let (name, tag) = (name.to_owned(), tag.to_owned());
    let package = name.strip_prefix("pkg/").unwrap_or(&name).trim_end_matches('/');
    if tree.package_names()?.iter().any(|known| known == package) {
        let reference = tree.committed_reference(package)?;
        let (image, _) = reference.rsplit_once(':').context("a reference has a tag")?;
        return Ok(Some(Options::Image { image: image.to_owned(), tag }));
    }
    let is_hash = name.len() >= 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    Ok(Some(if is_hash { Options::Hash { old: name, new: tag } } else { Options::Image { image: name, tag } }))
}

/// Prints the difference and what it amounts to.
fn show(ctx: &Ctx, plan: &BumpPlan) -> Result<()> {
    if ctx.globals.json {
        let row = |stale: &Stale| {
            let file = short(&stale.path, &ctx.root).to_string();
            serde_json::json!({"file": file, "line": stale.line, "image": stale.image, "old": stale.old, "new": stale.new})
        };
        println!("{}", serde_json::to_string_pretty(&plan.stale.iter().map(row).collect::<Vec<_>>())?);
        return Ok(());
    }
    for rewrite in &plan.rewrites {
        print!("{}", bump::unified(&short(&rewrite.path, &ctx.root).to_string(), &rewrite.old, &rewrite.new));
    }
    if plan.rewrites.is_empty() {
        println!("every tag is the present one: nothing to change");
    } else {
        let images: BTreeSet<&str> = plan.stale.iter().map(|stale| stale.image.as_str()).collect();
        println!("{} new tags in {} files", images.len(), plan.rewrites.len());
    }
    Ok(())
}

/// Fails if a tag is old, with a line for each place. The lines are those that lf-edge/eve's own check prints: its workflow and its
/// scripts read them.
fn check(ctx: &Ctx, packages: &BumpTree<'_>, plan: &BumpPlan, names: &[String]) -> Result<()> {
    let name = |path: &PathBuf| short(path, &ctx.root).to_string();
    for Stale { path, image, old, new, .. } in &plan.stale {
        println!("{} uses {image}:{old} but {new} is built in this repo", name(path));
    }
    let differing = if names.is_empty() { bump::differing(packages)? } else { Vec::new() };
    for image in &differing {
        let (one, other) = (&image.one, &image.other);
        println!("tags differ for image {} in files {} and {}", image.image, name(&one.0), name(&other.0));
    }
    let words = std::iter::once("cargo xtask bump").chain(names.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    match (plan.stale.len(), differing.first()) {
        (0, None) => Ok(()),
        (0, Some(image)) => bail!(
            "{} names {}:{}, and {} names :{}\nhint: cargo xtask bump {}={}",
            name(&image.one.0),
            image.image,
            image.one.1,
            name(&image.other.0),
            image.other.1,
            image.image,
            image.one.1
        ),
        (count, _) => {
            bail!("{count} {} an old tag\nhint: {words}, or {words} --commit", if count == 1 { "place has" } else { "places have" })
        }
    }
}

/// Refuses a commit whose tags would be those of other files than it holds: the files that it changes, and the packages whose tags it
/// writes, must have no changes of their own.
fn refuse_mixing(ctx: &Ctx, plan: &BumpPlan) -> Result<()> {
    let files = plan.rewrites.iter().filter(|rewrite| rewrite.is_dirty).map(|rewrite| short(&rewrite.path, &ctx.root).to_string());
    let packages = plan.stale.iter().filter(|stale| stale.is_dirty).map(|stale| format!("pkg/{}", stale.package));
    let mixed: BTreeSet<String> = files.chain(packages).collect();
    if mixed.is_empty() {
        return Ok(());
    }
    let list = mixed.into_iter().collect::<Vec<_>>().join(", ");
    Err(usage(format!(
        "uncommitted changes would be mixed with the new tags: {list}\nhint: commit them first; or `cargo xtask bump` without --commit, and one commit of everything"
    )))
}

/// The subject and the list of a commit.
fn message(plan: &BumpPlan, external: Option<&str>) -> [String; 2] {
    let mut lines: BTreeSet<String> = external.map(str::to_owned).into_iter().collect();
    lines.extend(plan.stale.iter().map(|Stale { image, old, new, .. }| format!("{image}: {old} -> {new}")));
    let images: BTreeSet<&str> = plan.stale.iter().map(|stale| stale.image.as_str()).collect();
    let subject = match (external, images.len()) {
        (Some(external), 0) => external.split(" -> ").next().unwrap_or(external).to_owned(),
        (Some(external), count) => format!("{} and {count} that follow", external.split(" -> ").next().unwrap_or(external)),
        (None, 1) => images.into_iter().collect(),
        (None, count) => format!("{count} images"),
    };
    [format!("bump: {subject}"), lines.into_iter().collect::<Vec<_>>().join("\n")]
}

/// Commits the rewritten files, and `more`, which may be new or gone. If git refuses, the rewritten files have their old texts again.
fn commit(ctx: &Ctx, plan: &BumpPlan, more: &[PathBuf], message: &[String; 2], options: &[&str]) -> Result<()> {
    let git = ctx.git(&ctx.root)?;
    let mut words: Vec<String> = ["--literal-pathspecs", "commit", "--quiet", "--only"].map(str::to_owned).to_vec();
    words.extend(options.iter().map(|option| (*option).to_owned()));
    message.iter().for_each(|text| words.extend(["-m".to_owned(), text.clone()]));
    words.push("--".to_owned());
    words.extend(plan.rewrites.iter().map(|rewrite| &rewrite.path).chain(more).map(|path| path.display().to_string()));
    // git must know a new file before it can be named.
    let add = ["--literal-pathspecs", "add", "--intent-to-add", "--"].map(str::to_owned).into_iter();
    let new = more.iter().filter(|path| path.is_file()).map(|path| path.display().to_string()).collect::<Vec<_>>();
    let known = if new.is_empty() { Ok(()) } else { git.change("adding new files", add.chain(new).collect::<Vec<_>>()) };
    if let Err(error) = known.and_then(|()| git.change("committing the new tags", &words)) {
        write_all(plan.rewrites.iter().map(|rewrite| (rewrite.path.as_path(), rewrite.old.as_str())))?;
        return Err(error.context("git did not commit; the files are as they were"));
    }
    println!("{}", git.look_text(["log", "-1", "--no-show-signature", "--format=%h %s"])?);
    Ok(())
}
