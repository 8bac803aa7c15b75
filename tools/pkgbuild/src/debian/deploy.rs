//! What `RUN eve-debian-deploy.sh` does, in process: the closure of `BUILD_PKGS` into the stage's root, that of `PKGS` into `/out`.

use super::{Archive, Pin, unpack::unpack};
use anyhow::{Context as _, Result};
use filetree::{Content, Kind, Node, Tree};
use std::{collections::BTreeMap, path::Path};

/// Where and how a deploy works.
pub struct DeployOptions<'a> {
    /// A folder with room for what is unpacked.
    pub spool: &'a Path,
    /// How many packages are unpacked at a time, at least one.
    pub jobs: usize,
    /// Modification time of generated files (`/out` itself, the list of packages, the certificates' bundle).
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
/// at which closures stop. A second deploy adds to the first.
pub fn deploy(stage: &mut Tree, arch: &str, env: &BTreeMap<String, String>, options: &DeployOptions<'_>) -> Result<Deployed> {
    let archive = Archive::from_tree(stage, arch)?;
    let names = |variable: &str| -> Vec<String> {
        let values = [variable.to_owned(), format!("{variable}_{arch}")];
        let values = values.iter().filter_map(|name| env.get(name));
        values.flat_map(|value| value.split_ascii_whitespace()).map(str::to_owned).collect()
    };
    let dropped = names("DROP_PKGS");
    let closure = |variable: &str| archive.lock.closure(&names(variable), &dropped).with_context(|| format!("in {variable}"));
    let (build, out) = (closure("BUILD_PKGS")?, closure("PKGS")?);
    let debs = |pins: &[&Pin]| -> Vec<(Pin, Content)> {
        pins.iter().filter_map(|pin| Some(((*pin).clone(), archive.debs.get(&pin.name)?.clone()))).collect()
    };
    let into = |root: &mut Tree, pins: &[&Pin]| -> Result<Vec<String>> {
        let debs = debs(pins);
        let debs: Vec<(&Pin, &Content)> = debs.iter().map(|(pin, content)| (pin, content)).collect();
        unpack(root, &debs, options.spool, options.jobs, options.mtime)?;
        Ok(pins.iter().map(|pin| format!("{} {}", pin.name, pin.version)).collect())
    };
    // What is unpacked into /out sees /out as its root, whatever links it holds.
    let root = stage.remove("out").filter(|node| matches!(node.kind, Kind::Dir(_)));
    let mut out_tree = Tree { root: root.unwrap_or_else(|| Node::dir(0o755, options.mtime)) };
    let deployed = Deployed { build: into(stage, &build)?, out: into(&mut out_tree, &out)? };
    stage.insert("out", out_tree.root)?;
    Ok(deployed)
}
