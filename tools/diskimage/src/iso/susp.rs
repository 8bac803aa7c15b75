//! Rock Ridge: system use entries of directory records (System Use Sharing Protocol). Entries without room in the record go to
//! a continuation area, which the record refers to.

use super::{BLOCK_BYTES, volume};
use anyhow::{Result, bail};

/// Size limit of a record in bytes.
const RECORD: usize = 254;
/// Size of the CE entry, which refers to a continuation area.
const CONTINUE: usize = 28;
/// Flag: the name or target continues in the next entry.
const MORE: u8 = 1;

/// System use entries of one record.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    /// Entries in the record.
    pub inside: Vec<u8>,
    /// Entries in the continuation area, and their offset in the area.
    pub outside: Option<(usize, Vec<u8>)>,
}

impl Entries {
    /// Number of bytes in the record.
    pub(super) fn len(&self) -> usize {
        self.inside.len() + if self.outside.is_some() { CONTINUE } else { 0 }
    }

    /// The bytes in the record; `first` is the first block of the continuation areas.
    pub(super) fn encode(&self, first: u32) -> Vec<u8> {
        let mut out = self.inside.clone();
        if let Some((offset, bytes)) = &self.outside {
            let number = |value: usize| volume::both32(u32::try_from(value).expect("an area has at most 2048 bytes"));
            let block = first + u32::try_from(offset / BLOCK_BYTES).expect("blocks were counted");
            out.extend_from_slice(b"CE\x1c\x01");
            out.extend_from_slice(&volume::both32(block));
            out.extend_from_slice(&number(offset % BLOCK_BYTES));
            out.extend_from_slice(&number(bytes.len()));
        }
        out
    }
}

/// Allocates space in the continuation areas; no allocation crosses a block boundary.
#[derive(Debug, Default)]
pub(super) struct Areas {
    pub len: usize,
}

impl Areas {
    /// Splits `entries` between a record with `fixed` bytes of other fields, and the continuation area.
    pub(super) fn split(&mut self, entries: Vec<Vec<u8>>, fixed: usize) -> Result<Entries> {
        let total: usize = entries.iter().map(Vec::len).sum();
        let mut split = Entries::default();
        let room = if fixed + total <= RECORD { RECORD - fixed } else { RECORD - fixed - CONTINUE };
        let mut outside = Vec::new();
        for entry in entries {
            if outside.is_empty() && split.inside.len() + entry.len() <= room {
                split.inside.extend(entry);
            } else {
                outside.extend(entry);
            }
        }
        if outside.len() > BLOCK_BYTES {
            bail!("name and target take {} bytes, more than {BLOCK_BYTES}", outside.len());
        }
        if !outside.is_empty() {
            if self.len % BLOCK_BYTES + outside.len() > BLOCK_BYTES {
                self.len = self.len.next_multiple_of(BLOCK_BYTES);
            }
            split.outside = Some((self.len, outside.clone()));
            self.len += outside.len();
        }
        Ok(split)
    }
}

fn entry(signature: &[u8; 2], body: &[u8]) -> Vec<u8> {
    let len = u8::try_from(4 + body.len()).expect("an entry has at most 255 bytes");
    [&signature[..], &[len, 1], body].concat()
}

/// SP entry: marks the use of the protocol; in the root's `.` record.
pub(super) fn indicator() -> Vec<u8> {
    entry(b"SP", &[0xbe, 0xef, 0])
}

/// ER entry: identifies Rock Ridge; in the root's `.` record. Readers compare the start of the text.
pub(super) fn extension() -> Vec<u8> {
    const ID: &str = "RRIP_1991A";
    const TEXT: &str = "THE ROCK RIDGE INTERCHANGE PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS";
    let lengths = [ID.len(), TEXT.len(), 0].map(|len| u8::try_from(len).expect("short"));
    entry(b"ER", &[&lengths[..], &[1], ID.as_bytes(), TEXT.as_bytes()].concat())
}

/// PX entry: mode and link count; the owner is root.
pub(super) fn attributes(mode: u32, links: u32) -> Vec<u8> {
    let body: Vec<u8> = [mode, links, 0, 0].into_iter().flat_map(volume::both32).collect();
    entry(b"PX", &body)
}

/// TF entry: times of modification, access and attribute change.
pub(super) fn times(stamp: [u8; 7]) -> Vec<u8> {
    const MODIFY_ACCESS_ATTRIBUTES: u8 = 0x0e;
    entry(b"TF", &[&[MODIFY_ACCESS_ATTRIBUTES][..], &stamp, &stamp, &stamp].concat())
}

/// NM entries: the name in one or two entries; `room` bytes are left for the first.
pub(super) fn name(name: &[u8], room: usize) -> Vec<Vec<u8>> {
    const FIXED: usize = 5;
    if FIXED + name.len() <= room {
        return vec![entry(b"NM", &[&[0], name].concat())];
    }
    let (first, rest) = name.split_at(room.saturating_sub(FIXED + CONTINUE).min(name.len()));
    [(first, MORE), (rest, 0)].map(|(part, flags)| entry(b"NM", &[&[flags], part].concat())).into()
}

/// SL entries: the target of a symbolic link, split into path components.
pub(super) fn target(target: &[u8]) -> Result<Vec<Vec<u8>>> {
    const CURRENT: u8 = 2;
    const PARENT: u8 = 4;
    const ROOT: u8 = 8;
    const MOST: usize = 240;
    let mut components: Vec<Vec<u8>> = Vec::new();
    if target.starts_with(b"/") {
        components.push(vec![ROOT, 0]);
    }
    for part in target.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
        match part {
            b"." => components.push(vec![CURRENT, 0]),
            b".." => components.push(vec![PARENT, 0]),
            part => {
                let Some(len) = u8::try_from(part.len()).ok().filter(|len| usize::from(*len) <= MOST) else {
                    bail!("a component of the link's target has {} bytes, more than {MOST}", part.len());
                };
                components.push([&[0, len], part].concat());
            }
        }
    }
    let mut bodies: Vec<Vec<u8>> = vec![Vec::new()];
    for component in components {
        let last = bodies.last_mut().expect("there is one");
        if last.len() + component.len() > MOST + 2 {
            bodies.push(component);
        } else {
            last.extend(component);
        }
    }
    let count = bodies.len();
    let flags = |index| if index + 1 < count { MORE } else { 0 };
    Ok(bodies.iter().enumerate().map(|(index, body)| entry(b"SL", &[&[flags(index)], &body[..]].concat())).collect())
}

/// Space for entries in a record whose identifier has `identifier` bytes.
pub(super) fn room(identifier: usize) -> usize {
    RECORD - volume::record_len(identifier)
}
