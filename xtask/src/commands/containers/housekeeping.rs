//! Verbs that list and remove old docker images, and `yetus`, which checks the whole tree.

use super::run_all;
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::docker;
use helpers::old_images::find_old_images;

/// `docker-old-images`.
pub fn old_images(ctx: &Ctx) -> Result<()> {
    println!("{}", find_old_images(ctx, &[])?.join(" "));
    Ok(())
}

/// `docker-image-clean`: keeps an image that is the only one of its name.
pub fn clean_images(ctx: &Ctx) -> Result<()> {
    let ids = find_old_images(ctx, &[])?;
    if ids.is_empty() {
        println!("docker has no old images of this tree");
        return Ok(());
    }
    run_all(ctx, [docker::remove_command(&ctx.tools, &ids)?])
}

/// `yetus`; without containers it is `lint`.
pub fn yetus(ctx: &Ctx) -> Result<()> {
    if !ctx.capabilities().tools_run_in_containers {
        return super::super::lint::run(ctx);
    }
    let folder = ctx.root.join("yetus-output");
    if !ctx.globals.dry_run {
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    }
    let step = docker::ContainerStep {
        step: "checking the tree".into(),
        options: &["-it", "--rm"],
        volumes: &[(&ctx.root, "/src:delegated,z")],
        image: "ghcr.io/apache/yetus:0.14.1",
        arguments: &["--basedir=/src", "--dirty-workspace", "--empty-patch", "--plugins=all", "--patch-dir=/src/yetus-output"],
    };
    run_all(ctx, [step.command(&ctx.tools, &child::Output::default())?.foreground()])
}
