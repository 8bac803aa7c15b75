//! Recomputes the checksums of a damaged input, so that the damage gets past them.

use flate2::Crc;

/// Those of a tar's headers (tar(5)).
pub fn tar(input: &mut [u8]) {
    let mut at = 0;
    while let Some(header) = input.get_mut(at..at + 512) {
        if header.iter().any(|byte| *byte != 0) {
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        let size = header[124..136]
            .iter()
            .filter(|byte| byte.is_ascii_digit())
            .fold(0_usize, |sum, byte| sum.wrapping_mul(8).wrapping_add(usize::from(byte - b'0')));
        let behind = size.checked_next_multiple_of(512).and_then(|size| at.checked_add(size)).and_then(|end| end.checked_add(512));
        at = behind.filter(|end| *end < input.len()).unwrap_or(at + 512);
    }
}

/// Those of a GUID partition table: of the entries, then of the header; the first table and the backup (UEFI, section 5.3).
pub fn gpt(input: &mut [u8]) {
    for sector in [512, 4096] {
        for header in [sector, input.len().saturating_sub(sector)] {
            table(input, header, sector);
        }
    }
}

fn table(input: &mut [u8], header: usize, sector: usize) -> Option<()> {
    let u32_at = |input: &[u8], at: usize| Some(u32::from_le_bytes(input.get(at..at + 4)?.try_into().ok()?) as usize);
    if input.get(header..header + 8)? != b"EFI PART" {
        return None;
    }
    let (first, count, size) = (u32_at(input, header + 72)?, u32_at(input, header + 80)?, u32_at(input, header + 84)?);
    let start = first.checked_mul(sector)?;
    let sum = |bytes: &[u8]| {
        let mut crc = Crc::new();
        crc.update(bytes);
        crc.sum().to_le_bytes()
    };
    if let Some(entries) = count.checked_mul(size).and_then(|len| input.get(start..start.checked_add(len)?)) {
        let entries = sum(entries);
        input.get_mut(header + 88..header + 92)?.copy_from_slice(&entries);
    }
    let len = u32_at(input, header + 12)?;
    input.get_mut(header + 16..header + 20)?.fill(0);
    let whole = sum(input.get(header..header.checked_add(len)?)?);
    input.get_mut(header + 16..header + 20)?.copy_from_slice(&whole);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{seeds, targets};

    /// The first seed of a target that has `magic` at `at`.
    fn seed(target: &str, at: usize, magic: &[u8]) -> Vec<u8> {
        let reader = targets::ALL.iter().find(|reader| reader.name == target);
        let seeds = reader.and_then(|reader| seeds::of(reader).ok()).unwrap_or_default();
        seeds.into_iter().find(|seed| seed.get(at..at + magic.len()) == Some(magic)).unwrap_or_default()
    }

    /// A byte is damaged that only a checksum protects.
    #[test]
    fn a_repaired_tar_and_table_are_read() {
        let mut input = seed("tar", 257, b"ustar");
        assert!(targets::archives::tar(&input).is_ok());
        input[100] ^= 1;
        let error = targets::archives::tar(&input).map_err(|error| format!("{error:#}"));
        assert!(error.as_ref().is_err_and(|error| error.contains("archive header checksum mismatch")), "{error:?}");
        tar(&mut input);
        assert!(targets::archives::tar(&input).is_ok());

        let problems = |input: &[u8]| diskimage::gpt::read(&targets::disks::Bytes::from(input)).ok().flatten().map(|gpt| gpt.problems);
        let whole = seed("gpt", 512, b"EFI PART");
        assert!(problems(&whole).is_some());
        let mut input = whole.clone();
        // The name of the first partition in both tables.
        for at in [2 * 512 + 60, whole.len() - 33 * 512 + 60] {
            input[at] ^= 1;
        }
        assert_ne!(problems(&input), problems(&whole));
        gpt(&mut input);
        assert_eq!(problems(&input), problems(&whole));
    }
}
