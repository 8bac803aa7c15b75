//! `report [TARGET]`: gathers what a page shows (the plan, recorded times, the image, the build before it) and writes the page.

use super::{build, owners::owners};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::{artifact::write_atomically, display, error::usage};
use imagefs::{Volume, compare, open_file};
use plan::Layout;
use report::{ChangeReport, ReportPage, bill_of, image_of, steps_of};
use std::path::{Path, PathBuf};

/// What to show.
#[derive(clap::Args)]
pub struct Arguments {
    /// the target whose plan is shown: live, installer-raw, rootfs, pkg/NAME …
    #[arg(value_name = "TARGET", default_value = "live")]
    target: String,
    /// what the image is compared with: a version below dist/<arch>, or a root file system [default: the version built before it]
    #[arg(long, value_name = "VERSION|FILE")]
    against: Option<String>,
    /// the page [default: report.html in the folder of the version]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// `report`.
pub fn run(ctx: &Ctx, args: Arguments) -> Result<()> {
    let tree = ctx.tree()?;
    let plan = build::plan(ctx, &tree, &build::planned_goal(ctx, &args.target)?)?;
    let present = ctx.layout(&tree);
    let out = args.out.clone().unwrap_or_else(|| present.report());
    let layout = shown(ctx, present);
    if ctx.globals.dry_run {
        println!("write {}", display::short(&out, &ctx.root));
        return Ok(());
    }
    let states = executor::survey(&plan, build::engine(ctx, &tree)?.as_ref(), &build::execution(ctx, &tree)?)?;
    let mut page = ReportPage {
        title: format!("{} {} {} {}", ctx.profile.tree.name, tree.version(), ctx.knobs.image.hv, ctx.knobs.image.arch),
        facts: facts(ctx, &layout, tree.version()),
        target: args.target.clone(),
        steps: steps_of(&plan, &ctx.root, &|node| states.get(&node.id)?.due()),
        runs: executor::read_times(&layout),
        ..ReportPage::default()
    };
    let file = layout.part(ROOTFS);
    let other = args.against.as_deref().map(|text| named(ctx, text)).transpose()?;
    if file.is_file() {
        let volume = open_file(&file, None)?;
        let owners = owners(ctx, &volume, &file)?;
        page.image = Some(image_of(&display::short(&real(&file), &ctx.root).to_string(), &volume, &owners)?);
        page.packages = bill_of(&volume)?;
        page.changes = other.or_else(|| version_before(ctx, &layout)).map(|old| changes(ctx, &old, &file, &volume)).transpose()?;
    } else if let Some(other) = other {
        return Err(usage(format!(
            "`{}` cannot be compared: `{}` has not been built\nhint: cargo xtask rootfs",
            other.display(),
            display::short(&file, &ctx.root)
        )));
    }
    write_atomically(&out, page.to_html()?.as_bytes())?;
    println!("{}, {}", display::short(&out, &ctx.root), display::size(std::fs::metadata(&out).map_or(0, |file| file.len())));
    Ok(())
}

/// The root file system in a version's folder of parts.
const ROOTFS: &str = "rootfs.img";

/// The build that the page shows: the present version, or the last one that was built if the present one was not.
fn shown(ctx: &Ctx, present: Layout) -> Layout {
    let last = ctx.dist().current(ctx.knobs.image.arch);
    if present.part(ROOTFS).is_file() || !last.part(ROOTFS).is_file() { present } else { Layout::at(real(last.path())) }
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The rows at the head of the page: the build of image and times, if that is not of the present `version`, the engine, and knobs that are
/// not at their defaults.
fn facts(ctx: &Ctx, shown: &Layout, version: &str) -> Vec<(String, String)> {
    let built = name_of(shown.path());
    let other = (built != version).then(|| format!("{built}, the last that was built: {version} has no root file system"));
    let mut facts: Vec<(String, String)> = other.map(|text| ("image and times of".to_owned(), text)).into_iter().collect();
    facts.push(("engine".to_owned(), ctx.engine.as_str().to_owned()));
    let set = ctx.knobs.origins.iter().filter(|origin| origin.source != knobs::Source::Default && !origin.value.is_empty());
    facts.extend(set.map(|origin| (origin.name.clone(), format!("{} ({})", origin.value, origin.source))));
    facts
}

/// The root file system that a person names: a file, or a version.
fn named(ctx: &Ctx, text: &str) -> Result<PathBuf> {
    let version = ctx.dist().version(ctx.knobs.image.arch, text).part(ROOTFS);
    [PathBuf::from(text), version].into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let built: Vec<String> = versions(ctx).into_iter().map(|(_, folder)| name_of(&folder)).collect();
        let built = if built.is_empty() { "none is built".to_owned() } else { built.join(", ") };
        usage(format!("`{text}` is no file and no version with a root file system ({built})"))
    })
}

fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The built versions with the times of their root file systems, the newest last.
fn versions(ctx: &Ctx) -> Vec<(std::time::SystemTime, PathBuf)> {
    let folders = std::fs::read_dir(ctx.dist().arch(ctx.knobs.image.arch)).into_iter().flatten().flatten();
    let folders = folders.map(|entry| entry.path()).filter(|path| !path.is_symlink());
    let time = |folder: PathBuf| Some((std::fs::metadata(Layout::at(&folder).part(ROOTFS)).ok()?.modified().ok()?, folder));
    let mut found: Vec<_> = folders.filter_map(time).collect();
    found.sort();
    found
}

/// The root file system of the version that was built before that of `layout`; none for the oldest.
fn version_before(ctx: &Ctx, layout: &Layout) -> Option<PathBuf> {
    let here = real(layout.path());
    let all = versions(ctx);
    let at = all.iter().position(|(_, folder)| real(folder) == here)?;
    let (_, folder) = all.get(at.checked_sub(1)?)?;
    Some(Layout::at(folder).part(ROOTFS))
}

fn changes(ctx: &Ctx, old: &Path, new: &Path, volume: &Volume) -> Result<ChangeReport> {
    let before = open_file(old, None)?;
    let found = compare(&before, volume, false).with_context(|| format!("cannot compare with `{}`", old.display()))?;
    let name = |path: &Path| display::short(&real(path), &ctx.root).to_string();
    Ok(ChangeReport { old: name(old), new: name(new), found })
}
