//! VDI 1.1, dynamic (QEMU's block/vdi.c describes the header).

use super::{copy_clusters, used_clusters};
use anyhow::{Context as _, Result};
use std::{fs::File, io::Read as _, os::unix::fs::FileExt as _};

const BLOCK: u64 = 1 << 20;
const SECTOR: u64 = 512;
/// The place of the map of blocks.
const MAP_AT: u64 = 512;
/// A block of zeros in the map.
const FREE: u32 = u32::MAX;

/// Writes the disk of `size` bytes. Its two ids are random, because VirtualBox refuses a second disk with the same ids.
pub fn write(disk: &File, size: u64, out: &File) -> Result<()> {
    let used = used_clusters(disk, size, BLOCK)?;
    let blocks = size.div_ceil(BLOCK);
    let data_at = (MAP_AT + blocks * 4).next_multiple_of(SECTOR);
    let mut map = vec![FREE; usize::try_from(blocks)?];
    for (place, number) in (0..).zip(&used) {
        map[usize::try_from(*number)?] = place;
    }
    copy_clusters(disk, size, BLOCK, &used, out, data_at)?;
    let map: Vec<u8> = map.into_iter().flat_map(u32::to_le_bytes).collect();
    out.write_all_at(&map, MAP_AT).context("cannot write the vdi")?;
    let header = header(size, u32::try_from(blocks)?, u32::try_from(used.len())?, u32::try_from(data_at)?)?;
    out.write_all_at(&header, 0).context("cannot write the vdi")
}

fn header(size: u64, blocks: u32, used: u32, data_at: u32) -> Result<Vec<u8>> {
    let mut bytes = vec![0; 512];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"<<< EVE disk image >>>\n");
    let short = [
        (0x40, 0xbeda_107f),
        (0x44, 0x0001_0001),
        (0x48, 0x180),
        // Dynamic: blocks are allocated when they are written.
        (0x4c, 1),
        (0x154, u32::try_from(MAP_AT)?),
        (0x158, data_at),
        (0x168, u32::try_from(SECTOR)?),
        (0x178, u32::try_from(BLOCK)?),
        (0x180, blocks),
        (0x184, used),
    ];
    for (at, value) in short {
        put(at, &u32::to_le_bytes(value));
    }
    put(0x170, &size.to_le_bytes());
    let mut random = File::open("/dev/urandom").context("cannot open /dev/urandom for the ids of the disk")?;
    for at in [0x188, 0x198] {
        let mut id = [0; 16];
        random.read_exact(&mut id).context("cannot read /dev/urandom")?;
        put(at, &id);
    }
    Ok(bytes)
}
