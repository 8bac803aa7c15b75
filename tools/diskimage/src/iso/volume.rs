//! Structures of ISO 9660: descriptors, directory records, path tables; and El Torito's boot catalog.

use super::{BLOCK_BYTES, Options};
use crate::calendar::{Moment, moment};

/// A number in both byte orders.
pub(super) fn both32(value: u32) -> [u8; 8] {
    let mut out = [0; 8];
    out[..4].copy_from_slice(&value.to_le_bytes());
    out[4..].copy_from_slice(&value.to_be_bytes());
    out
}

fn both16(value: u16) -> [u8; 4] {
    let [low, high] = value.to_le_bytes();
    [low, high, high, low]
}

/// A time as in directory records: years since 1900, UTC. Times out of range are clamped.
pub(super) fn stamp(epoch: i64) -> [u8; 7] {
    let Moment { year, month, day, hour, minute, second } = clamp(epoch);
    let byte = |value: i64| u8::try_from(value).expect("a part of a date");
    [byte(year - 1900), byte(month), byte(day), byte(hour), byte(minute), byte(second), 0]
}

fn clamp(epoch: i64) -> Moment {
    // 1900-01-01 to 2155-12-31.
    moment(epoch.clamp(-2_208_988_800, 5_869_583_999))
}

/// A time as in descriptors: decimal digits down to hundredths, and the time zone.
fn long_stamp(epoch: i64) -> [u8; 17] {
    let Moment { year, month, day, hour, minute, second } = clamp(epoch);
    let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}00\0");
    text.as_bytes().try_into().expect("17 bytes")
}

/// A run of blocks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extent {
    pub block: u32,
    pub bytes: u32,
}

/// Size of a directory record without system use entries.
pub(super) fn record_len(identifier: usize) -> usize {
    (33 + identifier).next_multiple_of(2)
}

pub(super) fn record(identifier: &[u8], extent: Extent, directory: bool, stamp: [u8; 7], system: &[u8]) -> Vec<u8> {
    let len = record_len(identifier.len());
    let mut out = Vec::with_capacity(len + system.len() + 1);
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&both32(extent.block));
    out.extend_from_slice(&both32(extent.bytes));
    out.extend_from_slice(&stamp);
    out.extend_from_slice(&[if directory { 2 } else { 0 }, 0, 0]);
    out.extend_from_slice(&both16(1));
    out.push(u8::try_from(identifier.len()).expect("an identifier is short"));
    out.extend_from_slice(identifier);
    out.resize(len, 0);
    out.extend_from_slice(system);
    out.resize(out.len().next_multiple_of(2), 0);
    out[0] = u8::try_from(out.len()).expect("a record has at most 254 bytes");
    out
}

/// A directory in the path table.
pub(super) struct PathEntry {
    pub identifier: Vec<u8>,
    pub block: u32,
    pub parent: u16,
}

pub(super) fn path_table(entries: &[PathEntry], big_endian: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        out.push(u8::try_from(entry.identifier.len()).expect("an identifier is short"));
        out.push(0);
        out.extend_from_slice(&if big_endian { entry.block.to_be_bytes() } else { entry.block.to_le_bytes() });
        out.extend_from_slice(&if big_endian { entry.parent.to_be_bytes() } else { entry.parent.to_le_bytes() });
        out.extend_from_slice(&entry.identifier);
        out.resize(out.len().next_multiple_of(2), 0);
    }
    out
}

/// Values of the primary volume descriptor.
pub(super) struct Primary {
    pub blocks: u32,
    pub root: Extent,
    pub path_table_bytes: u32,
    /// First blocks of the little-endian and the big-endian path table.
    pub path_tables: [u32; 2],
}

fn descriptor(kind: u8) -> Vec<u8> {
    let mut out = vec![0; BLOCK_BYTES];
    out[0] = kind;
    out[1..6].copy_from_slice(b"CD001");
    out[6] = 1;
    out
}

pub(super) fn primary(options: &Options, volume: &Primary) -> Vec<u8> {
    let mut out = descriptor(1);
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    // Text fields are padded with spaces: system, label; set, publisher, preparer, application, and three files.
    put(8, &[b' '; 64]);
    put(40, options.label.as_bytes());
    put(80, &both32(volume.blocks));
    put(120, &both16(1));
    put(124, &both16(1));
    put(128, &both16(u16::try_from(BLOCK_BYTES).expect("2048")));
    put(132, &both32(volume.path_table_bytes));
    put(140, &volume.path_tables[0].to_le_bytes());
    put(148, &volume.path_tables[1].to_be_bytes());
    put(156, &record(&[0], volume.root, true, stamp(options.mtime), &[]));
    put(190, &[b' '; 623]);
    put(813, &long_stamp(options.mtime));
    put(830, &long_stamp(options.mtime));
    // Expiration and effective time: not set.
    for at in [847, 864] {
        put(at, b"0000000000000000\0");
    }
    put(881, &[1]);
    out
}

/// Boot record descriptor that refers to the catalog's block.
pub(super) fn boot_record(catalog: u32) -> Vec<u8> {
    let mut out = descriptor(0);
    out[7..30].copy_from_slice(b"EL TORITO SPECIFICATION");
    out[71..75].copy_from_slice(&catalog.to_le_bytes());
    out
}

pub(super) fn terminator() -> Vec<u8> {
    descriptor(255)
}

/// The catalog with one entry: a UEFI image without emulation.
pub(super) fn catalog(image: Extent) -> Vec<u8> {
    const UEFI: u8 = 0xef;
    const BOOTABLE: u8 = 0x88;
    let mut out = vec![0; 64];
    out[..2].copy_from_slice(&[1, UEFI]);
    out[30..32].copy_from_slice(&[0x55, 0xaa]);
    // The words of the validation entry must sum up to zero.
    let sum = out[..32].chunks(2).fold(0_u16, |sum, word| sum.wrapping_add(u16::from_le_bytes([word[0], word[1]])));
    out[28..30].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
    out[32] = BOOTABLE;
    // Sectors of 512 bytes, clamped to 16 bits; firmware reads the size from the FAT volume.
    out[38..40].copy_from_slice(&u16::try_from(image.bytes / 512).unwrap_or(u16::MAX).to_le_bytes());
    out[40..44].copy_from_slice(&image.block.to_le_bytes());
    out
}
