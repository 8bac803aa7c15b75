//! Linear directories: entries in blocks; no entry crosses a block boundary; no hash index.

use super::{BLOCK_BYTES, put16, put32};
use filetree::Kind;

/// Size of an entry without its name.
const ENTRY: usize = 8;

/// A directory entry.
pub(super) struct Entry<'n> {
    pub name: &'n [u8],
    pub inode: u32,
    pub kind: u8,
}

/// The file type in a directory entry.
pub(super) fn type_of(kind: &Kind) -> u8 {
    match kind {
        Kind::File { .. } => 1,
        Kind::Dir(_) => 2,
        Kind::CharDevice { .. } => 3,
        Kind::BlockDevice { .. } => 4,
        Kind::Fifo => 5,
        Kind::Symlink(_) => 7,
    }
}

pub(super) const DIRECTORY: u8 = 2;

/// The directory's blocks without trailing zeros, and the number of blocks, at least `least`.
pub(super) fn encode(entries: &[Entry<'_>], least: usize) -> (Vec<u8>, u64) {
    let mut out: Vec<u8> = Vec::new();
    let (mut last, mut blocks) = (0, 0);
    for entry in entries {
        let len = (ENTRY + entry.name.len()).next_multiple_of(4);
        if out.len() + len > blocks * BLOCK_BYTES {
            close(&mut out, last, blocks);
            out.resize(blocks * BLOCK_BYTES, 0);
            blocks += 1;
        }
        last = out.len();
        out.resize(last + len, 0);
        put32(&mut out, last, entry.inode);
        put16(&mut out, last + 4, u16::try_from(len).expect("an entry is shorter than 264 bytes"));
        out[last + 6] = u8::try_from(entry.name.len()).expect("names were checked");
        out[last + 7] = entry.kind;
        out[last + ENTRY..last + ENTRY + entry.name.len()].copy_from_slice(entry.name);
    }
    close(&mut out, last, blocks);
    while blocks < least {
        out.resize(blocks * BLOCK_BYTES, 0);
        last = out.len();
        out.resize(last + ENTRY, 0);
        blocks += 1;
        close(&mut out, last, blocks);
    }
    (out, blocks as u64)
}

/// Extends the last entry of a block to the block's end.
fn close(out: &mut [u8], last: usize, blocks: usize) {
    if blocks > 0 {
        put16(out, last + 4, u16::try_from(blocks * BLOCK_BYTES - last).expect("a block has 4096 bytes"));
    }
}
