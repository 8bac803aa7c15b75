//! Measures converting live.raw to live.qcow2 in process, against `qemu-img convert -c` with its defaults.

use super::{
    inputs,
    row::{Budget, Row},
    setting::{Rival, Setting},
};
use anyhow::Result;
use child::Tool;
use common::display::size;

const ROUNDS: usize = 2;

/// Takes the best of [`ROUNDS`] rounds.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let raw = inputs::raw(setting)?;
    let ours = || setting.part(&["qcow2"], &[&raw, &setting.fresh("ours.qcow2")?]);
    let theirs = || Ok(setting.rivals.convert(&raw, &setting.fresh("theirs.qcow2")?)?.measure()?.0);
    let rival = Rival { name: "qemu-img convert -c", tools: &[Tool::QemuImg], run: &theirs };
    let mut row = setting.compare("live.qcow2", ROUNDS, &ours, &rival, Budget::Ratio(0.1))?;
    row.what = format!("live.qcow2, {} (theirs {})", size(setting.length("ours.qcow2")), size(setting.length("theirs.qcow2")));
    Ok(vec![row])
}
