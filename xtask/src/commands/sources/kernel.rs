//! `get-kernel-source` and `dockerfile-add-scanner`: what a Dockerfile fetches by `ADD`, as a list or as files.

use super::download::{Downloads, folder};
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::curl;
use clap::{Arg, ArgAction, ArgMatches, Command};
use common::{artifact::write_atomically, error::usage};
use pkgbuild::dockerfile::Dockerfile;
use std::path::{Path, PathBuf};

/// The arguments of `dockerfile-add-scanner`.
pub fn scanner_arguments(command: Command) -> Command {
    command
        .arg(Arg::new("scan").value_name("scan").value_parser(["scan"]).required(true).help("what is done: there is only this"))
        .arg(Arg::new("arch").long("arch").value_name("ARCH").help("architecture for which it would be built; the image's when unset"))
        .arg(Arg::new("dockerfile").value_name("DOCKERFILE").num_args(1..).required(true).help("the files to look at"))
}

/// `dockerfile-add-scanner scan DOCKERFILE…`: the addresses, a line each.
pub fn scan(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let arch = arguments.get_one::<String>("arch").map_or(ctx.knobs.arch.as_str(), String::as_str);
    let mut lines = String::new();
    for path in arguments.get_many::<String>("dockerfile").into_iter().flatten() {
        for source in sources(Path::new(path), arch)? {
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

/// The arguments of `get-kernel-source`.
pub fn arguments(command: Command) -> Command {
    let option =
        |short: char, id: &'static str, value: &'static str, help: &'static str| Arg::new(id).short(short).value_name(value).help(help);
    command
        .arg(Arg::new("tell").short('v').action(ArgAction::SetTrue).help("tell what is fetched"))
        .arg(option('u', "urls", "FILE", "write the addresses to this file"))
        .arg(option('s', "out", "DIR", "put the files into this new folder; a temporary one when unset"))
        .arg(option('p', "prefix", "NAME", "put them into this folder in it"))
        .arg(Arg::new("dockerfile").value_name("DOCKERFILE").help("the kernel's; pkg/kernel/Dockerfile when unset"))
}

/// `get-kernel-source`: a line of the manifest for each file.
pub fn run(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let text = |name: &str| arguments.get_one::<String>(name).map(String::as_str);
    let dockerfile = text("dockerfile").map_or_else(|| ctx.profile.packages.folder.join("kernel/Dockerfile"), PathBuf::from);
    let urls = sources(&dockerfile, ctx.knobs.arch.as_str())?;
    if urls.is_empty() {
        eprintln!("warning: {} fetches nothing by ADD", dockerfile.display());
    }
    let out = folder(text("out"), text("prefix"), ctx.globals.dry_run)?;
    if let Some(file) = text("urls") {
        let file = std::path::absolute(out.join(file)).context("a file for addresses has a path")?;
        if !ctx.globals.dry_run {
            write_atomically(&file, urls.iter().map(|url| format!("{url}\n")).collect::<String>().as_bytes())?;
        }
    }
    let manifest = collect(ctx, &urls, &out, text("prefix"), arguments.get_flag("tell"))?;
    print!("{manifest}");
    Ok(())
}

/// Fetches the kernel's sources below `top`; the lines of the manifest.
pub fn collect_kernel(ctx: &Ctx, top: &Path, prefix: &str) -> Result<String> {
    let dockerfile = ctx.profile.packages.folder.join("kernel/Dockerfile");
    collect(ctx, &sources(&dockerfile, ctx.knobs.arch.as_str())?, top, Some(prefix), false)
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

/// The address without its protocol as one name.
fn file_name(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let name = rest.replace('/', "_");
    (!name.is_empty() && name != "." && name != "..").then_some(name)
}
