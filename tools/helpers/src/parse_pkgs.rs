//! `parse-pkgs`: prints the table of template names and images, or a file in which each name is replaced by its image.

use anyhow::{Context as _, Result};
use checkout::{Checkout, context::Ctx};
use common::display::short;
use std::path::{Path, PathBuf};

/// What to print.
pub struct Options {
    /// The folder that the name `CURDIR` stands for, which is also left out of file names in messages.
    pub folder: PathBuf,
    /// The file to fill in; none prints the table.
    pub file: Option<PathBuf>,
}

/// Prints the table of template names (as JSON with `--json`), or the file with its names replaced.
pub fn print_images(ctx: &Ctx, options: &Options) -> Result<()> {
    let tree = ctx.tree()?;
    match &options.file {
        Some(file) => print_filled(&tree, file, &options.folder),
        None => print_table(ctx, &tree, &options.folder),
    }
}

fn print_filled(tree: &Checkout, file: &Path, folder: &Path) -> Result<()> {
    let name = short(file, folder);
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{name}`"))?;
    let mut unknown = Vec::new();
    let filled = tree.fill_table(&text, &folder.display().to_string(), &mut unknown).with_context(|| format!("cannot fill in `{name}`"))?;
    print!("{filled}");
    unknown.sort();
    unknown.dedup();
    if !unknown.is_empty() {
        eprintln!("warning: {name}: {} is no name of the table, and stays", unknown.join(", "));
    }
    Ok(())
}

/// Looks up all images before it prints the first: a file with half a table would look like a whole one.
fn print_table(ctx: &Ctx, tree: &Checkout, folder: &Path) -> Result<()> {
    let mut rows = vec![("CURDIR".to_owned(), folder.display().to_string())];
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
