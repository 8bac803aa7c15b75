//! Compressors of single blocks. Written images use only zlib and xz, which GRUB, the kernel and unsquashfs all read.

use super::format::META_SIZE;
use anyhow::{Context as _, Result, bail};
use flate2::{Compress, Compression, FlushCompress, Status};
use liblzma::stream::{Action, Check, Filters, LzmaOptions, Stream};

/// An xz branch filter for machine code: those that GRUB's and all kernels' decoders support. (Newer mksquashfs also has arm64,
/// which GRUB 2.06 and Linux 6.1 refuse.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bcj {
    /// x86.
    X86,
    /// Arm.
    Arm,
    /// Thumb.
    ArmThumb,
}

impl Bcj {
    /// Bit in the compressor options.
    fn bit(self) -> u32 {
        match self {
            Self::X86 => 0x1,
            Self::Arm => 0x8,
            Self::ArmThumb => 0x10,
        }
    }
}

/// Compressor of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compressor {
    /// Best ratio. Compresses each block without and with each filter, and keeps the smallest result.
    Xz {
        /// Filters to try.
        bcj: Vec<Bcj>,
    },
    /// Fastest: zlib.
    Gzip,
}

/// zlib level; takes half the time of mksquashfs's 9 for 1% more size.
const GZIP_LEVEL: u32 = 6;

impl Compressor {
    /// Number in the superblock.
    pub(super) fn id(&self) -> u16 {
        match self {
            Self::Gzip => 1,
            Self::Xz { .. } => 4,
        }
    }

    /// Compressor options after the superblock; `None` for the defaults.
    pub(super) fn options(&self, block_size: u32) -> Option<Vec<u8>> {
        match self {
            Self::Xz { bcj } if !bcj.is_empty() => {
                let bits = bcj.iter().fold(0, |bits, filter| bits | filter.bit());
                Some([block_size.to_le_bytes(), bits.to_le_bytes()].concat())
            }
            _ => None,
        }
    }

    /// Memory of one compression thread in bytes, without the block itself; from xz's documentation of its match finder,
    /// rounded up.
    pub(super) fn memory(&self, block_size: u32) -> usize {
        match self {
            Self::Gzip => 1 << 20,
            Self::Xz { .. } => 12 * block_size as usize + (2 << 20),
        }
    }

    /// The compressed bytes; `None` if they are not fewer than `data`.
    pub(super) fn compress(&self, data: &[u8], block_size: u32) -> Result<Option<Vec<u8>>> {
        match self {
            _ if looks_random(data) => Ok(None),
            Self::Gzip => gzip(data),
            Self::Xz { bcj } => {
                let mut best = xz(data, None, block_size)?;
                for filter in bcj {
                    let filtered = xz(data, Some(*filter), block_size)?;
                    if let Some(new) = filtered
                        && best.as_ref().is_none_or(|old| new.len() < old.len())
                    {
                        best = Some(new);
                    }
                }
                Ok(best)
            }
        }
    }
}

/// Whether compression would save less than about 0.5%: all byte values are about equally frequent, and almost nothing repeats.
/// True for compressed kernels and initrds. The check costs 1% of xz's time, and GRUB and the kernel read stored blocks faster.
fn looks_random(data: &[u8]) -> bool {
    const BITS: u32 = 16;
    const STEP: usize = 4;
    if data.len() < META_SIZE {
        return false;
    }
    let mut counts = [0_u64; 256];
    data.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let length = data.len() as u64;
    // Random data gives length² / 256 + length, with a deviation of length / 10.
    let squares: u64 = counts.iter().map(|count| count * count).sum();
    if squares > length * length / 256 * 129 / 128 + length * 3 / 2 {
        return false;
    }
    let word = |at: usize| u32::from_le_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]);
    let mut places = vec![0_u32; 1 << BITS];
    let mut repeats = 0;
    for at in 0..data.len() - 3 {
        let place = &mut places[(word(at).wrapping_mul(0x9e37_79b1) >> (32 - BITS)) as usize];
        let before = *place as usize;
        repeats += usize::from(before < at && word(before) == word(at));
        if at.is_multiple_of(STEP) {
            *place = at as u32;
        }
    }
    repeats < data.len() / 1024
}

fn gzip(data: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut out = Vec::with_capacity(data.len());
    let status = Compress::new(Compression::new(GZIP_LEVEL), true).compress_vec(data, &mut out, FlushCompress::Finish)?;
    Ok((status == Status::StreamEnd && out.len() < data.len()).then_some(out))
}

/// mksquashfs's parameters: preset 6, dictionary of one block, CRC32 (the kernel's decoder supports no other check).
fn xz(data: &[u8], filter: Option<Bcj>, block_size: u32) -> Result<Option<Vec<u8>>> {
    let mut options = LzmaOptions::new_preset(6).context("xz has no preset 6")?;
    options.dict_size(block_size);
    let mut filters = Filters::new();
    match filter {
        None => {}
        Some(Bcj::X86) => _ = filters.x86(),
        Some(Bcj::Arm) => _ = filters.arm(),
        Some(Bcj::ArmThumb) => _ = filters.arm_thumb(),
    }
    filters.lzma2(&options);
    let mut stream = Stream::new_stream_encoder(&filters, Check::Crc32).context("cannot start xz")?;
    let mut out = Vec::with_capacity(data.len());
    loop {
        let taken = usize::try_from(stream.total_in())?;
        match stream.process_vec(&data[taken..], &mut out, Action::Finish).context("xz failed")? {
            liblzma::stream::Status::StreamEnd => return Ok((out.len() < data.len()).then_some(out)),
            // The buffer is full: the result would not be smaller.
            _ if out.len() == out.capacity() => return Ok(None),
            _ => {}
        }
    }
}

/// Decompresses a block with the compressor number `id` to at most `limit` bytes.
pub(super) fn decompress(id: u16, data: &[u8], limit: usize) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(limit);
    match id {
        1 => {
            let status = flate2::Decompress::new(true)
                .decompress_vec(data, &mut out, flate2::FlushDecompress::Finish)
                .context("a zlib block is damaged")?;
            if status != Status::StreamEnd {
                bail!("a zlib block is truncated, or larger than {limit} bytes");
            }
        }
        4 => {
            let mut stream = Stream::new_stream_decoder(64 << 20, 0).context("cannot start xz")?;
            loop {
                let taken = usize::try_from(stream.total_in())?;
                let before = out.len();
                match stream.process_vec(&data[taken..], &mut out, Action::Finish).context("an xz block is damaged")? {
                    liblzma::stream::Status::StreamEnd => break,
                    _ if out.len() == before || out.len() == out.capacity() => {
                        bail!("an xz block is truncated, or larger than {limit} bytes")
                    }
                    _ => {}
                }
            }
        }
        6 => {
            let mut decoder =
                ruzstd::decoding::StreamingDecoder::new(data).map_err(|error| anyhow::anyhow!("a zstd block is damaged: {error}"))?;
            std::io::Read::read_to_end(&mut std::io::Read::take(&mut decoder, limit as u64 + 1), &mut out)
                .context("a zstd block is damaged")?;
            if out.len() > limit {
                bail!("a zstd block is larger than {limit} bytes");
            }
        }
        other => bail!("unsupported compressor {other}: gzip (1), xz (4) and zstd (6) are supported"),
    }
    Ok(out)
}

/// Name of a compressor number.
pub(super) fn name(id: u16) -> &'static str {
    match id {
        1 => "gzip",
        2 => "lzma",
        3 => "lzo",
        4 => "xz",
        5 => "lz4",
        6 => "zstd",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_not_worth_compressing_and_what_comes_twice_is() {
        let mut state = 1_u64;
        let mut noise: Vec<u8> = (0..1 << 17)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        assert!(looks_random(&noise) && looks_random(&noise[..META_SIZE]));
        assert!(!looks_random(&noise[..META_SIZE - 1]), "too short to tell");
        noise.copy_within(..1 << 10, (1 << 17) - (1 << 10));
        assert!(!looks_random(&noise), "the end is the start");
        let ordered: Vec<u8> = (0..1 << 17).map(|number: u32| number as u8).collect();
        assert!(!looks_random(&ordered) && !looks_random(&[7; 1 << 17]));
    }
}
