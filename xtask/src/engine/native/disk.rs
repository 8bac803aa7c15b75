//! Parts → disks, and disks → other formats.

use super::Native;
use crate::{
    execute::{Job, artifact::Pending},
    knobs::ImageFormat,
    tools::{Output, qemu_img::QemuImg},
};
use anyhow::{Context as _, Result, bail};
use diskimage::{disk, eve, recipes, rootfs};
use std::path::Path;

pub(super) fn make_config(conf_dir: &Path, origin: &str, epoch: i64, out: &Path) -> Result<()> {
    let tree = rootfs::config_tree(conf_dir, origin, epoch)?;
    let layout = recipes::config(&tree, epoch).with_context(|| format!("`{}`", conf_dir.display()))?;
    let pending = Pending::new(out)?;
    layout.write(&pending.create()?)?;
    pending.commit()
}

/// What a disk is made from.
pub(super) struct Parts<'a> {
    pub rootfs: &'a Path,
    pub config: &'a Path,
    pub persist: &'a Path,
    pub names: &'a [String],
    pub epoch: i64,
}

pub(super) fn make_disk(parts: &Parts<'_>, out: &Path) -> Result<()> {
    let kinds = parts.names.iter().map(|name| name.parse()).collect::<Result<Vec<eve::Kind>>>()?;
    let images = recipes::Parts::default().rootfs(parts.rootfs)?.config(parts.config)?.persist(parts.persist)?;
    let layout = disk::layout(recipes::disk(&kinds, eve::DISK_SIZE, &images, parts.epoch)?)?;
    let pending = Pending::new(out)?;
    layout.write(&pending.create()?)?;
    pending.commit()
}

pub(super) fn convert(native: &Native, raw: &Path, format: ImageFormat, size_mib: u64, out: &Path, job: &Job<'_>) -> Result<()> {
    let tool = QemuImg::new(&native.tools, Output::default().with_log(job.log_path()))?;
    let pending = Pending::new(out)?;
    match format {
        ImageFormat::Qcow2 => {
            tool.convert_to_qcow2(raw, pending.part())?;
            tool.resize(pending.part(), size_mib << 20)?;
        }
        ImageFormat::Vdi => tool.convert_grown(raw, "vdi", pending.part(), size_mib << 20)?,
        other => bail!("the native engine does not make {other} images yet\nhint: --image-format qcow2, vdi or raw"),
    }
    pending.commit()
}
