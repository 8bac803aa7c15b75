//! Detects formats by magic numbers: squashfs, tar, compressed files, and signs of others.

use super::{Contents, broken};
use crate::{
    read_at::{ReadAt, read_array},
    verity,
};
use anyhow::Result;

/// Number of bytes at the start of an image that contain most magic numbers.
const START: usize = 2048;

/// The first bytes of the image, padded with zeros.
pub(super) fn start(source: &dyn ReadAt) -> Result<[u8; START]> {
    let mut bytes = [0; START];
    let len = usize::try_from(source.size().min(START as u64))?;
    source.read_at(&mut bytes[..len], 0)?;
    Ok(bytes)
}

/// Content that a magic number alone identifies.
pub(super) fn simple(start: &[u8; START], source: &dyn ReadAt) -> Option<Contents> {
    let compressed = |format: &str| Some(Contents::Compressed { format: format.into() });
    match start {
        [b'h', b's', b'q', b's', ..] => return Some(squashfs(start, source)),
        [0x1f, 0x8b, 8, ..] => return compressed("gzip"),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => return compressed("xz"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => return compressed("zstd"),
        _ => {}
    }
    if &start[257..262] == b"ustar" {
        return Some(tar(source).unwrap_or_else(|error| broken("tar", &error)));
    }
    None
}

/// Whether the image has the magic number of ext2, ext3 or ext4.
pub(super) fn is_ext(start: &[u8; START]) -> bool {
    start[1080..1082] == [0x53, 0xef]
}

/// Whether an unreadable volume claims to be FAT.
pub(super) fn seems_fat(start: &[u8; START]) -> bool {
    matches!(start[0], 0xeb | 0xe9) && (&start[54..57] == b"FAT" || &start[82..85] == b"FAT")
}

/// Whether the first MiB is zeros.
pub(super) fn is_blank(source: &dyn ReadAt) -> Result<bool> {
    let mut bytes = vec![0; usize::try_from(source.size().min(1 << 20))?];
    source.read_at(&mut bytes, 0)?;
    Ok(bytes.iter().all(|byte| *byte == 0))
}

/// Decodes text padded with spaces or zeros.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches(['\0', ' ']).to_owned()
}

fn squashfs(start: &[u8; START], source: &dyn ReadAt) -> Contents {
    let size = source.size();
    let u16_at = |at: usize| u16::from_le_bytes([start[at], start[at + 1]]);
    let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
    let used = u64::from(u32_at(40)) | u64::from(u32_at(44)) << 32;
    if u16_at(28) != 4 || used > size {
        let problem = format!("version {}, {used} bytes used, image of {size} bytes", u16_at(28));
        return Contents::Broken { format: "squashfs".into(), problem };
    }
    let names = ["gzip", "lzma", "lzo", "xz", "lz4", "zstd"];
    let id = u16_at(20);
    let known = usize::from(id).checked_sub(1).and_then(|index| names.get(index));
    let compression = known.map_or_else(|| format!("compressor {id}"), |name| (*name).to_owned());
    let verity = match verity::find(source, used) {
        Ok(found) => found.map(|(statement, _)| statement),
        Err(error) => return broken("squashfs", &error),
    };
    Contents::Squashfs { compression, inodes: u32_at(4), block_size: u32_at(12), used, mtime: u32_at(8), verity, folders: Vec::new() }
}

/// Counts the entries of a tar by their headers, except extension headers of the next entry.
fn tar(source: &dyn ReadAt) -> Result<Contents> {
    let (mut at, mut entries, mut bytes) = (0_u64, 0, 0_u64);
    while at.checked_add(512).is_some_and(|end| end <= source.size()) {
        let header: [u8; 512] = read_array(source, at)?;
        if header[0] == 0 {
            return Ok(Contents::Tar { entries, bytes });
        }
        let Some(size) = tar_size(&header[124..136]) else { anyhow::bail!("the header at byte {at} has no valid size") };
        if !matches!(header[156], b'x' | b'g' | b'L' | b'K') {
            entries += 1;
            bytes = bytes.saturating_add(size);
        }
        at = size.checked_next_multiple_of(512).and_then(|size| at.checked_add(512)?.checked_add(size)).unwrap_or(u64::MAX);
    }
    if at > source.size() {
        anyhow::bail!("the tar is truncated in entry {entries}");
    }
    Ok(Contents::Tar { entries, bytes })
}

/// A size: octal digits, or GNU's base-256 encoding if the first bit is set.
fn tar_size(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        return (field[..4] == [0x80, 0, 0, 0]).then(|| field[4..].iter().fold(0, |size, byte| size << 8 | u64::from(*byte)));
    }
    let digits = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
}
