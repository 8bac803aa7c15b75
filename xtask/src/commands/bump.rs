//! `bump`: writes the tags that packages will have into every file that names them, in the order of dependencies, shows the difference, and
//! commits it if asked to. `--check` changes nothing and fails where a tag is old.

use anyhow::{Context as _, Result, bail};
use checkout::{Checkout, context::Ctx};
use child::git::Git;
use clap::ArgAction;
use common::{display::short, error::usage};
use helpers::{
    rewrite::write_all,
    update_component_sha::{self, Options},
};
use pkgbuild::bump::{self, BumpPlan, BumpStart, BumpTree, Stale};
use std::{collections::BTreeSet, io::Write as _, path::PathBuf};

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
    if let Some(name) = arguments.names.iter().find(|name| arguments.check && name.contains('=')) {
        return Err(usage(format!(
            "--check compares the tags of packages and sets none: `{name}`\nhint: cargo xtask bump {name} -n shows what it would change"
        )));
    }
    let tree = ctx.tree()?;
    let packages = tree.bump_tree()?;
    let asked = Asked::of(ctx, &tree, &arguments)?;
    let plan = bump::plan(&packages, &asked.start)?;
    if arguments.check {
        return check(ctx, &packages, &plan, &arguments.names);
    }
    show(ctx, &plan, asked.external.as_ref())?;
    if arguments.commit {
        refuse_mixing(ctx, &plan, None)?;
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
    commit(ctx, &plan, &[], &message(&plan, asked.external.as_ref().map(words).as_deref()), sign)
}

/// Moves what follows from changed `files` of the package `name`, shows the difference, and commits both under `subject` if there is one;
/// refuses if other changes would get into the commit.
/// After an error no file that names a tag has changed.
pub fn follow(ctx: &Ctx, name: &str, files: &[PathBuf], subject: Option<&str>) -> Result<()> {
    let tree = ctx.tree()?;
    let only = Some(BTreeSet::from([name.to_owned()]));
    let plan = bump::plan(&tree.bump_tree()?, &BumpStart { only, ..BumpStart::default() })?;
    show(ctx, &plan, None)?;
    if subject.is_some() {
        refuse_mixing(ctx, &plan, Some(name))?;
    }
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
    /// The image or the hash that gets another value besides the packages' own tags.
    external: Option<Options>,
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
            let changed = update_component_sha::edits(ctx, &options)?.into_iter().filter(|edit| edit.changes);
            let edits = changed.map(|edit| (edit.path, edit.new)).collect();
            return Ok(Self { start: BumpStart { only: Some(BTreeSet::new()), edits }, external: Some(options) });
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

/// What changes, for a person.
fn words(options: &Options) -> String {
    match options {
        Options::Hash { old, new } => format!("{old} -> {new}"),
        Options::Image { image, tag } => format!("{image} -> {tag}"),
        Options::Package { folder } => folder.display().to_string(),
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
fn show(ctx: &Ctx, plan: &BumpPlan, external: Option<&Options>) -> Result<()> {
    if ctx.globals.json {
        let row = |stale: &Stale| {
            let file = short(&stale.path, &ctx.root).to_string();
            serde_json::json!({"file": file, "line": stale.line, "image": stale.image, "old": stale.old, "new": stale.new})
        };
        let mut rows: Vec<serde_json::Value> = plan.stale.iter().map(row).collect();
        for rewrite in external.iter().flat_map(|_| &plan.rewrites) {
            let file = short(&rewrite.path, &ctx.root).to_string();
            let lines = rewrite.old.lines().zip(rewrite.new.lines()).enumerate();
            for (at, (old, _)) in lines.filter(|(_, (old, new))| old != new) {
                if let Some((image, old, new)) = external.and_then(|options| edited(options, old)) {
                    rows.push(serde_json::json!({"file": file, "line": at + 1, "image": image, "old": old, "new": new}));
                }
            }
        }
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    for rewrite in &plan.rewrites {
        print!("{}", bump::unified(&short(&rewrite.path, &ctx.root).to_string(), &rewrite.old, &rewrite.new));
    }
    println!("{}", amount(plan, external));
    Ok(())
}

/// What `options` replace in a line: the image, if it is one, its old tag and the new one; or the hashes.
fn edited<'o>(options: &'o Options, line: &'o str) -> Option<(Option<&'o str>, &'o str, &'o str)> {
    match options {
        Options::Hash { old, new } => line.contains(old.as_str()).then_some((None, old, new)),
        Options::Image { image, tag } if bump::names_image(line, image) => {
            let (_, rest) = line.split_once(&format!("{image}:"))?;
            let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && !"._-".contains(letter)).unwrap_or(rest.len());
            (rest[..end] != *tag).then_some((Some(image), &rest[..end], tag))
        }
        _ => None,
    }
}

/// One line: how many tags change in how many files.
fn amount(plan: &BumpPlan, external: Option<&Options>) -> String {
    if plan.rewrites.is_empty() {
        return "every tag is the present one: nothing to change".to_owned();
    }
    let count = |count: usize, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    let images = plan.stale.iter().map(|stale| stale.image.as_str()).collect::<BTreeSet<_>>().len();
    let files = count(plan.rewrites.len(), "file");
    match external.map(words) {
        None => format!("{} in {files}", count(images, "new tag")),
        Some(external) if images == 0 => format!("{external} in {files}"),
        Some(external) => format!("{external}, and {} that follow, in {files}", count(images, "new tag")),
    }
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
/// writes, must have no changes of their own. Those of the package `own` are in the commit.
fn refuse_mixing(ctx: &Ctx, plan: &BumpPlan, own: Option<&str>) -> Result<()> {
    let files = plan.rewrites.iter().filter(|rewrite| rewrite.is_dirty).map(|rewrite| short(&rewrite.path, &ctx.root).to_string());
    let others = plan.stale.iter().filter(|stale| stale.is_dirty && own != Some(stale.package.as_str()));
    let packages = others.map(|stale| format!("pkg/{}", stale.package));
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

/// Commits the rewritten files, and `more`, which may be new or gone. If git refuses, the rewritten files have their old texts again,
/// and git's index is as it was.
fn commit(ctx: &Ctx, plan: &BumpPlan, more: &[PathBuf], message: &[String; 2], options: &[&str]) -> Result<()> {
    let git = ctx.git(&ctx.root)?;
    let mut words: Vec<String> = ["--literal-pathspecs", "commit", "--quiet", "--only"].map(str::to_owned).to_vec();
    words.extend(options.iter().map(|option| (*option).to_owned()));
    message.iter().for_each(|text| words.extend(["-m".to_owned(), text.clone()]));
    words.push("--".to_owned());
    words.extend(plan.rewrites.iter().map(|rewrite| &rewrite.path).chain(more).map(|path| path.display().to_string()));
    // git must know a new file before it can be named.
    let new = new_files(&git, more)?;
    let on_new = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).chain(new.iter().cloned()).collect::<Vec<_>>();
    let add = on_new(&["--literal-pathspecs", "add", "--intent-to-add", "--"]);
    let known = if new.is_empty() { Ok(()) } else { git.change("adding new files", add) };
    if let Err(error) = known.and_then(|()| git.change("committing the new tags", &words)) {
        let forget = || git.change("forgetting new files", on_new(&["--literal-pathspecs", "reset", "--quiet", "--"]));
        let written = write_all(plan.rewrites.iter().map(|rewrite| (rewrite.path.as_path(), rewrite.old.as_str())));
        let undone = if new.is_empty() { written } else { forget().and(written) };
        return Err(error.context(match undone {
            Ok(()) => "git did not commit; the files are as they were".to_owned(),
            Err(why) => format!("git did not commit, and not all files are as they were: {why:#}"),
        }));
    }
    // The commit is made: nothing after it is an error, because a caller would undo what is committed.
    let made =
        git.look_text(["log", "-1", "--no-show-signature", "--format=%h %s"]).unwrap_or_else(|_| format!("committed: {}", message[0]));
    let _ = writeln!(std::io::stdout(), "{made}");
    Ok(())
}

/// Those of `files` that exist and that git does not know.
fn new_files(git: &Git, files: &[PathBuf]) -> Result<Vec<String>> {
    let mut new = Vec::new();
    for path in files.iter().filter(|path| path.is_file()).map(|path| path.display().to_string()) {
        if git.look(["--literal-pathspecs", "ls-files", "-z", "--", &path])?.is_empty() {
            new.push(path);
        }
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use checkout::context::Globals;
    use child::{Tools, environment::Environment};
    use pkgbuild::bump::Rewrite;
    use std::{fs, path::Path};

    const OLD: &str = "0123456789abcdef0123456789abcdef01234567";

    /// A tree like lf-edge/eve: `alpine`, and two files that name it. All is committed.
    fn tree(root: &Path) -> Ctx {
        for (name, text) in [
            ("images/rootfs.yml.in", format!("init:\n  - lfedge/eve-alpine:{OLD}\n")),
            ("images/modifiers/hv/kvm.yq", ".".to_owned()),
            ("kernel-version.mk", "KERNEL_TAG=k\n".to_owned()),
            ("pkg/alpine/build.yml", "org: lfedge\nimage: eve-alpine\n".to_owned()),
            ("pkg/alpine/Dockerfile", "FROM scratch\n".to_owned()),
            ("pkg/pillar/build.yml", "org: lfedge\nimage: eve-pillar\n".to_owned()),
            ("pkg/pillar/Dockerfile", format!("FROM lfedge/eve-alpine:{OLD}\nFROM lfedge/eve-rust:1.9@sha256:1\n")),
        ] {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), text).unwrap();
        }
        let knobs = knobs::Knobs::resolve(&knobs::RawKnobs::default(), root).unwrap();
        let profile = checkout::read_profile(root).unwrap();
        let environment = Environment::of_process();
        let tools = Tools::new(environment.all().map(|(name, value)| (name.into(), value.into())), false, &|_| false);
        let globals =
            Globals { dry_run: false, offline: true, json: false, jobs: 1, verbose: false, shell_on_failure: false, place: String::new() };
        let engine = plan::EngineKind::Native;
        let ctx = Ctx { root: root.to_owned(), engine, globals, knobs, profile, tools, environment, ahead: checkout::Ahead::default() };
        let git = ctx.git(root).unwrap();
        for words in
            [&["init", "-q"][..], &["config", "user.name", "n"], &["config", "user.email", "e@x"], &["add", "."], &["commit", "-qm", "a"]]
        {
            git.change("making a tree", words).unwrap();
        }
        ctx
    }

    fn status(ctx: &Ctx) -> String {
        ctx.git(&ctx.root).unwrap().look_text(["status", "--porcelain"]).unwrap()
    }

    #[test]
    fn what_follows_is_committed_alone_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let ctx = tree(&root);
        let (new, template) = (root.join("pkg/alpine/new"), root.join("images/rootfs.yml.in"));
        fs::write(&new, "x").unwrap();
        let files = [new];

        // A person's own edit of a file that names the tag.
        fs::write(&template, format!("# mine\ninit:\n  - lfedge/eve-alpine:{OLD}\n")).unwrap();
        let error = follow(&ctx, "alpine", &files, Some("alpine: x")).unwrap_err().to_string();
        assert!(error.contains("would be mixed with the new tags: images/rootfs.yml.in\n"), "{error}");
        let edits = " M images/rootfs.yml.in\n?? pkg/alpine/new";
        assert_eq!(status(&ctx), edits);
        ctx.git(&root).unwrap().change("undoing", ["checkout", "-q", "images"]).unwrap();

        // git refuses: the index does not keep the new file.
        let sign = |words: &[&str]| ctx.git(&root).unwrap().change("setting", ["config"].iter().chain(words)).unwrap();
        sign(&["gpg.program", "/nowhere/gpg"]);
        sign(&["commit.gpgSign", "true"]);
        let error = common::error::render(&follow(&ctx, "alpine", &files, Some("alpine: x")).unwrap_err());
        assert!(error.contains("git did not commit; the files are as they were"), "{error}");
        assert_eq!(status(&ctx), "?? pkg/alpine/new");
        sign(&["commit.gpgSign", "false"]);

        follow(&ctx, "alpine", &files, Some("alpine: x")).unwrap();
        assert_eq!(status(&ctx), "");
        let tag = ctx.git(&root).unwrap().look_text(["rev-parse", "HEAD:pkg/alpine"]).unwrap();
        assert!(fs::read_to_string(template).unwrap().contains(&format!(":{tag}\n")));
    }

    #[test]
    fn an_edit_of_another_image_is_counted_and_listed() {
        let image = Options::Image { image: "lfedge/eve-rust".to_owned(), tag: "1.95".to_owned() };
        let rust = "FROM lfedge/eve-rust:1.9@sha256:1 AS rust";
        assert_eq!(edited(&image, rust), Some((Some("lfedge/eve-rust"), "1.9", "1.95")));
        assert_eq!(edited(&image, "FROM lfedge/eve-alpine:1"), None);
        let hash = Options::Hash { old: OLD.to_owned(), new: "f".to_owned() };
        assert_eq!(edited(&hash, &format!("tag: {OLD}")), Some((None, OLD, "f")));

        let rewrite = Rewrite { path: PathBuf::from("/t/a"), old: rust.to_owned(), new: "n".to_owned(), is_dirty: false };
        let plan = BumpPlan { rewrites: vec![rewrite], stale: Vec::new() };
        assert_eq!(amount(&plan, Some(&image)), "lfedge/eve-rust -> 1.95 in 1 file");
        assert_eq!(amount(&BumpPlan::default(), Some(&image)), "every tag is the present one: nothing to change");
    }
}
