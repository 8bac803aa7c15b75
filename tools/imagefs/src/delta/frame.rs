//! A zstd frame (RFC 8878) of three kinds of blocks: raw bytes, one byte repeated, and one copy. A copy is a compressed block without
//! literals and with one sequence, whose codes are in RLE mode, so that no entropy coding is needed: images are compressed already.

use anyhow::{Context as _, Result, bail, ensure};
use std::io::{Read, Write};

const MAGIC: u32 = 0xfd2f_b528;
/// Frame header: one segment, a content size of eight bytes, no checksum, no dictionary's number.
const DESCRIPTOR: u8 = 0xe0;
/// The largest block.
const MOST: usize = 128 << 10;
/// Code, base and extra bits of long match lengths; shorter ones are not written.
const LENGTHS: [(u8, usize, u32); 12] = [
    (41, 83, 4),
    (42, 99, 5),
    (43, 131, 7),
    (44, 259, 8),
    (45, 515, 9),
    (46, 1027, 10),
    (47, 2051, 11),
    (48, 4099, 12),
    (49, 8195, 13),
    (50, 16387, 14),
    (51, 32771, 15),
    (52, 65539, 16),
];
/// The shortest copy. Its block has about 15 bytes.
pub(super) const SHORTEST: usize = 83;

/// Offsets of the last copies, which the format lets a later one repeat.
#[derive(Debug)]
struct Recent([u64; 3]);

impl Recent {
    const START: Self = Self([1, 4, 8]);

    /// The value that stands for `offset`. Without literals before the copy, 1 repeats the second last offset.
    fn value_of(&mut self, offset: u64) -> u64 {
        if offset == self.0[1] {
            self.0.swap(0, 1);
            return 1;
        }
        self.0 = [offset, self.0[0], self.0[1]];
        offset + 3
    }

    fn offset_of(&mut self, value: u64) -> Result<u64> {
        match value {
            1 => self.0.swap(0, 1),
            0 | 2 | 3 => bail!("{FOREIGN}"),
            value => self.0 = [value - 3, self.0[0], self.0[1]],
        }
        Ok(self.0[0])
    }
}

/// Said of a frame that another program wrote.
const FOREIGN: &str = "its frame was written by another program\nhint: zstd -d --long=31 --patch-from=OLD DELTA -o NEW";

/// Writes a frame.
pub(super) struct FrameWriter<W> {
    out: W,
    recent: Recent,
}

impl<W: Write> FrameWriter<W> {
    /// Starts a frame for `size` bytes.
    pub(super) fn new(mut out: W, size: u64) -> Result<Self> {
        out.write_all(&MAGIC.to_le_bytes())?;
        out.write_all(&[DESCRIPTOR])?;
        out.write_all(&size.to_le_bytes())?;
        Ok(Self { out, recent: Recent::START })
    }

    fn header(&mut self, last: bool, kind: u32, size: usize) -> Result<()> {
        let header = u32::from(last) | kind << 1 | u32::try_from(size)? << 3;
        Ok(self.out.write_all(&header.to_le_bytes()[..3])?)
    }

    /// Adds bytes.
    pub(super) fn literal(&mut self, bytes: &[u8]) -> Result<()> {
        for block in bytes.chunks(MOST) {
            self.header(false, 0, block.len())?;
            self.out.write_all(block)?;
        }
        Ok(())
    }

    /// Adds `len` times `byte`, at most a block.
    pub(super) fn fill(&mut self, byte: u8, len: usize) -> Result<()> {
        self.header(false, 1, len)?;
        Ok(self.out.write_all(&[byte])?)
    }

    /// Adds `len` bytes from `offset` bytes before, at most a block and at least [`SHORTEST`].
    pub(super) fn copy(&mut self, offset: u64, len: usize) -> Result<()> {
        let (code, base, width) = *LENGTHS.iter().rev().find(|(_, base, _)| *base <= len).context("a copy is too short")?;
        let value = self.recent.value_of(offset);
        let offset_code = value.ilog2();
        // The last bits are read first: the offset, then the length. A 1 marks the end.
        let extra = u128::from(value - (1 << offset_code));
        let bits = (1 << offset_code | extra) << width | (len - base) as u128;
        let count = usize::try_from(offset_code + width)? / 8 + 1;
        // Literals: none. Sequences: one. Modes: RLE for all three codes; the code of the literals' length is 0.
        let start = [0, 1, 0b0101_0100, 0, u8::try_from(offset_code)?, code];
        self.header(false, 2, start.len() + count)?;
        self.out.write_all(&start)?;
        Ok(self.out.write_all(&bits.to_le_bytes()[..count])?)
    }

    /// Ends the frame.
    pub(super) fn finish(mut self) -> Result<W> {
        self.header(true, 0, 0)?;
        Ok(self.out)
    }
}

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// So many bytes, which are in the buffer.
    Bytes(usize),
    /// A copy.
    Copy {
        /// How many bytes before.
        offset: u64,
        /// How many bytes.
        len: usize,
    },
}

/// Reads a frame that [`FrameWriter`] wrote. The input is untrusted.
pub(super) struct FrameReader<R> {
    input: R,
    recent: Recent,
    ended: bool,
}

impl<R: Read> FrameReader<R> {
    /// Reads the header; also returns the size of the content.
    pub(super) fn new(mut input: R) -> Result<(Self, u64)> {
        let mut header = [0; 13];
        input.read_exact(&mut header).context("it is cut off")?;
        ensure!(header[..4] == MAGIC.to_le_bytes(), "it does not start with a zstd frame");
        ensure!(header[4] == DESCRIPTOR, "{FOREIGN}");
        let mut size = [0; 8];
        size.copy_from_slice(&header[5..]);
        Ok((Self { input, recent: Recent::START, ended: false }, u64::from_le_bytes(size)))
    }

    /// The next block, whose bytes go into `buffer`; none at the end.
    pub(super) fn next(&mut self, buffer: &mut [u8]) -> Result<Option<Piece>> {
        if self.ended {
            return Ok(None);
        }
        let mut header = [0; 4];
        self.input.read_exact(&mut header[..3]).context("it is cut off")?;
        let header = u32::from_le_bytes(header);
        let size = (header >> 3) as usize;
        self.ended = header & 1 == 1;
        ensure!(size <= MOST && size <= buffer.len(), "a block has {size} bytes, more than {MOST}");
        match header >> 1 & 3 {
            0 => {
                self.input.read_exact(&mut buffer[..size]).context("it is cut off")?;
                Ok(Some(Piece::Bytes(size)))
            }
            1 => {
                let mut byte = [0];
                self.input.read_exact(&mut byte).context("it is cut off")?;
                buffer[..size].fill(byte[0]);
                Ok(Some(Piece::Bytes(size)))
            }
            2 => self.read_copy(size).map(Some),
            _ => bail!("a block has an unknown type"),
        }
    }

    fn read_copy(&mut self, size: usize) -> Result<Piece> {
        let mut block = [0; 22];
        let block = block.get_mut(..size).filter(|_| size > 6).context(FOREIGN)?;
        self.input.read_exact(block).context("it is cut off")?;
        let (offset_code, code) = (u32::from(block[4]), block[5]);
        ensure!(block[..4] == [0, 1, 0b0101_0100, 0] && offset_code < 32, "{FOREIGN}");
        let (_, base, width) = *LENGTHS.iter().find(|(known, ..)| *known == code).context(FOREIGN)?;
        let bits = block[6..].iter().rev().fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
        ensure!(bits.checked_ilog2() == Some(offset_code + width), "the bits of a copy are damaged");
        let len = base + usize::try_from(bits & ((1 << width) - 1))?;
        ensure!(len <= MOST, "a copy has {len} bytes, more than {MOST}");
        let value = u64::try_from(bits >> width)?;
        Ok(Piece::Copy { offset: self.recent.offset_of(value)?, len })
    }
}
