//! `parse-pkgs [FILE]`: the table of template names and images, or a file with the names replaced by them.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use clap::{Arg, ArgMatches, Command};

/// Its arguments.
pub fn arguments(command: Command) -> Command {
    command.arg(Arg::new("file").value_name("FILE").help("print this file with its NAME_TAG words replaced; the table when unset"))
}

/// `parse-pkgs`.
pub fn run(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let tree = ctx.tree()?;
    let folder = std::env::current_dir().context("there is no current folder")?;
    let folder = folder.display().to_string();
    if let Some(file) = arguments.get_one::<String>("file") {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{file}`"))?;
        let mut unknown = Vec::new();
        let filled = tree.fill_table(&text, &folder, &mut unknown).with_context(|| format!("cannot fill in `{file}`"))?;
        print!("{filled}");
        unknown.sort();
        unknown.dedup();
        if !unknown.is_empty() {
            eprintln!("warning: {file}: {} is no name of the table, and stays", unknown.join(", "));
        }
        return Ok(());
    }
    // All or nothing: half a table on the way into a file would look like a whole one.
    let mut rows = vec![("CURDIR".to_owned(), folder)];
    for name in tree.template_names()? {
        let image = tree.template_image(&name).with_context(|| format!("{name}_TAG"))?;
        rows.push((format!("{name}_TAG"), image));
    }
    if ctx.globals.json {
        let table: serde_json::Map<String, serde_json::Value> = rows.into_iter().map(|(name, image)| (name, image.into())).collect();
        println!("{}", serde_json::to_string_pretty(&table)?);
        return Ok(());
    }
    let lines: String = rows.iter().map(|(name, image)| format!("{name}={image}\n")).collect();
    print!("{lines}");
    Ok(())
}
