//! Writes a sparse raw disk as qcow2, version 3, in one pass: the header's cluster, the disk's clusters, then the tables. A squashfs in a
//! partition is copied as it is, because its blocks are compressed already; other clusters are deflated, which every program that reads
//! qcow2 can read. The bytes depend on the disk and the options only, neither on its holes nor on the number of threads.

#[cfg(test)]
mod tests;

use super::COMPRESSED;
use crate::{
    disk::PartedDisk,
    gpt,
    read_at::{ReadAt as _, read_array},
    sparse::Meter,
};
use anyhow::{Context as _, Result, bail};
use flate2::{Compress, Compression as Level, FlushCompress, Status};
use std::{fs::File, num::NonZero, ops::Range, os::unix::fs::FileExt as _};

const BITS: u32 = 16;
const CLUSTER: u64 = 1 << BITS;
const CLUSTER_BYTES: usize = 1 << BITS;
/// A cluster of a hole.
const ZEROS: &[u8] = &[0; CLUSTER_BYTES];
/// Entries of a table of eight bytes each in one cluster.
const ENTRIES: u64 = CLUSTER / 8;
/// Reference counts of two bytes each in one cluster.
const COUNTS: u64 = CLUSTER / 2;
/// The flag of an entry whose cluster is used once.
const COPIED: u64 = 1 << 63;
/// Bits of a compressed cluster's offset; above them is the number of its further sectors.
const OFFSET_BITS: u32 = 62 - (BITS - 8);
const SECTOR: u64 = 512;
/// The largest distance of raw deflate that readers of qcow2 accept: 2^12 bytes.
const WINDOW_BITS: u8 = 12;
/// zlib's level. Higher ones take twice the time for a twentieth less.
const LEVEL: u32 = 4;
/// Clusters that a thread reads and deflates at once.
const BATCH: usize = 16;

/// Settings of a qcow2.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Size of its disk in bytes: that of the raw one or more.
    pub size: u64,
    /// Whether clusters are deflated.
    pub compress: bool,
}

/// Bytes of the disk that the qcow2 has as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Their place on the disk.
    pub from: u64,
    /// Their place in the file.
    pub to: u64,
    /// Their number.
    pub len: u64,
}

/// [`write_parted`] for a disk that is one file.
pub fn write(disk: &File, options: Options, tell: &dyn Fn(u64, u64), out: &File) -> Result<Vec<Copied>> {
    write_parted(&PartedDisk::of_file(disk)?, options, tell, out)
}

/// Writes `disk` to the empty file `out`; returns what was copied. `tell` gets the bytes of the disk's data that are done, and all of them.
pub fn write_parted(disk: &PartedDisk, options: Options, tell: &dyn Fn(u64, u64), out: &File) -> Result<Vec<Copied>> {
    let has = disk.size();
    if options.size < has {
        bail!("a disk of {has} bytes does not fit into {}", options.size);
    }
    let extents = disk.extents()?;
    let meter = Meter::new(extents.iter().map(|extent| extent.len).sum(), tell);
    let as_is = if options.compress { packed_ranges(disk)? } else { Vec::new() };
    let mut writer = Writer { out, next: 1, packed: 0, counts: vec![1], entries: Vec::new() };
    let copies: Vec<Copied> = as_is.iter().map(|range| writer.take_as_is(range)).collect::<Result<_>>()?;
    let mut others = Vec::new();
    let mut next = 0;
    for extent in extents {
        let end = (extent.offset + extent.len).div_ceil(CLUSTER);
        let numbers = (extent.offset / CLUSTER).max(next)..end;
        others.extend(numbers.filter(|number| !as_is.iter().any(|range| range.contains(number))));
        next = next.max(end);
    }
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        // Holes of what is copied as it is stay holes of the result.
        let copy = || copies.iter().try_for_each(|Copied { from, to, len }| disk.copy(*from, *len, out, *to));
        let copying = scope.spawn(copy);
        for numbers in others.chunks(threads * BATCH) {
            for (number, cluster) in numbers.iter().zip(read_all(disk, numbers, options.compress)?) {
                writer.put(*number, cluster)?;
            }
            meter.add(numbers.len() as u64 * CLUSTER);
        }
        copying.join().map_err(|_| anyhow::anyhow!("the thread that copies a squashfs panicked: this is a bug in xtask"))??;
        meter.add(copies.iter().map(|copied| copied.len).sum());
        writer.finish(options.size)
    })?;
    Ok(copies)
}

/// The clusters that lie wholly in a squashfs of a partition, by their numbers; none if the disk has no table of partitions.
fn packed_ranges(disk: &PartedDisk) -> Result<Vec<Range<u64>>> {
    const MAGIC: &[u8; 4] = b"hsqs";
    /// Where a superblock has the number of the image's bytes.
    const BYTES_USED: u64 = 40;
    // A disk with a damaged table is a disk all the same.
    let Ok(Some(table)) = gpt::read(disk) else { return Ok(Vec::new()) };
    let mut ranges = Vec::new();
    for entry in &table.entries {
        let (start, end) = (entry.first_lba * table.sector, (entry.last_lba + 1) * table.sector);
        if end > disk.size() || &read_array::<4>(disk, start)? != MAGIC {
            continue;
        }
        let used = u64::from_le_bytes(read_array(disk, start + BYTES_USED)?);
        let range = start.div_ceil(CLUSTER)..(start.saturating_add(used).min(end) / CLUSTER);
        ranges.extend(Some(range).filter(|range| !range.is_empty()));
    }
    ranges.sort_by_key(|range| range.start);
    Ok(ranges)
}

/// A cluster as it is written.
enum Packed {
    Zeros,
    Plain(Vec<u8>),
    Deflated(Vec<u8>),
}

/// The clusters with these numbers, in order, read and deflated by several threads.
fn read_all(disk: &PartedDisk, numbers: &[u64], compress: bool) -> Result<Vec<Packed>> {
    let read = |numbers: &[u64]| {
        let mut deflate = Compress::new_with_window_bits(Level::new(LEVEL), false, WINDOW_BITS);
        numbers.iter().map(|number| read_one(disk, *number, compress.then_some(&mut deflate))).collect::<Result<Vec<_>>>()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = numbers.chunks(BATCH).map(|numbers| scope.spawn(move || read(numbers))).collect();
        let mut clusters = Vec::with_capacity(numbers.len());
        for thread in threads {
            let read = thread.join().map_err(|_| anyhow::anyhow!("a thread that deflates panicked: this is a bug in xtask"))?;
            clusters.extend(read?);
        }
        Ok(clusters)
    })
}

fn read_one(disk: &PartedDisk, number: u64, deflate: Option<&mut Compress>) -> Result<Packed> {
    // The last one may be short.
    let mut cluster = vec![0; CLUSTER_BYTES];
    let start = number * CLUSTER;
    let part = &mut cluster[..usize::try_from(CLUSTER.min(disk.size() - start))?];
    disk.read_at(part, start)?;
    if cluster == ZEROS {
        return Ok(Packed::Zeros);
    }
    let Some(deflate) = deflate else { return Ok(Packed::Plain(cluster)) };
    deflate.reset();
    // What does not become smaller stays as it is.
    let mut small = Vec::with_capacity(CLUSTER_BYTES - 1);
    let status = deflate.compress_vec(&cluster, &mut small, FlushCompress::Finish).context("cannot deflate a cluster")?;
    Ok(if status == Status::StreamEnd { Packed::Deflated(small) } else { Packed::Plain(cluster) })
}

/// What has been written.
struct Writer<'o> {
    out: &'o File,
    /// The next free cluster of the file.
    next: u64,
    /// The end of the last deflated cluster, in bytes: the next one follows it, if there is room.
    packed: u64,
    /// How often each cluster of the file is used.
    counts: Vec<u16>,
    /// The disk's clusters, with their entries.
    entries: Vec<(u64, u64)>,
}

impl Writer<'_> {
    /// Takes `clusters` of the file; returns the first.
    fn take(&mut self, clusters: u64) -> Result<u64> {
        let first = self.next;
        self.next += clusters;
        self.counts.resize(usize::try_from(self.next)?, 1);
        Ok(first)
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.out.write_all_at(bytes, offset).context("cannot write the qcow2")
    }

    /// Takes room for a range of the disk's clusters, which is copied as it is.
    fn take_as_is(&mut self, range: &Range<u64>) -> Result<Copied> {
        let clusters = range.end - range.start;
        let first = self.take(clusters)?;
        self.entries.extend(range.clone().zip(first..).map(|(number, place)| (number, (place * CLUSTER) | COPIED)));
        Ok(Copied { from: range.start * CLUSTER, to: first * CLUSTER, len: clusters * CLUSTER })
    }

    fn put(&mut self, number: u64, cluster: Packed) -> Result<()> {
        let entry = match cluster {
            Packed::Zeros => return Ok(()),
            Packed::Plain(bytes) => {
                let place = self.take(1)?;
                self.write(&bytes, place * CLUSTER)?;
                (place * CLUSTER) | COPIED
            }
            Packed::Deflated(bytes) => {
                let offset = self.room_for(bytes.len() as u64)?;
                self.write(&bytes, offset)?;
                let last = offset + bytes.len() as u64 - 1;
                COMPRESSED | ((last / SECTOR - offset / SECTOR) << OFFSET_BITS) | offset
            }
        };
        self.entries.push((number, entry));
        Ok(())
    }

    /// The offset of `len` bytes for a deflated cluster: behind the last one, if clusters of the file that follow each other have room.
    fn room_for(&mut self, len: u64) -> Result<u64> {
        let end = self.packed.next_multiple_of(CLUSTER);
        if self.packed + len > end && end != self.next * CLUSTER {
            self.packed = self.next * CLUSTER;
        }
        let offset = self.packed;
        self.packed += len;
        let (first, last) = (offset / CLUSTER, (self.packed - 1) / CLUSTER);
        // `take` counts the first use of a cluster.
        if first < self.next {
            self.counts[usize::try_from(first)?] += 1;
        }
        self.take((last + 1).saturating_sub(self.next))?;
        Ok(offset)
    }

    /// Writes the tables, and at last the header, for a disk of `size` bytes.
    fn finish(mut self, size: u64) -> Result<()> {
        let l1_entries = size.div_ceil(CLUSTER).div_ceil(ENTRIES);
        let mut l1 = vec![0; usize::try_from(l1_entries)?];
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_unstable();
        for table in entries.chunk_by(|one, other| one.0 / ENTRIES == other.0 / ENTRIES) {
            let mut words = vec![0; usize::try_from(ENTRIES)?];
            for (number, entry) in table {
                words[usize::try_from(number % ENTRIES)?] = *entry;
            }
            let place = self.take(1)?;
            self.write(&be_words(&words), place * CLUSTER)?;
            l1[usize::try_from(table[0].0 / ENTRIES)?] = (place * CLUSTER) | COPIED;
        }
        let l1_at = self.take((l1_entries * 8).div_ceil(CLUSTER).max(1))?;
        self.write(&be_words(&l1), l1_at * CLUSTER)?;
        // The reference counts cover themselves too.
        let (mut blocks, mut table) = (0, 0);
        loop {
            let needed = (self.next + blocks + table).div_ceil(COUNTS);
            let needed_table = needed.div_ceil(ENTRIES);
            if (needed, needed_table) == (blocks, table) {
                break;
            }
            (blocks, table) = (needed, needed_table);
        }
        let (blocks_at, table_at) = (self.take(blocks)?, self.take(table)?);
        self.write(&self.counts.iter().flat_map(|count| count.to_be_bytes()).collect::<Vec<_>>(), blocks_at * CLUSTER)?;
        let places: Vec<u64> = (blocks_at..table_at).map(|block| block * CLUSTER).collect();
        self.write(&be_words(&places), table_at * CLUSTER)?;
        self.out.set_len(self.next * CLUSTER).context("cannot write the qcow2")?;
        self.write(&header(size, l1_entries, l1_at, table_at, table)?, 0)
    }
}

fn be_words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
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
