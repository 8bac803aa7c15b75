//! Inspects an ISO 9660: descriptors and root directory, with Rock Ridge names if present. The input is untrusted.

use super::{Contents, Top, probe::text};
use crate::read_at::{ReadAt, read_array};
use anyhow::{Context as _, Result, bail};

const BLOCK: u64 = 2048;
/// Block of the first descriptor.
const DESCRIPTORS: u64 = 16;
/// Limit of the root directory's bytes that are read.
const MOST_BYTES: u32 = 1 << 20;

/// Whether the image has an ISO 9660 descriptor; it may contain a partition table, too.
pub(super) fn is_iso(source: &dyn ReadAt) -> bool {
    read_array::<6>(source, DESCRIPTORS * BLOCK).is_ok_and(|start| &start[1..] == b"CD001")
}

/// Inspects the volume in `source`; lists its root if `all`.
pub(super) fn look(source: &dyn ReadAt, all: bool) -> Result<Contents> {
    let primary: [u8; 2048] = read_array(source, DESCRIPTORS * BLOCK)?;
    if primary[0] != 1 || primary[128..130] != [0, 8] {
        bail!("the first descriptor has type {} or is not for blocks of {BLOCK} bytes", primary[0]);
    }
    let bytes = u64::from(u32_at(&primary, 80)) * BLOCK;
    if bytes > source.size() {
        bail!("the volume has {bytes} bytes, more than the image's {}", source.size());
    }
    let (block, len) = (u32_at(&primary, 158), u32_at(&primary, 166));
    Ok(Contents::Iso {
        label: text(&primary[40..72]),
        bytes,
        uefi: boots_uefi(source).unwrap_or(false),
        entries: if all { root(source, block, len).context("cannot read the root directory")? } else { Vec::new() },
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Whether El Torito's boot catalog has a UEFI image, as default entry or in a section.
fn boots_uefi(source: &dyn ReadAt) -> Result<bool> {
    let record: [u8; 75] = read_array(source, (DESCRIPTORS + 1) * BLOCK)?;
    if &record[7..30] != b"EL TORITO SPECIFICATION" {
        return Ok(false);
    }
    let catalog: [u8; 2048] = read_array(source, u64::from(u32_at(&record, 71)) * BLOCK)?;
    let sections = catalog[64..].chunks(32).any(|entry| matches!(entry[0], 0x90 | 0x91) && entry[1] == 0xef);
    Ok(catalog[0] == 1 && (catalog[1] == 0xef || sections))
}

fn root(source: &dyn ReadAt, block: u32, len: u32) -> Result<Vec<Top>> {
    let mut bytes = vec![0; usize::try_from(len.min(MOST_BYTES))?];
    source.read_at(&mut bytes, u64::from(block) * BLOCK)?;
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let len = usize::from(bytes[at]);
        if len == 0 {
            at = (at + 1).next_multiple_of(2048);
            continue;
        }
        let record = bytes.get(at..at + len).filter(|record| record.len() >= 34).context("a directory record exceeds the directory")?;
        let identifier = record.get(33..33 + usize::from(record[32])).context("a directory record is damaged")?;
        if !matches!(identifier, [0 | 1]) {
            let system = record.get((33 + identifier.len()).next_multiple_of(2)..).unwrap_or_default();
            let directory = record[25] & 2 != 0;
            let name = rock_ridge_name(source, system)?.unwrap_or_else(|| plain_name(identifier));
            let name = String::from_utf8_lossy(&name).into_owned();
            found.push(Top { name, directory, size: if directory { 0 } else { u32_at(record, 10).into() } });
        }
        at += len;
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// `README.;1` is `README`.
fn plain_name(identifier: &[u8]) -> Vec<u8> {
    let name = identifier.split(|byte| *byte == b';').next().unwrap_or_default();
    name.strip_suffix(b".").unwrap_or(name).to_vec()
}

/// The Rock Ridge name in a record and its continuation area (at most one is read).
fn rock_ridge_name(source: &dyn ReadAt, system: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut name = None;
    let mut more = gather(system, &mut name);
    if let Some((offset, len)) = more.take() {
        let mut bytes = vec![0; len];
        source.read_at(&mut bytes, offset)?;
        gather(&bytes, &mut name);
    }
    Ok(name)
}

/// Concatenates the parts of the name; returns offset and length of the continuation.
fn gather(mut entries: &[u8], name: &mut Option<Vec<u8>>) -> Option<(u64, usize)> {
    let mut more = None;
    while let [a, b, len, _, ..] = entries {
        let len = usize::from(*len);
        let Some(entry) = entries.get(..len).filter(|_| len >= 4) else { break };
        match (a, b) {
            (b'N', b'M') if len >= 5 => name.get_or_insert_default().extend_from_slice(&entry[5..]),
            (b'C', b'E') if len >= 28 => {
                let len = usize::try_from(u32_at(entry, 20)).unwrap_or(0).min(2048);
                more = Some((u64::from(u32_at(entry, 4)) * BLOCK + u64::from(u32_at(entry, 12)), len));
            }
            _ => {}
        }
        entries = &entries[len..];
    }
    more
}
