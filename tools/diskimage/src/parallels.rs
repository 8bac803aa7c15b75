//! `DiskDescriptor.xml` of a Parallels disk bundle (QEMU's docs/interop/prl-xml.txt). The image in the bundle, `*.hds`, is made
//! by `qemu-img convert -O parallels`.

use crate::gpt::{Guid, SECTOR};
use anyhow::{Result, bail};
use std::fmt::Write as _;

/// File name of the descriptor in the bundle.
pub const DESCRIPTOR: &str = "DiskDescriptor.xml";
/// GUID of the snapshot that is the current state; fixed by the format.
pub const SNAPSHOT: Guid = Guid(0x5fba_abe3_6958_40ff_92a7_860e_329a_ab41);

/// File name of the image in the bundle of the disk `stem`: `live.0.{5fbaabe3-6958-40ff-92a7-860e329aab41}.hds`.
#[must_use]
pub fn image_name(stem: &str) -> String {
    name_of(stem, SNAPSHOT)
}

fn name_of(stem: &str, snapshot: Guid) -> String {
    format!("{stem}.0.{{{snapshot}}}.hds")
}

/// Text of [`DESCRIPTOR`] for a disk of `size` bytes (a multiple of 512) with the GUID `disk` and the image
/// [`image_name`]`(stem)`.
pub fn descriptor(stem: &str, size: u64, disk: Guid) -> Result<String> {
    descriptor_of(stem, size, disk, SNAPSHOT)
}

/// As [`descriptor`], with another GUID of the current snapshot, which is also in the image's name.
pub fn descriptor_of(stem: &str, size: u64, disk: Guid, snapshot: Guid) -> Result<String> {
    // Disk geometry; their product is the number of sectors per cylinder.
    const HEADS: u64 = 16;
    const TRACK: u64 = 32;
    if size == 0 || !size.is_multiple_of(SECTOR) {
        bail!("invalid Parallels disk size of {size} bytes: it must be a positive multiple of {SECTOR}");
    }
    if stem.is_empty() || !stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        bail!("invalid name `{}` of a Parallels disk: only letters, digits, `.`, `_` and `-` are allowed", stem.escape_debug());
    }
    let sectors = size / SECTOR;
    let mut xml = Xml::default();
    xml.open("Parallels_disk_image Version=\"1.0\"");
    xml.open("Disk_Parameters");
    xml.value("Disk_size", &sectors);
    xml.value("Cylinders", &(sectors / (HEADS * TRACK)));
    xml.value("PhysicalSectorSize", &SECTOR);
    xml.value("Heads", &HEADS);
    xml.value("Sectors", &TRACK);
    xml.value("Padding", &0);
    xml.open("Encryption");
    xml.guid("Engine", Guid::default());
    xml.value("Data", &"");
    xml.close();
    xml.guid("UID", disk);
    xml.value("Name", &"eve");
    xml.open("Miscellaneous");
    xml.value("CompatLevel", &"level2");
    xml.value("Bootable", &1);
    xml.value("SuspendState", &0);
    xml.close();
    xml.close();
    xml.open("StorageData");
    xml.open("Storage");
    xml.value("Start", &0);
    xml.value("End", &sectors);
    xml.value("Blocksize", &2048);
    xml.open("Image");
    xml.guid("GUID", snapshot);
    xml.value("Type", &"Compressed");
    xml.value("File", &name_of(stem, snapshot));
    xml.close();
    xml.close();
    xml.close();
    xml.open("Snapshots");
    xml.open("Shot");
    xml.guid("GUID", snapshot);
    xml.guid("ParentGUID", Guid::default());
    xml.close();
    xml.close();
    xml.close();
    Ok(xml.text)
}

/// Writes indented XML. Values must not need escaping.
struct Xml {
    text: String,
    open: Vec<String>,
}

impl Default for Xml {
    fn default() -> Self {
        Self { text: "<?xml version='1.0' encoding='UTF-8'?>\n".into(), open: Vec::new() }
    }
}

impl Xml {
    fn line(&mut self, text: &str) {
        let indent = "    ".repeat(self.open.len());
        let _ = writeln!(self.text, "{indent}{text}");
    }

    fn open(&mut self, tag: &str) {
        self.line(&format!("<{tag}>"));
        self.open.push(tag.split(' ').next().unwrap_or(tag).to_owned());
    }

    fn close(&mut self) {
        let tag = self.open.pop().expect("every element was opened");
        self.line(&format!("</{tag}>"));
    }

    fn value(&mut self, tag: &str, value: &dyn std::fmt::Display) {
        self.line(&format!("<{tag}>{value}</{tag}>"));
    }

    fn guid(&mut self, tag: &str, guid: Guid) {
        self.value(tag, &format!("{{{guid}}}"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_descriptor_has_the_disks_numbers() {
        let text = descriptor("live", 8 << 30, Guid(7)).unwrap();
        let has = |wanted: &str| assert!(text.lines().any(|line| line.trim() == wanted), "{wanted}\n{text}");
        has("<Disk_size>16777216</Disk_size>");
        has("<Cylinders>32768</Cylinders>");
        has("<UID>{00000000-0000-0000-0000-000000000007}</UID>");
        has("<File>live.0.{5fbaabe3-6958-40ff-92a7-860e329aab41}.hds</File>");
        assert!(text.ends_with("    </Snapshots>\n</Parallels_disk_image>\n"));
        for (open, close) in [("<Storage>", "</Storage>"), ("<Encryption>", "</Encryption>")] {
            assert_eq!(text.matches(open).count(), text.matches(close).count());
        }
    }

    #[test]
    fn what_cannot_be_a_disk_is_refused() {
        assert!(descriptor("live", 1000, Guid(1)).unwrap_err().to_string().contains("1000 bytes"));
        for name in ["a<b", ""] {
            let error = descriptor(name, 1 << 20, Guid(1)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("invalid name `{name}` of a Parallels disk: ")), "{error}");
        }
    }
}
