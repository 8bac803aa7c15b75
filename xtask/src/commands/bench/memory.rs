//! Peak memory of the image steps that nobody else is measured against; the other steps' is in their own rows.

use super::{
    inputs,
    row::{IMAGE_MEMORY, Row},
    setting::Setting,
};
use anyhow::Result;
use common::display::size;

/// Each once, in a process of its own.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let tar = inputs::tar(setting)?;
    let mut rows = Vec::new();
    for (part, name) in [("ext4", "rootfs.ext4"), ("config", "config.img")] {
        let out = setting.fresh(name)?;
        let usage = setting.part(&[part], &[&tar, &out])?;
        let row = Row::alone(format!("{name}, {}", size(out.metadata()?.len())), usage.into());
        rows.push(Row { memory: Some(IMAGE_MEMORY), ..row });
    }
    Ok(rows)
}
