//! Parts → disks and installers.

use crate::{
    engine::boards,
    execute::artifact::Pending,
    plan::{DiskJob, DiskKind},
};
use anyhow::{Context as _, Result};
use diskimage::{disk, eve, recipes, rootfs};
use std::path::Path;

pub(super) fn make_config(conf_dir: &Path, origin: &str, epoch: i64, out: &Path) -> Result<()> {
    let tree = rootfs::config_tree(conf_dir, origin, epoch)?;
    let layout = recipes::config(&tree, epoch).with_context(|| format!("`{}`", conf_dir.display()))?;
    let pending = Pending::new(out)?;
    layout.write(&pending.create()?)?;
    pending.commit()
}

pub(super) fn make_disk(job: &DiskJob) -> Result<()> {
    if let Some(board) = &job.board {
        boards::place(&job.parts, board)?;
    }
    let words = job.words.iter().flat_map(|word| word.split_whitespace());
    let kinds = words.map(str::parse).collect::<Result<Vec<eve::Kind>>>()?;
    let parts = recipes::Parts::of_folder(&job.parts, job.kind != DiskKind::Live)?;
    let layout = disk::layout(recipes::disk(&kinds, job.mebibytes << 20, &parts, job.epoch)?)?;
    let pending = Pending::new(&job.out)?;
    layout.write(&pending.create()?)?;
    pending.commit()
}

pub(super) fn make_iso(parts: &Path, epoch: i64, out: &Path) -> Result<()> {
    let layout = recipes::iso(recipes::IsoKind::Installer, &recipes::Parts::of_folder(parts, true)?, epoch)?;
    let pending = Pending::new(out)?;
    layout.write(&pending.create()?)?;
    pending.commit()
}

pub(in crate::engine) fn make_net(parts: &Path, epoch: i64, out: &Path) -> Result<()> {
    let pending = Pending::new(out)?;
    recipes::write_installer_net(&recipes::Parts::of_folder(parts, true)?, epoch, &mut pending.create()?)?;
    pending.commit()
}
