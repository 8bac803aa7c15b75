//! qcow2, version 3, not compressed (QEMU's docs/interop/qcow2.txt).

use super::{copy_clusters, used_clusters};
use anyhow::{Context as _, Result};
use std::{fs::File, os::unix::fs::FileExt as _};

const BITS: u32 = 16;
const CLUSTER: u64 = 1 << BITS;
/// Entries of a table of eight bytes each in one cluster.
const ENTRIES: u64 = CLUSTER / 8;
/// Reference counts of two bytes each in one cluster.
const COUNTS: u64 = CLUSTER / 2;
/// The flag of an entry whose cluster is used once.
const COPIED: u64 = 1 << 63;

/// Writes the disk of `size` bytes.
pub fn write(disk: &File, size: u64, out: &File) -> Result<()> {
    let used = used_clusters(disk, size, CLUSTER)?;
    let guest = size.div_ceil(CLUSTER);
    let l1_entries = guest.div_ceil(ENTRIES);
    let l1_clusters = (l1_entries * 8).div_ceil(CLUSTER).max(1);
    let mut tables: Vec<u64> = used.iter().map(|number| number / ENTRIES).collect();
    tables.dedup();
    // The reference counts cover themselves too.
    let others = 1 + l1_clusters + (tables.len() + used.len()) as u64;
    let (mut blocks, mut table) = (0, 0);
    loop {
        let needed = (others + blocks + table).div_ceil(COUNTS);
        let needed_table = needed.div_ceil(ENTRIES);
        if (needed, needed_table) == (blocks, table) {
            break;
        }
        (blocks, table) = (needed, needed_table);
    }
    let (table_at, blocks_at) = (1, 1 + table);
    let l1_at = blocks_at + blocks;
    let l2_at = l1_at + l1_clusters;
    let data_at = l2_at + tables.len() as u64;
    let put = |bytes: &[u8], cluster: u64| out.write_all_at(bytes, cluster * CLUSTER).context("cannot write the qcow2");
    copy_clusters(disk, size, CLUSTER, &used, out, data_at * CLUSTER)?;
    put(&header(size, l1_entries, l1_at, table_at, table)?, 0)?;
    put(&words((0..blocks).map(|block| (blocks_at + block) * CLUSTER)), table_at)?;
    let counts: Vec<u8> = (0..others + blocks + table).flat_map(|_| 1_u16.to_be_bytes()).collect();
    put(&counts, blocks_at)?;
    let mut l1 = vec![0; usize::try_from(l1_entries)?];
    for (place, number) in (l2_at..).zip(&tables) {
        l1[usize::try_from(*number)?] = (place * CLUSTER) | COPIED;
    }
    put(&words(l1.into_iter()), l1_at)?;
    let mut l2 = vec![0; tables.len() * usize::try_from(ENTRIES)?];
    for (place, number) in (data_at..).zip(&used) {
        let table = tables.binary_search(&(number / ENTRIES)).unwrap_or(0);
        l2[table * usize::try_from(ENTRIES)? + usize::try_from(number % ENTRIES)?] = (place * CLUSTER) | COPIED;
    }
    put(&words(l2.into_iter()), l2_at)
}

fn words(values: impl Iterator<Item = u64>) -> Vec<u8> {
    values.flat_map(u64::to_be_bytes).collect()
}

fn header(size: u64, l1_entries: u64, l1_at: u64, table_at: u64, table: u64) -> Result<Vec<u8>> {
    let mut bytes = b"QFI\xfb".to_vec();
    let mut short = |value: u32| bytes.extend(value.to_be_bytes());
    // Version; place and length of the backing file's name; bits of a cluster.
    [3, 0, 0, 0, BITS].into_iter().for_each(&mut short);
    bytes.extend(size.to_be_bytes());
    // No encryption.
    bytes.extend([0, u32::try_from(l1_entries)?].into_iter().flat_map(u32::to_be_bytes));
    bytes.extend([l1_at * CLUSTER, table_at * CLUSTER].into_iter().flat_map(u64::to_be_bytes));
    // Clusters of the table of counts, snapshots; their place; features: incompatible, compatible, to be cleared.
    bytes.extend([u32::try_from(table)?, 0].into_iter().flat_map(u32::to_be_bytes));
    bytes.extend([0_u64; 4].into_iter().flat_map(u64::to_be_bytes));
    // Counts of 2^4 bits, the length of this header, the end of its extensions.
    bytes.extend([4_u32, 104, 0, 0].into_iter().flat_map(u32::to_be_bytes));
    Ok(bytes)
}
