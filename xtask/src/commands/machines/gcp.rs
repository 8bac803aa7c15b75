//! `live-gcp-upload` and `run-live-gcp`: upload the live image to Google's cloud, and run it there.

use super::{ensure_needs, require, show, shown};
use anyhow::Result;
use checkout::context::Ctx;
use child::{Cmd, Output, Tool, ToolNeed, gcloud, linuxkit::Dialect, linuxkit::Linuxkit};
use knobs::{CloudKnobs, ImageFormat};
use std::path::PathBuf;

/// The image to upload, and its name in the cloud.
struct Upload<'k> {
    cloud: &'k CloudKnobs,
    name: String,
    archive: PathBuf,
    linuxkit: Linuxkit,
}

impl<'k> Upload<'k> {
    fn new(ctx: &Ctx, cloud: &'k CloudKnobs) -> Result<Self> {
        let (image, tree) = (&ctx.knobs.image, ctx.tree()?);
        let usual = || format!("live-{}-{}-{}", tree.version(), image.hv, image.arch).replace('.', "-");
        if !ctx.globals.dry_run {
            let linuxkit = ToolNeed::new(Tool::Linuxkit, "to upload the image to Google's cloud and to start it there");
            ensure_needs(ctx, &[ToolNeed::usual(Tool::Gcloud), linuxkit])?;
        }
        let pinned = ctx.profile.tools.get("linuxkit").map_or(Dialect::Platforms, |pin| Dialect::of_pin(&pin.options));
        Ok(Self {
            cloud,
            name: cloud.image_name.clone().unwrap_or_else(usual),
            archive: ctx.layout(&tree).live(ImageFormat::Gcp),
            linuxkit: Linuxkit::new(&ctx.tools, child::linuxkit::Settings { pinned, ..linuxkit::settings(&ctx.profile, &ctx.knobs) }),
        })
    }

    fn push(&self, ctx: &Ctx, output: &Output) -> Cmd {
        let CloudKnobs { project, bucket, .. } = self.cloud;
        self.linuxkit.push_gcp(&self.name, project, bucket, &self.archive, output).dir(&ctx.root)
    }

    /// Uploads the image unless the cloud has it; returns whether it was uploaded.
    fn ensure(&self, ctx: &Ctx) -> Result<bool> {
        let project = &self.cloud.project;
        if ctx.globals.dry_run {
            show(&[gcloud::list_image(&ctx.tools, project, &self.name), self.push(ctx, &Output::default())]);
            return Ok(true);
        }
        if gcloud::has_image(&ctx.tools, project, &self.name)? {
            return Ok(false);
        }
        require(ctx, &self.archive, "live-gcp")?;
        self.push(ctx, &shown()).run()?;
        Ok(true)
    }
}

/// `live-gcp-upload`.
pub fn upload(ctx: &Ctx, cloud: CloudKnobs) -> Result<()> {
    let upload = Upload::new(ctx, &cloud)?;
    let is_new = upload.ensure(ctx)?;
    if !ctx.globals.dry_run {
        println!("{}: {}", if is_new { "uploaded" } else { "already in the cloud" }, upload.name);
    }
    Ok(())
}

/// `run-live-gcp`.
pub fn run(ctx: &Ctx, cloud: CloudKnobs) -> Result<()> {
    let upload = Upload::new(ctx, &cloud)?;
    upload.ensure(ctx)?;
    let cmd = upload.linuxkit.run_gcp(&upload.name, &cloud.project, &cloud.instance, &shown()).dir(&ctx.root);
    if ctx.globals.dry_run {
        show(&[cmd]);
        return Ok(());
    }
    // The machine's console is on the terminal.
    cmd.foreground().run()
}
