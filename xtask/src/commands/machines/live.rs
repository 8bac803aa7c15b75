//! `run`: boots the last live image in QEMU. The guest writes to an overlay beside the image, which keeps /persist for the next run and
//! leaves the built image unchanged. In a tree of lf-edge/eve the guest writes to the image itself, as with its Makefile.

use super::{
    machine::{self, Options, Place, bus, qemu_format, setup, start},
    overlay, require,
};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::{Output, Tool, qemu_img::QemuImg};
use common::error::usage;
use diskimage::{FileImage, container::Container};
use std::{
    fs::File,
    io::ErrorKind,
    path::{Path, PathBuf},
};
use vm::{Disk, as_make::Disks};

/// The disk and the machine.
#[derive(clap::Args)]
pub struct RunLive {
    #[command(flatten)]
    machine: Options,
    /// what to boot; live is the only choice
    #[arg(value_name = "WHAT", value_parser = ["live"], default_value = "live")]
    what: String,
    /// boot this disk and write to it; its bytes tell the format
    #[arg(long, value_name = "FILE")]
    disk: Option<PathBuf>,
    /// delete what earlier runs wrote to the disk and to the TPM
    #[arg(long, conflicts_with = "disk")]
    fresh: bool,
}

/// `run`.
pub fn run(ctx: &Ctx, RunLive { machine: options, what, disk, fresh }: RunLive) -> Result<()> {
    debug_assert_eq!(what, "live");
    let is_as_make = ctx.capabilities().machines_are_as_make_had_them();
    if fresh && is_as_make {
        return Err(usage(
            "--fresh: the machine of this tree writes to the image itself\nhint: delete the image, and cargo xtask live makes it again",
        ));
    }
    let (place, options) = (Place::find(ctx)?, &options);
    let (image, format, is_given) = match disk {
        Some(disk) => {
            let disk = std::path::absolute(disk)?;
            let format = format_of(&disk)?.to_owned();
            (disk, format, true)
        }
        None => {
            let format = qemu_format(ctx)?;
            let image = place.current.live(format);
            require(ctx, &image, format.row().verb)?;
            (image, format.to_string(), false)
        }
    };
    let disk = Disk::image(&image, &format, bus(ctx, options));
    let mut setup = setup(ctx, options, &place, vec![disk], Disks::LastNamed)?;
    if ctx.globals.dry_run || is_given {
        return start(ctx, options, &place, setup);
    }
    if is_as_make {
        machine::ensure_tools(ctx, &setup, &[])?;
        let locks = machine::claim(&setup, &place, Some(&image), false)?;
        overlay::ask_for_login(ctx, &place, &image, &format);
        return machine::boot(ctx, options, setup, locks);
    }
    machine::ensure_tools(ctx, &setup, &[Tool::QemuImg])?;
    let locks = machine::claim(&setup, &place, Some(&overlay::path(&place, &format)), fresh)?;
    let tool = QemuImg::new(&ctx.tools, Output::default().with_log(place.log("qemu-img")))?;
    setup.disks[0].path = overlay::ensure(ctx, &place, &image, &format, &tool, fresh)?;
    "qcow2".clone_into(&mut setup.disks[0].format);
    machine::boot(ctx, options, setup, locks)
}

/// QEMU's name for the format of a disk, by its bytes. A name that says something else is an error: a guest can make its raw disk begin
/// like another format, which QEMU would then read with all that this format can name.
fn format_of(disk: &Path) -> Result<&'static str> {
    let file = match File::open(disk) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(usage(format!("--disk {}: no such file", disk.display()))),
        file => file.with_context(|| format!("cannot open {}", disk.display()))?,
    };
    let container = Container::of(&FileImage::new(file)?).with_context(|| format!("cannot read {}", disk.display()))?;
    let found = container.map_or("raw", Container::in_qemu);
    let extension = disk.extension().unwrap_or_default().to_ascii_lowercase();
    let named = match extension.to_str().unwrap_or_default() {
        "vhd" => "vpc",
        "hds" => "parallels",
        other => ["raw", "qcow2", "vdi", "vmdk", "vhdx", "qed"].into_iter().find(|format| *format == other).unwrap_or(found),
    };
    if named != found {
        return Err(usage(format!(
            "--disk {}: the name says {named}, but the bytes are those of {}\nhint: rename the disk if it is right",
            disk.display(),
            container.map_or("a raw disk", Container::name)
        )));
    }
    if container == Some(Container::CompressedVmdk) {
        return Err(usage(format!(
            "--disk {0}: QEMU cannot write to a compressed VMDK\nhint: qemu-img convert -O qcow2 {0} disk.qcow2",
            disk.display()
        )));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_bytes_tell_the_format_and_the_name_may_not_say_another() {
        let dir = tempfile::tempdir().unwrap();
        let mut vdi = [0; 512];
        vdi[0x40..0x44].copy_from_slice(&[0x7f, 0x10, 0xda, 0xbe]);
        let stream = b"KDMV\x03\0\0\0\0\0\x03\0";
        for (name, bytes, wanted) in [
            ("a.QCOW2", &b"QFI\xfb\0\0\0\x03"[..], "qcow2"),
            ("a.img", b"QFI\xfb\0\0\0\x03", "qcow2"),
            ("a.vmdk", b"KDMV\x01\0\0\0\x03\0\0\0", "vmdk"),
            ("a", b"# Disk DescriptorFile\n", "vmdk"),
            ("a.vdi", &vdi, "vdi"),
            ("a.raw", b"", "raw"),
            ("a.iso", &[0; 4096], "raw"),
            ("b.raw", b"QFI\xfb\0\0\0\x03", "the name says raw, but the bytes are those of qcow2"),
            ("b.Qcow2", &vdi, "the name says qcow2, but the bytes are those of VDI"),
            ("b.vmdk", &[0; 512], "the name says vmdk, but the bytes are those of a raw disk"),
            ("c.vmdk", stream, "QEMU cannot write to a compressed VMDK"),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let found = format_of(&path).map_or_else(|error| error.to_string(), ToOwned::to_owned);
            assert!(found == wanted || wanted.contains(' ') && found.contains(wanted), "{name}: {found}");
        }
        assert!(format_of(&dir.path().join("none")).unwrap_err().to_string().contains("no such file"));
    }
}
