//! `parse-pkgs`: prints the table of names in templates and their images, or a file with images instead of the names.

use anyhow::{Context as _, Result};
use checkout::{Checkout, context::Ctx};
use common::display::short;
use std::path::Path;

/// Prints `file` with images instead of its names, or without a file the table (as JSON with `--json`). `folder` is the value of the
/// name `CURDIR`.
pub fn print_images(ctx: &Ctx, file: Option<&Path>, folder: &Path) -> Result<()> {
    let tree = ctx.tree()?;
    match file {
        Some(file) => print_filled(&tree, file, folder),
        None => print_table(ctx, &tree, folder),
    }
}

fn print_filled(tree: &Checkout, file: &Path, folder: &Path) -> Result<()> {
    let name = short(file, folder);
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{name}`"))?;
    let mut unknown = Vec::new();
    let filled = tree.fill_table(&text, &folder.display().to_string(), &mut unknown).with_context(|| format!("cannot fill in `{name}`"))?;
    print!("{filled}");
    // What a comment calls `NAME_TAG` needs no image.
    let is_used = |line: &str, word: &str| !line.trim_start().starts_with('#') && line.contains(word);
    unknown.retain(|word| text.lines().any(|line| is_used(line, word)));
    unknown.sort();
    unknown.dedup();
    if !unknown.is_empty() {
        eprintln!("warning: {name}: {} is not in the table and was not replaced", unknown.join(", "));
    }
    Ok(())
}

/// Finds all images before it prints the first, so that a failure prints no incomplete table.
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
