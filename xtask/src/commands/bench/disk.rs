//! Measures making live.raw from its parts, against genimage with the same partition table. genimage gets the EFI system partition and
//! the configuration as finished images; ours makes both, the former from files in the root file system.

use super::{
    inputs,
    row::{Budget, IMAGE_MEMORY, Row},
    setting::{Rival, Setting},
};
use anyhow::{Context as _, Result};
use child::Tool;
use common::display::size;
use diskimage::{eve, fat, recipes};
use std::{fs::File, os::unix::fs::symlink, path::Path};

const ROUNDS: usize = 3;

/// The table of `diskimage::eve::LIVE` in genimage's words.
const TABLE: &str = r#"image live.raw {
    size = 350M
    hdimage { partition-table-type = "gpt" align = 1M }
    partition efi { image = "esp.img" size = 36M partition-type-uuid = "U" }
    partition config { image = "config.img" size = 1M }
    partition imga { image = "rootfs.img" size = 300M }
}
"#;

/// Takes the best of [`ROUNDS`] rounds.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let rootfs = inputs::rootfs(setting)?;
    let folder = setting.fresh_folder("genimage")?;
    prepare(&folder, &rootfs).context("cannot prepare the parts for genimage")?;
    let ours = || setting.part(&["disk"], &[&rootfs, &setting.fresh("ours.raw")?]);
    let theirs = || {
        for name in ["tmp", "output"] {
            setting.fresh(&format!("genimage/{name}"))?;
        }
        Ok(setting.rivals.genimage(&folder)?.measure()?.0)
    };
    let rival = Rival { name: "genimage", tools: &[Tool::Genimage], run: &theirs };
    let what = format!("live.raw, {} of rootfs.img", size(rootfs.metadata()?.len()));
    let row = setting.compare(&what, ROUNDS, &ours, &rival, Budget::Ratio(1.0))?;
    Ok(vec![Row { memory: Some(IMAGE_MEMORY), ..row }])
}

fn prepare(folder: &Path, rootfs: &Path) -> Result<()> {
    for name in ["input", "root"] {
        std::fs::create_dir(folder.join(name))?;
    }
    std::fs::write(folder.join("genimage.cfg"), TABLE)?;
    symlink(rootfs, folder.join("input/rootfs.img"))?;
    let size = eve::Kind::Efi.size(eve::DISK_SIZE);
    let options = fat::Options { size, label: "EVE".to_owned(), volume_id: 1, mtime: 0, sector: 512, bits: fat::Bits::Auto };
    fat::layout(&recipes::esp_of_rootfs(File::open(rootfs)?)?, &options)?.write(&File::create(folder.join("input/esp.img"))?)?;
    recipes::config(&filetree::Tree::new(), 0)?.write(&File::create(folder.join("input/config.img"))?)
}
