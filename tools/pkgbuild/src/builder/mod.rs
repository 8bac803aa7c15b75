//! Builds an image from a [`Dockerfile`](crate::dockerfile::Dockerfile) as a value: a configuration and a tree. It starts no
//! process and reads no file but those of the context; a [`BuildHost`] provides base images and runs commands.

mod check;
mod context;
mod copy;
mod hidden;
mod host;
mod pattern;
mod stage;

pub use check::check_early;
pub use context::{add_source, read_context};
pub use hidden::{PACKAGES, is_archive, sees_dockerfile, sees_packages};
pub use host::{BuildHost, Mount, MountKind, Step};

use crate::dockerfile::{Dockerfile, expand};
use anyhow::{Context as _, Result, bail};
use filetree::{Node, Tree};
use oci::Config;
use stage::Stage;
use std::collections::BTreeMap;

/// Hint of errors about unsupported features.
const HINT: &str = "hint: build it with docker: `--engine linuxkit`";

/// Default `PATH` of commands.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Input of a build.
#[derive(Debug)]
pub struct Request<'a> {
    /// The parsed Dockerfile.
    pub dockerfile: &'a Dockerfile,
    /// Files for `COPY`.
    pub context: &'a Tree,
    /// Architecture of the image, as in Go's `GOARCH`: `amd64`, `arm64`, `riscv64`.
    pub arch: &'a str,
    /// Architecture of this machine.
    pub build_arch: &'a str,
    /// Values for `ARG`.
    pub build_args: &'a BTreeMap<String, String>,
    /// Mtime of files made by the builder, and upper limit for files made by commands: Unix timestamp.
    pub source_date_epoch: i64,
    /// Whether `RUN` has network access.
    pub network: bool,
    /// Name of the stage to build; `None` is the last one.
    pub target: Option<&'a str>,
}

/// A built image; the caller writes the tree as one layer.
#[derive(Clone, Debug)]
pub struct Built {
    /// Image configuration.
    pub config: oci::Config,
    /// Its root file system.
    pub tree: Tree,
}

/// Builds the image and the stages that it needs.
pub fn build(request: &Request<'_>, host: &dyn BuildHost) -> Result<Built> {
    let file = request.dockerfile;
    let last = match request.target {
        None => file.stages.len() - 1,
        Some(name) => file.find_stage(name, file.stages.len()).with_context(|| format!("{}: there is no stage `{name}`", file.path))?,
    };
    let mut builder = Builder {
        request,
        host,
        args: global_args(request),
        done: BTreeMap::new(),
        images: BTreeMap::new(),
        links: copy::Links::default(),
        hides_packages: !sees_packages(request),
    };
    let needed = file.needed_stages(last, &builder.args);
    check::check(request, &needed, &builder.args)?;
    for index in needed {
        let stage = builder.stage(index)?;
        builder.done.insert(index, stage);
    }
    let Some(Finished { config, tree, .. }) = builder.done.remove(&last) else { bail!("{}: stage {last} was not built", file.path) };
    Ok(Built { config, tree })
}

/// Variables of all stages: the platform, and `ARG`s before the first `FROM`.
fn global_args(request: &Request<'_>) -> BTreeMap<String, String> {
    let (target, build) = (format!("linux/{}", request.arch), format!("linux/{}", request.build_arch));
    let epoch = request.source_date_epoch.to_string();
    let predefined = [
        ("TARGETPLATFORM", target.as_str()),
        ("TARGETOS", "linux"),
        ("TARGETARCH", request.arch),
        ("TARGETVARIANT", ""),
        ("BUILDPLATFORM", build.as_str()),
        ("BUILDOS", "linux"),
        ("BUILDARCH", request.build_arch),
        ("BUILDVARIANT", ""),
        ("SOURCE_DATE_EPOCH", epoch.as_str()),
    ];
    request.dockerfile.global_args(&predefined, request.build_args)
}

/// A built stage, for the stages after it.
#[derive(Clone, Debug)]
struct Finished {
    config: Config,
    tree: Tree,
    arch: String,
    /// Its variables, which stages based on it inherit.
    variables: BTreeMap<String, String>,
    /// The archive's packages that are hidden from it.
    packages: Option<Node>,
}

/// One build.
struct Builder<'a> {
    request: &'a Request<'a>,
    host: &'a dyn BuildHost,
    args: BTreeMap<String, String>,
    done: BTreeMap<usize, Finished>,
    /// Images used by `--from`, by reference and architecture.
    images: BTreeMap<(String, String), Tree>,
    links: copy::Links,
    hides_packages: bool,
}

impl Builder<'_> {
    fn stage(&mut self, index: usize) -> Result<Finished> {
        let file = self.request.dockerfile;
        let from = &file.stages[index];
        let place = || format!("{}:{}", file.path, from.line);
        let finished = self.base(index).with_context(place)?;
        let mut stage = Stage::new(self, index, finished);
        for item in &from.items {
            stage.execute(item).with_context(|| format!("{}:{}", file.path, item.line))?;
        }
        Ok(stage.finish())
    }

    /// The start of a stage, as its `FROM` says.
    fn base(&self, index: usize) -> Result<Finished> {
        let file = self.request.dockerfile;
        let from = &file.stages[index];
        let text = |word: &str| expand(word, file.escape, &|name| self.args.get(name).cloned());
        let arch = match &from.platform {
            Some(platform) => arch_of(&text(platform)?)?,
            None => self.request.arch.to_owned(),
        };
        let base = text(&from.base)?;
        if base.is_empty() {
            bail!("FROM {} names no image: a variable is empty", from.base);
        }
        if let Some(stage) = file.find_named(&base, index).and_then(|stage| self.done.get(&stage)) {
            return Ok(stage.clone());
        }
        if base == "scratch" {
            return Ok(Finished { config: scratch_config(), tree: Tree::new(), arch, variables: BTreeMap::new(), packages: None });
        }
        let (config, mut tree) = self.host.base_image(&base, &arch).with_context(|| format!("FROM {base}"))?;
        if config.other.get("OnBuild").and_then(|triggers| triggers.as_array()).is_some_and(|triggers| !triggers.is_empty()) {
            bail!("FROM {base}: ONBUILD instructions of the image are not supported\n{HINT}");
        }
        let packages = if self.hides_packages { hidden::hide(&mut tree, &arch) } else { None };
        Ok(Finished { config, tree, arch, variables: BTreeMap::new(), packages })
    }
}

/// BuildKit's configuration for `FROM scratch`.
fn scratch_config() -> Config {
    Config { env: vec![format!("PATH={PATH}")], working_dir: "/".to_owned(), ..Config::default() }
}

/// The architecture of `linux/arm64`, `linux/arm/v7` or `arm64`.
fn arch_of(platform: &str) -> Result<String> {
    match platform.split('/').collect::<Vec<_>>()[..] {
        ["linux", arch] | ["linux", arch, _] if !arch.is_empty() => Ok(arch.to_owned()),
        [arch] if !arch.is_empty() && arch != "linux" => Ok(arch.to_owned()),
        _ => bail!("--platform={platform} is not supported: it must be linux/ARCHITECTURE"),
    }
}

#[cfg(test)]
mod tests;
