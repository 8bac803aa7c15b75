//! A disk for Google's cloud: `NAME.img.tar.gz`, a gzip'd tar with one member, `disk.raw`, in old GNU's sparse form (GNU tar's
//! manual, "Storing Sparse Files"), as Google's import takes it.

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

/// How the archive is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size of the disk in bytes (`MEDIA_SIZE`), a multiple of 512, at least the image's. Google's cloud takes whole GiB.
    pub size: u64,
    /// Time of the member, seconds since the epoch.
    pub mtime: u32,
    /// Blocks compressed at a time; the bytes do not depend on it.
    pub threads: usize,
}

impl Options {
    /// Every core.
    #[must_use]
    pub fn new(size: u64, mtime: u32) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { size, mtime, threads }
    }
}

/// What an archive will hold: the places of the disk that are not zeros.
#[derive(Clone, Debug)]
pub struct Layout {
    disk: Arc<File>,
    options: Options,
    regions: Vec<Extent>,
}

/// Zeros are left out in runs of so many bytes, at multiples of it.
const GRAIN: u64 = 64 << 10;
/// The tar ends with two empty blocks, and then with what fills its last record.
const END: u64 = 2 * SECTOR;
const RECORD: u64 = 20 * SECTOR;

/// Looks through `disk` (a regular file) for what is not zeros; holes are not read. What the archive holds depends on the
/// bytes of the disk alone, not on where its file system has holes.
pub fn layout(disk: File, options: &Options) -> Result<Layout> {
    let len = disk.metadata().context("cannot look at the disk image")?.len();
    if !options.size.is_multiple_of(SECTOR) || !len.is_multiple_of(SECTOR) {
        bail!("a disk of {} bytes from an image of {len}: both must be multiples of {SECTOR}", options.size);
    }
    if len > options.size {
        bail!("the image has {len} bytes, more than the {} that the disk is to have", options.size);
    }
    let regions = find_data(&disk, len)?;
    Ok(Layout { disk: Arc::new(disk), options: options.clone(), regions })
}

/// The runs of grains that are not all zeros.
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
    // In pieces, so that the compiler makes wide comparisons and data is told by its first piece.
    bytes.chunks(512).all(|piece| piece.iter().fold(0, |all, byte| all | byte) == 0)
}

impl Layout {
    /// Bytes of the disk that are in the archive.
    #[must_use]
    pub fn data(&self) -> u64 {
        self.regions.iter().map(|region| region.len).sum()
    }

    /// Writes the archive; gives its bytes.
    pub fn write(&self, out: &mut dyn Write) -> Result<u64> {
        let head = header::encode("disk.raw", self.options.size, self.options.mtime, &self.regions);
        gzip::write(&Stream::new(self, head), self.options.threads, out)
    }
}

/// The tar as bytes by position: its headers, the disk's regions one behind the other, zeros.
struct Stream<'l> {
    disk: &'l File,
    head: Vec<u8>,
    /// Where each region stands in the tar.
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

    /// Fills `buffer`, which lies inside the tar, from `at` on.
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
