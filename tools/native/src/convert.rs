//! Converts a raw disk to other formats, with qemu-img or in process, without reading the holes of a sparse disk.

mod vhd;
mod vmdk;

use anyhow::{Context as _, Result, bail};
use child::{Meter, Output, Tool, Tools, qemu_img::QemuImg};
use common::artifact::{Pending, flush};
use diskimage::{FileImage, ReadAt as _, container::Container, gcp, gpt::Guid, parallels, qcow2};
use executor::{CopiedRange, Job, Making};
use knobs::{Conversion, ImageFormat};
use plan::steps::ConvertDisk;
use std::{fs::File, path::Path, sync::Arc};

/// How to convert the raw disk to the format of `step`.
pub fn convert<'e>(step: &'e ConvertDisk, tools: &'e Tools) -> Making<'e> {
    let making = Making::by(|job| write(step, tools, job));
    match step.format.row().conversion.is_by_qemu_img() {
        true => making.with(Tool::QemuImg, format!("to convert the disk to {}", step.format)),
        false => making,
    }
}

fn write(step: &ConvertDisk, tools: &Tools, job: &Job<'_>) -> Result<()> {
    let copied = write_with(step, tools, &job.output(), job.meter())?;
    let ranges = copied.iter().map(|copied| CopiedRange { at: copied.to, len: copied.len, from: step.raw.clone(), from_at: copied.from });
    job.copied(&step.out, ranges.collect());
    Ok(())
}

/// Converts the disk; returns what of it was copied.
fn write_with(step: &ConvertDisk, tools: &Tools, output: &Output, meter: Meter) -> Result<Vec<qcow2::Copied>> {
    let ConvertDisk { raw, format, size_mib, epoch, compressed, uuid, out } = step;
    let size = size_mib << 20;
    check_size(raw, size)?;
    let pending = Pending::new(out)?;
    let tool = || QemuImg::new(tools, output.clone()).map(|tool| tool.measured(Arc::clone(&meter)));
    let mut copied = Vec::new();
    match format.row().conversion {
        Conversion::Qcow2 => {
            let disk = File::open(raw).with_context(|| format!("cannot open `{}`", raw.display()))?;
            let options = qcow2::Options { size, compress: *compressed };
            copied =
                qcow2::write(&disk, options, &*meter, &pending.create()?).with_context(|| format!("cannot write `{}`", out.display()))?;
        }
        Conversion::Grown { name, options } => {
            tool()?.convert_grown(raw, name, options, pending.part(), size)?;
            check_made(*format, pending.part(), size)?;
            pin(step, pending.part())?;
        }
        Conversion::Bundle => return bundle(&tool()?, raw, size, uuid, out).map(|()| copied),
        Conversion::Archive => {
            let options = gcp::Options::new(size, u32::try_from(*epoch).unwrap_or(0));
            let layout = gcp::layout(File::open(raw).with_context(|| format!("cannot open `{}`", raw.display()))?, &options)?;
            layout.write_with(&*meter, &mut pending.create()?)?;
        }
        Conversion::None => bail!("a raw disk is not converted"),
    }
    check_made(*format, pending.part(), size)?;
    pending.commit_before_stamp().map(|()| copied)
}

/// Fails if `part` is no image of this format and size, whoever wrote it.
pub(crate) fn check_made(format: ImageFormat, part: &Path, size: u64) -> Result<()> {
    let wanted = match format {
        ImageFormat::Qcow2 => Container::Qcow2,
        ImageFormat::Vdi => Container::Vdi,
        ImageFormat::Parallels => Container::Parallels,
        ImageFormat::Vmdk => Container::CompressedVmdk,
        ImageFormat::Vhd => Container::FixedVhd,
        ImageFormat::Raw | ImageFormat::Gcp => return Ok(()),
    };
    let who = if format.row().conversion.is_by_qemu_img() { "`qemu-img` succeeded, but what it wrote" } else { "what was written" };
    let context = || format!("{who} is no {format} disk of {} MiB", size >> 20);
    let image = FileImage::new(File::open(part).with_context(context)?).with_context(context)?;
    let found = Container::of(&image).with_context(context)?;
    if found != Some(wanted) {
        let what = found.map_or("no known format", Container::name);
        return Err(anyhow::anyhow!("it has {} bytes and {what}", image.size())).with_context(context);
    }
    if wanted.is_read() {
        let has = diskimage::container::open(part).with_context(context)?.size();
        // qemu-img rounds the size of some formats up.
        if has < size {
            return Err(anyhow::anyhow!("its disk has {has} bytes")).with_context(context);
        }
    }
    Ok(())
}

/// Replaces random values and times that qemu-img writes into some formats.
fn pin(step: &ConvertDisk, part: &Path) -> Result<()> {
    match step.format {
        ImageFormat::Vhd => vhd::pin(part, step.epoch),
        ImageFormat::Vmdk => vmdk::pin(part, step.format.row().file),
        _ => Ok(()),
    }
}

/// Fails if the disk is larger than `size`: it cannot shrink.
pub fn check_size(raw: &Path, size: u64) -> Result<()> {
    let has = raw.metadata().with_context(|| format!("cannot read `{}`", raw.display()))?.len();
    check_disk_size(&format!("`{}`", raw.display()), has, size)
}

/// The same for a disk of `has` bytes.
pub fn check_disk_size(name: &str, has: u64, size: u64) -> Result<()> {
    if has > size {
        return Err(common::error::usage(format!(
            "MEDIA_SIZE={}: {name} has {} MiB already\nhint: MEDIA_SIZE={} or more",
            size >> 20,
            has >> 20,
            has.div_ceil(1 << 20)
        )));
    }
    Ok(())
}

/// Writes a Parallels bundle: a folder with the disk and its description.
fn bundle(tool: &QemuImg, raw: &Path, size: u64, uuid: &str, out: &Path) -> Result<()> {
    let disk: Guid = uuid.trim_matches(['{', '}']).parse().with_context(|| format!("PARALLELS_UUID={uuid}"))?;
    let stem = out.file_stem().context("a bundle has a name")?.to_string_lossy().into_owned();
    let name = out.file_name().context("a bundle has a name")?.to_string_lossy();
    let part = out.with_file_name(format!(".{name}.part"));
    let _ = std::fs::remove_dir_all(&part);
    let result = (|| {
        std::fs::create_dir_all(&part).with_context(|| format!("cannot make the folder `{}`", part.display()))?;
        let image = part.join(parallels::image_name(&stem));
        tool.convert_grown(raw, "parallels", "", &image, size)?;
        check_made(ImageFormat::Parallels, &image, size)?;
        std::fs::write(part.join(parallels::DESCRIPTOR), parallels::descriptor(&stem, size, disk)?)?;
        flush(&part).with_context(|| format!("cannot write `{}` to the disk", part.display()))?;
        if out.exists() {
            std::fs::remove_dir_all(out).with_context(|| format!("cannot remove the old `{}`", out.display()))?;
        }
        std::fs::rename(&part, out).with_context(|| format!("cannot put `{}` in its place", out.display()))
    })();
    if result.is_err() {
        let _ = std::fs::remove_dir_all(&part);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::digest::sha256_of;
    use knobs::FORMATS;
    use std::{io::Write as _, os::unix::fs::FileExt as _, path::PathBuf};

    /// Size of the disks in MiB, the raw one's and theirs.
    const SIZES: (u64, u64) = (8, 64);

    pub fn tools() -> Option<Tools> {
        let tools = Tools::only_in("/usr/bin:/usr/local/bin:/opt/homebrew/bin");
        if tools.find(Tool::QemuImg).is_err() {
            skips::missing("qemu-img", "qemu-utils");
            return None;
        }
        Some(tools)
    }

    /// Makes a raw disk in the folder, and converts it to `format`.
    pub fn made(folder: &Path, tools: &Tools, format: ImageFormat) -> ConvertDisk {
        let raw = folder.join("live.raw");
        let mut file = File::create(&raw).expect("a file");
        file.write_all(&[7; 100_000]).expect("written");
        file.set_len(SIZES.0 << 20).expect("sized");
        file.write_all_at(b"end", (SIZES.0 << 20) - 3).expect("written");
        let (uuid, out) = ("{5fbaabe3-6958-40ff-92a7-860e329aab41}".to_owned(), folder.join(format.row().file));
        let step = ConvertDisk { raw, format, size_mib: SIZES.1, epoch: 1_700_000_000, compressed: true, uuid, out };
        write_with(&step, tools, &Output::default(), Arc::new(|_, _| {})).expect("converted");
        step
    }

    /// Name and digest of each file at or below `path`.
    fn digests(path: &Path) -> Vec<(PathBuf, String)> {
        let entries = walkdir::WalkDir::new(path).sort_by_file_name().into_iter().map(|entry| entry.expect("readable"));
        let files = entries.filter(|entry| entry.file_type().is_file());
        files.map(|file| (file.path().strip_prefix(path).expect("below").to_owned(), sha256_of(file.path()).expect("a digest"))).collect()
    }

    /// qemu-img writes two random ids into a vdi. VirtualBox refuses a second disk with the same ids, so they stay random.
    const NOT_REPRODUCIBLE: &[ImageFormat] = &[ImageFormat::Vdi];

    #[test]
    fn every_format_has_the_same_bytes_twice() {
        let Some(tools) = tools() else { return };
        for row in FORMATS.iter().filter(|row| row.conversion != Conversion::None) {
            let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
            let [one, two] = folders.each_ref().map(|folder| digests(&made(folder.path(), &tools, row.format).out));
            assert!(!one.is_empty(), "{}: nothing was made", row.format);
            assert_eq!(one == two, !NOT_REPRODUCIBLE.contains(&row.format), "{}", row.format);
        }
    }
}
