//! Makes configurations, disks, USB sticks, ISOs and netboot tars from parts.

use crate::{
    boards,
    convert::{check_disk_size, check_made},
    files,
};
use anyhow::{Context as _, Result};
use common::artifact::Pending;
use diskimage::{FileImage, disk, eve, gpt, qcow2, recipes, rootfs, sparse};
use executor::{CopiedRange, Job};
use knobs::ImageFormat;
use plan::{
    DiskKind,
    steps::{MakeConfig, MakeDisk, MakeIso, MakeNet, MakeStick, Qcow2},
};
use std::{fs::File, os::unix::fs::FileExt as _};

pub(super) fn make_config(step: &MakeConfig) -> Result<()> {
    let MakeConfig { conf_dir, files, origin, epoch, out, .. } = step;
    let tree = match files.as_slice() {
        [] => rootfs::config_tree(conf_dir, origin, *epoch)?,
        files => recipes::config_tree_of_tar(files::listed(conf_dir, files, *epoch)?, origin, *epoch)?,
    };
    let layout = recipes::config(&tree, *epoch).with_context(|| format!("`{}`", conf_dir.display()))?;
    files::write_file(out, |file| layout.write(file))
}

pub(super) fn make_disk(step: &MakeDisk, job: &Job<'_>) -> Result<()> {
    if let Some(board) = &step.board {
        boards::place(&step.parts, board)?;
    }
    let words = step.words.iter().flat_map(|word| word.split_whitespace());
    let kinds = words.map(str::parse).collect::<Result<Vec<eve::Kind>>>()?;
    let parts = recipes::Parts::of_folder(&step.parts, step.kind != DiskKind::Live)?;
    let parts = if let Some(root) = &step.root { parts.rootfs_of_medium(root)? } else { parts };
    let layout = disk::layout(recipes::disk(&kinds, step.bytes, &parts, step.epoch)?)?;
    let pending = Pending::new(&step.out)?;
    let progress = |done, total| job.measure(done, total);
    if let Some(qcow2) = &step.qcow2 {
        write_qcow2(&layout, qcow2, step, job, &pending)?;
        check_made(ImageFormat::Qcow2, pending.part(), qcow2.size_mib << 20)?;
        return pending.commit_before_stamp();
    }
    let copied = layout.files().map(|(path, len, at)| CopiedRange { at, len, from: path.to_owned(), from_at: 0 });
    job.copied(&step.out, copied.collect());
    if step.keep {
        let image = tempfile::tempfile_in(step.out.parent().context("a disk has a folder")?).context("cannot make a temporary file")?;
        layout.write_with(&progress, &image)?;
        let (old, disk) = (File::open(&step.out).with_context(|| format!("cannot open `{}`", step.out.display()))?, pending.create()?);
        let size = old.metadata()?.len();
        disk.set_len(size).with_context(|| format!("cannot copy `{}`", step.out.display()))?;
        sparse::copy(&old, 0, size, &disk, 0).with_context(|| format!("cannot copy `{}`", step.out.display()))?;
        write_partitions(image, &disk).with_context(|| format!("cannot write to the copy of `{}`", step.out.display()))?;
    } else {
        layout.write_with(&progress, &pending.create()?)?;
    }
    // A disk that is kept has what nobody can make again.
    if step.keep { pending.commit() } else { pending.commit_before_stamp() }
}

/// Writes the disk as qcow2: what the conversion of the raw disk would give.
fn write_qcow2(layout: &disk::Layout, how: &Qcow2, step: &MakeDisk, job: &Job<'_>, pending: &Pending) -> Result<()> {
    let size = how.size_mib << 20;
    check_disk_size("the disk", layout.size(), size)?;
    let rest = tempfile::tempfile_in(step.out.parent().context("a disk has a folder")?).context("cannot make a temporary file")?;
    let disk = layout.write_parted(rest)?;
    let options = qcow2::Options { size, compress: how.compressed };
    let cannot = || format!("cannot write `{}`", step.out.display());
    let copied = qcow2::write_parted(&disk, options, &|done, total| job.measure(done, total), &pending.create()?).with_context(cannot)?;
    // What was copied from the disk comes from the file that it would have there.
    let source = |copied: &qcow2::Copied| {
        let (path, len, start) = layout.files().find(|(_, len, start)| (*start..start + len).contains(&copied.from))?;
        let from_at = copied.from - start;
        Some(CopiedRange { at: copied.to, len: copied.len.min(len - from_at), from: path.to_owned(), from_at })
    };
    job.copied(&step.out, copied.iter().filter_map(source).collect());
    Ok(())
}

/// Copies the partition tables and partitions of `image` to `disk`, which has the same size; keeps the bytes between partitions.
fn write_partitions(image: File, disk: &File) -> Result<()> {
    let size = image.metadata()?.len();
    let table = gpt::read(&FileImage::new(image.try_clone()?)?)?.context("the disk has no table")?;
    let start = table.entries.iter().map(|entry| entry.first_lba).min().unwrap_or(2048);
    copy_all(&image, disk, 0, start * gpt::SECTOR)?;
    for entry in &table.entries {
        copy_all(&image, disk, entry.first_lba * gpt::SECTOR, (entry.last_lba + 1) * gpt::SECTOR)?;
    }
    copy_all(&image, disk, size.saturating_sub(BACKUP), size)
}

/// Size in bytes of the backup partition table at the end of a disk.
const BACKUP: u64 = 33 * gpt::SECTOR;

/// Makes a stick's image. On a block device, overwrites everything that the image uses, holes too: old files must not reappear.
pub(super) fn make_stick(step: &MakeStick) -> Result<()> {
    let layout = disk::layout(recipes::usb_conf(&files::stick(step)?, step.bytes, step.epoch)?)?;
    if step.device {
        let image = tempfile::tempfile().context("cannot make a temporary file")?;
        layout.write(&image)?;
        let device = File::options().write(true).open(&step.out).with_context(|| format!("cannot write to `{}`", step.out.display()))?;
        return write_over(&image, &device).with_context(|| format!("cannot write to `{}`", step.out.display()));
    }
    files::write_file(&step.out, |file| layout.write(file))
}

/// Copies the sparse `image` to `device`, holes as zeros, up to a margin after the last file, and the backup partition table. Leaves the
/// rest of the device unchanged.
fn write_over(image: &File, device: &File) -> Result<()> {
    const MARGIN: u64 = 1 << 20;
    let size = image.metadata()?.len();
    let tail = size.saturating_sub(BACKUP);
    let used = sparse::extents(image, 0, tail)?.last().map_or(0, |last| last.offset + last.len);
    copy_all(image, device, 0, (used + MARGIN).min(tail))?;
    copy_all(image, device, tail, size)?;
    device.sync_all().context("cannot flush the device")
}

fn copy_all(from: &File, to: &File, start: u64, end: u64) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut at = start;
    while at < end {
        let part = &mut buffer[..usize::try_from((end - at).min(1 << 20))?];
        from.read_exact_at(part, at)?;
        to.write_all_at(part, at)?;
        at += part.len() as u64;
    }
    Ok(())
}

pub(super) fn make_iso(step: &MakeIso, job: &Job<'_>) -> Result<()> {
    let layout = recipes::iso(step.kind, &recipes::Parts::of_folder(&step.parts, true)?, step.epoch)?;
    files::write_file(&step.out, |file| layout.write_with(&|done, total| job.measure(done, total), file))
}

/// Makes the tar for a netboot: the parts, or the ISO that contains them, with the files that boot it.
pub fn make_net(step: &MakeNet, job: &Job<'_>) -> Result<()> {
    let progress = |done, total| job.measure(done, total);
    let parts = recipes::Parts::of_folder(&step.parts, true)?;
    files::write_file(&step.out, |file| match &step.iso {
        None if step.own => recipes::write_own_net(&parts, step.epoch, &progress, file),
        Some(iso) => recipes::write_iso_net(&parts, iso, step.epoch, &progress, file),
        None => recipes::write_installer_net(&parts, step.epoch, &progress, file),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use diskimage::{ReadAt as _, extract::Disk, fat};

    #[test]
    fn what_was_on_a_device_does_not_shine_through() {
        let folder = tempfile::tempdir().expect("folder");
        let (config, device) = (folder.path().join("usb.json"), folder.path().join("device"));
        std::fs::write(&config, "{}").expect("config");
        std::fs::write(&device, vec![0xa5; 40 << 20]).expect("device");
        let (config, out) = (Some(config), device.clone());
        make_stick(&MakeStick { dump: true, identity: false, config, bytes: 40 << 20, out, device: true, epoch: 0, tool: None })
            .expect("stick");
        let disk = Disk::open(&device).expect("disk");
        let volume = disk.partition("DevicePortConfig").expect("partition").expect("there");
        let entries = fat::Reader::open(&volume).expect("volume").entries().expect("entries");
        assert_eq!(entries.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(), ["dump", "usb.json"]);
        assert_eq!(FileImage::new(File::open(&device).expect("open")).expect("image").size(), 40 << 20);
    }
}
