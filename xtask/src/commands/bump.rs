//! `bump NAME`: writes a package's new tag into every Dockerfile that uses the package in FROM.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::{artifact::write_atomically, error::usage};

/// The package whose tag changed.
#[derive(clap::Args)]
pub struct Bump {
    /// folder below pkg/ [default: the archive of Debian packages]
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// change nothing; fail if a Dockerfile names an older tag
    #[arg(long)]
    check: bool,
}

/// `bump`.
pub fn run(ctx: &Ctx, Bump { name, check }: Bump) -> Result<()> {
    let tree = ctx.tree()?;
    let name = name
        .as_deref()
        .or(ctx.profile.packages.archive.as_deref())
        .context("name a package: this tree has no archive of Debian packages")?;
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
        eprintln!("note: pkg/{name} has uncommitted changes; {reference} is its tag once they are committed: commit before the next build");
    }
    if check && !changed.is_empty() {
        return Err(usage(format!("{} use another tag than {reference} in FROM\nhint: cargo xtask bump {name}", changed.join(", "))));
    }
    Ok(())
}

/// `text` with `reference` instead of every `image:TAG`.
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
