//! rootfs.tar from the images of the cache. `linuxkit build` does the same from the same cache; no distribution packages it,
//! so there is no other side here.

use super::{
    inputs::built,
    row::{IMAGE_MEMORY, Row},
    setting::Setting,
};
use anyhow::Result;
use common::display::size;
use plan::Composed;

/// Of the yml of the last build; without one there is no row, and that is said.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let hv = &setting.ctx.knobs.image.hv;
    let name = format!("images/rootfs-{hv}.yml");
    let Some(yml) = built(setting, |layout| layout.yml(Composed::Rootfs, hv, "")) else {
        eprintln!("SKIPPED: rootfs.tar: there is no {name} of a last build\nhint: cargo xtask live");
        return Ok(Vec::new());
    };
    let out = setting.fresh("rootfs.tar")?;
    let usage = setting.part(&["compose"], &[&yml, &out])?;
    let row = Row::alone(format!("rootfs.tar, {}, packages cached", size(out.metadata()?.len())), usage.into());
    Ok(vec![Row { memory: Some(IMAGE_MEMORY), ..row }])
}
