//! A disk for Google Compute Engine: `NAME.img.tar.gz`, a gzip-compressed tar with one member `disk.raw` in old GNU sparse
//! format (GNU tar manual, "Storing Sparse Files").

mod gzip;
mod header;
#[cfg(test)]
mod tests;

use crate::{
    gpt::SECTOR,
    sparse::{Extent, extents},
};
use anyhow::{Context as _, Result, bail};
use std::{fs::File, io::Write, os::unix::fs::FileExt as _, sync::Arc};

/// Settings of the archive.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size of the disk in bytes (`MEDIA_SIZE`): a multiple of 512, at least the image's size. Google requires whole GiB.
    pub size: u64,
    /// Mtime of the member: Unix timestamp.
    pub mtime: u32,
    /// Number of compression threads; does not affect the result.
    pub threads: usize,
}

impl Options {
    /// Settings that use all cores.
    #[must_use]
    pub fn new(size: u64, mtime: u32) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { size, mtime, threads }
    }
}

/// Plan of an archive: the non-zero regions of the disk.
#[derive(Clone, Debug)]
pub struct Layout {
    disk: Arc<File>,
    options: Options,
    regions: Vec<Extent>,
}

/// Size and alignment of the zero blocks that are omitted, in bytes.
const GRAIN: u64 = 64 << 10;
/// A tar ends with two zero blocks, padded to a whole record.
const END: u64 = 2 * SECTOR;
const RECORD: u64 = 20 * SECTOR;

/// Finds the non-zero regions of `disk` (a regular file); skips holes. The archive depends on the disk's bytes only, not on its
/// holes.
pub fn layout(disk: File, options: &Options) -> Result<Layout> {
    let len = disk.metadata().context("cannot read the metadata of the disk image")?.len();
    if !options.size.is_multiple_of(SECTOR) || !len.is_multiple_of(SECTOR) {
        bail!("a disk of {} bytes from an image of {len} bytes: both must be multiples of {SECTOR}", options.size);
    }
    if len > options.size {
        bail!("the image has {len} bytes, more than the disk's {}", options.size);
    }
    let regions = find_data(&disk, len)?;
    Ok(Layout { disk: Arc::new(disk), options: options.clone(), regions })
}

/// Runs of non-zero grains.
fn find_data(disk: &File, len: u64) -> Result<Vec<Extent>> {
    let mut found: Vec<Extent> = Vec::new();
    let mut buffer = vec![0; usize::try_from(16 * GRAIN)?];
    let mut done = 0;
    for extent in extents(disk, 0, len)? {
        let end = (extent.offset + extent.len).next_multiple_of(GRAIN).min(len);
        let mut at = (extent.offset / GRAIN * GRAIN).max(done);
        while at < end {
            let part = &mut buffer[..usize::try_from((end - at).min(16 * GRAIN))?];
            disk.read_exact_at(part, at).context("cannot read the disk image")?;
            for grain in part.chunks(usize::try_from(GRAIN)?) {
                let grain_len = grain.len() as u64;
                if !is_zero(grain) {
                    match found.last_mut() {
                        Some(last) if last.offset + last.len == at => last.len += grain_len,
                        _ => found.push(Extent { offset: at, len: grain_len }),
                    }
                }
                at += grain_len;
            }
        }
        done = done.max(end);
    }
    Ok(found)
}

fn is_zero(bytes: &[u8]) -> bool {
    // Small pieces let the compiler vectorize, and end the check early on data.
    bytes.chunks(512).all(|piece| piece.iter().fold(0, |all, byte| all | byte) == 0)
}

impl Layout {
    /// Size of the disk's data in the archive, uncompressed.
    #[must_use]
    pub fn data(&self) -> u64 {
        self.regions.iter().map(|region| region.len).sum()
    }

    /// Writes the archive; returns its size in bytes.
    pub fn write(&self, out: &mut dyn Write) -> Result<u64> {
        self.write_with(&|_, _| {}, out)
    }

    /// The same; `progress` gets the bytes that are compressed, and those of the whole tar.
    pub fn write_with(&self, progress: &dyn Fn(u64, u64), out: &mut dyn Write) -> Result<u64> {
        let head = header::encode("disk.raw", self.options.size, self.options.mtime, &self.regions);
        gzip::write(&Stream::new(self, head), self.options.threads, progress, out)
    }
}

/// The tar with random access: headers, regions of the disk, zeros.
struct Stream<'l> {
    disk: &'l File,
    head: Vec<u8>,
    /// Offset of each region in the tar.
    regions: Vec<(u64, Extent)>,
    len: u64,
}

impl<'l> Stream<'l> {
    fn new(layout: &'l Layout, head: Vec<u8>) -> Self {
        let mut at = head.len() as u64;
        let mut regions = Vec::new();
        for region in &layout.regions {
            regions.push((at, *region));
            at += region.len;
        }
        Self { disk: &layout.disk, head, regions, len: (at + END).next_multiple_of(RECORD) }
    }

    /// Fills `buffer` with the tar's bytes from `at` on; must be inside the tar.
    fn read(&self, buffer: &mut [u8], at: u64) -> Result<()> {
        buffer.fill(0);
        let end = at + buffer.len() as u64;
        if at < self.head.len() as u64 {
            let start = usize::try_from(at)?;
            let len = buffer.len().min(self.head.len() - start);
            buffer[..len].copy_from_slice(&self.head[start..start + len]);
        }
        let first = self.regions.partition_point(|(place, region)| place + region.len <= at);
        for (place, region) in self.regions[first..].iter().take_while(|(place, _)| *place < end) {
            let (from, to) = ((*place).max(at), (place + region.len).min(end));
            let part = &mut buffer[usize::try_from(from - at)?..usize::try_from(to - at)?];
            self.disk.read_exact_at(part, region.offset + (from - place)).context("cannot read the disk image")?;
        }
        Ok(())
    }
}
