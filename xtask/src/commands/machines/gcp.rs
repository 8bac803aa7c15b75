//! `live-gcp-upload` and `run-live-gcp`: the live image in Google's cloud.

use super::{ensure, require, show, shown};
use anyhow::Result;
use checkout::context::Ctx;
use child::{Output, Tool, gcloud, linuxkit::Dialect, linuxkit::Linuxkit};
use clap::ArgMatches;
use knobs::ImageFormat;
use std::path::PathBuf;

/// What goes up, and under which name.
struct Upload {
    name: String,
    archive: PathBuf,
    linuxkit: Linuxkit,
}

impl Upload {
    fn new(ctx: &Ctx) -> Result<Self> {
        let (knobs, tree) = (&ctx.knobs, ctx.tree()?);
        let usual = || format!("live-{}-{}-{}", tree.version(), knobs.hv, knobs.arch).replace('.', "-");
        if !ctx.globals.dry_run {
            ensure(ctx, &[Tool::Gcloud, Tool::Linuxkit])?;
        }
        let pinned = ctx.profile.tools.get("linuxkit").map_or(Dialect::Platforms, |pin| Dialect::of_pin(&pin.options));
        Ok(Self {
            name: knobs.optional("CLOUD_IMG_NAME").map_or_else(usual, str::to_owned),
            archive: ctx.layout(&tree).live(ImageFormat::Gcp),
            linuxkit: Linuxkit::new(&ctx.tools, child::linuxkit::Settings { pinned, ..linuxkit::settings(&ctx.profile, knobs) }),
        })
    }

    fn push(&self, ctx: &Ctx, output: &Output) -> Result<child::Cmd> {
        let (project, bucket) = (ctx.knobs.text("CLOUD_PROJECT"), ctx.knobs.text("CLOUD_BUCKET"));
        Ok(self.linuxkit.push_gcp(&self.name, project, bucket, &self.archive, output)?.dir(&ctx.root))
    }

    /// Uploads it unless it is there; whether that was needed.
    fn ensure(&self, ctx: &Ctx) -> Result<bool> {
        let project = ctx.knobs.text("CLOUD_PROJECT");
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
pub fn upload(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    let upload = Upload::new(ctx)?;
    let is_new = upload.ensure(ctx)?;
    if !ctx.globals.dry_run {
        println!("{}: {}", if is_new { "uploaded" } else { "in the cloud already" }, upload.name);
    }
    Ok(())
}

/// `run-live-gcp`.
pub fn run(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    let upload = Upload::new(ctx)?;
    upload.ensure(ctx)?;
    let (project, instance) = (ctx.knobs.text("CLOUD_PROJECT"), ctx.knobs.text("CLOUD_INSTANCE"));
    let cmd = upload.linuxkit.run_gcp(&upload.name, project, instance, &shown())?.dir(&ctx.root);
    if ctx.globals.dry_run {
        show(&[cmd]);
        return Ok(());
    }
    // The machine's console is on the terminal.
    cmd.foreground().run()
}
