//! What `RUN eve-debian-deploy.sh` does, in process: the closure of `BUILD_PKGS` into the stage's root, that of `PKGS` into `/out`.

use anyhow::{Result, bail};
use filetree::Tree;
use std::{collections::BTreeMap, path::Path};

/// Where and how a deploy works.
pub struct DeployOptions<'a> {
    /// A folder with room for what is unpacked.
    pub spool: &'a Path,
    /// How many packages are unpacked at a time, at least one.
    pub jobs: usize,
    /// Modification time of generated files (`/out` itself, the certificates' bundle).
    pub mtime: i64,
}

/// What was unpacked, `name version` each, in byte order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployed {
    /// Into the stage's root.
    pub build: Vec<String>,
    /// Into `/out`.
    pub out: Vec<String>,
}

/// Unpacks packages of the stage's own archive (`/packages/ARCH`) into the stage, for `arch` (`amd64`, `arm64`). `env` is the
/// environment of the RUN: `PKGS`, `PKGS_ARCH`, `BUILD_PKGS`, `BUILD_PKGS_ARCH`, and `DROP_PKGS`, `DROP_PKGS_ARCH`, names
/// at which closures stop.
pub fn deploy(_stage: &mut Tree, _arch: &str, _env: &BTreeMap<String, String>, _options: &DeployOptions<'_>) -> Result<Deployed> {
    bail!("not yet")
}
