//! What a journal holds that was not written to its place yet: a machine that was switched off leaves most of its newest files there.
//! Nothing is written; blocks are read from the journal instead. Source of the format: the kernel's Documentation/filesystems/ext4,
//! journal. Its numbers are big-endian. Checksums are not verified.

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
/// These, revocations, and commits that nobody waits for.
const KNOWN: u32 = 0x1 | SIXTY_FOUR | 0x4 | CHECKSUMS | CHECKSUMS_3 | FAST_COMMIT;

const ESCAPED: u32 = 1;
const SAME_UUID: u32 = 2;
const LAST: u32 = 8;

/// Where the newest content of a block is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newer {
    /// The block of the disk.
    pub block: u64,
    /// Its first four bytes are the journal's magic number, which stands there as zeros.
    pub escaped: bool,
}

impl Newer {
    /// The first bytes of a block that is escaped.
    pub const START: [u8; 4] = MAGIC.to_be_bytes();
}

fn be(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// A journal and where one is in it.
struct Journal<'j> {
    reader: &'j Reader<'j>,
    runs: Vec<Run>,
    features: u32,
    /// The log goes round from the first to before the last.
    first: u32,
    last: u32,
    at: u32,
}

/// A block that a transaction writes.
struct Written {
    place: u64,
    transaction: u32,
    newer: Newer,
}

/// The blocks of the file system whose newest content is in the journal, and whether that is all that is missing.
pub(super) fn newer_blocks(reader: &Reader<'_>) -> Result<(HashMap<u64, Newer>, bool)> {
    let number = reader.field(224);
    if reader.incompatible() & RECOVER == 0 || number == 0 {
        // One on another disk is not known here.
        return Ok((HashMap::new(), reader.incompatible() & RECOVER == 0));
    }
    let inode: Inode = reader.inode(number)?;
    let runs = reader.runs(&inode)?;
    let start = runs.first().map(|run| run.physical).context("it is empty")?;
    let head = reader.read_block(start)?;
    let features = be(&head, 40);
    if be(&head, 0) != MAGIC || be(&head, 4) < 3 || u64::from(be(&head, 12)) != reader.block || features & !KNOWN != 0 {
        bail!("its head is not understood");
    }
    let fast = if features & FAST_COMMIT == 0 { 0 } else { be(&head, 84) };
    let (first, last) = (be(&head, 20), be(&head, 16).saturating_sub(fast));
    let begin = be(&head, 28);
    if begin == 0 {
        return Ok((HashMap::new(), fast == 0));
    }
    if first == 0 || begin < first || begin >= last {
        bail!("its log lies outside of it");
    }
    let journal = Journal { reader, runs, features, first, last, at: begin };
    Ok((journal.replay(be(&head, 24))?, fast == 0))
}

impl Journal<'_> {
    /// The next block of the log, and where it is.
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
        run.map(|run| run.physical + (u64::from(logical) - run.logical)).context("it has a hole")
    }

    /// Goes through all transactions that were committed. `transaction` is the number of the first.
    fn replay(mut self, mut transaction: u32) -> Result<HashMap<u64, Newer>> {
        let (mut written, mut revoked) = (Vec::new(), HashMap::new());
        let (mut writing, mut revoking): (Vec<Written>, Vec<u64>) = (Vec::new(), Vec::new());
        // It may lead round in a circle, but not more often than it has blocks.
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
        // A block that was freed in a later transaction may hold somebody's data by now, which go no way through the journal.
        let is_revoked =
            |write: &Written| revoked.get(&write.place).is_some_and(|by: &u32| by.wrapping_sub(write.transaction).cast_signed() >= 0);
        Ok(written.into_iter().filter(|write| !is_revoked(write)).map(|write| (write.place, write.newer)).collect())
    }

    /// A list of places, whose blocks follow it.
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
                bail!("it writes more blocks than it has");
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
        let places = block.get(16..be(block, 12) as usize).context("a list of what is revoked is damaged")?;
        revoking.extend(places.chunks_exact(size).map(|place| place.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))));
        Ok(())
    }
}
