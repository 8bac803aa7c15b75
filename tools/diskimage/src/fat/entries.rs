//! Directory entries of 32 bytes; the entries of a long name precede their short entry.

use super::names::{Name, checksum};

/// Size of an entry in bytes.
pub(super) const ENTRY: usize = 32;
pub(super) const VOLUME: u8 = 0x08;
pub(super) const DIRECTORY: u8 = 0x10;
pub(super) const ARCHIVE: u8 = 0x20;
pub(super) const LONG_NAME: u8 = 0x0f;
/// Offsets of the 13 UTF-16 code units of a long name entry.
pub(super) const UNITS: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/// Date and time in FAT's encoding; `hundredths` refines the time's resolution of 2 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    date: u16,
    time: u16,
    hundredths: u8,
}

impl Stamp {
    /// Converts a Unix timestamp, as UTC; earlier times become 1980-01-01.
    pub fn new(seconds: u32) -> Self {
        const DAY: u32 = 86400;
        const FIRST: u32 = 3652 * DAY;
        let seconds = seconds.max(FIRST) - FIRST;
        let (mut days, clock) = (seconds / DAY, seconds % DAY);
        // From 1980 to 2106, every fourth year is a leap year except 2100.
        let mut year: u32 = 0;
        let leaps = |year: u32| year.is_multiple_of(4) && year != 120;
        while days >= 365 + u32::from(leaps(year)) {
            days -= 365 + u32::from(leaps(year));
            year += 1;
        }
        let mut month = 0;
        for length in [31, 28 + u32::from(leaps(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        let date = (year << 9 | (month + 1) << 5 | (days + 1)).to_le_bytes();
        let time = ((clock / 3600) << 11 | (clock / 60 % 60) << 5 | (clock % 60 / 2)).to_le_bytes();
        Self {
            date: u16::from_le_bytes([date[0], date[1]]),
            time: u16::from_le_bytes([time[0], time[1]]),
            hundredths: if clock % 2 == 1 { 100 } else { 0 },
        }
    }
}

/// A short entry.
pub(super) fn short(name: &[u8; 11], attributes: u8, stamp: Stamp, cluster: u32, size: u32) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    let mut put = |at: usize, bytes: &[u8]| entry[at..at + bytes.len()].copy_from_slice(bytes);
    let (date, time) = (stamp.date.to_le_bytes(), stamp.time.to_le_bytes());
    put(0, name);
    put(11, &[attributes]);
    if attributes != VOLUME {
        put(13, &[stamp.hundredths]);
        put(14, &time);
        put(16, &date);
        put(18, &date);
    }
    put(20, &cluster.to_le_bytes()[2..]);
    put(22, &time);
    put(24, &date);
    put(26, &cluster.to_le_bytes()[..2]);
    put(28, &size.to_le_bytes());
    entry
}

/// Entries of a file or directory: the long name's, last part first, then the short one.
pub(super) fn named(name: &Name, attributes: u8, stamp: Stamp, cluster: u32, size: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.slots() * ENTRY);
    if let Some(long) = &name.long {
        for (index, part) in long.chunks(13).enumerate().rev() {
            let mut entry = [0; ENTRY];
            let last = if index + 1 == long.len().div_ceil(13) { 0x40 } else { 0 };
            entry[0] = (index as u8 + 1) | last; // at most 20 parts
            entry[11] = LONG_NAME;
            entry[13] = checksum(&name.short);
            for (n, at) in UNITS.into_iter().enumerate() {
                // The name ends with one zero, padded with 0xffff.
                let unit = part.get(n).copied().unwrap_or(if n == part.len() { 0 } else { 0xffff });
                entry[at..at + 2].copy_from_slice(&unit.to_le_bytes());
            }
            bytes.extend_from_slice(&entry);
        }
    }
    bytes.extend_from_slice(&short(&name.short, attributes, stamp, cluster, size));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps() {
        let ymd = |s: Stamp| {
            (1980 + (s.date >> 9), s.date >> 5 & 15, s.date & 31, s.time >> 11, s.time >> 5 & 63, (s.time & 31) * 2, s.hundredths)
        };
        assert_eq!(ymd(Stamp::new(0)), (1980, 1, 1, 0, 0, 0, 0));
        assert_eq!(ymd(Stamp::new(1_709_208_001)), (2024, 2, 29, 12, 0, 0, 100));
        assert_eq!(ymd(Stamp::new(1_704_067_199)), (2023, 12, 31, 23, 59, 58, 100));
        assert_eq!(ymd(Stamp::new(4_107_542_400)), (2100, 3, 1, 0, 0, 0, 0));
        assert_eq!(ymd(Stamp::new(u32::MAX)), (2106, 2, 7, 6, 28, 14, 100));
    }
}
