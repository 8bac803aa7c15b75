//! Measures `live` in a second clone with empty caches, after a first one has built and given everything to a registry.

use super::{
    builds::measure,
    row::{Budget, IMAGE_MEMORY, Row},
    setting::Setting,
};
use anyhow::{Result, bail};
use child::{Cmd, Tool, docker_registry::LocalRegistry};
use common::digest::sha256_of;
use std::path::{Path, PathBuf};

/// The most seconds for the second clone.
const MOST: f64 = 10.0;

/// Builds in two clones with caches of their own and one registry between them.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>> {
    if let Err(missing) = setting.ctx.tools.find(Tool::DockerRegistry) {
        eprintln!("SKIPPED: team: {missing}\nhint: cargo xtask doctor --install --for bench");
        return Ok(Vec::new());
    }
    let registry = LocalRegistry::start(&setting.ctx.tools, &setting.fresh_folder("registry")?)?;
    let place = format!("{}/team", registry.address());
    let [one, two] = ["one", "two"].map(|name| setting.fresh(name));
    let (one, two) = (one?, two?);
    for clone in [&one, &two] {
        setting.rivals.clone(&setting.ctx.root, clone)?.run()?;
    }
    live(setting, &one, &place)?.env("CACHE_MODE", "write").run()?;
    let (usage, report) = measure(live(setting, &two, &place)?.env("CACHE_MODE", "read"))?;
    let is_work = |node: &str| node.starts_with("pkg/") || node == "rootfs.img";
    if let Some(made) = report.made.iter().find(|made| is_work(&made.node)) {
        bail!("the second clone made {}, which the registry has", made.node);
    }
    for file in ["installer/rootfs.img", "live.qcow2"] {
        let [ours, theirs] = [&one, &two].map(|clone| sha256_of(&current(setting, clone).join(file)));
        if ours? != theirs? {
            bail!("`{file}` of the second clone has other bytes than the first one built");
        }
    }
    let what = "a second clone with empty caches, and a registry: `live`";
    Ok(vec![Row { budget: Budget::Seconds(MOST), memory: Some(IMAGE_MEMORY), ..Row::alone(what.to_owned(), usage.into()) }])
}

/// `live` in a clone, with caches of its own.
fn live(setting: &Setting<'_>, clone: &Path, place: &str) -> Result<Cmd> {
    let live = setting.ourselves(clone)?.env("CACHE", place).env("LINUXKIT_CACHE", clone.with_extension("images"));
    let live = live.env("STORE", clone.with_extension("store")).env("ROOTFS_COMPRESSION", setting.ctx.knobs.image.compression.as_str());
    Ok(live.args(["--json", "live"]))
}

fn current(setting: &Setting<'_>, clone: &Path) -> PathBuf {
    clone.join("dist").join(setting.ctx.knobs.image.arch.as_str()).join("current")
}
