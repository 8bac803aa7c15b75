//! Containers with one table from blocks of the disk to places in the file: VDI (VirtualBox's VDICore.h) and Parallels (QEMU's
//! docs/interop/parallels). A fixed VHD is the disk and a footer. All offsets are checked.

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

    /// Reads the table of `entries` entries at byte `table`.
    fn read(source: S, size: u64, block: u64, entries: u64, table: u64, place: impl Fn(u32) -> Result<Option<u64>>) -> Result<Self> {
        ensure!(block.is_multiple_of(SECTOR) && (SECTOR..=1 << 30).contains(&block), "blocks of {block} bytes are not read");
        let needed = size.div_ceil(block);
        if needed > entries || needed > MOST_BLOCKS {
            bail!("a disk of {size} bytes needs a table of {needed} entries; the file has {entries}, and the limit is {MOST_BLOCKS}");
        }
        let mut bytes = vec![0; usize::try_from(needed * 4)?];
        source.read_at(&mut bytes, table).context("the table of blocks is outside the file")?;
        let entries = bytes.chunks_exact(4).map(|entry| place(u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]])));
        Ok(Self { places: entries.collect::<Result<_>>()?, source, size, block })
    }
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
