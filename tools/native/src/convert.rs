//! A raw disk in other formats, by qemu-img or in process; no hole of a sparse disk is read.

use anyhow::{Context as _, Result, bail};
use child::{Output, Tool, Tools, qemu_img::QemuImg};
use common::artifact::Pending;
use diskimage::{gcp, gpt::Guid, parallels};
use executor::Making;
use knobs::Conversion;
use plan::steps::ConvertDisk;
use std::{fs::File, path::Path};

/// How the raw disk becomes the format that `step` asks for.
pub fn convert<'e>(step: &'e ConvertDisk, tools: &'e Tools) -> Making<'e> {
    let making = Making::by(|job| write(step, tools, &job.output()));
    match step.format.row().conversion.is_by_qemu_img() {
        true => making.with(Tool::QemuImg, format!("to convert the disk to {}", step.format)),
        false => making,
    }
}

fn write(step: &ConvertDisk, tools: &Tools, output: &Output) -> Result<()> {
    let ConvertDisk { raw, format, size_mib, epoch, compressed, uuid, out } = step;
    let size = size_mib << 20;
    check_size(raw, size)?;
    let pending = Pending::new(out)?;
    let tool = || QemuImg::new(tools, output.clone());
    match format.row().conversion {
        Conversion::Qcow2 => {
            let tool = tool()?;
            if *compressed {
                tool.convert_to_qcow2(raw, pending.part())?;
            } else {
                tool.convert_plain(raw, pending.part())?;
            }
            tool.resize(pending.part(), size)?;
        }
        Conversion::Grown { name, options } => tool()?.convert_grown(raw, name, options, pending.part(), size)?,
        Conversion::Bundle => return bundle(&tool()?, raw, size, uuid, out),
        Conversion::Archive => {
            let options = gcp::Options::new(size, u32::try_from(*epoch).unwrap_or(0));
            let layout = gcp::layout(File::open(raw).with_context(|| format!("cannot open `{}`", raw.display()))?, &options)?;
            layout.write(&mut pending.create()?)?;
        }
        Conversion::None => bail!("a raw disk is not converted"),
    }
    pending.commit()
}

/// A disk does not shrink below what its partitions take.
pub fn check_size(raw: &Path, size: u64) -> Result<()> {
    let has = raw.metadata().with_context(|| format!("cannot read `{}`", raw.display()))?.len();
    if has > size {
        return Err(common::error::usage(format!(
            "MEDIA_SIZE={}: `{}` has {} MiB already\nhint: MEDIA_SIZE={} or more",
            size >> 20,
            raw.display(),
            has >> 20,
            has.div_ceil(1 << 20)
        )));
    }
    Ok(())
}

/// A Parallels bundle: a folder with the disk and its description.
fn bundle(tool: &QemuImg, raw: &Path, size: u64, uuid: &str, out: &Path) -> Result<()> {
    let disk: Guid = uuid.trim_matches(['{', '}']).parse().with_context(|| format!("PARALLELS_UUID={uuid}"))?;
    let stem = out.file_stem().context("a bundle has a name")?.to_string_lossy().into_owned();
    let name = out.file_name().context("a bundle has a name")?.to_string_lossy();
    let part = out.with_file_name(format!(".{name}.part"));
    let _ = std::fs::remove_dir_all(&part);
    let result = (|| {
        std::fs::create_dir_all(&part).with_context(|| format!("cannot make the folder `{}`", part.display()))?;
        tool.convert_grown(raw, "parallels", "", &part.join(parallels::image_name(&stem)), size)?;
        std::fs::write(part.join(parallels::DESCRIPTOR), parallels::descriptor(&stem, size, disk)?)?;
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
