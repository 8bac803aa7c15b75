//! `show-tag NAME…`: prints the tags of packages as `linuxkit pkg show-tag` does.

use anyhow::Result;
use checkout::context::Ctx;

/// The packages.
#[derive(clap::Args)]
pub struct ShowTag {
    /// folders below pkg/ [default: all]
    #[arg(value_name = "NAME", num_args = 0..)]
    name: Vec<String>,
    /// print the registry too: `docker.io/` before names without one
    #[arg(long)]
    canonical: bool,
}

/// `show-tag`.
pub fn run(ctx: &Ctx, ShowTag { name: named, canonical }: ShowTag) -> Result<()> {
    let tree = ctx.tree()?;
    let names = if named.is_empty() { tree.package_names()? } else { named };
    let mut tags = serde_json::Map::new();
    for name in &names {
        let reference = tree.package_reference(name.strip_prefix("pkg/").unwrap_or(name).trim_end_matches('/'))?;
        let reference = if canonical { with_registry(&reference) } else { reference };
        if ctx.globals.json {
            tags.insert(name.clone(), reference.into());
        } else {
            println!("{reference}");
        }
    }
    if ctx.globals.json {
        println!("{}", serde_json::to_string_pretty(&tags)?);
    }
    Ok(())
}

/// An image's name with its registry, as `linuxkit pkg show-tag -canonical` prints it: the first part of a name is a registry if it contains
/// `.` or `:` or is `localhost`; names of Docker Hub without a folder are below `library/`.
fn with_registry(reference: &str) -> String {
    match reference.split_once('/') {
        None => format!("docker.io/library/{reference}"),
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => reference.to_owned(),
        Some(_) => format!("docker.io/{reference}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canonical_name_has_its_registry() {
        for (name, canonical) in [
            ("lfedge/eve-grub:1a", "docker.io/lfedge/eve-grub:1a"),
            ("alpine:3", "docker.io/library/alpine:3"),
            ("ghcr.io/lfedge/eve-grub:1a", "ghcr.io/lfedge/eve-grub:1a"),
            ("localhost/grub:1a", "localhost/grub:1a"),
            ("mirror:5000/grub:1a", "mirror:5000/grub:1a"),
        ] {
            assert_eq!(with_registry(name), canonical);
        }
    }
}
