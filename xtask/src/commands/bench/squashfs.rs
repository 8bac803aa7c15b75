//! Measures packing rootfs.tar into rootfs.img, against unpacking the tar and mksquashfs with the same compressor and block size.

use super::{
    inputs,
    row::{Budget, IMAGE_MEMORY, Row},
    setting::{Rival, Setting},
};
use anyhow::Result;
use child::Tool;
use common::display::size;

/// Runs one round for each compressor: a round takes about a minute, so noise matters little.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let tar = inputs::tar(setting)?;
    let mut rows = Vec::new();
    for compressor in ["xz", "gzip"] {
        let ours = || setting.part(&["squashfs", compressor], &[&tar, &setting.fresh("ours.squash")?]);
        let theirs = || {
            let tree = setting.fresh_folder("tree")?;
            let unpacked = setting.rivals.unpack(&tar, &tree)?.measure()?.0;
            let packed = setting.rivals.mksquashfs(&tree, compressor, &setting.fresh("theirs.squash")?)?.measure()?.0;
            Ok(unpacked.then(packed))
        };
        let rival = Rival { name: "tar x + mksquashfs", tools: &[Tool::Mksquashfs], run: &theirs };
        setting.fresh("theirs.squash")?;
        let mut row = setting.compare(&format!("rootfs.img, {compressor}"), 1, &ours, &rival, Budget::Ratio(1.0))?;
        let (made, other) = (setting.length("ours.squash"), setting.length("theirs.squash"));
        row.what.push_str(&format!(": {} to {}", size(tar.metadata()?.len()), size(made)));
        if other > 0 {
            row.what.push_str(&format!(" (theirs {})", size(other)));
        }
        row.memory = Some(IMAGE_MEMORY);
        rows.push(row);
    }
    Ok(rows)
}
