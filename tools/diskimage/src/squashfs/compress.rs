//! The compressors, a block at a time. What GRUB, the kernel and unsquashfs all read: zlib and xz.

use anyhow::{Context as _, Result, bail};
use flate2::{Compress, Compression, FlushCompress, Status};
use liblzma::stream::{Action, Check, Filters, LzmaOptions, Stream};

/// A filter that xz may put before its dictionary coder, for machine code: those that GRUB's and all kernels' decoders know.
/// (mksquashfs of today also has arm64, which GRUB 2.06 and Linux 6.1 refuse.)
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
    /// The bit in the superblock's compressor options.
    fn bit(self) -> u32 {
        match self {
            Self::X86 => 0x1,
            Self::Arm => 0x8,
            Self::ArmThumb => 0x10,
        }
    }
}

/// A compressor of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compressor {
    /// Small. Each block is tried without and with each filter, and the smallest is kept.
    Xz {
        /// Filters to try.
        bcj: Vec<Bcj>,
    },
    /// Fast: zlib.
    Gzip,
}

/// zlib's level: half the time of mksquashfs's 9 for one percent of size.
const GZIP_LEVEL: u32 = 6;

impl Compressor {
    /// Its number in the superblock.
    pub(super) fn id(&self) -> u16 {
        match self {
            Self::Gzip => 1,
            Self::Xz { .. } => 4,
        }
    }

    /// The options that stand behind the superblock; none where they are the defaults.
    pub(super) fn options(&self, block_size: u32) -> Option<Vec<u8>> {
        match self {
            Self::Xz { bcj } if !bcj.is_empty() => {
                let bits = bcj.iter().fold(0, |bits, filter| bits | filter.bit());
                Some([block_size.to_le_bytes(), bits.to_le_bytes()].concat())
            }
            _ => None,
        }
    }

    /// Bytes that one thread takes to compress, beside the block itself: what xz's documentation says of its match finder,
    /// rounded up.
    pub(super) fn memory(&self, block_size: u32) -> usize {
        match self {
            Self::Gzip => 1 << 20,
            Self::Xz { .. } => 12 * block_size as usize + (2 << 20),
        }
    }

    /// The compressed bytes; none when they would not be fewer than `data`.
    pub(super) fn compress(&self, data: &[u8], block_size: u32) -> Result<Option<Vec<u8>>> {
        match self {
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

fn gzip(data: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut out = Vec::with_capacity(data.len());
    let status = Compress::new(Compression::new(GZIP_LEVEL), true).compress_vec(data, &mut out, FlushCompress::Finish)?;
    Ok((status == Status::StreamEnd && out.len() < data.len()).then_some(out))
}

/// The parameters are mksquashfs's: preset 6 with the block as dictionary, CRC32; the kernel's decoder knows no other check.
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
            // The buffer has room for what is worth keeping; more is not.
            _ if out.len() == out.capacity() => return Ok(None),
            _ => {}
        }
    }
}

/// Decompresses a block of an image whose superblock names the compressor `id`, to at most `limit` bytes.
pub(super) fn decompress(id: u16, data: &[u8], limit: usize) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(limit);
    match id {
        1 => {
            let status = flate2::Decompress::new(true)
                .decompress_vec(data, &mut out, flate2::FlushDecompress::Finish)
                .context("a zlib block is damaged")?;
            if status != Status::StreamEnd {
                bail!("a zlib block is cut off, or larger than {limit} bytes");
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
                        bail!("an xz block is cut off, or larger than {limit} bytes")
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
        other => bail!("the image is compressed with method {other}; gzip (1), xz (4) and zstd (6) are known"),
    }
    Ok(out)
}

/// The compressor's name by its number.
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
