//! Reads an ISO 9660 file system as a list of ranges, with Rock Ridge's names, modes and links where it has them. The input is untrusted.

use crate::source::{Shared, bytes_at, folder};
use anyhow::{Context as _, Result, bail, ensure};
use diskimage::{
    ReadAt as _,
    squashfs::{Entry, EntryKind},
};
use filetree::Meta;
use std::collections::{HashMap, HashSet};

const BLOCK: u64 = 2048;
/// Where the first descriptor is.
const DESCRIPTORS: u64 = 16 * BLOCK;
/// Limits of one directory in bytes, and of all entries.
const MOST_DIRECTORY: u64 = 16 << 20;
const MOST_ENTRIES: usize = 1 << 20;
/// Limit of a path, a name and a link's target, in bytes.
const MOST_PATH: usize = 4096;

/// The ranges of files by path: offset and length.
type Ranges = HashMap<Vec<u8>, (u64, u64)>;

/// Whether `source` has the descriptor of an ISO 9660.
pub(crate) fn fits(source: &Shared) -> bool {
    bytes_at(source, DESCRIPTORS, 6).is_ok_and(|start| &start[1..] == b"CD001")
}

/// All entries, and where the files are.
pub(crate) fn read(source: &Shared) -> Result<(Vec<Entry>, Ranges)> {
    let primary = bytes_at(source, DESCRIPTORS, BLOCK)?;
    ensure!(primary[0] == 1 && primary[128..130] == [0, 8], "the first descriptor is not for blocks of {BLOCK} bytes");
    let mut walk = Walk { source, entries: vec![folder(Vec::new(), 0)], ranges: Ranges::new(), seen: HashSet::new() };
    let mut pending = vec![(Vec::new(), u64::from(u32_at(&primary, 158)), u64::from(u32_at(&primary, 166)))];
    while let Some((path, block, len)) = pending.pop() {
        let name = || format!("the directory `/{}` is damaged", String::from_utf8_lossy(&path));
        pending.extend(walk.directory(&path, block, len).with_context(name)?);
    }
    walk.entries.sort_by(|a, b| a.path.split(|byte| *byte == b'/').cmp(b.path.split(|byte| *byte == b'/')));
    Ok((walk.entries, walk.ranges))
}

struct Walk<'s> {
    source: &'s Shared,
    entries: Vec<Entry>,
    ranges: Ranges,
    seen: HashSet<u64>,
}

/// A directory to read: path, block, length.
type Below = Vec<(Vec<u8>, u64, u64)>;

impl Walk<'_> {
    fn directory(&mut self, path: &[u8], block: u64, len: u64) -> Result<Below> {
        ensure!(self.seen.insert(block), "it is in itself or has two parents");
        ensure!(len <= MOST_DIRECTORY, "it has {len} bytes, more than {MOST_DIRECTORY}");
        let bytes = bytes_at(self.source, block * BLOCK, len)?;
        let (mut below, mut at, mut joined) = (Below::new(), 0, 0);
        while at < bytes.len() {
            let len = usize::from(bytes[at]);
            if len == 0 {
                // A record does not cross a block.
                at = (at + 1).next_multiple_of(2048);
                continue;
            }
            let record = bytes.get(at..at + len).filter(|record| record.len() >= 34).context("a record exceeds the directory")?;
            at += len;
            let identifier = record.get(33..33 + usize::from(record[32])).context("a record is damaged")?;
            if matches!(identifier, [0 | 1]) {
                continue;
            }
            let system = record.get((33 + identifier.len()).next_multiple_of(2)..).unwrap_or_default();
            let found = self.rock_ridge(system)?;
            let name = found.name.unwrap_or_else(|| plain_name(identifier));
            ensure!(!name.is_empty() && !name.contains(&b'/') && !name.contains(&0) && name != b".." && name != b".", "a name is invalid");
            let path = if path.is_empty() { name } else { [path, b"/", &name].concat() };
            ensure!(path.len() < MOST_PATH, "a path has {} bytes", path.len());
            let (start, size) = (u64::from(u32_at(record, 2)), u64::from(u32_at(record, 10)));
            let directory = record[25] & 2 != 0;
            // A file above 4 GiB has several records, all but the last with this flag.
            let more = record[25] & 0x80 != 0;
            let size = if joined > 0 { joined + size } else { size };
            joined = if more { size } else { 0 };
            if more {
                self.ranges.entry(path).or_insert((start * BLOCK, 0));
                continue;
            }
            self.add(path.clone(), directory, found.target, found.mode, (start * BLOCK, size))?;
            if directory {
                below.push((path, start, size));
            }
        }
        Ok(below)
    }

    fn add(&mut self, path: Vec<u8>, directory: bool, target: Option<Vec<u8>>, mode: Option<u32>, range: (u64, u64)) -> Result<()> {
        if self.entries.len() >= MOST_ENTRIES {
            bail!("the file system has more than {MOST_ENTRIES} entries");
        }
        let mode = mode.map_or(if directory { 0o755 } else { 0o644 }, |mode| mode & 0o7777);
        let (kind, size) = match target {
            Some(target) => (EntryKind::Symlink(target.clone()), target.len() as u64),
            None if directory => (EntryKind::Dir, 0),
            None => {
                let start = self.ranges.get(&path).map_or(range.0, |(start, _)| *start);
                ensure!(start.checked_add(range.1).is_some_and(|end| end <= self.source.size()), "a file exceeds the image");
                self.ranges.insert(path.clone(), (start, range.1));
                (EntryKind::File, range.1)
            }
        };
        let inode = u32::try_from(self.entries.len())?;
        self.entries.push(Entry { path, kind, meta: Meta::root(mode, 0), size, inode });
        Ok(())
    }

    fn rock_ridge(&self, system: &[u8]) -> Result<RockRidge> {
        let mut found = RockRidge::default();
        let mut more = found.gather(system);
        // Each continuation may name another one.
        for _ in 0..16 {
            let Some((offset, len)) = more.take() else { break };
            more = found.gather(&bytes_at(self.source, offset, len)?);
        }
        let len = |text: &Option<Vec<u8>>| text.as_ref().map_or(0, Vec::len);
        ensure!(len(&found.name) < MOST_PATH, "a name has {} bytes", len(&found.name));
        ensure!(len(&found.target) < MOST_PATH, "a link's target has {} bytes", len(&found.target));
        Ok(found)
    }
}

/// What the Rock Ridge records of an entry say.
#[derive(Default)]
struct RockRidge {
    name: Option<Vec<u8>>,
    mode: Option<u32>,
    target: Option<Vec<u8>>,
}

impl RockRidge {
    /// Reads records; returns place and length of their continuation.
    fn gather(&mut self, mut records: &[u8]) -> Option<(u64, u64)> {
        let mut more = None;
        while let [a, b, len, _, ..] = records {
            let len = usize::from(*len);
            let Some(record) = records.get(..len).filter(|_| len >= 4) else { break };
            match (a, b) {
                (b'N', b'M') if len >= 5 && record[4] & 6 == 0 => self.name.get_or_insert_default().extend_from_slice(&record[5..]),
                (b'P', b'X') if len >= 12 => self.mode = Some(u32_at(record, 4)),
                (b'S', b'L') if len >= 5 => self.add_target(&record[5..]),
                (b'C', b'E') if len >= 28 => {
                    more = Some((
                        u64::from(u32_at(record, 4)) * BLOCK + u64::from(u32_at(record, 12)),
                        u64::from(u32_at(record, 20)).min(BLOCK),
                    ));
                }
                _ => {}
            }
            records = &records[len..];
        }
        more
    }

    /// Adds the components of a link's target: flags, length, text.
    fn add_target(&mut self, mut components: &[u8]) {
        let target = self.target.get_or_insert_default();
        while let [flags, len, rest @ ..] = components {
            let Some(text) = rest.get(..usize::from(*len)) else { break };
            if !target.is_empty() && target.last() != Some(&b'/') {
                target.push(b'/');
            }
            match flags & 0xe {
                2 => target.push(b'.'),
                4 => target.extend_from_slice(b".."),
                8 => target.push(b'/'),
                _ => target.extend_from_slice(text),
            }
            components = &rest[text.len()..];
        }
    }
}

/// `README.;1` is `README`.
fn plain_name(identifier: &[u8]) -> Vec<u8> {
    let name = identifier.split(|byte| *byte == b';').next().unwrap_or_default();
    name.strip_suffix(b".").unwrap_or(name).to_vec()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
