//! `run-compose`: runs the tree's microservices with docker-compose, after filling tags and paths into its file.

use super::{ensure, require, show};
use anyhow::Result;
use checkout::{Checkout, context::Ctx};
use child::{Tool, docker_compose};
use common::artifact::write_atomically;
use plan::Facts as _;
use std::path::Path;

/// `run-compose`.
pub fn run(ctx: &Ctx) -> Result<()> {
    let template = ctx.root.join("docker-compose.yml");
    if !template.is_file() {
        return Err(common::error::usage(format!(
            "{} has no docker-compose.yml\nhint: lf-edge/eve has one: cargo xtask --root DIR run-compose",
            ctx.profile.tree.name
        )));
    }
    let tree = ctx.tree()?;
    let folder = ctx.layout(&tree).compose();
    let file = folder.join("docker-compose.yml");
    if ctx.globals.dry_run {
        show(&docker_compose::commands(&ctx.tools, &file, &ctx.root));
        return Ok(());
    }
    write_files(ctx, &tree, &template, &folder)?;
    require(ctx, &file, "run-compose")?;
    let tool = docker_compose::tool(&ctx.tools);
    ensure(ctx, &[tool, Tool::Docker])?;
    for command in docker_compose::commands(&ctx.tools, &file, &ctx.root) {
        eprintln!("$ {command}");
        command.foreground().run()?;
    }
    Ok(())
}

/// Writes docker-compose.yml, and version.yml, which one of the services reads, with the tree's current tags.
fn write_files(ctx: &Ctx, tree: &Checkout, template: &Path, folder: &Path) -> Result<()> {
    let version = folder.join("version.yml");
    let source = ctx.root.join("images/version.yml.in");
    if source.is_file() {
        write_atomically(&version, tree.fill(&source)?.as_bytes())?;
    }
    write_atomically(&folder.join("docker-compose.yml"), resolve(&tree.fill(template)?, &ctx.root, &version).as_bytes())
}

/// Fills in paths, and removes `${…}` around images: [`Checkout::fill`] replaces the names in it by images.
fn resolve(text: &str, root: &Path, version: &Path) -> String {
    let text = text.replace("CURDIR/images/version.yml", &version.display().to_string());
    let text = text.replace("CURDIR", &root.display().to_string());
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        // Leave variables: only images contain `/` and `:`.
        match after.split_once('}').filter(|(name, _)| name.contains('/') && name.contains(':') && !name.contains(char::is_whitespace)) {
            Some((image, after)) => {
                out.push_str(image);
                rest = after;
            }
            None => {
                out.push_str("${");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_paths_are_filled_in() {
        let text = "image: ${lfedge/eve-storage-init:1-amd64}\nimage: lfedge/eve-edgeview:2-amd64\nsource: CURDIR/conf\nsource: CURDIR/images/version.yml\nx: ${OTHER}\n";
        let wanted = "image: lfedge/eve-storage-init:1-amd64\nimage: lfedge/eve-edgeview:2-amd64\nsource: /eve/conf\nsource: /eve/dist/version.yml\nx: ${OTHER}\n";
        assert_eq!(resolve(text, Path::new("/eve"), Path::new("/eve/dist/version.yml")), wanted);
    }
}
