//! Measures composing rootfs.tar from the image cache. Compares with nothing: `linuxkit build` does the same, but no distribution
//! packages linuxkit.

use super::{
    inputs::built,
    row::{IMAGE_MEMORY, Row},
    setting::Setting,
};
use anyhow::Result;
use common::display::size;
use plan::Composed;

/// Composes the yml of the last build; without a build prints SKIPPED and returns no row.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let hv = &setting.ctx.knobs.image.hv;
    let name = format!("images/rootfs-{hv}.yml");
    let Some(yml) = built(setting, |layout| layout.yml(Composed::Rootfs, hv, "")) else {
        eprintln!("SKIPPED: rootfs.tar: no build has left a {name}\nhint: cargo xtask live");
        return Ok(Vec::new());
    };
    let out = setting.fresh("rootfs.tar")?;
    let usage = setting.part(&["compose"], &[&yml, &out])?;
    let row = Row::alone(format!("rootfs.tar, {}, packages cached", size(out.metadata()?.len())), usage.into());
    Ok(vec![Row { memory: Some(IMAGE_MEMORY), ..row }])
}
