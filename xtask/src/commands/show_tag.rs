//! `show-tag NAME…`: the tags of packages, as `linuxkit pkg show-tag` prints them.

use anyhow::Result;
use checkout::context::Ctx;
use clap::{Arg, ArgMatches, Command};

/// Its arguments.
pub fn arguments(command: Command) -> Command {
    command.arg(Arg::new("name").value_name("NAME").num_args(0..).help("folders below pkg/; all when none is named"))
}

/// `show-tag`.
pub fn run(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let tree = ctx.tree()?;
    let named: Vec<String> = arguments.get_many::<String>("name").into_iter().flatten().cloned().collect();
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
