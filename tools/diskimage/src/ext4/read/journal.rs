//! Reads committed blocks from the journal that were not written to their place yet; after a power loss these are most of the
//! newest files. Nothing is written: reads are redirected into the journal. Format: kernel's Documentation/filesystems/ext4,
//! chapter journal (jbd2); big-endian numbers. Checksums are not verified.

use super::{Inode, RECOVER, Reader, blocks::Run};
use anyhow::{Context as _, Result, bail};
use std::collections::HashMap;

const MAGIC: u32 = 0xc03b_3998;
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOCATION: u32 = 5;

const SIXTY_FOUR: u32 = 0x2;
const CHECKSUMS: u32 = 0x8;
const CHECKSUMS_3: u32 = 0x10;
const FAST_COMMIT: u32 = 0x20;
/// Supported: the above, revocations (0x1) and asynchronous commits (0x4).
const KNOWN: u32 = 0x1 | SIXTY_FOUR | 0x4 | CHECKSUMS | CHECKSUMS_3 | FAST_COMMIT;

const ESCAPED: u32 = 1;
const SAME_UUID: u32 = 2;
const LAST: u32 = 8;

/// Location of the newest content of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newer {
    /// Block on the disk.
    pub block: u64,
    /// The block starts with the journal's magic number, which the journal stores as zeros.
    pub escaped: bool,
}

impl Newer {
    /// First bytes of an escaped block.
    pub const START: [u8; 4] = MAGIC.to_be_bytes();
}

fn be(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// A journal and the read position in it.
struct Journal<'j> {
    reader: &'j Reader<'j>,
    runs: Vec<Run>,
    features: u32,
    /// The log is a ring from `first` to before `last`.
    first: u32,
    last: u32,
    at: u32,
}

/// A block written by a transaction.
struct Written {
    place: u64,
    transaction: u32,
    newer: Newer,
}

/// Blocks whose newest content is in the journal, and whether no other change is missing.
pub(super) fn newer_blocks(reader: &Reader<'_>) -> Result<(HashMap<u64, Newer>, bool)> {
    let number = reader.field(224);
    if reader.incompatible() & RECOVER == 0 || number == 0 {
        // An external journal is not read.
        return Ok((HashMap::new(), reader.incompatible() & RECOVER == 0));
    }
    let inode: Inode = reader.inode(number)?;
    let runs = reader.runs(&inode)?;
    let start = runs.first().map(|run| run.physical).context("the journal is empty")?;
    let head = reader.read_block(start)?;
    let features = be(&head, 40);
    if be(&head, 0) != MAGIC || be(&head, 4) < 3 || u64::from(be(&head, 12)) != reader.block || features & !KNOWN != 0 {
        bail!("the journal's superblock is not supported");
    }
    let fast = if features & FAST_COMMIT == 0 { 0 } else { be(&head, 84) };
    let (first, last) = (be(&head, 20), be(&head, 16).saturating_sub(fast));
    let begin = be(&head, 28);
    if begin == 0 {
        return Ok((HashMap::new(), fast == 0));
    }
    if first == 0 || begin < first || begin >= last {
        bail!("the journal's log exceeds the journal");
    }
    let journal = Journal { reader, runs, features, first, last, at: begin };
    Ok((journal.replay(be(&head, 24))?, fast == 0))
}

impl Journal<'_> {
    /// Reads the next log block; also returns its location.
    fn next(&mut self) -> Result<(u64, Vec<u8>)> {
        let place = self.place(self.at)?;
        self.skip();
        Ok((place, self.reader.read_block(place)?))
    }

    fn skip(&mut self) {
        self.at += 1;
        if self.at >= self.last {
            self.at = self.first;
        }
    }

    fn place(&self, logical: u32) -> Result<u64> {
        let run = self.runs.iter().find(|run| (run.logical..run.logical + run.count).contains(&logical.into()));
        run.map(|run| run.physical + (u64::from(logical) - run.logical)).context("the journal has a hole")
    }

    /// Processes all committed transactions. `transaction` is the number of the first.
    fn replay(mut self, mut transaction: u32) -> Result<HashMap<u64, Newer>> {
        let (mut written, mut revoked) = (Vec::new(), HashMap::new());
        let (mut writing, mut revoking): (Vec<Written>, Vec<u64>) = (Vec::new(), Vec::new());
        // A damaged log may be cyclic; the number of blocks bounds the loop.
        for _ in 0..self.last {
            let (_, block) = self.next()?;
            if be(&block, 0) != MAGIC || be(&block, 8) != transaction {
                break;
            }
            match be(&block, 4) {
                DESCRIPTOR => self.describe(&block, transaction, &mut writing)?,
                REVOCATION => self.revoke(&block, &mut revoking)?,
                COMMIT => {
                    written.append(&mut writing);
                    revoked.extend(revoking.drain(..).map(|place| (place, transaction)));
                    transaction = transaction.wrapping_add(1);
                }
                _ => break,
            }
        }
        // A block revoked by a later transaction may have been reused for file data, which bypasses the journal.
        let is_revoked =
            |write: &Written| revoked.get(&write.place).is_some_and(|by: &u32| by.wrapping_sub(write.transaction).cast_signed() >= 0);
        Ok(written.into_iter().filter(|write| !is_revoked(write)).map(|write| (write.place, write.newer)).collect())
    }

    /// Processes a descriptor block, whose data blocks follow it.
    fn describe(&mut self, block: &[u8], transaction: u32, writing: &mut Vec<Written>) -> Result<()> {
        let has = |feature| self.features & feature != 0;
        let (third, wide) = (has(CHECKSUMS_3), has(SIXTY_FOUR));
        let size = if third { 16 } else { 8 + if has(CHECKSUMS) { 2 } else { 0 } + if wide { 4 } else { 0 } };
        let end = block.len() - if third || has(CHECKSUMS) { 4 } else { 0 };
        let mut at = 12;
        while at + size <= end {
            let tag = &block[at..at + size];
            let flags = if third { be(tag, 4) } else { be(tag, 4) & 0xffff };
            let high = if wide { be(tag, 8) } else { 0 };
            let place = u64::from(high) << 32 | u64::from(be(tag, 0));
            let newer = Newer { block: self.place(self.at)?, escaped: flags & ESCAPED != 0 };
            self.skip();
            if writing.len() > self.last as usize {
                bail!("the journal lists more blocks than it has");
            }
            writing.push(Written { place, transaction, newer });
            at += size + if flags & SAME_UUID == 0 { 16 } else { 0 };
            if flags & LAST != 0 {
                break;
            }
        }
        Ok(())
    }

    fn revoke(&self, block: &[u8], revoking: &mut Vec<u64>) -> Result<()> {
        let size = if self.features & SIXTY_FOUR != 0 { 8 } else { 4 };
        let places = block.get(16..be(block, 12) as usize).context("a revocation block is damaged")?;
        revoking.extend(places.chunks_exact(size).map(|place| place.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))));
        Ok(())
    }
}
