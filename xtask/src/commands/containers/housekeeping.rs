//! Verbs that list and remove old docker images, and `yetus`, which checks the whole tree.

use super::run_all;
use anyhow::Result;
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
    super::tree_target::run_named(ctx, "yetus", &std::collections::BTreeMap::new())
}
