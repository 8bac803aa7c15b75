//! Verbs that collect the sources of one kind: Alpine packages, a kernel, Go modules.

use crate::commands::paths::absolute_path;
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::error::usage;
use helpers::sources::{
    alpine::{self, Fetching, Installed},
    go_sum, kernel,
};
use std::path::PathBuf;

/// The arguments of `get-alpine-pkg-source`.
#[derive(clap::Args)]
pub struct GetAlpinePkgSource {
    /// print each package while it is collected
    #[arg(short = 'v')]
    tell: bool,
    /// do not print the number of packages
    #[arg(short = 'q')]
    quiet: bool,
    /// put the sources into this new folder [default: a temporary folder]
    #[arg(short = 's', value_name = "DIR", value_parser = absolute_path)]
    out: Option<PathBuf>,
    /// append the build scripts' addresses and licenses to this file
    #[arg(short = 'u', value_name = "FILE", value_parser = absolute_path)]
    urls: Option<PathBuf>,
    /// an image that contains /bits/rootfs.img; may be repeated
    #[arg(short = 't', value_name = "IMAGE")]
    tags: Vec<String>,
    /// the folder of a root file system
    #[arg(short = 'e', value_name = "DIR", value_parser = absolute_path)]
    evedir: Option<PathBuf>,
    /// read build scripts from this clone of aports [default: clone it]
    #[arg(short = 'g', value_name = "DIR", value_parser = absolute_path)]
    gitdir: Option<PathBuf>,
    /// put the sources into the folder NAME in DIR
    #[arg(short = 'p', value_name = "NAME")]
    prefix: Option<String>,
    /// short for -t lfedge/eve:VERSION
    version: Option<String>,
}

/// `get-alpine-pkg-source`.
pub fn get_alpine_sources(ctx: &Ctx, arguments: GetAlpinePkgSource) -> Result<()> {
    let GetAlpinePkgSource { tell, quiet, out, urls, tags, evedir, gitdir, prefix, version } = arguments;
    let images = version.map_or(tags, |version| vec![format!("lfedge/eve:{version}")]);
    let installed = match evedir {
        Some(folder) => Installed::InFolder(folder),
        None if images.is_empty() => return Err(usage("no image is given\nhint: -e DIR, -t IMAGE or a version")),
        None => Installed::InImages(images),
    };
    alpine::collect_alpine_sources(ctx, &installed, out.as_deref(), &Fetching { aports: gitdir, prefix, urls, tell, quiet })
}

/// The arguments of `get-kernel-source`.
#[derive(clap::Args)]
pub struct GetKernelSource {
    /// print each file while it is fetched
    #[arg(short = 'v')]
    tell: bool,
    /// write the addresses to this file in DIR
    #[arg(short = 'u', value_name = "FILE")]
    urls: Option<PathBuf>,
    /// put the files into this new folder [default: a temporary folder]
    #[arg(short = 's', value_name = "DIR", value_parser = absolute_path)]
    out: Option<PathBuf>,
    /// put the files into the folder NAME in DIR
    #[arg(short = 'p', value_name = "NAME")]
    prefix: Option<String>,
    /// the kernel's Dockerfile [default: pkg/kernel/Dockerfile]
    #[arg(value_parser = absolute_path)]
    dockerfile: Option<PathBuf>,
}

/// `get-kernel-source`.
pub fn get_kernel_sources(ctx: &Ctx, arguments: GetKernelSource) -> Result<()> {
    let GetKernelSource { tell, urls, out, prefix, dockerfile } = arguments;
    kernel::collect_kernel_sources(ctx, &kernel::Options { dockerfile, out, prefix, urls, tell })
}

/// The actions of `dockerfile-add-scanner`.
#[derive(Clone, clap::ValueEnum)]
enum Action {
    Scan,
}

/// The arguments of `dockerfile-add-scanner`.
#[derive(clap::Args)]
pub struct DockerfileAddScanner {
    /// the action: `scan` is the only one
    #[arg(value_name = "scan", hide_possible_values = true)]
    _action: Action,
    /// the architecture to build for [default: ZARCH]
    #[arg(long)]
    arch: Option<String>,
    /// the Dockerfiles to read
    #[arg(value_name = "DOCKERFILE", required = true, value_parser = absolute_path)]
    dockerfiles: Vec<PathBuf>,
}

/// `dockerfile-add-scanner`.
pub fn scan_dockerfiles(ctx: &Ctx, DockerfileAddScanner { arch, dockerfiles, .. }: DockerfileAddScanner) -> Result<()> {
    kernel::print_remote_sources(&dockerfiles, arch.as_deref().unwrap_or(ctx.knobs.image.arch.as_str()))
}

/// The arguments of `go-sum-to-src`.
#[derive(clap::Args)]
pub struct GoSumToSrc {
    /// print each module and archive
    #[arg(short = 'v')]
    tell: bool,
    /// put the archives into this new folder [default: a temporary folder]
    #[arg(short = 'o', value_name = "DIR", value_parser = absolute_path)]
    out: Option<PathBuf>,
}

/// `go-sum-to-src`.
pub fn get_go_sources(ctx: &Ctx, GoSumToSrc { tell, out }: GoSumToSrc) -> Result<()> {
    let lines = std::io::read_to_string(std::io::stdin()).context("cannot read the go.sum lines from standard input")?;
    go_sum::collect_go_sources(ctx, &lines, out.as_deref(), tell)
}
