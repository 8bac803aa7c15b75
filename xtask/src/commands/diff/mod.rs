//! `diff A B`: what changed between two images, built versions, or commits. The exit code is that of diff: 0 the same, 1 different; trouble
//! has the codes of all verbs, and 2 instead of 1.

mod print;
mod side;

use anyhow::Result;
use checkout::context::Ctx;
use common::{
    eprintln,
    error::{Ended, render, usage},
};
use imagefs::{Comparison, compare_contents};
use side::Side;
use std::path::Path;

/// The sides.
#[derive(clap::Args)]
pub struct Diff {
    /// the old side: an image as for `inspect`, a version below dist/<arch>, or a commit
    #[arg(value_name = "A")]
    old: String,
    /// the new side
    #[arg(value_name = "B")]
    new: String,
    /// show all files that differ, not only those that changed most
    #[arg(long)]
    files: bool,
}

/// Prints what changed between two files; a note if nothing can look inside of them.
pub(super) fn show(ctx: &Ctx, old: &Path, new: &Path) {
    let args = Diff { old: old.display().to_string(), new: new.display().to_string(), files: false };
    match find(ctx, &args) {
        Ok(found) => print::print(&found, args.files),
        Err(error) => eprintln!("note: the bytes differ, and nothing can look inside: {error:#}"),
    }
}

/// The exit codes of diff.
const DIFFERENT: u8 = 1;
const TROUBLE: u8 = 2;

/// `diff`.
pub fn run(ctx: &Ctx, args: Diff) -> Result<()> {
    let found = match find(ctx, &args) {
        Ok(found) => found,
        Err(error) => {
            // 1 means that the sides differ.
            eprint!("{}", render(&error));
            let code = common::error::kind(&error).exit_code();
            return Err(Ended(if code == DIFFERENT { TROUBLE } else { code }).into());
        }
    };
    if ctx.globals.json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        print::print(&found, args.files);
    }
    if found.is_same() { Ok(()) } else { Err(Ended(DIFFERENT).into()) }
}

fn find(ctx: &Ctx, args: &Diff) -> Result<Comparison> {
    let (old, new) = (Side::open(ctx, &args.old)?, Side::open(ctx, &args.new)?);
    match (&old, &new) {
        (Side::Parts(old), Side::Parts(new)) => parts(old, new, args),
        (Side::Tree(old), Side::Tree(new)) => old.compare(new),
        (Side::Tree(tree), Side::Parts(image)) | (Side::Parts(image), Side::Tree(tree)) => {
            let built = side::packages_of(image);
            if built.is_empty() {
                return Err(usage("one side is a commit, and the image on the other lists no packages that it could be compared by"));
            }
            eprintln!(
                "note: only packages are compared: the files of a commit need a build\nhint: git worktree add DIR {}, and there cargo xtask rootfs",
                tree.commit
            );
            let mut found = Comparison::default();
            let of_tree = tree.packages_among(&built);
            let (before, after) = if matches!(old, Side::Tree(_)) { (&of_tree, &built) } else { (&built, &of_tree) };
            found.packages = imagefs::package_changes(before, after);
            Ok(found)
        }
    }
}

/// Compares the parts that both sides have, and lists those that only one has.
fn parts(old: &[side::Part], new: &[side::Part], args: &Diff) -> Result<Comparison> {
    let is_common = |part: &&side::Part| new.iter().any(|other| other.name == part.name);
    if !old.iter().any(|part| is_common(&part)) {
        return Err(usage("the sides have no partition of the same name\nhint: name a partition of a disk: live.raw:IMGA"));
    }
    let mut all = Comparison::default();
    for part in old {
        let Some(other) = new.iter().find(|other| other.name == part.name) else {
            all.not_compared.push(format!("`{}` has no `{}`", args.new, part.name));
            continue;
        };
        all.add(compare_contents(&part.name, &part.contents, &other.contents, part.is_configuration)?);
    }
    for part in new.iter().filter(|part| old.iter().all(|other| other.name != part.name)) {
        all.not_compared.push(format!("`{}` has no `{}`", args.old, part.name));
    }
    Ok(all)
}
