//! Areas of a FAT volume (boot sectors, tables, root directory, clusters), and the boot sectors that describe them.

use super::{Bits, Options};
use anyhow::{Result, bail};

/// Entries of the fixed root directory of FAT12 and FAT16.
const ROOT_ENTRIES: u32 = 512;
const TABLES: u32 = 2;
/// Media descriptor of a fixed disk; the first byte of each table repeats it.
const MEDIA: u8 = 0xf8;

/// Sizes of the areas, in sectors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub bits: Bits,
    /// Bytes of a sector.
    sector: u32,
    sectors: u32,
    pub cluster_sectors: u32,
    reserved: u32,
    table_sectors: u32,
    root_entries: u32,
    pub clusters: u32,
}

/// Number of clusters of each FAT width: readers determine the width from it alone.
fn cluster_range(bits: Bits) -> (u32, u32) {
    match bits {
        Bits::Auto | Bits::Fat12 => (1, 4084),
        Bits::Fat16 => (4085, 65524),
        Bits::Fat32 => (65525, 0x0fff_fff4),
    }
}

impl Geometry {
    pub fn choose(options: &Options) -> Result<Self> {
        let (size, sector) = (options.size, options.sector);
        if !matches!(sector, 512 | 1024 | 2048 | 4096) {
            bail!("invalid FAT sector of {sector} bytes: it must have 512, 1024, 2048 or 4096");
        }
        if !size.is_multiple_of(u64::from(sector)) || size < 32 << 10 {
            bail!("invalid FAT volume size of {size} bytes: it must be a multiple of {sector} and at least {}", 32 << 10);
        }
        let Ok(sectors) = u32::try_from(size / u64::from(sector)) else { bail!("a FAT volume of {size} bytes has more than 2^32 sectors") };
        let candidates: &[(Bits, &[u32])] = match options.bits {
            // A large sector is a cluster.
            Bits::Auto if sector > 512 => &[(Bits::Fat12, &[1]), (Bits::Fat16, &[1]), (Bits::Fat32, &[1, 2, 4, 8, 16])],
            Bits::Auto if size >= 33 << 20 => &[(Bits::Fat32, FAT32_CLUSTERS)],
            Bits::Auto => &[(Bits::Fat12, &[4]), (Bits::Fat16, &[4])],
            Bits::Fat12 => &[(Bits::Fat12, &[4, 8, 16, 32, 64])],
            Bits::Fat16 => &[(Bits::Fat16, &[4, 2, 1, 8, 16, 32, 64])],
            Bits::Fat32 => &[(Bits::Fat32, FAT32_CLUSTERS)],
        };
        for (bits, clusters) in candidates {
            for cluster in *clusters {
                if let Some(geometry) = Self::with(*bits, sector, sectors, *cluster)
                    && (*bits != Bits::Fat32 || *cluster * sector >= fat32_cluster(size) * 512)
                {
                    return Ok(geometry);
                }
            }
        }
        bail!("a volume of {size} bytes cannot be {:?}", options.bits)
    }

    /// The areas with clusters of `cluster_sectors`; `None` if the number of clusters does not match the width.
    fn with(bits: Bits, sector: u32, sectors: u32, cluster_sectors: u32) -> Option<Self> {
        let (reserved, root_entries, nibbles) = match bits {
            Bits::Fat32 => (32, 0, 8),
            Bits::Fat16 => (1, ROOT_ENTRIES, 4),
            Bits::Fat12 | Bits::Auto => (1, ROOT_ENTRIES, 3),
        };
        let mut geometry = Self { bits, sector, sectors, cluster_sectors, reserved, table_sectors: 0, root_entries, clusters: 0 };
        // Table size and number of clusters depend on each other; the table only grows, so the loop ends.
        loop {
            let clusters = sectors.checked_sub(geometry.data_start())? / cluster_sectors;
            geometry.clusters = clusters;
            let needed = u32::try_from(((u64::from(clusters) + 2) * nibbles).div_ceil(2).div_ceil(u64::from(sector))).ok()?;
            if needed <= geometry.table_sectors {
                let (fewest, most) = cluster_range(bits);
                return (fewest..=most).contains(&clusters).then_some(geometry);
            }
            geometry.table_sectors = needed;
        }
    }

    /// Size of the volume in bytes.
    pub fn size(&self) -> u64 {
        u64::from(self.sectors) * u64::from(self.sector)
    }

    /// Size of a cluster in bytes.
    pub fn cluster_bytes(&self) -> u64 {
        u64::from(self.cluster_sectors * self.sector)
    }

    /// First sector of cluster 2.
    fn data_start(&self) -> u32 {
        self.root_start() + self.root_entries * 32 / self.sector
    }

    fn root_start(&self) -> u32 {
        self.reserved + TABLES * self.table_sectors
    }

    /// Entries of a fixed root directory (FAT12, FAT16).
    pub fn fixed_root_entries(&self) -> Option<u32> {
        (self.root_entries > 0).then_some(self.root_entries)
    }

    /// Byte offset of a fixed root directory.
    pub fn root_offset(&self) -> u64 {
        u64::from(self.root_start()) * u64::from(self.sector)
    }

    /// Byte offset of a cluster.
    pub fn cluster_offset(&self, cluster: u32) -> u64 {
        u64::from(self.data_start()) * u64::from(self.sector) + u64::from(cluster - 2) * self.cluster_bytes()
    }

    /// Byte offsets of the tables.
    pub fn table_offsets(&self) -> impl Iterator<Item = u64> {
        let (reserved, table, sector) = (u64::from(self.reserved), u64::from(self.table_sectors), u64::from(self.sector));
        (0..u64::from(TABLES)).map(move |n| (reserved + n * table) * sector)
    }

    /// A table without trailing zeros, for chains of consecutive clusters: (first, number).
    pub fn table(&self, chains: &[(u32, u32)]) -> Vec<u8> {
        // Clusters 0 and 1 do not exist, but their entries do. An empty file has the chain (0, 0).
        let end = chains.iter().map(|(first, count)| first + count).fold(2, u32::max);
        let (width, last) = match self.bits {
            Bits::Fat32 => (32, 0x0fff_ffff_u32),
            Bits::Fat16 => (16, 0xffff),
            Bits::Fat12 | Bits::Auto => (12, 0xfff),
        };
        let mut bytes = vec![0; (end as usize * width).div_ceil(8)];
        let mut put = |cluster: u32, value: u32| match width {
            32 => bytes[cluster as usize * 4..][..4].copy_from_slice(&value.to_le_bytes()),
            16 => bytes[cluster as usize * 2..][..2].copy_from_slice(&value.to_le_bytes()[..2]),
            _ => {
                // Two entries share three bytes.
                let at = cluster as usize * 3 / 2;
                let value = value << (4 * (cluster % 2));
                bytes[at] |= value.to_le_bytes()[0];
                bytes[at + 1] |= value.to_le_bytes()[1];
            }
        };
        put(0, last & !0xff | u32::from(MEDIA));
        put(1, last);
        for (first, count) in chains.iter().filter(|(_, count)| *count > 0) {
            (*first..first + count - 1).for_each(|cluster| put(cluster, cluster + 1));
            put(first + count - 1, last);
        }
        bytes
    }

    /// Non-zero sectors before the tables: byte offset and content. `label` is padded to 11 bytes; `free` is the number of free
    /// clusters.
    pub fn boot_sectors(&self, label: [u8; 11], volume_id: u32, free: u32) -> Vec<(u64, [u8; 512])> {
        let boot = self.boot_sector(label, volume_id);
        if self.bits != Bits::Fat32 {
            return vec![(0, boot)];
        }
        let mut info = [0; 512];
        info[..4].copy_from_slice(b"RRaA");
        info[484..488].copy_from_slice(b"rrAa");
        info[488..492].copy_from_slice(&free.to_le_bytes());
        info[492..496].copy_from_slice(&(2 + self.clusters - free).to_le_bytes());
        info[510..].copy_from_slice(&[0x55, 0xaa]);
        let at = |sector: u64| sector * u64::from(self.sector);
        vec![(0, boot), (at(1), info), (at(6), boot), (at(7), info)]
    }

    fn boot_sector(&self, label: [u8; 11], volume_id: u32) -> [u8; 512] {
        let mut boot = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| boot[at..at + bytes.len()].copy_from_slice(bytes);
        let fat32 = self.bits == Bits::Fat32;
        let code = if fat32 { 90 } else { 62 };
        put(0, &[0xeb, code - 2, 0x90]);
        put(3, b"mkfs.fat"); // some readers want a name that they know
        put(11, &self.sector.to_le_bytes()[..2]);
        put(13, &[self.cluster_sectors.to_le_bytes()[0]]);
        put(14, &self.reserved.to_le_bytes()[..2]);
        put(16, &[TABLES.to_le_bytes()[0]]);
        put(17, &self.root_entries.to_le_bytes()[..2]);
        match u16::try_from(self.sectors) {
            Ok(sectors) if !fat32 => put(19, &sectors.to_le_bytes()),
            _ => put(32, &self.sectors.to_le_bytes()),
        }
        put(21, &[MEDIA]);
        put(24, &[63, 0, 255, 0]); // the sectors and heads by which partition tables count, too
        let rest = if fat32 {
            put(36, &self.table_sectors.to_le_bytes());
            put(44, &[2, 0, 0, 0, 1, 0, 6]); // root's cluster, sector of the free count, sector of the backup
            64
        } else {
            put(22, &self.table_sectors.to_le_bytes()[..2]);
            36
        };
        put(rest, &[0x80, 0, 0x29]);
        put(rest + 3, &volume_id.to_le_bytes());
        put(rest + 7, &label);
        put(
            rest + 18,
            if fat32 {
                b"FAT32   "
            } else if self.bits == Bits::Fat16 {
                b"FAT16   "
            } else {
                b"FAT12   "
            },
        );
        put(usize::from(code), &[0xcd, 0x18, 0xf4, 0xeb, 0xfd]); // int 0x18: not bootable, try the next; then halt
        put(510, &[0x55, 0xaa]);
        boot
    }
}

/// Candidates for sectors per cluster of FAT32, smallest first.
const FAT32_CLUSTERS: &[u32] = &[1, 8, 16, 32, 64];

/// Minimum sectors per cluster of a FAT32 volume of `size` bytes, from Microsoft's table.
fn fat32_cluster(size: u64) -> u32 {
    match size >> 20 {
        0..=260 => 1,
        261..=8192 => 8,
        8193..=16384 => 16,
        16385..=32768 => 32,
        _ => 64,
    }
}
