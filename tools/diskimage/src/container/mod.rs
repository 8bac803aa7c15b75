//! Containers of disks (qcow2, VDI, Parallels …): which one a file is, by its bytes, and the disk inside. Backing files of a qcow2 are
//! followed. VMDK in parts or compressed, VHDX and QED are recognised, but not read.

mod mapped;
#[cfg(test)]
mod tests;

use crate::{
    qcow2,
    read_at::{FileImage, ReadAt, read_array},
};
use anyhow::{Context as _, Result, bail};
use mapped::Mapped;
use serde::Serialize;
use std::{ffi::OsStr, fs::File, os::unix::ffi::OsStrExt as _, path::Path};

/// The formats of containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// QEMU's, versions 2 and 3.
    Qcow2,
    /// VirtualBox's.
    Vdi,
    /// That of Parallels Desktop.
    Parallels,
    /// Microsoft's, the older one, with a disk of fixed size.
    FixedVhd,
    /// The same, growing.
    Vhd,
    /// Microsoft's, the newer one.
    Vhdx,
    /// VMware's, in one file.
    Vmdk,
    /// The same, in several files.
    SplitVmdk,
    /// VMware's for distribution, compressed.
    CompressedVmdk,
    /// QEMU's, no longer in use.
    Qed,
}

impl Container {
    /// The format of an image; none if it is a disk without a container.
    pub fn of(source: &dyn ReadAt) -> Result<Option<Self>> {
        let mut start = [0; 512];
        let len = usize::try_from(source.size().min(512))?;
        source.read_at(&mut start[..len], 0)?;
        let footer = || source.size().checked_sub(512).is_some_and(|at| read_array::<8>(source, at).is_ok_and(|end| &end == VHD));
        Ok(Some(match &start {
            start if start.starts_with(b"QFI\xfb") => Self::Qcow2,
            start if start.starts_with(b"QED\0") => Self::Qed,
            start if start.starts_with(b"vhdxfile") => Self::Vhdx,
            start if start.starts_with(VHD) => Self::Vhd,
            start if mapped::PARALLELS.iter().any(|(magic, _)| start.starts_with(*magic)) => Self::Parallels,
            // Bit 16 of the flags: grains are compressed.
            start if start.starts_with(b"KDMV") && start[10] & 1 != 0 => Self::CompressedVmdk,
            start if start.starts_with(b"KDMV") => Self::Vmdk,
            start if start.starts_with(b"COWD") || start.starts_with(b"# Disk DescriptorFile") => Self::SplitVmdk,
            start if start[0x40..0x44] == mapped::VDI => Self::Vdi,
            _ if footer() => Self::FixedVhd,
            _ => return Ok(None),
        }))
    }

    /// QEMU's name of the format.
    #[must_use]
    pub fn in_qemu(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Vdi => "vdi",
            Self::Parallels => "parallels",
            Self::FixedVhd | Self::Vhd => "vpc",
            Self::Vhdx => "vhdx",
            Self::Vmdk | Self::SplitVmdk | Self::CompressedVmdk => "vmdk",
            Self::Qed => "qed",
        }
    }

    /// Its usual name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Vdi => "VDI",
            Self::Parallels => "Parallels",
            Self::FixedVhd => "fixed VHD",
            Self::Vhd => "growing VHD",
            Self::Vhdx => "VHDX",
            Self::Vmdk => "VMDK",
            Self::SplitVmdk => "VMDK in several files",
            Self::CompressedVmdk => "compressed VMDK",
            Self::Qed => "QED",
        }
    }

    /// Whether [`open`] reads it.
    #[must_use]
    pub fn is_read(self) -> bool {
        matches!(self, Self::Qcow2 | Self::Vdi | Self::Parallels | Self::FixedVhd | Self::Vhd | Self::Vmdk)
    }
}

/// A VHD's footer, at the end of the file; a growing one has it at the start, too.
const VHD: &[u8; 8] = b"conectix";
/// The most images on top of each other.
const MOST_LAYERS: u32 = 8;

/// Opens the disk in the file at `path`, whatever its container. The error of a format that is not read says how to convert it.
pub fn open(path: &Path) -> Result<Box<dyn ReadAt>> {
    open_layer(path, None, 0)
}

/// Opens the file at `path`: as a raw disk, or by its container.
fn open_layer(path: &Path, format: Option<&str>, depth: u32) -> Result<Box<dyn ReadAt>> {
    let image = open_file(path)?;
    let container = if format == Some("raw") { None } else { Container::of(&image)? };
    let Some(container) = container else { return Ok(Box::new(image)) };
    let base = if container == Container::Qcow2 { backing_at(path, &image, depth)? } else { None };
    inside(container, image, base).with_context(|| format!("cannot open `{}`", path.display()))
}

/// The disk in a container, whose backing file is `base`.
pub fn inside<'s>(container: Container, source: impl ReadAt + 's, base: Option<Box<dyn ReadAt>>) -> Result<Box<dyn ReadAt + 's>> {
    Ok(match container {
        Container::Qcow2 => Box::new(qcow2::Reader::read(source, base)?),
        Container::Vdi => Box::new(Mapped::vdi(source)?),
        Container::Parallels => Box::new(Mapped::parallels(source)?),
        Container::FixedVhd => Box::new(Mapped::fixed_vhd(source)),
        Container::Vhd => Box::new(Mapped::vhd(source)?),
        Container::Vmdk => Box::new(Mapped::vmdk(source)?),
        other => bail!("the format {0} is not read\nhint: qemu-img convert -f {1} -O raw FILE disk.raw", other.name(), other.in_qemu()),
    })
}

pub(crate) fn open_file(path: &Path) -> Result<FileImage> {
    let file = File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
    if file.metadata()?.is_dir() {
        bail!("`{}` is a directory, not a disk", path.display());
    }
    FileImage::new(file)
}

/// The disk in the backing file of the qcow2 `image` at `path`, if it has one.
pub(crate) fn backing_of(path: &Path, image: &dyn ReadAt) -> Result<Option<Box<dyn ReadAt>>> {
    backing_at(path, image, 0)
}

fn backing_at(path: &Path, image: &dyn ReadAt, depth: u32) -> Result<Option<Box<dyn ReadAt>>> {
    let Some(backing) = qcow2::backing(image)? else { return Ok(None) };
    let shown = String::from_utf8_lossy(&backing.name).escape_debug().to_string();
    // QEMU takes a colon in the first part for a protocol.
    let first = backing.name.split(|byte| *byte == b'/').next().unwrap_or_default();
    if first.contains(&b':') {
        bail!("the backing file `{shown}` is no file, which is not read");
    }
    if depth >= MOST_LAYERS {
        bail!("more than {MOST_LAYERS} images on top of each other are not read");
    }
    let base = path.parent().unwrap_or(Path::new("")).join(OsStr::from_bytes(&backing.name));
    if base.exists() && !base.is_file() {
        bail!("the backing file `{shown}` is no regular file");
    }
    open_layer(&base, backing.format.as_deref(), depth + 1).with_context(|| format!("cannot read the backing file `{shown}`")).map(Some)
}
