//! live.raw → the archive for Google's cloud, against GNU tar's sparse archive through gzip, as people make it by hand.

use super::{
    inputs,
    row::{Budget, IMAGE_MEMORY, Row},
    setting::{Rival, Setting},
};
use anyhow::{Context as _, Result};
use common::display::size;
use std::fs::File;

/// Of the disk, in bytes: what lies between it and live.raw is a hole.
const SIZE: u64 = 8 << 30;
const ROUNDS: usize = 2;

/// Best of some rounds each. tar is handed a disk that is grown already.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let raw = inputs::raw(setting)?;
    let grown = setting.fresh("disk.raw")?;
    setting.rivals.copy_sparse(&raw, &grown)?.run()?;
    File::options().write(true).open(&grown).and_then(|file| file.set_len(SIZE)).context("cannot grow a copy of the disk")?;
    let ours = || setting.part(&["gcp", &SIZE.to_string()], &[&raw, &setting.fresh("ours.tar.gz")?]);
    let theirs = || Ok(setting.rivals.tar_sparse(&grown, &setting.fresh("theirs.tar.gz")?)?.measure()?.0);
    let rival = Rival { name: "tar -Sczf", tools: &[], run: &theirs };
    let mut row = setting.compare("live.img.tar.gz", ROUNDS, &ours, &rival, Budget::Ratio(1.0 / 3.0))?;
    let length = |name: &str| setting.folder.join(name).metadata().map_or(0, |metadata| metadata.len());
    row.what = format!("live.img.tar.gz, {} (theirs {})", size(length("ours.tar.gz")), size(length("theirs.tar.gz")));
    row.memory = Some(IMAGE_MEMORY);
    Ok(vec![row])
}
