//! Reads the disk in a qcow2 file (QEMU's docs/interop/qcow2). All offsets are checked, and memory use does not depend on the
//! file. `write` writes one.

#[cfg(test)]
mod tests;
mod write;

pub use write::{Copied, Options, write, write_parted};

use crate::read_at::{ReadAt, read_array, read_blocks};
use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use std::{
    io::Read as _,
    sync::{Arc, Mutex, PoisonError},
};

/// Compression of clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Raw deflate.
    Zlib,
    /// Zstandard.
    Zstd,
}

/// The disk in a qcow2 file of version 2 or 3, with plain, zero and compressed (zlib, zstd) clusters; no encryption, no
/// external data file. A backing file is given by the caller; the name in the file is ignored. Internal snapshots are ignored.
pub struct Reader<S> {
    source: S,
    base: Option<Box<dyn ReadAt>>,
    version: u32,
    size: u64,
    cluster_bits: u32,
    compression: Compression,
    l1: Vec<u64>,
    /// Second-level tables and decompressed clusters by file offset, most recently used last.
    cache: Mutex<Vec<(u64, Arc<Vec<u8>>)>>,
}

/// Size limit of the first-level table in bytes, QEMU's.
const MOST_L1: u64 = 32 << 20;
const CACHED: usize = 8;
/// Bits 9 to 55 of a table entry: a file offset.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
const ZERO: u64 = 1;

/// Location of a cluster's bytes.
enum Cluster {
    /// Not in this file: read from the backing file.
    Absent,
    Zero,
    Plain(u64),
    Compressed {
        offset: u64,
        len: u64,
    },
}

impl<S: ReadAt> Reader<S> {
    /// Reads the header. Unsupported features are errors.
    pub fn open(source: S) -> Result<Self> {
        Self::read(source, None)
    }

    /// As [`Self::open`], with the backing file `base`.
    pub fn open_over(source: S, base: Box<dyn ReadAt>) -> Result<Self> {
        Self::read(source, Some(base))
    }

    pub(crate) fn read(source: S, base: Option<Box<dyn ReadAt>>) -> Result<Self> {
        let header: [u8; 72] = read_array(&source, 0).context("the file is too short for a qcow2 header")?;
        let u32_at = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) << 32 | u64::from(u32_at(at + 4));
        let version = u32_at(4);
        if &header[..4] != b"QFI\xfb" || !matches!(version, 2 | 3) {
            bail!("the file is not a qcow2 of version 2 or 3");
        }
        if u64_at(8) != 0 && base.is_none() {
            let name = backing(&source).ok().flatten().map_or_else(|| "a name outside the file".into(), |backing| backing.name);
            let name = String::from_utf8_lossy(&name).escape_debug().to_string();
            bail!("the qcow2 file has a backing file `{name}`, which is not supported here");
        }
        if u32_at(32) != 0 {
            bail!("the qcow2 file is encrypted (method {})", u32_at(32));
        }
        let (cluster_bits, size) = (u32_at(20), u64_at(24));
        if !(9..=21).contains(&cluster_bits) {
            bail!("unsupported qcow2 cluster size of 2^{cluster_bits} bytes");
        }
        let compression = if version == 3 { check_features(&source)? } else { Compression::Zlib };
        let l1 = read_l1(&source, u32_at(36), u64_at(40), size, cluster_bits)?;
        Ok(Self { source, base, version, size, cluster_bits, compression, l1, cache: Mutex::default() })
    }

    /// Version of the format: 2 or 3.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Size of a cluster in bytes.
    #[must_use]
    pub fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Compression of clusters, if any are compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Location of the cluster with this index on the disk.
    fn find(&self, index: u64) -> Result<Cluster> {
        let per_table = self.cluster_size() / 8;
        let l1 = self.l1.get(usize::try_from(index / per_table)?).copied().context("a cluster is beyond the first-level table")? & OFFSET;
        if l1 == 0 {
            return Ok(Cluster::Absent);
        }
        let table = self.cached(l1, || {
            let mut table = vec![0; usize::try_from(self.cluster_size())?];
            self.source.read_at(&mut table, l1).context("a second-level table is outside the file")?;
            Ok(table)
        })?;
        let at = usize::try_from(index % per_table)? * 8;
        let entry = table[at..at + 8].iter().fold(0, |entry, byte| entry << 8 | u64::from(*byte));
        if entry & COMPRESSED != 0 {
            // Low bits: offset; then the number of additional 512-byte sectors.
            let bits = 62 - (self.cluster_bits - 8);
            let offset = entry & ((1 << bits) - 1);
            let sectors = (entry & (COMPRESSED - 1)) >> bits;
            return Ok(Cluster::Compressed { offset, len: (sectors + 1) * 512 - offset % 512 });
        }
        Ok(match entry & OFFSET {
            _ if self.version == 3 && entry & ZERO != 0 => Cluster::Zero,
            0 => Cluster::Absent,
            offset => Cluster::Plain(offset),
        })
    }

    /// Decompresses a cluster.
    fn unpack(&self, offset: u64, len: u64) -> Result<Vec<u8>> {
        // The file may end within the last sector.
        let len = len.min(self.source.size().saturating_sub(offset));
        let mut packed = vec![0; usize::try_from(len)?];
        self.source.read_at(&mut packed, offset)?;
        let mut cluster = vec![0; usize::try_from(self.cluster_size())?];
        match self.compression {
            Compression::Zlib => flate2::read::DeflateDecoder::new(&packed[..]).read_exact(&mut cluster).map_err(anyhow::Error::from),
            Compression::Zstd => unpack_zstd(&packed, &mut cluster),
        }
        .with_context(|| format!("the compressed cluster at {offset} is damaged"))?;
        Ok(cluster)
    }

    fn cached(&self, key: u64, make: impl FnOnce() -> Result<Vec<u8>>) -> Result<Arc<Vec<u8>>> {
        let lock = || self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cache = lock();
        if let Some(place) = cache.iter().position(|(known, _)| *known == key) {
            let hit = cache.remove(place);
            cache.push(hit);
            return Ok(cache[cache.len() - 1].1.clone());
        }
        drop(cache); // another thread may make the same one meanwhile, which costs only its time
        let made = Arc::new(make()?);
        let mut cache = lock();
        if cache.len() >= CACHED {
            cache.remove(0);
        }
        cache.push((key, made.clone()));
        Ok(made)
    }

    fn read_in_cluster(&self, part: &mut [u8], index: u64, within: u64) -> Result<()> {
        match self.find(index)? {
            Cluster::Zero => part.fill(0),
            Cluster::Absent => {
                // The backing file may be smaller.
                let from = index * self.cluster_size() + within;
                let below = self.base.as_ref().filter(|base| base.size() > from);
                let has = below.map_or(0, |base| usize::try_from(base.size() - from).unwrap_or(usize::MAX).min(part.len()));
                let (there, beyond) = part.split_at_mut(has);
                beyond.fill(0);
                below.map_or(Ok(()), |base| base.read_at(there, from)).context("cannot read the backing file")?;
            }
            Cluster::Plain(offset) => self.source.read_at(part, offset + within).context("a cluster is outside the qcow2 file")?,
            Cluster::Compressed { offset, len } => {
                // Bit 63 distinguishes compressed clusters, which may start anywhere, from tables.
                let cluster = self.cached(offset | 1 << 63, || self.unpack(offset, len))?;
                let within = usize::try_from(within)?;
                part.copy_from_slice(&cluster[within..within + part.len()]);
            }
        }
        Ok(())
    }
}

/// The backing file that a qcow2 names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Backing {
    /// Its path, relative to the folder of the qcow2, or another way in which QEMU names an image.
    pub name: Vec<u8>,
    /// Its format, by QEMU's name.
    pub format: Option<String>,
}

/// The backing file that the qcow2 in `source` names, if any.
pub(crate) fn backing(source: &dyn ReadAt) -> Result<Option<Backing>> {
    const FORMAT: u32 = 0xe279_2aca;
    let u32_at = |at: u64| anyhow::Ok(u32::from_be_bytes(read_array(source, at)?));
    // The reader says what is wrong with a short file.
    let offset = read_array(source, 8).map_or(0, u64::from_be_bytes);
    if offset == 0 {
        return Ok(None);
    }
    let mut name = vec![0; u32_at(16)?.min(1023) as usize];
    source.read_at(&mut name, offset).context("the name of the backing file is outside the qcow2 file")?;
    // Extensions of the header: type, length, and the data in a multiple of 8 bytes.
    let mut at = if u32_at(4)? == 2 { 72 } else { u64::from(u32_at(100)?) };
    let mut format = None;
    while at + 8 <= offset {
        let (kind, len) = (u32_at(at)?, u32_at(at + 4)?);
        if kind == 0 {
            break;
        }
        if kind == FORMAT {
            let mut bytes = vec![0; len.min(64) as usize];
            source.read_at(&mut bytes, at + 8).context("an extension of the header is outside the qcow2 file")?;
            format = Some(String::from_utf8_lossy(&bytes).into_owned());
        }
        at += 8 + u64::from(len).next_multiple_of(8);
    }
    Ok(Some(Backing { name, format }))
}

/// Checks the incompatible features of version 3; returns the compression.
fn check_features(source: &dyn ReadAt) -> Result<Compression> {
    const DIRTY: u64 = 1; // only the reference counts may be wrong
    const KNOWN: [(u64, &str); 3] =
        [(1 << 1, "is marked corrupt"), (1 << 2, "keeps its data in another file"), (1 << 4, "has extended second-level entries")];
    const OTHER_COMPRESSION: u64 = 1 << 3;
    let features = u64::from_be_bytes(read_array(source, 72)?);
    if let Some((_, what)) = KNOWN.iter().find(|(bit, _)| features & bit != 0) {
        bail!("the qcow2 file {what}");
    }
    if features & !(DIRTY | OTHER_COMPRESSION) != 0 {
        bail!("the qcow2 file has unknown features ({features:#x})");
    }
    let header_len = u32::from_be_bytes(read_array(source, 100)?);
    let kind = if header_len > 104 { read_array::<1>(source, 104)?[0] } else { 0 };
    match kind {
        0 => Ok(Compression::Zlib),
        1 => Ok(Compression::Zstd),
        other => bail!("the qcow2 file has the unknown compression {other}"),
    }
}

fn read_l1(source: &dyn ReadAt, entries: u32, offset: u64, size: u64, cluster_bits: u32) -> Result<Vec<u64>> {
    // A second-level table (one cluster) refers to 2^(cluster_bits - 3) clusters.
    let covered = 1_u64 << (2 * cluster_bits - 3);
    let needed = size.div_ceil(covered);
    if needed > u64::from(entries) || needed * 8 > MOST_L1 {
        bail!(
            "a qcow2 disk of {size} bytes needs a first-level table of {needed} entries; the file has {entries}, and the limit is {}",
            MOST_L1 / 8
        );
    }
    let mut bytes = vec![0; usize::try_from(needed * 8)?];
    source.read_at(&mut bytes, offset).context("the first-level table is outside the qcow2 file")?;
    Ok(bytes.chunks_exact(8).map(|entry| entry.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))).collect())
}

fn unpack_zstd(packed: &[u8], cluster: &mut [u8]) -> Result<()> {
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(packed).map_err(|error| anyhow::anyhow!("{error}"))?;
    decoder.read_exact(cluster)?;
    Ok(())
}

impl<S: ReadAt> ReadAt for Reader<S> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        read_blocks(buffer, offset, self.size, self.cluster_size(), |part, cluster, within| self.read_in_cluster(part, cluster, within))
    }
}
