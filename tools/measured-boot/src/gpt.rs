//! The partition table in PCR 5.

use crate::{event::ExpectedEvent, kind::GPT_EVENT};
use anyhow::{Context as _, Result, bail};

/// Bytes of the header that are measured (EFI_PARTITION_TABLE_HEADER).
const HEADER: usize = 92;
/// The most bytes of all entries; usually they have 16 KiB.
const MOST: usize = 1 << 20;

/// The event of the table that `disk` has (UEFI_GPT_DATA, "Measuring UEFI Variables and UEFI GPT Data" in the profile): the header of the first
/// table, the number of entries in use, and these. `disk` gives the bytes of a range.
pub fn table(disk: &dyn Fn(u64, usize) -> Result<Vec<u8>>) -> Result<ExpectedEvent> {
    for sector in [512, 4096] {
        let header = disk(sector, HEADER)?;
        if header.starts_with(b"EFI PART") {
            return table_at(disk, sector, &header);
        }
    }
    bail!("the disk has no GPT")
}

fn table_at(disk: &dyn Fn(u64, usize) -> Result<Vec<u8>>, sector: u64, header: &[u8]) -> Result<ExpectedEvent> {
    let number = |at: usize| -> Result<u32> {
        let bytes = header.get(at..at + 4).context("the header of the GPT is cut off")?;
        Ok(u32::from_le_bytes(bytes.try_into()?))
    };
    let place = u64::from(number(72)?) | u64::from(number(76)?) << 32;
    let (count, size) = (number(80)? as usize, number(84)? as usize);
    let all = count.checked_mul(size).filter(|all| *all <= MOST && size >= 128).context("the entries of the GPT are too many")?;
    let entries = disk(place.checked_mul(sector).context("the entries of the GPT are not on the disk")?, all)?;
    let used: Vec<&[u8]> = entries.chunks_exact(size).filter(|entry| entry[..16] != [0; 16]).collect();
    let data = [header, &(used.len() as u64).to_le_bytes(), &used.concat()].concat();
    Ok(ExpectedEvent::of(5, GPT_EVENT, &data, format!("the partition table, {} partitions", used.len())))
}
