//! `eve-image WORD`: what a container of lfedge/eve does, without docker: reads the parts from the image's archive.

use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use common::{artifact::Pending, error::usage};
use eve_image::{EveParts, EveRequest, make};
use std::{
    io::{IsTerminal as _, Seek as _},
    path::PathBuf,
};

/// The words of the image, and the places that are folders of a container otherwise.
#[derive(clap::Args)]
pub struct EveImage {
    /// version, rootfs, live, installer_raw, installer_iso, installer_net, sbom, kernel or initrd
    #[arg(value_name = "WORD")]
    word: String,
    /// the size of a disk
    #[arg(value_name = "MEBIBYTES")]
    size: Option<String>,
    /// the format of a disk: raw, qcow2, vdi, parallels or gcp
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// the image's archive, of `cargo xtask eve` or `docker save` [default: eve.tar of the current version]
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// files that replace or add to those of the configuration
    #[arg(long = "in", value_name = "DIR")]
    overrides: Option<PathBuf>,
    /// the file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// `eve-image`.
pub fn run(ctx: &Ctx, args: EveImage) -> Result<()> {
    let words = args.format.iter().flat_map(|format| ["-f".to_owned(), format.clone()]);
    let words: Vec<String> = words.chain([args.word]).chain(args.size).collect();
    let Some(request) = EveRequest::parse(&words).map_err(|error| usage(format!("{error:#}")))? else {
        println!("{}", eve_image::USAGE);
        return Ok(());
    };
    let archive = args.image.unwrap_or_else(|| ctx.dist().current(ctx.knobs.image.arch).eve_image());
    if !archive.is_file() {
        return Err(usage(format!("there is no image `{}`\nhint: cargo xtask eve, or --image FILE", archive.display())));
    }
    if let Some(folder) = args.overrides.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(usage(format!("--in {}: there is no such folder", folder.display())));
    }
    if ctx.globals.dry_run {
        let out = args.out.as_ref().map_or_else(|| "standard output".to_owned(), |out| out.display().to_string());
        println!("make {} of {}: {out}", request.word.as_str(), archive.display());
        return Ok(());
    }
    let spool = ctx.dist().spool();
    std::fs::create_dir_all(&spool).with_context(|| format!("cannot make the folder `{}`", spool.display()))?;
    let bits = EveParts::of_archive(&archive, &spool)?;
    let overrides = args.overrides.as_deref();
    if let Some(out) = &args.out {
        let pending = Pending::new(out)?;
        make(&bits, &request, overrides, &spool, &mut pending.create()?)?;
        return pending.commit();
    }
    if !request.is_text() && std::io::stdout().is_terminal() {
        bail!("the artifact goes to standard output, which is a terminal\nhint: --out {}", request.file_name());
    }
    let mut file = tempfile::tempfile_in(&spool).context("cannot make a temporary file")?;
    make(&bits, &request, overrides, &spool, &mut file)?;
    file.rewind().context("cannot rewind the artifact")?;
    std::io::copy(&mut file, &mut std::io::stdout().lock()).map(drop).context("cannot write the artifact to standard output")
}
