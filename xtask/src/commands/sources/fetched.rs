//! Verbs that fetch the sources of one kind, and that list what would be fetched.

use crate::commands::{Run, paths::absolute_path};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::error::usage;
use helpers::sources::{
    alpine::{self, Fetching, Installed},
    go_sum, kernel,
};
use std::{io::Read as _, path::PathBuf};

/// collect the sources of an image's Alpine packages
#[derive(clap::Args)]
pub struct GetAlpinePkgSource {
    /// name each package while it is collected
    #[arg(short = 'v')]
    tell: bool,
    /// do not print the number of packages
    #[arg(short = 'q')]
    quiet: bool,
    /// put the sources into this new folder [default: a temporary one]
    #[arg(short = 's', value_name = "DIR", value_parser = absolute_path)]
    out: Option<PathBuf>,
    /// append the build scripts' addresses and licenses to this file
    #[arg(short = 'u', value_name = "FILE", value_parser = absolute_path)]
    urls: Option<PathBuf>,
    /// an image that holds /bits/rootfs.img; may be given several times
    #[arg(short = 't', value_name = "IMAGE")]
    tags: Vec<String>,
    /// the folder of a root file system
    #[arg(short = 'e', value_name = "DIR", value_parser = absolute_path)]
    evedir: Option<PathBuf>,
    /// read the build scripts from this clone of aports, instead of cloning it
    #[arg(short = 'g', value_name = "DIR", value_parser = absolute_path)]
    gitdir: Option<PathBuf>,
    /// put the sources into the folder NAME in DIR
    #[arg(short = 'p', value_name = "NAME")]
    prefix: Option<String>,
    /// the same as -t lfedge/eve:VERSION
    version: Option<String>,
}

impl Run for GetAlpinePkgSource {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let images = self.version.map_or(self.tags, |version| vec![format!("lfedge/eve:{version}")]);
        let installed = match self.evedir {
            Some(folder) => Installed::InFolder(folder),
            None if images.is_empty() => {
                return Err(usage("nothing says whose sources are wanted\nhint: -e DIR, -t IMAGE or a version"));
            }
            None => Installed::InImages(images),
        };
        let fetching = Fetching { aports: self.gitdir, prefix: self.prefix, urls: self.urls, tell: self.tell, quiet: self.quiet };
        alpine::collect_alpine_sources(ctx, &alpine::Options { installed, out: self.out, fetching })
    }
}

/// collect the sources that a kernel's Dockerfile fetches
#[derive(clap::Args)]
pub struct GetKernelSource {
    /// name each file while it is fetched
    #[arg(short = 'v')]
    tell: bool,
    /// write the addresses to this file in DIR
    #[arg(short = 'u', value_name = "FILE")]
    urls: Option<PathBuf>,
    /// put the files into this new folder [default: a temporary one]
    #[arg(short = 's', value_name = "DIR", value_parser = absolute_path)]
    out: Option<PathBuf>,
    /// put the files into the folder NAME in DIR
    #[arg(short = 'p', value_name = "NAME")]
    prefix: Option<String>,
    /// the kernel's Dockerfile [default: pkg/kernel/Dockerfile]
    #[arg(value_parser = absolute_path)]
    dockerfile: Option<PathBuf>,
}

impl Run for GetKernelSource {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let Self { tell, urls, out, prefix, dockerfile } = self;
        kernel::collect_kernel_sources(ctx, &kernel::Options { dockerfile, out, prefix, urls, tell })
    }
}

/// What `dockerfile-add-scanner` does.
#[derive(Clone, clap::ValueEnum)]
enum Action {
    Scan,
}

/// list the addresses that Dockerfiles fetch with ADD
#[derive(clap::Args)]
pub struct DockerfileAddScanner {
    /// the action: `scan` is the only one
    #[arg(value_name = "scan", hide_possible_values = true)]
    _action: Action,
    /// the architecture to build for [default: ZARCH]
    #[arg(long)]
    arch: Option<String>,
    /// the files to look at
    #[arg(value_name = "DOCKERFILE", required = true, value_parser = absolute_path)]
    dockerfiles: Vec<PathBuf>,
}

impl Run for DockerfileAddScanner {
    fn run(self, ctx: &Ctx) -> Result<()> {
        kernel::print_remote_sources(ctx, &kernel::ScanOptions { dockerfiles: self.dockerfiles, arch: self.arch })
    }
}

/// collect the sources of modules in go.sum lines on standard input
#[derive(clap::Args)]
pub struct GoSumToSrc {
    /// name each module and archive
    #[arg(short = 'v')]
    tell: bool,
    /// put the archives into this new folder [default: a temporary one]
    #[arg(short = 'o', value_name = "DIR", value_parser = absolute_path)]
    out: Option<PathBuf>,
}

impl Run for GoSumToSrc {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let mut lines = String::new();
        std::io::stdin().read_to_string(&mut lines).context("cannot read the go.sum lines from standard input")?;
        go_sum::collect_go_sources(ctx, &go_sum::Options { lines, out: self.out, tell: self.tell })
    }
}
