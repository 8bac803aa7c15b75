//! `size [FILE|GOAL]`: what a root file system is made of, by package, by folder and by Debian package.

use super::{build, owners::owners, visible::visible};
use anyhow::{Result, bail};
use checkout::context::Ctx;
use common::{
    display,
    error::{did_you_mean, usage},
};
use imagefs::{LookedUp, Part, Sizes, Spec, Volume, look_up, measure, open_file};
use plan::Goal;
use std::path::PathBuf;

/// What to measure.
#[derive(clap::Args)]
pub struct Size {
    /// an image as for `inspect` (live.raw:IMGA), or the goal that makes one: rootfs or config; default: rootfs.img of the last build
    #[arg(value_name = "FILE|GOAL")]
    what: Option<String>,
    /// show folders down to N levels
    #[arg(long, value_name = "N", default_value = "2")]
    depth: usize,
    /// show the N largest rows of each table; 0 shows all
    #[arg(long, value_name = "N", default_value = "20")]
    top: usize,
}

/// The goals whose artifact is a file system.
const GOALS: [&str; 2] = ["rootfs", "config"];

/// `size`.
pub fn run(ctx: &Ctx, args: Size) -> Result<()> {
    let (volume, file) = open(ctx, args.what.as_deref())?;
    let owners = owners(ctx, &volume, &file)?;
    let sizes = measure(&volume, &owners, args.depth)?;
    if ctx.globals.json {
        println!("{}", serde_json::to_string_pretty(&sizes)?);
        return Ok(());
    }
    print(&sizes, &display::short(&file, &ctx.root).to_string(), if args.top == 0 { usize::MAX } else { args.top });
    Ok(())
}

fn open(ctx: &Ctx, what: Option<&str>) -> Result<(Volume, PathBuf)> {
    let current = ctx.dist().current(ctx.knobs.image.arch);
    let of_goal = |part: &str| -> Result<(Volume, PathBuf)> {
        let file = current.part(part);
        if !file.exists() {
            bail!("`{}` does not exist\nhint: cargo xtask {}", file.display(), part.trim_end_matches(".img"));
        }
        Ok((open_file(&file, None)?, file))
    };
    let spec = match what {
        None => return of_goal("rootfs.img"),
        Some(text) => Spec::parse(text, None),
    };
    let text = what.unwrap_or_default();
    if !spec.file.exists() {
        return match build::goal_of(ctx, text) {
            Ok(Some(Goal::Rootfs)) => of_goal("rootfs.img"),
            Ok(Some(Goal::Config)) => of_goal("config.img"),
            _ => {
                let near = did_you_mean(text, GOALS).map_or_else(String::new, |near| format!("; did you mean {near}?"));
                Err(usage(format!("`{text}` is neither a file nor a goal that makes a file system: {}{near}", GOALS.join(", "))))
            }
        };
    }
    match look_up(&spec)? {
        LookedUp::Whole => Ok((open_file(&spec.file, None)?, spec.file)),
        LookedUp::Entry(volume, path) if path.is_empty() => Ok((*volume, spec.file)),
        LookedUp::Entry(..) => {
            Err(usage(format!("`{text}` is a file or folder in an image\nhint: size measures a whole file system, `inspect` lists")))
        }
    }
}

fn print(sizes: &Sizes, file: &str, top: usize) {
    let total = &sizes.total;
    let image = sizes.image.map_or_else(String::new, |image| format!(", {} as {}", display::size(image), sizes.format));
    println!("{file}: {} files with {}{image}", total.files, display::size(total.bytes));
    if total.stored.is_some() {
        println!("(compressed: files with the same bytes are stored once, and counted for the first of them)");
    }
    if !sizes.packages.is_empty() {
        table("by package", &sizes.packages, sizes, top);
        if let Some(why) = &sizes.packages_unknown {
            println!("  (the init images are not told apart: {})", visible(why));
        }
    }
    table("by folder", &sizes.folders, sizes, top);
    if !sizes.debian.is_empty() {
        println!("\nDebian packages, by the size that they declare; documentation is left out of an image");
        for (name, version, declared) in sizes.debian.iter().take(top) {
            let (name, version) = (visible(name), visible(version));
            println!("{:>11}  {name} {version}", declared.map_or_else(|| "?".to_owned(), display::size));
        }
        more(sizes.debian.len(), top);
    }
}

fn table(title: &str, parts: &[Part], sizes: &Sizes, top: usize) {
    match sizes.total.stored {
        Some(_) => println!("\n{:>11} {:>11} {:>6} {:>6}  {title}", "compressed", "bytes", "share", "files"),
        None => println!("\n{:>11} {:>6} {:>6}  {title}", "bytes", "share", "files"),
    }
    for part in parts.iter().take(top) {
        row(part, sizes);
    }
    more(parts.len(), top);
    if let (Some(image), Some(stored)) = (sizes.image, sizes.total.stored) {
        let rest = image.saturating_sub(stored);
        println!("{:>11} {:>11} {:>5.1}% {:>6}  (inodes, directories, tables)", display::size(rest), "", percent(rest, image), "");
    }
}

fn row(part: &Part, sizes: &Sizes) {
    let name = visible(part.name.strip_prefix("docker.io/").unwrap_or(&part.name));
    match (part.stored, sizes.image) {
        (Some(stored), Some(image)) => {
            println!(
                "{:>11} {:>11} {:>5.1}% {:>6}  {name}",
                display::size(stored),
                display::size(part.bytes),
                percent(stored, image),
                part.files
            );
        }
        _ => println!("{:>11} {:>5.1}% {:>6}  {name}", display::size(part.bytes), percent(part.bytes, sizes.total.bytes), part.files),
    }
}

fn more(count: usize, top: usize) {
    if count > top {
        println!("{:>11}  and {} more (--top 0 shows all)", "", count - top);
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}
