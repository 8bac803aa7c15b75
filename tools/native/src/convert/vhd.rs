//! Makes a fixed VHD by qemu-img reproducible. Its footer, the last sector, holds the time at which it was made and a random id
//! (Virtual Hard Disk Image Format Specification, version 1.0, "Hard Disk Footer Format"; numbers are big-endian).

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};
use std::{fs::File, ops::Range, os::unix::fs::FileExt as _, path::Path};

const FOOTER: usize = 512;
const COOKIE: &[u8] = b"conectix";
/// Seconds since 2000-01-01 00:00:00 UTC.
const TIME: Range<usize> = 24..28;
/// One's complement of the sum of all bytes of the footer but these.
const CHECKSUM: Range<usize> = 64..68;
const UNIQUE_ID: Range<usize> = 68..84;
/// 2000-01-01 00:00:00 UTC as a Unix timestamp.
const EPOCH_2000: i64 = 946_684_800;

/// Gives the VHD at `path` the time `epoch`, a Unix timestamp, and an id that depends on the rest of its footer.
pub fn pin(path: &Path, epoch: i64) -> Result<()> {
    let file = File::options().read(true).write(true).open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
    let size = file.metadata()?.len();
    let at = size.checked_sub(FOOTER as u64).with_context(|| format!("`{}` is no VHD: it has {size} bytes", path.display()))?;
    let mut footer = [0; FOOTER];
    file.read_exact_at(&mut footer, at).with_context(|| format!("cannot read `{}`", path.display()))?;
    ensure!(footer.starts_with(COOKIE), "`{}` is no VHD: its footer does not begin with conectix", path.display());
    // Azure refuses any other size; MEDIA_SIZE is in MiB.
    ensure!(at % (1 << 20) == 0, "the disk in `{}` has {at} bytes, no whole number of MiB", path.display());
    pin_footer(&mut footer, epoch);
    file.write_all_at(&footer, at).with_context(|| format!("cannot write `{}`", path.display()))
}

fn pin_footer(footer: &mut [u8; FOOTER], epoch: i64) {
    // The format has no times before 2000: write 2000 instead.
    let time = u32::try_from(epoch.saturating_sub(EPOCH_2000).max(0)).unwrap_or(u32::MAX);
    footer[TIME].copy_from_slice(&time.to_be_bytes());
    footer[CHECKSUM].fill(0);
    footer[UNIQUE_ID].fill(0);
    let id = Sha256::digest(&footer[..]);
    footer[UNIQUE_ID].copy_from_slice(&id[..UNIQUE_ID.len()]);
    let sum: u32 = footer.iter().copied().map(u32::from).sum();
    footer[CHECKSUM].copy_from_slice(&(!sum).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::tests;
    use child::Tool;
    use knobs::ImageFormat;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn qemu_img_reads_what_was_made_and_holes_stay() {
        let Some(tools) = tests::tools() else { return };
        let folder = tempfile::tempdir().expect("a folder");
        let step = tests::made(folder.path(), &tools, ImageFormat::Vhd);
        let qemu_img = |words: &[&str]| tools.cmd(Tool::QemuImg).expect("found").args(words);
        qemu_img(&["compare", "-q", "-f", "raw", "-F", "vpc"]).arg(&step.raw).arg(&step.out).run().expect("the same content");
        let info = qemu_img(&["info", "-f", "vpc"]).arg(&step.out).stdout().expect("read");
        let bytes = step.size_mib << 20;
        assert!(info.contains(&format!("({bytes} bytes)")), "{info}");
        let made = step.out.metadata().expect("made");
        assert_eq!(made.len(), bytes + FOOTER as u64);
        assert!(made.blocks() * 512 < bytes / 8, "{} of {bytes} bytes are on the disk", made.blocks() * 512);
        let mut footer = [0; FOOTER];
        File::open(&step.out).expect("open").read_exact_at(&mut footer, bytes).expect("read");
        assert_eq!(footer[TIME], u32::try_from(step.epoch - EPOCH_2000).expect("a time").to_be_bytes());
    }

    #[test]
    fn time_and_id_are_the_only_changes_and_the_checksum_fits() {
        let footer = |noise: u8| {
            let mut footer = [0; FOOTER];
            footer[..8].copy_from_slice(COOKIE);
            footer[TIME].fill(noise);
            footer[UNIQUE_ID].fill(noise);
            pin_footer(&mut footer, EPOCH_2000 + 0x0102_0304);
            footer
        };
        assert_eq!(footer(1), footer(200));
        let mut made = footer(1);
        assert_eq!(made[TIME], [1, 2, 3, 4]);
        let checksum = u32::from_be_bytes(made[CHECKSUM].try_into().expect("4 bytes"));
        made[CHECKSUM].fill(0);
        assert_eq!(checksum, !made.iter().copied().map(u32::from).sum::<u32>());
        let mut old = [0; FOOTER];
        pin_footer(&mut old, 0);
        assert_eq!(old[TIME], [0; 4]);
    }
}
