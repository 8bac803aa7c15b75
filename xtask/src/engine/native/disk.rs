//! Parts → disks, and disks → other formats.

use super::Native;
use crate::{
    execute::{Job, artifact::Pending},
    knobs::ImageFormat,
    tools::{Output, qemu_img::QemuImg},
};
use anyhow::{Context as _, Result, bail};
use diskimage::{
    disk::{self, Source},
    eve, fat, rootfs,
    squashfs::Reader,
};
use filetree::{Content, Tree};
use std::{fs::File, path::Path};

/// Size of config.img.
const CONFIG_SIZE: u64 = 1 << 20;
/// Volume serials are pinned: they tell nobody anything, and a clock would make every image another one.
const CONFIG_VOLUME_ID: u32 = 0x4556_4543;
const ESP_VOLUME_ID: u32 = 0x4556_4545;

pub(super) fn make_config(conf_dir: &Path, origin: &str, epoch: i64, out: &Path) -> Result<()> {
    let tree = rootfs::config_tree(conf_dir, origin, epoch)?;
    let options = fat::Options {
        size: CONFIG_SIZE,
        label: "EVE".to_owned(),
        volume_id: CONFIG_VOLUME_ID,
        mtime: u32::try_from(epoch).unwrap_or(0),
        bits: fat::Bits::Auto,
    };
    let layout = fat::layout(&tree, &options).with_context(|| format!("the configuration `{}` cannot become config.img", conf_dir.display()))?;
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
    let mut kinds = Vec::new();
    for name in parts.names {
        let kind: eve::Kind = name.parse()?;
        let source = match kind {
            eve::Kind::Efi => Source::Fat(esp(parts, kind.size())?),
            eve::Kind::Imga => Source::Image(Content::of_path(parts.rootfs)?),
            eve::Kind::Conf | eve::Kind::ConfWin => Source::Image(Content::of_path(parts.config)?),
            eve::Kind::Persist => Source::Image(Content::of_path(parts.persist)?),
            _ => Source::Empty,
        };
        kinds.push((kind, source));
    }
    let layout = disk::layout(eve::table(kinds, eve::DISK_SIZE)?)?;
    let pending = Pending::new(out)?;
    layout.write(&pending.create()?)?;
    pending.commit()
}

/// The EFI system partition: /EFI of the root file system.
fn esp(parts: &Parts<'_>, size: u64) -> Result<fat::Layout> {
    let file = File::open(parts.rootfs).with_context(|| format!("cannot open `{}`", parts.rootfs.display()))?;
    let reader = Reader::open(file).with_context(|| format!("cannot read `{}`", parts.rootfs.display()))?;
    let boot = reader.subtree("EFI/BOOT").with_context(|| format!("`{}` has nothing to boot with", parts.rootfs.display()))?;
    let mut tree = Tree::new();
    tree.insert("EFI/BOOT", boot.root)?;
    let options = fat::Options {
        size,
        label: "EVE".to_owned(),
        volume_id: ESP_VOLUME_ID,
        mtime: u32::try_from(parts.epoch).unwrap_or(0),
        bits: fat::Bits::Auto,
    };
    fat::layout(&tree, &options).context("the EFI system partition cannot be made")
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
