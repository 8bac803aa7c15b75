//! Builds an image from a [`Dockerfile`](crate::dockerfile::Dockerfile) as a value: a configuration and a tree. It starts no process and
//! touches no file but those of the context; commands and base images come from an [`Environment`].

mod environment;

pub use environment::{Environment, Mount, MountKind, Step};

use crate::dockerfile::Dockerfile;
use anyhow::{Result, bail};
use filetree::Tree;
use std::collections::BTreeMap;

/// What to build.
#[derive(Debug)]
pub struct Request<'a> {
    /// The parsed Dockerfile.
    pub dockerfile: &'a Dockerfile,
    /// What `COPY` sees.
    pub context: &'a Tree,
    /// Architecture of the image, in Go's words: `amd64`, `arm64`, `riscv64`.
    pub arch: &'a str,
    /// Architecture of this machine.
    pub build_arch: &'a str,
    /// Values for `ARG`.
    pub build_args: &'a BTreeMap<String, String>,
    /// Labels put on top of those in the Dockerfile.
    pub labels: &'a BTreeMap<String, String>,
    /// Time of what the build makes, and upper limit of what it runs leaves, in seconds since the epoch.
    pub source_date_epoch: i64,
    /// Whether `RUN` has the network.
    pub network: bool,
    /// Name of the stage to build; the last one when `None`.
    pub target: Option<&'a str>,
}

/// An image: the caller writes its tree as one layer.
#[derive(Clone, Debug)]
pub struct Built {
    /// What it runs, and its labels.
    pub config: oci::Config,
    /// Its root file system.
    pub tree: Tree,
}

/// Builds the image. Only the stages that it needs are looked at.
pub fn build(request: &Request<'_>, env: &dyn Environment) -> Result<Built> {
    let _ = (request, env);
    bail!("not yet")
}
