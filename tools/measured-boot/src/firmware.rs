//! The volumes of EDK2's firmware for QEMU (OVMF), which it measures into PCR 0: they lie compressed in the file, as the firmware
//! volumes, files and sections of the platform initialization specification (volume 3).

use anyhow::{Context as _, Result, bail};
use liblzma::stream::{Action, Status, Stream};

/// A volume of firmware, as it is in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareVolume {
    /// What is in it.
    pub name: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Whether it is in memory, when the firmware measures it, as it is in the file.
    pub is_measured_as_in_the_file: bool,
}

/// The volume whose modules are started last, after it is measured.
const LAST: &str = "the volume DXEFV";
/// Names of the volumes in the compressed file, by EFI_FIRMWARE_VOLUME_EXT_HEADER's GUID in EFI's byte order.
const NAMES: &[([u8; 16], &str)] = &[
    ([0x9b, 0x07, 0x38, 0x69, 0x03, 0xb5, 0x3d, 0x4e, 0x9d, 0x24, 0xb2, 0x83, 0x37, 0xa2, 0x58, 0x06], "the volume PEIFV"),
    ([0xc9, 0xbd, 0xb8, 0x7c, 0xeb, 0xf8, 0x34, 0x4f, 0xaa, 0xea, 0x3e, 0xe4, 0xaf, 0x65, 0x16, 0xa1], LAST),
];
/// EFI_FIRMWARE_FILE_SYSTEM2_GUID.
const FILE_SYSTEM: [u8; 16] = [0x78, 0xe5, 0x8c, 0x8c, 0x3d, 0x8a, 0x1c, 0x4f, 0x99, 0x35, 0x89, 0x61, 0x85, 0xc3, 0x2d, 0xd3];
/// LZMA_CUSTOM_DECOMPRESS_GUID.
const LZMA: [u8; 16] = [0x98, 0x58, 0x4e, 0xee, 0x14, 0x39, 0x59, 0x42, 0x9d, 0x6e, 0xdc, 0x7b, 0xd7, 0x94, 0x03, 0xcf];
/// EFI_FV_FILETYPE_FIRMWARE_VOLUME_IMAGE, and the types of sections: EFI_SECTION_GUID_DEFINED, EFI_SECTION_FIRMWARE_VOLUME_IMAGE.
const VOLUME_FILE: u8 = 0x0b;
const GUIDED: u8 = 0x02;
const VOLUME: u8 = 0x17;
/// Bytes of the decompressed volumes that are read.
const MOST: usize = 64 << 20;
/// Memory of the decoder: the dictionary is as large as the volumes.
const MEMORY: u64 = 128 << 20;

/// The volumes in `code`, the file of the firmware's code, in their order.
pub fn volumes(code: &[u8]) -> Result<Vec<FirmwareVolume>> {
    let what = "no firmware for QEMU (OVMF)";
    let start = code.windows(4).position(|bytes| bytes == b"_FVH").and_then(|at| at.checked_sub(40));
    let volume = code.get(start.context(what)?..).unwrap_or_default();
    let compressed = compressed_section(volume).with_context(|| format!("{what}: it has no compressed volumes"))?;
    let sections = decompress(compressed)?;
    let mut found = Vec::new();
    for (kind, content) in (Sections { bytes: &sections, at: 0 }) {
        if kind == VOLUME {
            found.push(named(content)?);
        }
    }
    if found.is_empty() {
        bail!("{what}: what is compressed in it are no volumes");
    }
    Ok(found)
}

/// The LZMA data in the first file of `volume` that holds other volumes.
fn compressed_section(volume: &[u8]) -> Option<&[u8]> {
    let end = number(volume, 32, 8)?;
    let volume = volume.get(..end)?;
    let extended = number(volume, 52, 2)?;
    let mut at = if extended == 0 { number(volume, 48, 2)? } else { extended + number(volume, extended + 16, 4)? };
    loop {
        at = at.next_multiple_of(8);
        let header = volume.get(at..at + 24)?;
        let is_large = header[19] & 1 != 0;
        let (size, begin) = if is_large { (number(volume, at + 24, 8)?, 32) } else { (number(header, 20, 3)?, 24) };
        let content = volume.get(at.checked_add(begin)?..at.checked_add(size)?)?;
        if header[18] == VOLUME_FILE {
            let guided = Sections { bytes: content, at: 0 }.find(|(kind, content)| *kind == GUIDED && content.starts_with(&LZMA));
            // The offset of the data counts from the section's header, which has 4 bytes here.
            return guided.and_then(|(_, content)| content.get(number(content, 16, 2)?.checked_sub(4)?..));
        }
        at += size.max(24);
    }
}

/// Sections in their order: type, and content behind the header.
struct Sections<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Sections<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.bytes.get(self.at..self.at.checked_add(4)?)?;
        let short = number(header, 0, 3)?;
        let (size, begin) = if short == 0xff_ffff { (number(self.bytes, self.at + 4, 4)?, 8) } else { (short, 4) };
        let content = self.bytes.get(self.at + begin..self.at.checked_add(size)?)?;
        self.at = (self.at + size).next_multiple_of(4);
        Some((header[3], content))
    }
}

fn decompress(bytes: &[u8]) -> Result<Vec<u8>> {
    let size = number(bytes, 5, 8).filter(|size| *size <= MOST).context("the compressed volumes of the firmware are too large")?;
    let mut out = Vec::with_capacity(size);
    let mut stream = Stream::new_lzma_decoder(MEMORY).context("cannot decompress the firmware")?;
    let status = stream.process_vec(bytes, &mut out, Action::Finish).context("cannot decompress the firmware")?;
    if out.len() != size || !matches!(status, Status::StreamEnd | Status::Ok) {
        bail!("cannot decompress the firmware: {} bytes of {size} are there", out.len());
    }
    Ok(out)
}

/// A volume with its name.
fn named(bytes: &[u8]) -> Result<FirmwareVolume> {
    let size = number(bytes, 32, 8).context("a volume of the firmware is cut off")?;
    let volume =
        bytes.get(..size).filter(|volume| volume.get(16..32) == Some(&FILE_SYSTEM)).context("a volume of the firmware is cut off")?;
    let extended = number(volume, 52, 2).unwrap_or_default();
    let guid = volume.get(extended..extended + 16);
    let name = NAMES.iter().find(|(known, _)| guid == Some(known)).map_or("a volume without a name", |(_, name)| name);
    Ok(FirmwareVolume { name, bytes: volume.to_vec(), is_measured_as_in_the_file: name == LAST })
}

/// The little-endian number of `size` bytes, at most 8, at `at`.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<usize> {
    let digits = bytes.get(at..at.checked_add(size)?)?;
    usize::try_from(digits.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))).ok()
}
