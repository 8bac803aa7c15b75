//! Sparse members of a tar, as GNU tar writes them: the PAX versions 0.0, 0.1 and 1.0, and the old type `S` (GNU tar's manual,
//! "Storing Sparse Files"). The result has holes where the file had them. Every map is checked before bytes are written.

use crate::{Content, Spool};
use anyhow::{Context as _, Result, bail};
use std::io::Read;

/// Prefix of the PAX records that describe a sparse member.
pub(crate) const PREFIX: &str = "GNU.sparse.";
/// Limit of pieces in a map.
const MAX_PIECES: u64 = 1 << 20;
/// Limit of a member's size with its holes: 1 TiB.
const MAX_SIZE: u64 = 1 << 40;
/// The same for the type `S`: 64 GiB, because its reader returns the holes byte by byte.
const MAX_OLD_SIZE: u64 = 1 << 36;
const BLOCK: u64 = 512;

/// Bytes of the file that are in the archive: offset in the file, and length.
type Piece = (u64, u64);

/// What the PAX records of a member say.
#[derive(Debug, Default)]
pub(crate) struct Sparse {
    /// The file's name; the member's own is one for readers that do not know the format.
    pub name: Option<Vec<u8>>,
    size: Option<u64>,
    version: (Option<u64>, Option<u64>),
    count: Option<u64>,
    /// Offset without its length yet (0.0).
    offset: Option<u64>,
    pieces: Vec<Piece>,
    has_map: bool,
}

impl Sparse {
    /// Takes one record; `key` is without [`PREFIX`].
    pub(crate) fn record(&mut self, key: &str, value: &[u8]) -> Result<()> {
        match key {
            "name" => self.name = Some(value.to_vec()),
            "size" | "realsize" => self.size = Some(number(value)?),
            "major" => self.version.0 = Some(number(value)?),
            "minor" => self.version.1 = Some(number(value)?),
            "numblocks" => self.count = Some(number(value)?),
            "offset" if self.offset.is_none() => self.offset = Some(number(value)?),
            "numbytes" => {
                let offset = self.offset.take().context("a piece of the map has a length but no offset")?;
                self.add(offset, number(value)?)?;
            }
            "map" if !self.has_map => {
                self.has_map = true;
                let mut numbers = value.split(|byte| *byte == b',').filter(|_| !value.is_empty());
                while let Some(offset) = numbers.next() {
                    let length = numbers.next().context("the map ends with an offset")?;
                    self.add(number(offset)?, number(length)?)?;
                }
            }
            "offset" | "map" => bail!("the record {PREFIX}{key} does not belong there"),
            _ => bail!("the record {PREFIX}{key} is unknown"),
        }
        Ok(())
    }

    fn add(&mut self, offset: u64, length: u64) -> Result<()> {
        check_count(self.pieces.len() as u64 + 1)?;
        self.pieces.push((offset, length));
        Ok(())
    }

    /// Copies the member's `stored` bytes from `reader` to `spool`, with the holes.
    pub(crate) fn expand(self, reader: &mut dyn Read, stored: u64, spool: &mut Spool) -> Result<Content> {
        let size = check_size(self.size.context("there is no record of the file's size")?, MAX_SIZE)?;
        let (pieces, map_bytes) = match self.version {
            (None, None) | (Some(0), Some(0 | 1)) => {
                if self.offset.is_some() {
                    bail!("a piece of the map has an offset but no length");
                }
                if self.count.is_some_and(|count| count != self.pieces.len() as u64) {
                    bail!("the map has {} pieces, not {}", self.pieces.len(), self.count.unwrap_or(0));
                }
                (self.pieces, 0)
            }
            (Some(1), Some(0)) if self.pieces.is_empty() => read_map(reader)?,
            (Some(1), Some(0)) => bail!("there are two maps"),
            (major, minor) => bail!("the version {}.{} is unknown", major.unwrap_or(0), minor.unwrap_or(0)),
        };
        let stored = stored.checked_sub(map_bytes).context("the map is longer than the member")?;
        check_map(&pieces, size, stored)?;
        spool.add_pieces(reader, &pieces, size)
    }
}

/// Copies a member of the type `S` to `spool`. The tar crate has checked its map: ordered, inside the file, all bytes used.
pub(crate) fn expand_old(reader: &mut dyn Read, size: u64, spool: &mut Spool) -> Result<Content> {
    check_size(size, MAX_OLD_SIZE)?;
    spool.add_sparse(reader)
}

fn check_size(size: u64, most: u64) -> Result<u64> {
    if size > most {
        bail!("it has {size} bytes with its holes, more than the limit of {most}");
    }
    Ok(size)
}

fn check_count(count: u64) -> Result<()> {
    if count > MAX_PIECES {
        bail!("the map has more than {MAX_PIECES} pieces");
    }
    Ok(())
}

fn check_map(pieces: &[Piece], size: u64, stored: u64) -> Result<()> {
    let (mut end, mut used) = (0_u64, 0_u64);
    for (offset, length) in pieces {
        if *offset < end {
            bail!("the piece of {length} bytes at {offset} overlaps the one before it, or precedes it");
        }
        end = offset
            .checked_add(*length)
            .filter(|end| *end <= size)
            .with_context(|| format!("the piece of {length} bytes at {offset} exceeds the file's {size} bytes"))?;
        // Each piece starts in a new block of the archive, but the member's size counts no padding.
        if *length > 0 && !used.is_multiple_of(BLOCK) {
            bail!("a piece before the one at {offset} is no multiple of {BLOCK} bytes");
        }
        used += length;
    }
    if used != stored {
        bail!("the pieces have {used} bytes, the member has {stored}");
    }
    Ok(())
}

/// The map of version 1.0, which precedes the pieces: decimal numbers with line ends, padded to a block. Returns its padded
/// length, too.
fn read_map(reader: &mut dyn Read) -> Result<(Vec<Piece>, u64)> {
    let (mut block, mut used, mut blocks) = ([0; BLOCK as usize], BLOCK as usize, 0);
    let mut next = || -> Result<u64> {
        let mut digits = Vec::new();
        loop {
            if used == block.len() {
                reader.read_exact(&mut block).context("the map is cut off")?;
                (used, blocks) = (0, blocks + 1);
            }
            let byte = block[used];
            used += 1;
            match byte {
                b'\n' => return number(&digits),
                byte => digits.push(byte),
            }
            if digits.len() > 20 {
                bail!("a number in the map has more than 20 digits");
            }
        }
    };
    let count = next()?;
    check_count(count)?;
    let mut pieces = Vec::new();
    for _ in 0..count {
        pieces.push((next()?, next()?));
    }
    Ok((pieces, blocks * BLOCK))
}

fn number(digits: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = text.and_then(|text| text.parse().ok());
    number.with_context(|| {
        format!("`{}` is not a number of 64 bits", String::from_utf8_lossy(&digits[..digits.len().min(40)]).escape_debug())
    })
}

#[cfg(test)]
mod tests;
