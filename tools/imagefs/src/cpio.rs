//! Reads cpio archives of the format newc, as the kernel's initrd: several archives may follow each other, plain or compressed.
//! The input is untrusted.

use crate::source::{Shared, bytes_at, unpacked};
use anyhow::{Context as _, Result, bail, ensure};
use diskimage::ReadAt as _;
use filetree::{Content, Kind, Meta, Node, Tree};
use std::collections::HashMap;

/// Limits of a name or a link's target, and of a file, in bytes.
const MOST_NAME: u64 = 4096;
const MOST_FILE: u64 = 1 << 30;
/// Limit of all files of all archives together, which are kept in memory.
const MOST_FILES: u64 = 2 << 30;
/// Limits of all archives' entries, and of archives.
const MOST_ENTRIES: usize = 1 << 20;
const MOST_ARCHIVES: usize = 8;
/// Bytes that are read at once between two archives.
const CHUNK: u64 = 64 << 10;

/// The files of all archives in `source`.
pub(crate) fn read(source: &Shared) -> Result<Tree> {
    let mut reader = Reader { tree: Tree::new(), left: MOST_FILES, entries: 0, links: 0 };
    let mut rest = source.clone();
    for _ in 0..MOST_ARCHIVES {
        let end = reader.archive(&rest)?;
        let at = after_zeros(&rest, end)?;
        if at >= rest.size() {
            return Ok(reader.tree);
        }
        rest = rest.part(at, rest.size() - at)?;
        if let Some(plain) = unpacked(&rest)? {
            rest = plain;
        }
        ensure!(rest.start(5)?.starts_with(b"07070"), "what follows the archive at byte {end} is no archive");
    }
    bail!("more than {MOST_ARCHIVES} archives follow each other")
}

/// Where the zeros from `at` on end, which pad the space between two archives.
fn after_zeros(source: &Shared, mut at: u64) -> Result<u64> {
    while at < source.size() {
        let piece = bytes_at(source, at, CHUNK.min(source.size() - at))?;
        if let Some(zeros) = piece.iter().position(|byte| *byte != 0) {
            return Ok(at + zeros as u64);
        }
        at += piece.len() as u64;
    }
    Ok(at)
}

/// What all archives together have so far.
struct Reader {
    tree: Tree,
    /// How many more bytes the files may have.
    left: u64,
    entries: usize,
    /// How many files have several names.
    links: u64,
}

/// A file with several names: only one of its entries has the bytes, in most archives the last.
struct Linked {
    link: u64,
    /// The bytes, as soon as they are known.
    content: Option<Content>,
    /// Names that came before the bytes.
    waiting: Vec<Vec<u8>>,
}

/// Files with several names by device and inode, which are those of one archive.
type Links = HashMap<[u32; 3], Linked>;

/// A header.
struct Header {
    fields: [u32; 13],
    name: Vec<u8>,
    /// Where the data starts, and where the next header does.
    data: u64,
    next: u64,
}

impl Header {
    fn read(source: &Shared, at: u64) -> Result<Self> {
        let damaged = || format!("the header at byte {at} is damaged");
        let header = bytes_at(source, at, 110).context("the archive is cut off")?;
        ensure!(header.starts_with(b"070701") || header.starts_with(b"070702"), damaged());
        let mut fields = [0; 13];
        for (field, digits) in fields.iter_mut().zip(header[6..].chunks_exact(8)) {
            let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
            *field = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).with_context(damaged)?;
        }
        let (size, name_size) = (u64::from(fields[6]), u64::from(fields[11]));
        ensure!((1..=MOST_NAME).contains(&name_size) && size <= MOST_FILE, damaged());
        let mut name = bytes_at(source, at + 110, name_size).context("the archive is cut off")?;
        name.pop();
        let data = (at + 110 + name_size).next_multiple_of(4);
        Ok(Self { fields, name, data, next: (data + size).next_multiple_of(4) })
    }

    fn size(&self) -> u64 {
        self.fields[6].into()
    }
}

impl Reader {
    /// Reads one archive; returns where it ends.
    fn archive(&mut self, source: &Shared) -> Result<u64> {
        let (mut next, mut links) = (0, Links::new());
        loop {
            let header = Header::read(source, next)?;
            next = header.next;
            if header.name == b"TRAILER!!!" {
                return Ok(next.min(source.size()));
            }
            self.entries += 1;
            ensure!(self.entries <= MOST_ENTRIES, "the archives have more than {MOST_ENTRIES} entries");
            self.entry(source, &header, &mut links)?;
        }
    }

    fn entry(&mut self, source: &Shared, header: &Header, links: &mut Links) -> Result<()> {
        let [inode, mode, uid, gid, names, time, _, major, minor, device_major, device_minor, ..] = header.fields;
        let size = header.size();
        self.left = self.left.checked_sub(size).with_context(|| format!("the files exceed {MOST_FILES} bytes in total"))?;
        let meta = Meta { uid, gid, ..Meta::root(mode & 0o7777, time.into()) };
        let bytes = bytes_at(source, header.data, size).context("the archive is cut off")?;
        let kind = match mode >> 12 {
            1 => Kind::Fifo,
            2 => Kind::CharDevice { major: device_major, minor: device_minor },
            4 => Kind::Dir(filetree::Children::new()),
            6 => Kind::BlockDevice { major: device_major, minor: device_minor },
            8 if names > 1 => return self.linked(&header.name, meta, bytes, links, [major, minor, inode]),
            8 => Kind::File { content: Content::from(bytes), link: None },
            10 => {
                ensure!(size < MOST_NAME, "a link's target has {size} bytes");
                Kind::Symlink(bytes)
            }
            // A socket means nothing in an archive.
            _ => return Ok(()),
        };
        self.tree.insert(&header.name, Node { meta, kind })
    }

    /// Adds one of several names of a file.
    fn linked(&mut self, name: &[u8], meta: Meta, bytes: Vec<u8>, links: &mut Links, key: [u32; 3]) -> Result<()> {
        // Some writers repeat the bytes; then each name is a file of its own.
        if !bytes.is_empty() && links.get(&key).is_some_and(|linked| linked.content.is_some()) {
            links.remove(&key);
        }
        let linked = links.entry(key).or_insert_with(|| {
            self.links += 1;
            Linked { link: self.links, content: None, waiting: Vec::new() }
        });
        let path = self.tree.resolve(name, false)?;
        if bytes.is_empty() {
            let content = linked.content.clone().unwrap_or_else(|| Content::from(""));
            self.tree.insert(&path, Node { meta, kind: Kind::File { content, link: Some(linked.link) } })?;
            if linked.content.is_none() {
                linked.waiting.push(path);
            }
            return Ok(());
        }
        let content = Content::from(bytes);
        let node = Node { meta, kind: Kind::File { content: content.clone(), link: Some(linked.link) } };
        for earlier in linked.waiting.drain(..) {
            // A later entry may have taken the name.
            if let Some(found) = self.tree.get_mut(&earlier)
                && matches!(found.kind, Kind::File { link, .. } if link == Some(linked.link))
            {
                *found = node.clone();
            }
        }
        linked.content = Some(content);
        self.tree.insert(&path, node)
    }
}
