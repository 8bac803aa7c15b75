//! Reads partition tables of untrusted images: verifies checksums and bounds sizes.

use super::{GptEntry, Guid, MbrEntry, SECTOR, SECTORS, crc32};
use crate::read_at::{ReadAt, read_array};
use anyhow::{Context as _, Result, bail};
use serde::Serialize;

/// A GUID partition table.
#[derive(Clone, Debug, Serialize)]
pub struct Gpt {
    /// GUID of the disk.
    pub disk_guid: Guid,
    /// Partitions, sorted by number.
    pub entries: Vec<GptEntry>,
    /// Errors in a table that is still readable.
    pub problems: Vec<String>,
    /// Remarks that are not errors.
    pub notes: Vec<String>,
    /// Size in bytes of the disk's sectors.
    #[serde(skip)]
    pub sector: u64,
    /// Sector of the other header, from this header.
    #[serde(skip)]
    alternate: u64,
}

/// Size limit of the entries in bytes; usually they have 16 KiB.
const MOST_ENTRY_BYTES: u64 = 1 << 20;

/// Reads the primary GPT, or the backup if the primary is damaged; its place tells the size of the disk's sectors. `None` if there is
/// neither.
pub fn read(source: &dyn ReadAt) -> Result<Option<Gpt>> {
    for sector in SECTORS {
        if let Some(found) = read_with(source, sector)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The same for a disk with sectors of `sector` bytes.
pub fn read_with(source: &dyn ReadAt, sector: u64) -> Result<Option<Gpt>> {
    let sectors = source.size() / sector;
    if sectors < 3 {
        return Ok(None);
    }
    let present = |lba: u64| -> Result<bool> { Ok(&read_array::<8>(source, lba * sector)? == b"EFI PART") };
    let last = sectors - 1;
    let primary = if present(1)? { Some(read_table(source, sector, 1)) } else { None };
    let backup = if present(last)? { Some(read_table(source, sector, last)) } else { None };
    match (primary, backup) {
        (None, None) => Ok(None),
        (Some(Ok(mut primary)), backup) => {
            match backup {
                Some(Ok(backup)) if (backup.disk_guid, &backup.entries) == (primary.disk_guid, &primary.entries) => {}
                Some(Ok(_)) => primary.problems.push("the backup GPT differs from the primary one".into()),
                Some(Err(error)) => primary.problems.push(format!("the backup GPT is damaged: {error:#}")),
                None => look_before_the_end(source, &mut primary, last),
            }
            check_entries(&mut primary, sectors);
            Ok(Some(primary))
        }
        (primary, Some(Ok(mut backup))) => {
            backup.problems.push(match primary {
                Some(Err(error)) => format!("the primary GPT is damaged, this is the backup: {error:#}"),
                _ => "there is no primary GPT, this is the backup".into(),
            });
            check_entries(&mut backup, sectors);
            Ok(Some(backup))
        }
        (Some(Err(error)), _) | (_, Some(Err(error))) => Err(error.context("the GPT is damaged")),
    }
}

/// After a disk was enlarged, its backup table is still at the old end.
fn look_before_the_end(source: &dyn ReadAt, primary: &mut Gpt, last: u64) {
    let backup = (primary.alternate < last).then(|| read_table(source, primary.sector, primary.alternate)).and_then(Result::ok);
    if backup.is_some_and(|backup| (backup.disk_guid, &backup.entries) == (primary.disk_guid, &primary.entries)) {
        let end = primary.alternate;
        primary.notes.push(format!(
            "the disk was enlarged: its backup GPT is in sector {end}, and is moved to the last sector when the disk is first used"
        ));
    } else {
        primary.problems.push("there is no backup GPT in the last sector".into());
    }
}

fn read_table(source: &dyn ReadAt, sector: u64, lba: u64) -> Result<Gpt> {
    let header: [u8; 512] = read_array(source, lba * sector)?;
    let (size, crc) = (u32_at(&header, 12), u32_at(&header, 16));
    if !(92..=512).contains(&size) {
        bail!("invalid header size of {size} bytes");
    }
    let mut blank = header;
    blank[16..20].fill(0);
    let real = crc32(&blank[..size as usize]);
    if real != crc {
        bail!("the header has the checksum {real:08x}, not {crc:08x}");
    }
    if u64_at(&header, 24) != lba {
        bail!("the header is for sector {}, but is in sector {lba}", u64_at(&header, 24));
    }
    let (count, entry_size) = (u64::from(u32_at(&header, 80)), u64::from(u32_at(&header, 84)));
    if entry_size < 128 || count * entry_size > MOST_ENTRY_BYTES {
        bail!("invalid table of {count} entries of {entry_size} bytes");
    }
    let offset = u64_at(&header, 72).checked_mul(sector).context("the position of the entries is out of range")?;
    let mut table = vec![0; usize::try_from(count * entry_size)?];
    source.read_at(&mut table, offset).context("cannot read the entries")?;
    if crc32(&table) != u32_at(&header, 88) {
        bail!("the entries have the checksum {:08x}, not {:08x}", crc32(&table), u32_at(&header, 88));
    }
    let entries =
        (1..).zip(table.chunks_exact(usize::try_from(entry_size)?)).filter_map(|(number, bytes)| parse_entry(number, bytes)).collect();
    Ok(Gpt { disk_guid: guid_at(&header, 56), entries, problems: Vec::new(), notes: Vec::new(), sector, alternate: u64_at(&header, 32) })
}

fn parse_entry(number: u32, bytes: &[u8]) -> Option<GptEntry> {
    let units: Vec<u16> =
        bytes[56..128].chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).take_while(|unit| *unit != 0).collect();
    let type_guid = guid_at(bytes, 0);
    (type_guid != Guid::default()).then(|| GptEntry {
        number,
        name: String::from_utf16_lossy(&units),
        type_guid,
        uuid: guid_at(bytes, 16),
        first_lba: u64_at(bytes, 32),
        last_lba: u64_at(bytes, 40),
        attributes: u64_at(bytes, 48),
    })
}

fn check_entries(gpt: &mut Gpt, sectors: u64) {
    let mut order: Vec<&GptEntry> = gpt.entries.iter().collect();
    order.sort_by_key(|entry| entry.first_lba);
    for entry in &order {
        if entry.first_lba > entry.last_lba || entry.last_lba >= sectors {
            gpt.problems.push(format!(
                "partition {} from sector {} to {} is invalid on a disk of {sectors} sectors",
                entry.number, entry.first_lba, entry.last_lba
            ));
        }
    }
    for pair in order.windows(2) {
        if pair[0].last_lba >= pair[1].first_lba {
            gpt.problems.push(format!("partitions {} and {} overlap", pair[0].number, pair[1].number));
        }
    }
}

/// The records of the MBR; `None` without its signature.
pub fn read_mbr(source: &dyn ReadAt) -> Result<Option<Vec<MbrEntry>>> {
    if source.size() < SECTOR {
        return Ok(None);
    }
    let sector: [u8; 512] = read_array(source, 0)?;
    if sector[510..] != [0x55, 0xaa] || sector[446..510].chunks_exact(16).any(|record| record[0] & 0x7f != 0) {
        return Ok(None);
    }
    let records = (1..).zip(sector[446..510].chunks_exact(16)).filter(|(_, record)| record[4] != 0);
    Ok(Some(
        records
            .map(|(number, record)| MbrEntry {
                number,
                kind: record[4],
                bootable: record[0] == 0x80,
                first_lba: u32_at(record, 8),
                sectors: u32_at(record, 12),
            })
            .collect(),
    ))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn guid_at(bytes: &[u8], at: usize) -> Guid {
    let mut guid = [0; 16];
    guid.copy_from_slice(&bytes[at..at + 16]);
    Guid::from_disk(guid)
}
