//! Containers with a table from blocks of the disk to places in the file: VDI (VirtualBox's VDICore.h), Parallels (QEMU's
//! docs/interop/parallels), growing VHD (Microsoft's Virtual Hard Disk Image Format Specification 1.0) and VMDK in one file (VMware's
//! Virtual Disk Format 5.0, hosted sparse extents). A fixed VHD is the disk and a footer. All offsets are checked.

use crate::read_at::{ReadAt, read_array, read_blocks};
use anyhow::{Context as _, Result, bail, ensure};

/// The magic number of a VDI, at byte 0x40.
pub(super) const VDI: [u8; 4] = [0x7f, 0x10, 0xda, 0xbe];
/// The magic numbers of Parallels, and whether the table counts clusters; else it counts sectors.
pub(super) const PARALLELS: [(&[u8; 16], bool); 2] = [(b"WithoutFreeSpace", false), (b"WithouFreSpacExt", true)];

const SECTOR: u64 = 512;
/// The largest table, in entries: a disk of 8 TiB with blocks of 1 MiB.
const MOST_BLOCKS: u64 = 8 << 20;

/// The disk in such a container.
pub(super) struct Mapped<S> {
    source: S,
    size: u64,
    block: u64,
    /// Where each block is; none: it is zeros.
    places: Vec<Option<u64>>,
}

impl<S: ReadAt> Mapped<S> {
    pub(super) fn vdi(source: S) -> Result<Self> {
        let header: [u8; 0x190] = read_array(&source, 0).context("the file is too short for a VDI header")?;
        let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        ensure!(u32_at(0x44) == 0x0001_0001, "VDI version {:#x} is not read, only 1.1", u32_at(0x44));
        ensure!(matches!(u32_at(0x4c), 1 | 2), "VDI type {} is not read: it is no disk of its own", u32_at(0x4c));
        let (table, data) = (u64::from(u32_at(0x154)), u64::from(u32_at(0x158)));
        let (block, extra) = (u64::from(u32_at(0x178)), u64::from(u32_at(0x17c)));
        let place = |entry: u32| Ok((entry < 0xffff_fffe).then(|| data + extra + u64::from(entry) * (block + extra)));
        Self::read(source, u64_at(0x170), block, u64::from(u32_at(0x180)), table, place)
    }

    pub(super) fn parallels(source: S) -> Result<Self> {
        let header: [u8; 64] = read_array(&source, 0).context("the file is too short for a Parallels header")?;
        let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let extended = PARALLELS.iter().find(|(magic, _)| header.starts_with(*magic)).is_some_and(|(_, extended)| *extended);
        ensure!(u32_at(16) == 2, "Parallels version {} is not read, only 2", u32_at(16));
        let (cluster, mut sectors) = (u64::from(u32_at(28)), u64::from(u32_at(36)));
        if extended {
            sectors |= u64::from(u32_at(40)) << 32;
        }
        let unit = if extended { cluster.saturating_mul(SECTOR) } else { SECTOR };
        let place = |entry: u32| Ok((entry != 0).then(|| u64::from(entry).saturating_mul(unit)));
        Self::read(source, sectors.saturating_mul(SECTOR), cluster.saturating_mul(SECTOR), u64::from(u32_at(32)), 64, place)
    }

    pub(super) fn fixed_vhd(source: S) -> Self {
        let size = source.size().saturating_sub(SECTOR);
        Self { block: size.max(1), places: vec![Some(0)], source, size }
    }

    /// A VHD that grows. Its numbers are big-endian; in front of each block is a map of the sectors that were written, the others are
    /// zeros in the file too.
    pub(super) fn vhd(source: S) -> Result<Self> {
        let footer: [u8; 512] = read_array(&source, 0)?;
        let u32_at = |bytes: &[u8], at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |bytes: &[u8], at: usize| u64::from(u32_at(bytes, at)) << 32 | u64::from(u32_at(bytes, at + 4));
        ensure!(u32_at(&footer, 60) == 3, "VHD type {} is not read: it is no disk of its own", u32_at(&footer, 60));
        let header: [u8; 64] = read_array(&source, u64_at(&footer, 16)).context("the VHD's second header is outside the file")?;
        ensure!(header.starts_with(b"cxsparse"), "the VHD's second header does not start with `cxsparse`");
        let block = u64::from(u32_at(&header, 32));
        let map = (block / SECTOR).div_ceil(8).next_multiple_of(SECTOR);
        // The table is read as little-endian.
        let place = |entry: u32| Ok((entry != u32::MAX).then(|| u64::from(entry.swap_bytes()) * SECTOR + map));
        Self::read(source, u64_at(&footer, 48), block, u64::from(u32_at(&header, 28)), u64_at(&header, 16), place)
    }

    /// A VMDK in one file: a directory of tables, and in the tables the sectors of the grains.
    pub(super) fn vmdk(source: S) -> Result<Self> {
        let header: [u8; 512] = read_array(&source, 0)?;
        let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        ensure!(matches!(u32_at(4), 1..=3), "VMDK version {} is not read, only 1 to 3", u32_at(4));
        check_descriptor(&source, u64_at(28), u64_at(36))?;
        let (sectors, grain, entries) = (u64_at(12), u64_at(20).saturating_mul(SECTOR), u64::from(u32_at(44)));
        ensure!((1..=1 << 16).contains(&entries), "tables of {entries} grains are not read");
        let size = sectors.saturating_mul(SECTOR);
        check_blocks(size, grain, u64::MAX)?;
        let needed = size.div_ceil(grain);
        let directory = read_table(&source, u64_at(56).saturating_mul(SECTOR), needed.div_ceil(entries))?;
        let mut places = Vec::with_capacity(usize::try_from(needed)?);
        for table in directory {
            let count = (needed - places.len() as u64).min(entries);
            // Without a table, all its grains are zeros.
            let grains = if table == 0 { vec![0; usize::try_from(count)?] } else { read_table(&source, u64::from(table) * SECTOR, count)? };
            // 1 is a grain of zeros.
            places.extend(grains.into_iter().map(|sector| (sector > 1).then(|| u64::from(sector) * SECTOR)));
        }
        Ok(Self { places, source, size, block: grain })
    }

    /// Reads the table of `entries` entries at byte `table`.
    fn read(source: S, size: u64, block: u64, entries: u64, table: u64, place: impl Fn(u32) -> Result<Option<u64>>) -> Result<Self> {
        check_blocks(size, block, entries)?;
        let entries = read_table(&source, table, size.div_ceil(block))?.into_iter().map(place);
        Ok(Self { places: entries.collect::<Result<_>>()?, source, size, block })
    }
}

/// Fails if a disk of `size` bytes has strange blocks, or needs a larger table than the one of `entries` entries.
fn check_blocks(size: u64, block: u64, entries: u64) -> Result<()> {
    ensure!(block.is_multiple_of(SECTOR) && (SECTOR..=1 << 30).contains(&block), "blocks of {block} bytes are not read");
    let needed = size.div_ceil(block);
    if needed > entries || needed > MOST_BLOCKS {
        bail!("a disk of {size} bytes needs a table of {needed} entries; the file has {entries}, and the limit is {MOST_BLOCKS}");
    }
    Ok(())
}

/// Reads `count` little-endian numbers at byte `at`.
fn read_table(source: &impl ReadAt, at: u64, count: u64) -> Result<Vec<u32>> {
    let mut bytes = vec![0; usize::try_from(count * 4)?];
    source.read_at(&mut bytes, at).context("the table of blocks is outside the file")?;
    Ok(bytes.chunks_exact(4).map(|entry| u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]])).collect())
}

/// Fails if the text in a VMDK, of `len` sectors at sector `at`, names a disk that this one is on top of.
fn check_descriptor(source: &impl ReadAt, at: u64, len: u64) -> Result<()> {
    let mut text = vec![0; usize::try_from(len.min(128) * SECTOR)?];
    source.read_at(&mut text, at.saturating_mul(SECTOR)).context("the VMDK's descriptor is outside the file")?;
    let text = String::from_utf8_lossy(&text);
    let parent = text.lines().find_map(|line| line.strip_prefix("parentCID=")).map(str::trim);
    ensure!(parent.is_none_or(|id| id == "ffffffff"), "the VMDK is not read: it is no disk of its own");
    Ok(())
}

impl<S: ReadAt> ReadAt for Mapped<S> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        read_blocks(buffer, offset, self.size, self.block, |part, number, within| {
            match self.places[usize::try_from(number)?] {
                Some(place) => {
                    let from = place.checked_add(within).context("a block is outside the file")?;
                    self.source.read_at(part, from).context("a block is outside the file")?;
                }
                None => part.fill(0),
            }
            Ok(())
        })
    }
}
