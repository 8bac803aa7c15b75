//! A directory's listing: entries under headers, and for a large directory an index of the metadata blocks it spans.

use super::meta::MetaWriter;
use anyhow::{Context as _, Result};

/// Entries that one header serves, at most.
const HEADER_ENTRIES: usize = 256;

/// What a directory says of an inode.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Its metadata block, from the start of the inode table.
    pub start: u64,
    /// Its place in that block.
    pub offset: u16,
    /// Its number.
    pub number: u32,
    /// Its type, the basic one.
    pub kind: u16,
}

/// Where a listing went.
pub(super) struct Listing {
    /// Its first metadata block, from the start of the directory table.
    pub start: u32,
    /// Its place in that block.
    pub offset: u16,
    /// Its bytes.
    pub size: u32,
    /// Rows of the index, for an extended inode.
    pub index: Vec<u8>,
    /// Number of rows.
    pub index_count: u16,
}

/// Writes the entries, which are sorted by name.
pub(super) fn write(dirs: &mut MetaWriter<'_>, entries: &[(&[u8], Place)]) -> Result<Listing> {
    let (start, offset) = dirs.position();
    let mut listing = Listing { start: block(start)?, offset, size: 0, index: Vec::new(), index_count: 0 };
    let mut indexed = start;
    let mut rest = entries;
    while let Some((name, first)) = rest.first() {
        // A row for the first header of each further block: a look-up starts at the last one whose name is not beyond.
        let (at, _) = dirs.position();
        if at != indexed && listing.index_count < u16::MAX {
            for value in [listing.size, block(at)?, u32::try_from(name.len() - 1)?] {
                listing.index.extend_from_slice(&value.to_le_bytes());
            }
            listing.index.extend_from_slice(name);
            listing.index_count += 1;
            indexed = at;
        }
        let (now, later) = rest.split_at(served(first, rest));
        let bytes = header(first, now)?;
        dirs.push(&bytes)?;
        listing.size = listing.size.checked_add(u32::try_from(bytes.len())?).context("a directory takes more than 4 GiB")?;
        rest = later;
    }
    Ok(listing)
}

/// How many entries one header serves: those whose inodes lie in one metadata block and whose numbers are near the first one's.
fn served(first: &Place, entries: &[(&[u8], Place)]) -> usize {
    let fits = |place: &Place| place.start == first.start && near(first, place).is_some();
    entries.iter().take(HEADER_ENTRIES).take_while(|(_, place)| fits(place)).count()
}

fn near(first: &Place, place: &Place) -> Option<i16> {
    i16::try_from(i64::from(place.number) - i64::from(first.number)).ok()
}

fn header(first: &Place, entries: &[(&[u8], Place)]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for value in [u32::try_from(entries.len() - 1)?, block(first.start)?, first.number] {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    for (name, place) in entries {
        bytes.extend_from_slice(&place.offset.to_le_bytes());
        bytes.extend_from_slice(&near(first, place).context("an inode number out of its header's reach")?.to_le_bytes());
        bytes.extend_from_slice(&place.kind.to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(name.len() - 1)?.to_le_bytes());
        bytes.extend_from_slice(name);
    }
    Ok(bytes)
}

fn block(start: u64) -> Result<u32> {
    u32::try_from(start).context("the image's metadata takes more than 4 GiB")
}
