//! `live-gcp-upload` and `run-live-gcp`: the live image in Google's cloud.

use super::{super::Run, ensure, require, show, shown};
use anyhow::Result;
use checkout::context::Ctx;
use child::{Output, Tool, gcloud, linuxkit::Dialect, linuxkit::Linuxkit};
use knobs::{CloudKnobs, ImageFormat};
use std::path::PathBuf;

/// What goes up, and under which name.
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
            ensure(ctx, &[Tool::Gcloud, Tool::Linuxkit])?;
        }
        let pinned = ctx.profile.tools.get("linuxkit").map_or(Dialect::Platforms, |pin| Dialect::of_pin(&pin.options));
        Ok(Self {
            cloud,
            name: cloud.image_name.clone().unwrap_or_else(usual),
            archive: ctx.layout(&tree).live(ImageFormat::Gcp),
            linuxkit: Linuxkit::new(&ctx.tools, child::linuxkit::Settings { pinned, ..linuxkit::settings(&ctx.profile, &ctx.knobs) }),
        })
    }

    fn push(&self, ctx: &Ctx, output: &Output) -> Result<child::Cmd> {
        let CloudKnobs { project, bucket, .. } = self.cloud;
        Ok(self.linuxkit.push_gcp(&self.name, project, bucket, &self.archive, output)?.dir(&ctx.root))
    }

    /// Uploads it unless it is there; whether that was needed.
    fn ensure(&self, ctx: &Ctx) -> Result<bool> {
        let project = &self.cloud.project;
        if ctx.globals.dry_run {
            show(&[gcloud::list_image(&ctx.tools, project, &self.name), self.push(ctx, &Output::default())?]);
            return Ok(true);
        }
        if gcloud::has_image(&ctx.tools, project, &self.name)? {
            return Ok(false);
        }
        require(ctx, &self.archive, "live-gcp")?;
        self.push(ctx, &shown())?.run()?;
        Ok(true)
    }
}

/// `live-gcp-upload`.
#[derive(clap::Args)]
pub struct LiveGcpUpload {
    #[command(flatten)]
    cloud: CloudKnobs,
}

impl Run for LiveGcpUpload {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let upload = Upload::new(ctx, &self.cloud)?;
        let is_new = upload.ensure(ctx)?;
        if !ctx.globals.dry_run {
            println!("{}: {}", if is_new { "uploaded" } else { "in the cloud already" }, upload.name);
        }
        Ok(())
    }
}

/// `run-live-gcp`.
#[derive(clap::Args)]
pub struct RunLiveGcp {
    #[command(flatten)]
    cloud: CloudKnobs,
}

impl Run for RunLiveGcp {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let upload = Upload::new(ctx, &self.cloud)?;
        upload.ensure(ctx)?;
        let cmd = upload.linuxkit.run_gcp(&upload.name, &self.cloud.project, &self.cloud.instance, &shown())?.dir(&ctx.root);
        if ctx.globals.dry_run {
            show(&[cmd]);
            return Ok(());
        }
        // The machine's console is on the terminal.
        cmd.foreground().run()
    }
}
