//! Parallels' expanding image (QEMU's docs/interop/parallels.txt).

use super::{copy_clusters, used_clusters};
use anyhow::{Context as _, Result};
use std::{fs::File, os::unix::fs::FileExt as _};

const CLUSTER: u64 = 1 << 20;
const SECTOR: u64 = 512;
const HEADER: u64 = 64;
const HEADS: u32 = 16;
const SECTORS_OF_A_TRACK: u64 = 32;

/// Writes the disk of `size` bytes, which must be whole sectors.
pub fn write(disk: &File, size: u64, out: &File) -> Result<()> {
    let used = used_clusters(disk, size, CLUSTER)?;
    let clusters = size.div_ceil(CLUSTER);
    let data_at = (HEADER + clusters * 4).next_multiple_of(CLUSTER);
    let mut map = vec![0_u32; usize::try_from(clusters)?];
    for (place, number) in (u32::try_from(data_at / CLUSTER)?..).zip(&used) {
        map[usize::try_from(*number)?] = place;
    }
    copy_clusters(disk, size, CLUSTER, &used, out, data_at)?;
    let mut bytes = header(size / SECTOR, u32::try_from(clusters)?, u32::try_from(data_at / SECTOR)?)?;
    bytes.extend(map.into_iter().flat_map(u32::to_le_bytes));
    out.write_all_at(&bytes, 0).context("cannot write the Parallels image")
}

fn header(sectors: u64, clusters: u32, data_at: u32) -> Result<Vec<u8>> {
    let cylinders = sectors.div_ceil(u64::from(HEADS) * SECTORS_OF_A_TRACK);
    // In this variant the map counts clusters.
    let mut bytes = b"WithouFreSpacExt".to_vec();
    let version = 2;
    let words = [version, HEADS, u32::try_from(cylinders)?, u32::try_from(CLUSTER / SECTOR)?, clusters];
    bytes.extend(words.into_iter().flat_map(u32::to_le_bytes));
    bytes.extend(sectors.to_le_bytes());
    // Not in use; the place of the data; no flags; no extension.
    bytes.extend([0, data_at, 0].into_iter().flat_map(u32::to_le_bytes));
    bytes.extend(0_u64.to_le_bytes());
    Ok(bytes)
}
