//! `get-kernel-source` and `dockerfile-add-scanner`: fetch or list the files that a Dockerfile's `ADD` lines name.

use super::download::{fetch, make_folder};
use anyhow::{Result, bail};
use checkout::context::Ctx;
use child::curl;
use common::{artifact::write_atomically, error::usage};
use pkgbuild::dockerfile::Dockerfile;
use std::path::{Path, PathBuf};

/// Prints the addresses that the Dockerfiles fetch for `arch`, one on each line.
pub fn print_remote_sources(dockerfiles: &[PathBuf], arch: &str) -> Result<()> {
    let mut lines = String::new();
    for path in dockerfiles {
        for source in sources(path, arch)? {
            lines.push_str(&format!("{source}\n"));
        }
    }
    print!("{lines}");
    Ok(())
}

fn sources(dockerfile: &Path, arch: &str) -> Result<Vec<String>> {
    let platform = format!("linux/{arch}");
    let predefined = [
        ("BUILDPLATFORM", platform.as_str()),
        ("BUILDOS", "linux"),
        ("BUILDARCH", arch),
        ("TARGETPLATFORM", &platform),
        ("TARGETOS", "linux"),
        ("TARGETARCH", arch),
    ];
    Dockerfile::read(dockerfile, &dockerfile.display().to_string())?.remote_sources(&predefined)
}

/// The sources to fetch, and the folder for them.
pub struct Options {
    /// The Dockerfile of a kernel; if none, the tree's kernel/Dockerfile.
    pub dockerfile: Option<PathBuf>,
    /// A new folder for the files; if none, a temporary one.
    pub out: Option<PathBuf>,
    /// The name of a folder in it, for the files.
    pub prefix: Option<String>,
    /// A file for the addresses: absolute, or relative to `out`.
    pub urls: Option<PathBuf>,
    /// Print each file while it is fetched.
    pub tell: bool,
}

/// Fetches the files and prints a line of the manifest for each.
pub fn collect_kernel_sources(ctx: &Ctx, options: &Options) -> Result<()> {
    let dockerfile = options.dockerfile.clone().unwrap_or_else(|| kernel_dockerfile(ctx));
    let urls = sources(&dockerfile, ctx.knobs.image.arch.as_str())?;
    if urls.is_empty() {
        eprintln!("warning: {} has no ADD line that fetches a file", dockerfile.display());
    }
    let prefix = options.prefix.as_deref();
    let top = make_folder(options.out.as_deref(), prefix, ctx.globals.dry_run)?;
    if let Some(file) = options.urls.as_ref().filter(|_| !ctx.globals.dry_run) {
        write_atomically(&top.join(file), urls.iter().map(|url| format!("{url}\n")).collect::<String>().as_bytes())?;
    }
    print!("{}", collect(ctx, &urls, &top, prefix, options.tell)?);
    Ok(())
}

fn kernel_dockerfile(ctx: &Ctx) -> PathBuf {
    ctx.profile.packages.folder.join("kernel/Dockerfile")
}

/// Fetches the sources of the tree's kernel to `top`/`prefix` and returns the lines of the manifest.
pub(super) fn collect_kernel(ctx: &Ctx, top: &Path, prefix: &str) -> Result<String> {
    collect(ctx, &sources(&kernel_dockerfile(ctx), ctx.knobs.image.arch.as_str())?, top, Some(prefix), false)
}

fn collect(ctx: &Ctx, urls: &[String], top: &Path, prefix: Option<&str>, tell: bool) -> Result<String> {
    if let Some(git) = urls.iter().find(|url| !curl::fetches(url)) {
        bail!("{git} is not a file\nhint: clone the git repositories that a Dockerfile adds by hand: git clone");
    }
    let mut manifest = String::new();
    for url in urls {
        let name = file_name(url).ok_or_else(|| usage(format!("`{url}` names no file")))?;
        let name = prefix.map_or_else(|| name.clone(), |prefix| format!("{prefix}/{name}"));
        if tell {
            eprintln!("fetching {url} to {}", top.join(&name).display());
        }
        fetch(ctx, url, &top.join(&name))?;
        manifest.push_str(&format!("kernel,{url},,{name}\n"));
    }
    Ok(if ctx.globals.dry_run { String::new() } else { manifest })
}

/// The file name for an address: without the protocol, with `_` instead of `/`.
fn file_name(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let name = rest.replace('/', "_");
    (!name.is_empty() && name != "." && name != "..").then_some(name)
}
