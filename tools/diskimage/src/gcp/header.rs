//! Header of a tar member in old GNU sparse format, with its map of regions.

use crate::sparse::Extent;

const BLOCK: usize = 512;
/// Map entries in the header, and in each extension block.
const IN_HEADER: usize = 4;
const IN_BLOCK: usize = 21;

/// All blocks before the member's data: header and extension blocks. All regions are whole blocks.
pub(super) fn encode(name: &str, size: u64, mtime: u32, regions: &[Extent]) -> Vec<u8> {
    let data = regions.iter().map(|region| region.len).sum();
    let mut map: Vec<(u64, u64)> = regions.iter().map(|region| (region.offset, region.len)).collect();
    // An empty region at the end marks the size of a file that ends with a hole.
    if regions.last().is_none_or(|last| last.offset + last.len < size) {
        map.push((size, 0));
    }
    let (first, more) = map.split_at(map.len().min(IN_HEADER));
    let mut out = header(name, data, mtime);
    put_map(&mut out[386..482], first);
    out[482] = u8::from(!more.is_empty());
    out[483..495].copy_from_slice(&number(size));
    out[148..156].fill(b' ');
    let sum: u32 = out.iter().map(|byte| u32::from(*byte)).sum();
    out[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let blocks = more.chunks(IN_BLOCK);
    let last = blocks.len();
    for (index, part) in (1..).zip(blocks) {
        let mut block = [0; BLOCK];
        put_map(&mut block, part);
        block[504] = u8::from(index < last);
        out.extend_from_slice(&block);
    }
    out
}

/// The fields common to all members.
fn header(name: &str, data: u64, mtime: u32) -> Vec<u8> {
    let mut out = vec![0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, &number(data));
    put(136, &number(mtime.into()));
    put(156, b"S");
    put(257, b"ustar  \0");
    put(265, b"root");
    put(297, b"root");
    out
}

fn put_map(out: &mut [u8], regions: &[(u64, u64)]) {
    for (place, (offset, len)) in out.chunks_exact_mut(24).zip(regions) {
        place[..12].copy_from_slice(&number(*offset));
        place[12..].copy_from_slice(&number(*len));
    }
}

/// Eleven octal digits; from 8 GiB on, GNU's base-256 encoding.
fn number(value: u64) -> [u8; 12] {
    let mut field = [0; 12];
    if value < 1 << 33 {
        field[..11].copy_from_slice(format!("{value:011o}").as_bytes());
    } else {
        field[0] = 0x80;
        field[4..].copy_from_slice(&value.to_be_bytes());
    }
    field
}
