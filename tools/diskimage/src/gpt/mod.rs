//! GPT and MBR structures (UEFI specification 2.10, chapter 5): encoding, and a reader that validates its input. `disk` places
//! partitions.

mod guid;
mod read;

pub use guid::Guid;
pub use read::{Gpt, read, read_mbr, read_with};

use serde::Serialize;

/// Sector size in bytes of images and of most disks. MBRs always have this size.
pub const SECTOR: u64 = 512;
/// Sector sizes in bytes of disks.
pub const SECTORS: [u64; 2] = [SECTOR, 4096];
/// Number of entries in the table.
pub const ENTRIES: u32 = 128;
/// Size of an entry in bytes.
const ENTRY_SIZE: u32 = 128;
/// Sectors of 512 bytes of all entries.
pub const ENTRIES_SECTORS: u64 = entries_sectors(SECTOR);
/// MBR type of the protective record.
pub const PROTECTIVE: u8 = 0xee;

/// A partition's entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GptEntry {
    /// Number in the table, from 1.
    pub number: u32,
    /// Name.
    pub name: String,
    /// Partition type GUID.
    pub type_guid: Guid,
    /// Unique partition GUID (PARTUUID).
    pub uuid: Guid,
    /// First sector.
    pub first_lba: u64,
    /// Last sector, inclusive.
    pub last_lba: u64,
    /// Attribute bits.
    pub attributes: u64,
}

/// A record of an MBR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MbrEntry {
    /// Place in the table, from 1; empty records count.
    pub number: u32,
    /// Type.
    pub kind: u8,
    /// Whether its boot flag is set.
    pub bootable: bool,
    /// First sector.
    pub first_lba: u32,
    /// Number of sectors.
    pub sectors: u32,
}

/// Sectors of all entries.
#[must_use]
pub const fn entries_sectors(sector: u64) -> u64 {
    (ENTRIES * ENTRY_SIZE) as u64 / sector
}

pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// The table of entries, placed by number.
pub(crate) fn encode_entries(entries: &[GptEntry]) -> Vec<u8> {
    let mut bytes = vec![0; (ENTRIES * ENTRY_SIZE) as usize];
    for entry in entries {
        let mut put = |at: usize, part: &[u8]| {
            let at = ((entry.number - 1) * ENTRY_SIZE) as usize + at;
            bytes[at..at + part.len()].copy_from_slice(part);
        };
        put(0, &entry.type_guid.to_disk());
        put(16, &entry.uuid.to_disk());
        put(32, &entry.first_lba.to_le_bytes());
        put(40, &entry.last_lba.to_le_bytes());
        put(48, &entry.attributes.to_le_bytes());
        for (n, unit) in entry.name.encode_utf16().enumerate() {
            put(56 + 2 * n, &unit.to_le_bytes());
        }
    }
    bytes
}

/// One of the two headers of a disk of `sectors` sectors of `sector` bytes. The rest of its sector is zeros.
pub(crate) fn encode_header(disk_guid: Guid, sector: u64, sectors: u64, backup: bool, entries_crc: u32) -> [u8; 512] {
    let mut header = [0; 512];
    let (first, last) = (1, sectors - 1);
    let (this, other, entries) = if backup { (last, first, last - entries_sectors(sector)) } else { (first, last, 2) };
    let mut put = |at: usize, part: &[u8]| header[at..at + part.len()].copy_from_slice(part);
    put(0, b"EFI PART\0\0\x01\0");
    put(12, &92_u32.to_le_bytes());
    put(24, &this.to_le_bytes());
    put(32, &other.to_le_bytes());
    put(40, &first_usable(sector).to_le_bytes());
    put(48, &last_usable(sector, sectors).to_le_bytes());
    put(56, &disk_guid.to_disk());
    put(72, &entries.to_le_bytes());
    put(80, &ENTRIES.to_le_bytes());
    put(84, &ENTRY_SIZE.to_le_bytes());
    put(88, &entries_crc.to_le_bytes());
    let crc = crc32(&header[..92]);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
    header
}

/// First sector that partitions may use.
#[must_use]
pub(crate) fn first_usable(sector: u64) -> u64 {
    2 + entries_sectors(sector)
}

/// Last sector that partitions may use on a disk of `sectors` sectors of `sector` bytes.
#[must_use]
pub(crate) fn last_usable(sector: u64, sectors: u64) -> u64 {
    sectors - 2 - entries_sectors(sector)
}

/// The MBR: at most 446 bytes of boot code, at most four records.
pub(crate) fn encode_mbr(boot_code: &[u8], records: &[MbrEntry]) -> [u8; 512] {
    let mut mbr = [0; 512];
    mbr[..boot_code.len()].copy_from_slice(boot_code);
    for (place, record) in mbr[446..510].chunks_exact_mut(16).zip(records) {
        let last = u64::from(record.first_lba) + u64::from(record.sectors) - 1;
        place[0] = if record.bootable { 0x80 } else { 0 };
        place[1..4].copy_from_slice(&chs(u64::from(record.first_lba)));
        place[4] = record.kind;
        place[5..8].copy_from_slice(&chs(last));
        place[8..12].copy_from_slice(&record.first_lba.to_le_bytes());
        place[12..].copy_from_slice(&record.sectors.to_le_bytes());
    }
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    mbr
}

/// Cylinder/head/sector address for 255 heads and 63 sectors; the maximum if it is out of range.
fn chs(lba: u64) -> [u8; 3] {
    let (cylinder, head, sector) = (lba / (255 * 63), lba / 63 % 255, lba % 63 + 1);
    if cylinder > 1023 {
        return [0xfe, 0xff, 0xff];
    }
    let bytes = (head | sector << 8 | (cylinder >> 8) << 14 | (cylinder & 0xff) << 16).to_le_bytes();
    [bytes[0], bytes[1], bytes[2]]
}
