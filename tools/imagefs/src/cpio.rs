//! Reads cpio archives of the format newc, as the kernel's initrd: several archives may follow each other, plain or compressed.

use crate::source::{Shared, bytes_at, unpacked};
use anyhow::{Context as _, Result, bail, ensure};
use diskimage::ReadAt as _;
use filetree::{Content, Kind, Meta, Node, Tree};

/// Limits of a name and of a file, in bytes.
const MOST_NAME: u64 = 4096;
const MOST_FILE: u64 = 1 << 30;
/// Limit of all files together, which are kept in memory.
const MOST_FILES: u64 = 2 << 30;

/// The files of all archives in `source`.
pub(crate) fn read(source: &Shared) -> Result<Tree> {
    let mut tree = Tree::new();
    let mut rest = source.clone();
    for _ in 0..8 {
        let end = read_one(&rest, &mut tree)?;
        // Zeros pad the space between two archives.
        let mut at = end;
        while at < rest.size() && bytes_at(&rest, at, 1)? == [0] {
            at += 1;
        }
        if at >= rest.size() {
            return Ok(tree);
        }
        rest = rest.part(at, rest.size() - at)?;
        if let Some(plain) = unpacked(&rest)? {
            rest = plain;
        }
        ensure!(rest.start(5)?.starts_with(b"07070"), "what follows the archive at byte {end} is no archive");
    }
    bail!("more than 8 archives follow each other")
}

/// Reads one archive; returns where it ends.
fn read_one(source: &Shared, tree: &mut Tree) -> Result<u64> {
    let (mut next, mut left) = (0, MOST_FILES);
    loop {
        let at = next;
        let header = bytes_at(source, at, 110).context("the archive is cut off")?;
        ensure!(header.starts_with(b"070701") || header.starts_with(b"070702"), "the header at byte {at} is damaged");
        let field = |number: usize| -> Result<u32> {
            let digits = std::str::from_utf8(&header[6 + number * 8..14 + number * 8]).ok();
            digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).with_context(|| format!("the header at byte {at} is damaged"))
        };
        let (size, name_size) = (u64::from(field(6)?), u64::from(field(11)?));
        ensure!((1..=MOST_NAME).contains(&name_size) && size <= MOST_FILE, "the header at byte {at} is damaged");
        let mut name = bytes_at(source, at + 110, name_size).context("the archive is cut off")?;
        name.pop();
        let data = (at + 110 + name_size).next_multiple_of(4);
        next = (data + size).next_multiple_of(4);
        if name == b"TRAILER!!!" {
            return Ok(next.min(source.size()));
        }
        left = left.checked_sub(size).with_context(|| format!("the files exceed {MOST_FILES} bytes in total"))?;
        let mode = field(1)?;
        let meta = Meta { uid: field(2)?, gid: field(3)?, ..Meta::root(mode & 0o7777, field(5)?.into()) };
        let bytes = bytes_at(source, data, size).context("the archive is cut off")?;
        let device = (field(9)?, field(10)?);
        let kind = match mode >> 12 {
            1 => Kind::Fifo,
            2 => Kind::CharDevice { major: device.0, minor: device.1 },
            4 => Kind::Dir(filetree::Children::new()),
            6 => Kind::BlockDevice { major: device.0, minor: device.1 },
            8 => Kind::File { content: Content::from(bytes), link: None },
            10 => Kind::Symlink(bytes),
            // A socket means nothing in an archive.
            _ => continue,
        };
        tree.insert(&name, Node { meta, kind })?;
    }
}
