//! `bump NAME`: writes the present tag of a package into every Dockerfile that starts from it, instead of by hand.

use super::Run;
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::{artifact::write_atomically, error::usage};

/// The base that was changed.
#[derive(clap::Args)]
pub struct Bump {
    /// folder below pkg/; the archive that others start from when unset
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// change nothing; fail when a Dockerfile names an older tag
    #[arg(long)]
    check: bool,
}

impl Run for Bump {
    fn run(self, ctx: &Ctx) -> Result<()> {
        bump(ctx, self.name.as_deref(), self.check)
    }
}

fn bump(ctx: &Ctx, name: Option<&str>, check: bool) -> Result<()> {
    let tree = ctx.tree()?;
    let name = name.or(ctx.profile.packages.archive.as_deref()).context("no package is named, and this tree has no archive")?;
    let reference = tree.committed_reference(name)?;
    let (image, _) = reference.rsplit_once(':').context("a reference has a tag")?;
    let mut changed = Vec::new();
    for package in tree.package_names()? {
        let path = ctx.profile.packages.folder.join(&package).join("Dockerfile");
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let new = pin(&text, image, &reference);
        if new == text {
            continue;
        }
        if !check {
            if !ctx.globals.dry_run {
                write_atomically(&path, new.as_bytes())?;
            }
            println!("{}", common::display::short(&path, &ctx.root));
        }
        changed.push(package);
    }
    if tree.package_reference(name)? != reference {
        eprintln!(
            "note: pkg/{name} has changes that are not committed, and {reference} is what it will be: commit it before the next build"
        );
    }
    if check && !changed.is_empty() {
        return Err(usage(format!("{} do not start from {reference}\nhint: cargo xtask bump {name}", changed.join(", "))));
    }
    Ok(())
}

/// `text` with every `image:TAG` made `reference`.
fn pin(text: &str, image: &str, reference: &str) -> String {
    let is_tag = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let start = format!("{image}:");
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(&start) {
        let after = &rest[at + start.len()..];
        let tag = after.find(|c| !is_tag(c)).unwrap_or(after.len());
        let whole = !rest[..at].ends_with(|c: char| is_tag(c) || c == '/') && tag > 0;
        out.push_str(&rest[..at]);
        out.push_str(if whole { reference } else { &rest[at..at + start.len() + tag] });
        rest = &after[tag..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pin_of_the_image_is_moved_and_no_other() {
        let text = "FROM a/b:1-x AS c\nFROM x/a/b:1\nFROM a/bb:1\nCOPY --from=a/b:0.2_3 / /\nARG X=a/b:";
        let moved = "FROM a/b:9 AS c\nFROM x/a/b:1\nFROM a/bb:1\nCOPY --from=a/b:9 / /\nARG X=a/b:";
        assert_eq!(pin(text, "a/b", "a/b:9"), moved);
    }
}
