//! `bump NAME`: writes the present tag of a package into every Dockerfile that starts from it, instead of by hand.

use crate::{context::Ctx, error::usage, execute::artifact::write_atomically};
use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, ArgMatches, Command};
use regex::Regex;

/// Its arguments.
pub fn arguments(command: Command) -> Command {
    command
        .arg(Arg::new("name").value_name("NAME").help("folder below pkg/; the archive that others start from when unset"))
        .arg(Arg::new("check").long("check").action(ArgAction::SetTrue).help("change nothing; fail when a Dockerfile names an older tag"))
}

/// `bump`.
pub fn run(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let tree = ctx.tree()?;
    let name = arguments
        .get_one::<String>("name")
        .or(ctx.profile.packages.archive.as_ref())
        .context("no package is named, and this tree has no archive")?;
    let reference = tree.committed_reference(name)?;
    let (image, _) = reference.rsplit_once(':').context("a reference has a tag")?;
    let pin = Regex::new(&format!(r"{}:[0-9A-Za-z._-]+", regex::escape(image))).context("a package's name makes a pattern")?;
    let mut changed = Vec::new();
    for package in tree.package_names()? {
        let path = ctx.profile.packages.folder.join(&package).join("Dockerfile");
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let new = pin.replace_all(&text, regex::NoExpand(&reference));
        if new == text {
            continue;
        }
        if !arguments.get_flag("check") {
            write_atomically(&path, new.as_bytes())?;
            println!("{}", crate::execute::short(&path, &ctx.root));
        }
        changed.push(package);
    }
    if arguments.get_flag("check") && !changed.is_empty() {
        return Err(usage(format!("{} do not start from {reference}\nhint: cargo xtask bump {name}", changed.join(", "))));
    }
    Ok(())
}
