//! Measures making the archive for Google's cloud from live.raw, against `tar -Sczf`, the sparse archive that people make by hand.

use super::{
    inputs,
    row::{Budget, IMAGE_MEMORY, Row},
    setting::{Rival, Setting},
};
use anyhow::{Context as _, Result};
use common::display::size;
use std::fs::File;

/// Size of the disk in bytes; everything behind the end of live.raw is a hole.
const SIZE: u64 = 8 << 30;
const ROUNDS: usize = 2;

/// Takes the best of [`ROUNDS`] rounds. tar gets a disk that already has the final size.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let raw = inputs::raw(setting)?;
    let grown = setting.fresh("disk.raw")?;
    setting.rivals.copy_sparse(&raw, &grown)?.run()?;
    File::options().write(true).open(&grown).and_then(|file| file.set_len(SIZE)).context("cannot grow a copy of the disk")?;
    let ours = || setting.part(&["gcp", &SIZE.to_string()], &[&raw, &setting.fresh("ours.tar.gz")?]);
    let theirs = || Ok(setting.rivals.tar_sparse(&grown, &setting.fresh("theirs.tar.gz")?)?.measure()?.0);
    let rival = Rival { name: "tar -Sczf", tools: &[], run: &theirs };
    let mut row = setting.compare("live.img.tar.gz", ROUNDS, &ours, &rival, Budget::Ratio(1.0 / 3.0))?;
    row.what = format!("live.img.tar.gz, {} (theirs {})", size(setting.length("ours.tar.gz")), size(setting.length("theirs.tar.gz")));
    row.memory = Some(IMAGE_MEMORY);
    Ok(vec![row])
}
