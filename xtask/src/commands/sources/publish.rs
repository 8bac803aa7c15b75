//! `publish_sources`: linuxkit builds or pushes an image with the collected sources of the root file system.

use super::collected;
use crate::commands::{containers::build_tools::GoSourcesOptions, doctor};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::{
    Output, Tool, ToolNeed,
    linuxkit::{EveCall, Linuxkit},
};
use common::{display::short, error::usage};
use std::path::Path;

/// `publish_sources`.
pub fn publish(ctx: &Ctx, options: GoSourcesOptions) -> Result<()> {
    if !ctx.capabilities().tools_run_in_containers {
        return Err(usage("publish_sources needs linuxkit, which builds the image\nhint: --engine linuxkit"));
    }
    let template = ctx.profile.packages.folder.join("sources");
    if !template.join("Dockerfile").is_file() {
        let name = &ctx.profile.tree.name;
        return Err(usage(format!(
            "{name} has no `{}`, the Dockerfile of an image with the sources",
            template.join("Dockerfile").display()
        )));
    }
    collected::build_and_collect(ctx, options)?;
    let tree = ctx.tree()?;
    let archive = collected::place(ctx, &tree);
    let folder = archive.parent().context("the archive of the sources is in a folder")?;
    let (work, arch) = (ctx.knobs.packages.work, ctx.knobs.image.arch);
    let calls = plan::release_calls(&ctx.knobs, &tree)?;
    if ctx.globals.dry_run {
        calls.iter().for_each(|(tag, _)| println!("{work} {} as {tag}", short(folder, &ctx.root)));
        return Ok(());
    }
    let need = |tool| ToolNeed::new(tool, "to build the image of the sources");
    doctor::ensure(ctx, &[need(Tool::Linuxkit), need(Tool::Docker)])?;
    copy_files(&template, folder)?;
    let linuxkit = Linuxkit::new(&ctx.tools, linuxkit::settings(&ctx.profile, &ctx.knobs));
    let _lock = executor::lock_tree(&ctx.dist())?;
    for (tag, release) in &calls {
        let call = EveCall { name: "the sources", context: folder, work, tag, release: release.as_deref(), arch, force: false };
        linuxkit.eve(&call, &ctx.root, &Output::to(|line| eprintln!("{line}")))?;
        println!("made: the image of the sources, {tag}");
    }
    Ok(())
}

/// Copies the files of the folder `from` to the folder `to`.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read `{}`", from.display()))? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            native::files::copy_file(&path, &to.join(name))?;
        }
    }
    Ok(())
}
