//! The format of a disk that a person names, by its bytes and its name.

use anyhow::{Context as _, Result};
use common::error::usage;
use diskimage::{FileImage, container::Container};
use std::{fs::File, io::ErrorKind, path::Path};

/// QEMU's name for the format of a disk, by its bytes. A name that says something else is an error: a guest can make its raw disk begin
/// like another format, which QEMU would then read with all that this format can name.
/// `option` is the one that named the disk.
pub fn format_of(disk: &Path, option: &str) -> Result<&'static str> {
    let file = match File::open(disk) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(usage(format!(
                "{option} {}: no such file\nhint: cargo xtask live makes dist/<arch>/current/live.qcow2, live-raw makes live.raw there",
                disk.display()
            )));
        }
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
            "{option} {}: the name says {named}, but the bytes are those of {}\nhint: rename the disk if it is right",
            disk.display(),
            container.map_or("a raw disk", Container::name)
        )));
    }
    if container == Some(Container::CompressedVmdk) {
        return Err(usage(format!(
            "{option} {0}: QEMU cannot write to a compressed VMDK\nhint: qemu-img convert -O qcow2 {0} disk.qcow2",
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
            let found = format_of(&path, "--disk").map_or_else(|error| error.to_string(), ToOwned::to_owned);
            assert!(found == wanted || wanted.contains(' ') && found.contains(wanted), "{name}: {found}");
        }
        assert!(format_of(&dir.path().join("none"), "--disk").unwrap_err().to_string().contains("no such file"));
    }
}
