//! Directory listings: entries grouped under headers; an index of metadata blocks for large directories.

use super::meta::MetaWriter;
use anyhow::{Context as _, Result};

/// Maximum entries per header.
const HEADER_ENTRIES: usize = 256;

/// Reference to an inode.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Offset of its metadata block in the inode table.
    pub start: u64,
    /// Offset in that block.
    pub offset: u16,
    /// Inode number.
    pub number: u32,
    /// Basic inode type.
    pub kind: u16,
}

/// Location of a listing.
pub(super) struct Listing {
    /// Offset of its first metadata block in the directory table.
    pub start: u32,
    /// Offset in that block.
    pub offset: u16,
    /// Size in bytes.
    pub size: u32,
    /// Index entries, for an extended inode.
    pub index: Vec<u8>,
    /// Number of index entries.
    pub index_count: u16,
}

/// Writes the entries, sorted by name.
pub(super) fn write(dirs: &mut MetaWriter<'_>, entries: &[(&[u8], Place)]) -> Result<Listing> {
    let (start, offset) = dirs.position();
    let mut listing = Listing { start: block(start)?, offset, size: 0, index: Vec::new(), index_count: 0 };
    let mut indexed = start;
    let mut rest = entries;
    while let Some((name, first)) = rest.first() {
        // One index entry for the first header in each further block: a lookup starts at the last one whose name is not
        // greater.
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
        listing.size = listing.size.checked_add(u32::try_from(bytes.len())?).context("a directory listing exceeds 4 GiB")?;
        rest = later;
    }
    Ok(listing)
}

/// Number of entries for one header: their inodes are in the same metadata block, with numbers near the first one's.
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
        bytes.extend_from_slice(&near(first, place).context("internal error: an inode number is out of its header's range")?.to_le_bytes());
        bytes.extend_from_slice(&place.kind.to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(name.len() - 1)?.to_le_bytes());
        bytes.extend_from_slice(name);
    }
    Ok(bytes)
}

fn block(start: u64) -> Result<u32> {
    u32::try_from(start).context("the image's metadata exceeds 4 GiB")
}
