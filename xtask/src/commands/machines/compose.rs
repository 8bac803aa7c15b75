//! `run-compose`: the tree's microservices by docker-compose, with tags and paths filled in.

use super::{super::Run, ensure, require, show};
use anyhow::{Context as _, Result};
use checkout::{Checkout, context::Ctx};
use child::{Tool, docker_compose};
use common::artifact::write_atomically;
use plan::Facts as _;
use std::path::Path;

/// `run-compose`.
#[derive(clap::Args)]
pub struct RunCompose {}

impl Run for RunCompose {
    fn run(self, ctx: &Ctx) -> Result<()> {
        run_services(ctx)
    }
}

fn run_services(ctx: &Ctx) -> Result<()> {
    let template = ctx.root.join("docker-compose.yml");
    if !template.is_file() {
        return Err(common::error::usage(format!(
            "{} has no docker-compose.yml with its microservices\nhint: lf-edge/eve has one: cargo xtask --root DIR run-compose",
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

/// The services, and the list of images that one of them reads, with the tags that the tree has now.
fn write_files(ctx: &Ctx, tree: &Checkout, template: &Path, folder: &Path) -> Result<()> {
    let read = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()));
    let version = folder.join("version.yml");
    let source = ctx.root.join("images/version.yml.in");
    if source.is_file() {
        write_atomically(&version, tree.fill(&source)?.as_bytes())?;
    }
    drop(read(template)?);
    write_atomically(&folder.join("docker-compose.yml"), resolve(&tree.fill(template)?, &ctx.root, &version).as_bytes())
}

/// A composition with its tags filled in (`${lfedge/…}` where a variable stood), after its paths are too.
fn resolve(text: &str, root: &Path, version: &Path) -> String {
    let text = text.replace("CURDIR/images/version.yml", &version.display().to_string());
    let text = text.replace("CURDIR", &root.display().to_string());
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        // Only an image is no name of a variable.
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
