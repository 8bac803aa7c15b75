//! Measures the peak memory of image steps that are compared with no other tool. The rows of the other benchmarks contain theirs.

use super::{
    inputs,
    row::{IMAGE_MEMORY, Row},
    setting::Setting,
};
use anyhow::Result;
use common::display::size;

/// Runs each step once, in a process of its own.
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
