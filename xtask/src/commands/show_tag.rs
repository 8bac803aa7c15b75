//! `show-tag NAME…`: prints the tags of packages as `linuxkit pkg show-tag` does.

use anyhow::Result;
use checkout::context::Ctx;

/// The packages.
#[derive(clap::Args)]
pub struct ShowTag {
    /// folders below pkg/ [default: all]
    #[arg(value_name = "NAME", num_args = 0..)]
    name: Vec<String>,
}

/// `show-tag`.
pub fn run(ctx: &Ctx, ShowTag { name: named }: ShowTag) -> Result<()> {
    let tree = ctx.tree()?;
    let names = if named.is_empty() { tree.package_names()? } else { named };
    let mut tags = serde_json::Map::new();
    for name in &names {
        let reference = tree.package_reference(name.strip_prefix("pkg/").unwrap_or(name).trim_end_matches('/'))?;
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
