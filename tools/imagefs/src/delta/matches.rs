//! Finds the parts of a new image that the old one has, at any place. The old image is indexed by the hashes of its blocks, whose size
//! depends on the image's, so that the index has a fixed size; a rolling hash looks for them at each byte of the new image.

use super::frame::SHORTEST;
use anyhow::Result;
use std::{fs::File, os::unix::fs::FileExt as _};

/// Slots of the index, a power of two.
const SLOTS: usize = 1 << 21;
/// Bits of the filter in front of it.
const FILTER: usize = 1 << 24;
/// How many slots are looked at for a hash.
const PROBES: usize = 8;
/// The smallest block, in bytes.
const SMALLEST: u64 = 64;
/// The factor of the rolling hash: an odd number whose bits look random.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15 | 1;
/// Bytes that are read at once.
const BUFFER: usize = 1 << 18;

/// A part of the new image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    /// Where it is in the old image; none if it is not there.
    pub old: Option<u64>,
    /// Where it is in the new image.
    pub new: u64,
    /// How many bytes.
    pub len: u64,
}

/// Calls `take` for all parts of the new image, in order.
pub(super) fn find(old: &File, old_len: u64, new: &File, new_len: u64, take: &mut dyn FnMut(Match) -> Result<()>) -> Result<()> {
    let block = (old_len / (SLOTS as u64 / 2)).next_power_of_two().max(SMALLEST);
    let (mut old, mut new) = (Bytes::new(old, old_len), Bytes::new(new, new_len));
    let index = Index::of(&mut old, block)?;
    // The byte that leaves the hash has this weight.
    let weight = (0..block).fold(1_u64, |weight, _| weight.wrapping_mul(FACTOR));
    let (mut start, mut at, mut hash) = (0, 0, None);
    let mut expected = Some(0);
    while at + block <= new_len {
        // Right after a copy, the old image often goes on beside it.
        let guess = expected.take().filter(|old_at| old_at + block <= old_len);
        let current = match hash {
            Some(hash) => hash,
            None => new.slice(at, block)?.iter().fold(0, |hash, byte| step(hash, *byte)),
        };
        let found = match guess {
            Some(old_at) if same(&mut old, old_at, &mut new, at, block)? => Some(old_at),
            _ if current == 0 => None,
            _ => index.find(current, |old_at| same(&mut old, old_at, &mut new, at, block))?,
        };
        if found.is_none() && current == 0 {
            // A hole has a part of its own, which takes no space.
            let len = zeros(&mut new, at)?;
            if len >= block {
                put(take, None, start, at - start)?;
                put(take, None, at, len)?;
                (start, at, hash) = (at + len, at + len, None);
                continue;
            }
        }
        let Some(old_at) = found else {
            if at + block < new_len {
                let (leaves, enters) = (new.byte(at)?, new.byte(at + block)?);
                hash = Some(step(current, enters).wrapping_sub(weight.wrapping_mul(u64::from(leaves))));
            }
            at += 1;
            continue;
        };
        let before = backwards(&mut old, old_at, &mut new, at, at - start)?;
        let len = before + block + forwards(&mut old, old_at + block, &mut new, at + block)?;
        let begin = at - before;
        if len < SHORTEST as u64 {
            at += 1;
            hash = None;
            continue;
        }
        put(take, None, start, begin - start)?;
        put(take, Some(old_at - before), begin, len)?;
        start = begin + len;
        at = start;
        hash = None;
        expected = Some(old_at - before + len);
    }
    put(take, None, start, new_len - start)
}

/// Passes a part on. The rest of a copy after whole blocks may be too short for one, so the last two share what they have.
fn put(take: &mut dyn FnMut(Match) -> Result<()>, old: Option<u64>, new: u64, len: u64) -> Result<()> {
    let rest = len % super::CHUNK as u64;
    if old.is_none() || rest == 0 || rest >= SHORTEST as u64 {
        return if len > 0 { take(Match { old, new, len }) } else { Ok(()) };
    }
    let first = len - rest - if len > rest { SHORTEST as u64 } else { 0 };
    if first > 0 {
        take(Match { old, new, len: first })?;
    }
    take(Match { old: old.map(|old| old + first), new: new + first, len: len - first })
}

fn step(hash: u64, byte: u8) -> u64 {
    hash.wrapping_mul(FACTOR).wrapping_add(byte.into())
}

/// How many of at most `most` bytes before both places are the same.
fn backwards(old: &mut Bytes<'_>, old_at: u64, new: &mut Bytes<'_>, at: u64, most: u64) -> Result<u64> {
    let (most, mut len) = (most.min(old_at), 0);
    while len < most && old.byte(old_at - len - 1)? == new.byte(at - len - 1)? {
        len += 1;
    }
    Ok(len)
}

/// How many bytes from both places on are the same.
fn forwards(old: &mut Bytes<'_>, old_at: u64, new: &mut Bytes<'_>, at: u64) -> Result<u64> {
    let most = (old.len - old_at).min(new.len - at);
    let mut len = 0;
    while len < most {
        let count = (most - len).min(1 << 16);
        let (one, two) = (old.slice(old_at + len, count)?, new.slice(at + len, count)?);
        if one == two {
            len += count;
            continue;
        }
        return Ok(len + one.iter().zip(two).take_while(|(one, two)| one == two).count() as u64);
    }
    Ok(len)
}

/// How many zeros there are from `at` on.
fn zeros(new: &mut Bytes<'_>, at: u64) -> Result<u64> {
    let mut len = 0;
    while at + len < new.len {
        let count = (new.len - at - len).min(1 << 16);
        let found = new.slice(at + len, count)?.iter().take_while(|byte| **byte == 0).count() as u64;
        len += found;
        if found < count {
            break;
        }
    }
    Ok(len)
}

fn same(old: &mut Bytes<'_>, old_at: u64, new: &mut Bytes<'_>, at: u64, len: u64) -> Result<bool> {
    Ok(old.slice(old_at, len)? == new.slice(at, len)?)
}

/// The blocks of the old image by hash.
struct Index {
    /// Upper half of the hash, and the block's number and 1; 0 is an empty slot.
    slots: Vec<(u32, u32)>,
    filter: Vec<u64>,
    block: u64,
}

impl Index {
    fn of(old: &mut Bytes<'_>, block: u64) -> Result<Self> {
        let mut index = Self { slots: vec![(0, 0); SLOTS], filter: vec![0; FILTER / 64], block };
        for number in 0..old.len / block {
            let bytes = old.slice(number * block, block)?;
            // Blocks of one byte repeated are everywhere.
            if bytes.iter().all(|byte| *byte == bytes[0]) {
                continue;
            }
            let hash = mixed(bytes.iter().fold(0, |hash, byte| step(hash, *byte)));
            for slot in slots_of(hash) {
                let slot = &mut index.slots[slot];
                if slot.1 == 0 {
                    *slot = ((hash >> 32) as u32, u32::try_from(number + 1)?);
                    let bit = filter_bit(hash);
                    index.filter[bit / 64] |= 1 << (bit % 64);
                    break;
                }
                // The first of several blocks with the same bytes is enough.
                if slot.0 == (hash >> 32) as u32 {
                    break;
                }
            }
        }
        Ok(index)
    }

    /// The place of a block with this hash that `is_it`.
    fn find(&self, hash: u64, mut is_it: impl FnMut(u64) -> Result<bool>) -> Result<Option<u64>> {
        let hash = mixed(hash);
        let bit = filter_bit(hash);
        if self.filter[bit / 64] & 1 << (bit % 64) == 0 {
            return Ok(None);
        }
        for slot in slots_of(hash) {
            let (upper, number) = self.slots[slot];
            if number == 0 {
                return Ok(None);
            }
            if upper == (hash >> 32) as u32 {
                let at = u64::from(number - 1) * self.block;
                return Ok(is_it(at)?.then_some(at));
            }
        }
        Ok(None)
    }
}

/// Spreads the hash over all bits.
fn mixed(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ hash >> 32
}

fn slots_of(hash: u64) -> impl Iterator<Item = usize> {
    (0..PROBES).map(move |probe| (hash as usize).wrapping_add(probe) % SLOTS)
}

fn filter_bit(hash: u64) -> usize {
    (hash >> 20) as usize % FILTER
}

/// Buffered bytes of a file by position.
struct Bytes<'f> {
    file: &'f File,
    len: u64,
    start: u64,
    buffer: Vec<u8>,
}

impl<'f> Bytes<'f> {
    fn new(file: &'f File, len: u64) -> Self {
        Self { file, len, start: 0, buffer: Vec::new() }
    }

    /// `len` bytes from `at` on, which must exist; `len` is at most a quarter of the buffer, or a block.
    fn slice(&mut self, at: u64, len: u64) -> Result<&[u8]> {
        let end = self.start + self.buffer.len() as u64;
        if at < self.start || at + len > end {
            // A walk backwards finds its bytes too.
            let start = at.saturating_sub(BUFFER as u64 / 4);
            let count = (BUFFER as u64 + len).min(self.len - start);
            self.buffer.resize(usize::try_from(count)?, 0);
            self.start = start;
            self.file.read_exact_at(&mut self.buffer, start)?;
        }
        let from = usize::try_from(at - self.start)?;
        Ok(&self.buffer[from..from + usize::try_from(len)?])
    }

    fn byte(&mut self, at: u64) -> Result<u8> {
        Ok(self.slice(at, 1)?[0])
    }
}
