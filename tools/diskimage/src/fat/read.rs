//! Reads untrusted FAT volumes: every chain is bounded, and every size is checked before allocating memory.

use super::{
    Bits,
    entries::{DIRECTORY, ENTRY, LONG_NAME, UNITS, VOLUME},
    names,
};
use crate::read_at::{ReadAt, read_array};
use anyhow::{Result, bail};
use std::{collections::HashSet, io::Write};

/// A file or directory of a volume.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Entry {
    /// Path from the root, without a leading `/`.
    pub path: String,
    /// Whether it is a directory.
    pub directory: bool,
    /// Size of the file in bytes; 0 for a directory.
    pub size: u32,
    #[serde(skip)]
    cluster: u32,
}

/// An open volume.
pub struct Reader<'a> {
    source: &'a dyn ReadAt,
    bits: Bits,
    volume_id: u32,
    cluster_bytes: u64,
    clusters: u32,
    table: u64,
    root: u64,
    root_bytes: u64,
    root_cluster: u32,
    data: u64,
}

/// Size limit of a directory in bytes, from the format.
const MOST_DIRECTORY: u64 = 65536 * ENTRY as u64;
/// Limit of directory and path bytes in a listing: directories may share clusters, so a small volume can claim any number of
/// entries.
const MOST_LISTING: usize = 64 << 20;

impl<'a> Reader<'a> {
    /// Reads and checks the boot sector.
    pub fn open(source: &'a dyn ReadAt) -> Result<Self> {
        let boot: [u8; 512] = read_array(source, 0)?;
        let u16_at = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let u32_at = |at: usize| u64::from(u32::from_le_bytes([boot[at], boot[at + 1], boot[at + 2], boot[at + 3]]));
        let either = |small: u64, large: u64| if small == 0 { large } else { small };
        let (sector, cluster_sectors, reserved, tables) = (u16_at(11), u64::from(boot[13]), u16_at(14), u64::from(boot[16]));
        if boot[510..] != [0x55, 0xaa] || !matches!(boot[0], 0xeb | 0xe9) {
            bail!("the FAT boot sector is missing");
        }
        if !matches!(sector, 512 | 1024 | 2048 | 4096) || !cluster_sectors.is_power_of_two() || reserved == 0 || !(1..=2).contains(&tables)
        {
            bail!(
                "invalid FAT: {sector} bytes per sector, {cluster_sectors} sectors per cluster, {reserved} reserved sectors, {tables} tables"
            );
        }
        let (sectors, table_sectors) = (either(u16_at(19), u32_at(32)), either(u16_at(22), u32_at(36)));
        if sectors * sector > source.size() {
            bail!("the FAT volume has {} bytes, more than the image's {}", sectors * sector, source.size());
        }
        let root_sectors = (u16_at(17) * ENTRY as u64).div_ceil(sector);
        let data = reserved + tables * table_sectors + root_sectors;
        let clusters = u32::try_from(sectors.saturating_sub(data) / cluster_sectors)?;
        let (bits, width) = match clusters {
            0..=4084 => (Bits::Fat12, 12),
            4085..=65524 => (Bits::Fat16, 16),
            _ => (Bits::Fat32, 32),
        };
        if clusters == 0 || (u64::from(clusters) + 2) * width > table_sectors * sector * 8 {
            bail!("the file allocation table of {table_sectors} sectors is too small for {clusters} clusters");
        }
        let fat32 = bits == Bits::Fat32;
        Ok(Self {
            source,
            bits,
            volume_id: u32_at(if fat32 { 67 } else { 39 }) as u32,
            cluster_bytes: cluster_sectors * sector,
            clusters,
            table: reserved * sector,
            root: (reserved + tables * table_sectors) * sector,
            root_bytes: root_sectors * sector,
            root_cluster: if fat32 { u32_at(44) as u32 } else { 0 },
            data: data * sector,
        })
    }

    /// Width of a table entry.
    #[must_use]
    pub fn bits(&self) -> Bits {
        self.bits
    }

    /// Serial number of the volume.
    #[must_use]
    pub fn volume_id(&self) -> u32 {
        self.volume_id
    }

    /// Label from the root directory; may be empty.
    pub fn label(&self) -> Result<String> {
        let root = self.root_directory()?;
        let mut live = root.chunks_exact(ENTRY).take_while(|entry| entry[0] != 0).filter(|entry| entry[0] != 0xe5);
        let label = live.find(|entry| entry[11] & (VOLUME | DIRECTORY) == VOLUME && entry[11] & LONG_NAME != LONG_NAME);
        Ok(label.map(|entry| String::from_utf8_lossy(&entry[..11]).trim_end().to_owned()).unwrap_or_default())
    }

    /// All files and directories: a directory before its children, names in byte order.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let mut found: Vec<Entry> = Vec::new();
        let mut seen = HashSet::new();
        let mut work = 0;
        let mut pending = parse_directory("", &self.root_directory()?);
        while let Some(entry) = pending.pop() {
            work += entry.path.len();
            if entry.directory {
                if !seen.insert(entry.cluster) {
                    bail!("the directory `{}` has two parents", entry.path);
                }
                let bytes = self.chain(entry.cluster, MOST_DIRECTORY)?;
                work += bytes.len();
                pending.extend(parse_directory(&entry.path, &bytes));
            }
            found.push(entry);
            if work > MOST_LISTING {
                bail!("the volume's directories and paths exceed {MOST_LISTING} bytes");
            }
        }
        found.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
        Ok(found)
    }

    /// Content of a file from [`Reader::entries`]; an error if it has more than `most` bytes.
    pub fn read(&self, entry: &Entry, most: u32) -> Result<Vec<u8>> {
        let size = entry.size;
        if entry.directory || size > most {
            bail!("`{}` is a directory or has more than {most} bytes", entry.path);
        }
        let mut bytes = if size == 0 { Vec::new() } else { self.chain(entry.cluster, u64::from(size))? };
        if bytes.len() < size as usize {
            bail!("`{}` has {size} bytes, but only clusters for {}", entry.path, bytes.len());
        }
        bytes.truncate(size as usize);
        Ok(bytes)
    }

    /// Copies a file from [`Reader::entries`] to `out`, cluster by cluster.
    pub fn copy(&self, entry: &Entry, out: &mut dyn Write) -> Result<()> {
        let (mut left, mut cluster) = (u64::from(entry.size), entry.cluster);
        let mut bytes = vec![0; usize::try_from(self.cluster_bytes)?];
        while left > 0 {
            if !(2..self.clusters + 2).contains(&cluster) {
                bail!("`{}` lacks its last {left} bytes: its chain refers to cluster {cluster}", entry.path);
            }
            self.source.read_at(&mut bytes, self.data + u64::from(cluster - 2) * self.cluster_bytes)?;
            let count = left.min(self.cluster_bytes);
            out.write_all(&bytes[..usize::try_from(count)?])?;
            left -= count;
            cluster = self.next(cluster)?;
        }
        Ok(())
    }

    fn root_directory(&self) -> Result<Vec<u8>> {
        if self.bits == Bits::Fat32 {
            return self.chain(self.root_cluster, MOST_DIRECTORY);
        }
        let mut bytes = vec![0; usize::try_from(self.root_bytes)?];
        self.source.read_at(&mut bytes, self.root)?;
        Ok(bytes)
    }

    /// Reads the clusters of a chain, up to its end or `most` bytes, which also ends loops.
    fn chain(&self, first: u32, most: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut cluster = first;
        while (bytes.len() as u64) < most {
            if !(2..self.clusters + 2).contains(&cluster) {
                bail!("a cluster chain refers to cluster {cluster}, but the last one is {}", self.clusters + 1);
            }
            let start = bytes.len();
            bytes.resize(start + usize::try_from(self.cluster_bytes)?, 0);
            self.source.read_at(&mut bytes[start..], self.data + u64::from(cluster - 2) * self.cluster_bytes)?;
            cluster = self.next(cluster)?;
            if cluster >= self.end_mark() {
                break;
            }
        }
        Ok(bytes)
    }

    /// Table values from here on mark the end of a chain.
    fn end_mark(&self) -> u32 {
        match self.bits {
            Bits::Fat32 => 0x0fff_fff8,
            Bits::Fat16 => 0xfff8,
            Bits::Fat12 | Bits::Auto => 0xff8,
        }
    }

    /// The table entry of `cluster`.
    fn next(&self, cluster: u32) -> Result<u32> {
        let at = u64::from(cluster);
        let two = |at: u64| -> Result<u32> { Ok(u32::from(u16::from_le_bytes(read_array(self.source, self.table + at)?))) };
        Ok(match self.bits {
            Bits::Fat32 => u32::from_le_bytes(read_array(self.source, self.table + at * 4)?) & 0x0fff_ffff,
            Bits::Fat16 => two(at * 2)?,
            Bits::Fat12 | Bits::Auto => two(at * 3 / 2)? >> (4 * (cluster % 2)) & 0xfff,
        })
    }
}

/// Entries of a directory. A long name is used only if it is complete and its checksum matches.
fn parse_directory(path: &str, bytes: &[u8]) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut long: Vec<(u8, u8, Vec<u16>)> = Vec::new();
    for entry in bytes.chunks_exact(ENTRY) {
        match (entry[0], entry[11]) {
            (0, _) => break,
            (0xe5, _) => long.clear(),
            (sequence, attributes) if attributes & 0x3f == LONG_NAME => {
                if sequence & 0x40 != 0 {
                    long.clear();
                }
                let units = UNITS.map(|at| u16::from_le_bytes([entry[at], entry[at + 1]]));
                long.push((sequence & 0x3f, entry[13], units.to_vec()));
                long.truncate(20);
            }
            (b'.', attributes) if attributes & DIRECTORY != 0 => long.clear(),
            (_, attributes) if attributes & VOLUME != 0 => long.clear(),
            (_, attributes) => {
                let mut short = [0; 11];
                short.copy_from_slice(&entry[..11]);
                let name = join_long(&long, names::checksum(&short)).unwrap_or_else(|| names::spell_with_case(&short, entry[12]));
                long.clear();
                let path = if path.is_empty() { name } else { format!("{path}/{name}") };
                let low = |at: usize| u32::from(u16::from_le_bytes([entry[at], entry[at + 1]]));
                let directory = attributes & DIRECTORY != 0;
                let size = if directory { 0 } else { low(28) | low(30) << 16 };
                found.push(Entry { path, directory, size, cluster: low(26) | low(20) << 16 });
            }
        }
    }
    found
}

/// Joins a long name from its entries in directory order (last part first).
fn join_long(parts: &[(u8, u8, Vec<u16>)], checksum: u8) -> Option<String> {
    let good = parts.iter().rev().zip(1..).all(|((sequence, sum, _), want)| *sequence == want && *sum == checksum);
    let units: Vec<u16> = parts.iter().rev().flat_map(|(_, _, units)| units.iter().copied()).take_while(|unit| *unit != 0).collect();
    (good && !units.is_empty()).then(|| String::from_utf16_lossy(&units).replace('/', "\u{fffd}"))
}
