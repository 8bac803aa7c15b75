//! Functions for all collectors: make the folder for sources, and fetch files into it. A file appears only when it is complete.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::curl;
use common::{artifact::Pending, error::usage};
use std::path::{Path, PathBuf};

/// Makes the folder `out` (default: a temporary one) with the folder `prefix` in it, and returns `out`. The innermost folder must be new:
/// files that are already in it would look like collected ones.
pub fn make_folder(out: Option<&Path>, prefix: Option<&str>, dry_run: bool) -> Result<PathBuf> {
    let top = match out {
        Some(out) => out.to_owned(),
        None if dry_run => std::env::temp_dir().join("sources"),
        None => tempfile::Builder::new().prefix("sources").tempdir().context("cannot make a temporary folder")?.keep(),
    };
    let files = prefix.map_or_else(|| top.clone(), |prefix| top.join(prefix));
    if files.exists() && (out.is_some() || prefix.is_some()) {
        return Err(usage(format!("`{}` already exists\nhint: name a new folder", files.display())));
    }
    if !dry_run {
        std::fs::create_dir_all(&files).with_context(|| format!("cannot make the folder `{}`", files.display()))?;
    }
    Ok(top)
}

/// Fetches `url` to the file `out`, unless that file exists; with `--dry-run` prints the command.
pub fn fetch(ctx: &Ctx, url: &str, out: &Path) -> Result<()> {
    if out.exists() {
        return Ok(());
    }
    if ctx.globals.dry_run {
        println!("{}", curl::download_command(&ctx.tools, url, out)?);
        return Ok(());
    }
    if ctx.globals.offline {
        return Err(usage(format!("--offline forbids to fetch {url}")));
    }
    let pending = Pending::new(out)?;
    curl::download_command(&ctx.tools, url, pending.part())?.run()?;
    pending.commit()
}
