//! `get-kernel-source` and `dockerfile-add-scanner`: list or fetch the files that a Dockerfile's `ADD` lines name.

use super::download::{Downloads, make_folder};
use anyhow::{Result, bail};
use checkout::context::Ctx;
use child::curl;
use common::{artifact::write_atomically, error::usage};
use pkgbuild::dockerfile::Dockerfile;
use std::path::{Path, PathBuf};

/// Which Dockerfiles to list.
pub struct ScanOptions {
    /// The Dockerfiles.
    pub dockerfiles: Vec<PathBuf>,
    /// The architecture that `TARGETARCH` names; none takes the image's.
    pub arch: Option<String>,
}

/// Prints the addresses that the Dockerfiles fetch, a line each.
pub fn print_remote_sources(ctx: &Ctx, options: &ScanOptions) -> Result<()> {
    let arch = options.arch.as_deref().unwrap_or(ctx.knobs.image.arch.as_str());
    let mut lines = String::new();
    for path in &options.dockerfiles {
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

/// What to fetch, and where to.
pub struct Options {
    /// The Dockerfile of a kernel; none takes the tree's kernel/Dockerfile.
    pub dockerfile: Option<PathBuf>,
    /// A new folder for the files; none makes a temporary one.
    pub out: Option<PathBuf>,
    /// A folder's name below that folder.
    pub prefix: Option<String>,
    /// A file for the addresses: absolute, or relative to the folder for the files.
    pub urls: Option<PathBuf>,
    /// Name each file while it is fetched.
    pub tell: bool,
}

/// Fetches the files, and prints a line of the manifest for each.
pub fn collect_kernel_sources(ctx: &Ctx, options: &Options) -> Result<()> {
    let dockerfile = options.dockerfile.clone().unwrap_or_else(|| kernel_dockerfile(ctx));
    let urls = sources(&dockerfile, ctx.knobs.image.arch.as_str())?;
    if urls.is_empty() {
        eprintln!("warning: {} fetches nothing by ADD", dockerfile.display());
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

/// Fetches the sources of the tree's kernel below `top`, and returns the lines of the manifest.
pub(super) fn collect_kernel(ctx: &Ctx, top: &Path, prefix: &str) -> Result<String> {
    collect(ctx, &sources(&kernel_dockerfile(ctx), ctx.knobs.image.arch.as_str())?, top, Some(prefix), false)
}

fn collect(ctx: &Ctx, urls: &[String], top: &Path, prefix: Option<&str>, tell: bool) -> Result<String> {
    if let Some(git) = urls.iter().find(|url| !curl::fetches(url)) {
        bail!("{git} is no file that can be fetched\nhint: a Dockerfile that adds a git repository is collected by hand: git clone");
    }
    let mut manifest = String::new();
    let mut downloads = Downloads::new(ctx);
    for url in urls {
        let name = file_name(url).ok_or_else(|| usage(format!("`{url}` names no file")))?;
        let name = prefix.map_or_else(|| name.clone(), |prefix| format!("{prefix}/{name}"));
        if tell {
            eprintln!("fetching {url} to {}", top.join(&name).display());
        }
        downloads.fetch(url, &top.join(&name))?;
        manifest.push_str(&format!("kernel,{url},,{name}\n"));
    }
    Ok(if ctx.globals.dry_run { String::new() } else { manifest })
}

/// A file name for an address: without the protocol, with `_` for `/`.
fn file_name(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let name = rest.replace('/', "_");
    (!name.is_empty() && name != "." && name != "..").then_some(name)
}
