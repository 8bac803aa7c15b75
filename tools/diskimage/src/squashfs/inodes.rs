//! Writes inodes and directories: one walk assigns inode numbers, a second writes children before parents.

use super::{
    Options,
    blocks::{Data, Stored},
    dedup::Contents,
    dirs::{self, Place},
    format::{NONE32, device, kind},
    meta::{MetaBlocks, MetaWriter},
    store::BlockStore,
    xattrs::XattrWriter,
};
use anyhow::{Context as _, Result, bail};
use filetree::{Children, Kind, Node, Tree};
use std::collections::{BTreeSet, HashMap};

/// Maximum length of a name: Linux's limit (the format allows one more byte).
const LONGEST_NAME: usize = 255;
/// Maximum length of a symbolic link's target: Linux's limit.
const LONGEST_TARGET: usize = 4095;
/// Added to a directory's size in its inode, for `.` and `..`.
const DIR_EXTRA: u32 = 3;

/// Finished tables of inodes, directories, ids and extended attributes.
pub(super) struct Inodes {
    /// Compressed inode table.
    pub inodes: MetaBlocks,
    /// Compressed directory table.
    pub dirs: MetaBlocks,
    /// Number of inodes.
    pub count: u32,
    /// Reference of the root inode.
    pub root: u64,
    /// Reference of each inode, by inode number minus one.
    pub export: Vec<u64>,
    /// Distinct uids and gids.
    pub ids: Vec<u32>,
    /// Compressed attribute values.
    pub xattr_values: MetaBlocks,
    /// Entries of the attribute table.
    pub xattr_rows: Vec<[u8; 16]>,
}

struct Writer<'w> {
    contents: &'w Contents<'w>,
    data: &'w Data,
    inodes: MetaWriter<'w>,
    dirs: MetaWriter<'w>,
    xattrs: XattrWriter<'w>,
    ids: Vec<u32>,
    id_index: HashMap<u32, u16>,
    numbers: Numbers,
    export: Vec<u64>,
    written_links: HashMap<u64, Place>,
}

/// Inode numbers by path, and the number of names of each hard-linked file.
#[derive(Default)]
struct Numbers {
    next: u32,
    by_path: HashMap<Vec<u8>, u32>,
    by_link: HashMap<u64, u32>,
    names: HashMap<u64, u32>,
}

impl Numbers {
    fn of(tree: &Tree) -> Result<Self> {
        let mut numbers = Self::default();
        tree.walk(&mut |path, node| {
            let link = link_of(node);
            if let Some(link) = link {
                *numbers.names.entry(link).or_default() += 1;
            }
            let number = match link.and_then(|link| numbers.by_link.get(&link).copied()) {
                Some(number) => number,
                None => {
                    numbers.next += 1;
                    numbers.next
                }
            };
            if let Some(link) = link {
                numbers.by_link.insert(link, number);
            }
            numbers.by_path.insert(path.to_vec(), number);
            Ok(())
        })?;
        Ok(numbers)
    }
}

fn link_of(node: &Node) -> Option<u64> {
    match node.kind {
        Kind::File { link, .. } => link,
        _ => None,
    }
}

/// Metadata blocks that `store` knows are not compressed.
pub(super) fn write(tree: &Tree, contents: &Contents<'_>, data: &Data, options: &Options, store: Option<&BlockStore>) -> Result<Inodes> {
    let meta = || MetaWriter::new(options, store);
    let numbers = Numbers::of(tree)?;
    let count = numbers.next;
    let mut writer = Writer {
        contents,
        data,
        inodes: meta(),
        dirs: meta(),
        xattrs: XattrWriter::new(meta()),
        ids: Vec::new(),
        id_index: HashMap::new(),
        export: vec![0; count as usize],
        numbers,
        written_links: HashMap::new(),
    };
    // Ids are sorted by value, independent of the walk.
    let mut owners = BTreeSet::new();
    tree.walk(&mut |_, node| {
        owners.extend([node.meta.uid, node.meta.gid]);
        Ok(())
    })?;
    for (index, id) in owners.into_iter().enumerate() {
        // The superblock counts ids in 16 bits, so the last index is 65534.
        let index = u16::try_from(index).ok().filter(|index| *index < u16::MAX);
        let index = index.context("the tree has more than 65535 different owners, the limit of squashfs")?;
        writer.id_index.insert(id, index);
        writer.ids.push(id);
    }
    let root = writer.node(&mut Vec::new(), &tree.root, count + 1)?;
    let (xattr_values, xattr_rows) = (writer.xattrs.values.finish()?, writer.xattrs.rows);
    Ok(Inodes {
        inodes: writer.inodes.finish()?,
        dirs: writer.dirs.finish()?,
        count,
        root: root.start << 16 | u64::from(root.offset),
        export: writer.export,
        ids: writer.ids,
        xattr_values,
        xattr_rows,
    })
}

impl Writer<'_> {
    /// Writes the node after all its children. `parent` is the inode number of its parent directory.
    fn node(&mut self, path: &mut Vec<u8>, node: &Node, parent: u32) -> Result<Place> {
        let link = link_of(node);
        if let Some(place) = link.and_then(|link| self.written_links.get(&link)) {
            return Ok(*place);
        }
        let number = self.numbers.by_path[path.as_slice()];
        let xattr = self.xattrs.add(&node.meta.xattrs, path)?;
        let (kind, body) = match &node.kind {
            Kind::Dir(children) => self.dir(path, children, number, parent, xattr)?,
            Kind::File { .. } => self.file(path, link, xattr)?,
            Kind::Symlink(target) => {
                if target.is_empty() || target.len() > LONGEST_TARGET {
                    bail!("the link `{}` has a target of {} bytes; Linux allows 1 to {LONGEST_TARGET}", name(path), target.len());
                }
                let mut body = 1u32.to_le_bytes().to_vec();
                body.extend_from_slice(&u32::try_from(target.len())?.to_le_bytes());
                body.extend_from_slice(target);
                with_xattr(kind::SYMLINK, body, xattr)
            }
            Kind::CharDevice { major, minor } => with_xattr(kind::CHAR, device_body(path, *major, *minor)?, xattr),
            Kind::BlockDevice { major, minor } => with_xattr(kind::BLOCK, device_body(path, *major, *minor)?, xattr),
            Kind::Fifo => with_xattr(kind::FIFO, 1u32.to_le_bytes().to_vec(), xattr),
        };
        let (start, offset) = self.inodes.position();
        self.export[number as usize - 1] = self.inodes.reference();
        self.header(kind, node, number, path)?;
        self.inodes.push(&body)?;
        let basic = if kind > kind::EXTENDED { kind - kind::EXTENDED } else { kind };
        let place = Place { start, offset, number, kind: basic };
        if let Some(link) = link {
            self.written_links.insert(link, place);
        }
        Ok(place)
    }

    fn header(&mut self, kind: u16, node: &Node, number: u32, path: &[u8]) -> Result<()> {
        let meta = &node.meta;
        let mtime = u32::try_from(meta.mtime.max(0))
            .with_context(|| format!("the time of `{}` is after 2106, the limit of squashfs", name(path)))?;
        let mut header = Vec::with_capacity(16);
        for value in [kind, u16::try_from(meta.mode & 0o7777)?, self.id_index[&meta.uid], self.id_index[&meta.gid]] {
            header.extend_from_slice(&value.to_le_bytes());
        }
        header.extend_from_slice(&mtime.to_le_bytes());
        header.extend_from_slice(&number.to_le_bytes());
        self.inodes.push(&header)
    }

    fn dir(&mut self, path: &mut Vec<u8>, children: &Children, number: u32, parent: u32, xattr: Option<u32>) -> Result<(u16, Vec<u8>)> {
        let mut places = Vec::with_capacity(children.len());
        let mut subdirs = 0;
        for (entry, child) in children {
            if entry.is_empty() || entry.len() > LONGEST_NAME {
                bail!("`{}` contains a name of {} bytes; Linux allows 1 to {LONGEST_NAME}", name(path), entry.len());
            }
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(entry);
            places.push((entry.as_slice(), self.node(path, child, number)?));
            path.truncate(length);
            subdirs += u32::from(matches!(child.kind, Kind::Dir(_)));
        }
        let listing = dirs::write(&mut self.dirs, &places)?;
        let size =
            listing.size.checked_add(DIR_EXTRA).with_context(|| format!("the listing of the directory `{}` exceeds 4 GiB", name(path)))?;
        let links = subdirs + 2;
        let mut body = Vec::new();
        match (u16::try_from(size), xattr) {
            (Ok(size), None) => {
                body.extend_from_slice(&listing.start.to_le_bytes());
                body.extend_from_slice(&links.to_le_bytes());
                body.extend_from_slice(&size.to_le_bytes());
                body.extend_from_slice(&listing.offset.to_le_bytes());
                body.extend_from_slice(&parent.to_le_bytes());
                Ok((kind::DIR, body))
            }
            _ => {
                for value in [links, size, listing.start, parent] {
                    body.extend_from_slice(&value.to_le_bytes());
                }
                body.extend_from_slice(&listing.index_count.to_le_bytes());
                body.extend_from_slice(&listing.offset.to_le_bytes());
                body.extend_from_slice(&xattr.unwrap_or(NONE32).to_le_bytes());
                body.extend_from_slice(&listing.index);
                Ok((kind::DIR + kind::EXTENDED, body))
            }
        }
    }

    fn file(&self, path: &[u8], link: Option<u64>, xattr: Option<u32>) -> Result<(u16, Vec<u8>)> {
        let empty = Stored::nowhere();
        let (stored, size) = match self.contents.of_path.get(path) {
            Some(index) => (&self.data.files[*index], self.contents.distinct[*index].0.len()),
            None => (&empty, 0),
        };
        let names = link.map_or(1, |link| self.numbers.names[&link]);
        let mut body = Vec::with_capacity(40 + stored.sizes.len() * 4);
        let basic = (u32::try_from(stored.start), u32::try_from(size));
        let kind = match basic {
            (Ok(start), Ok(size)) if names == 1 && xattr.is_none() && stored.sparse == 0 => {
                for value in [start, stored.fragment, stored.offset, size] {
                    body.extend_from_slice(&value.to_le_bytes());
                }
                kind::FILE
            }
            _ => {
                for value in [stored.start, size, stored.sparse] {
                    body.extend_from_slice(&value.to_le_bytes());
                }
                for value in [names, stored.fragment, stored.offset, xattr.unwrap_or(NONE32)] {
                    body.extend_from_slice(&value.to_le_bytes());
                }
                kind::FILE + kind::EXTENDED
            }
        };
        for size in &stored.sizes {
            body.extend_from_slice(&size.to_le_bytes());
        }
        Ok((kind, body))
    }
}

fn device_body(path: &[u8], major: u32, minor: u32) -> Result<Vec<u8>> {
    let number = device(major, minor)
        .with_context(|| format!("the device `{}` has the numbers {major}, {minor}; Linux allows at most 4095, 1048575", name(path)))?;
    Ok([1u32.to_le_bytes(), number.to_le_bytes()].concat())
}

fn name(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// The basic form, or the extended one if there are attributes.
fn with_xattr(kind: u16, mut body: Vec<u8>, xattr: Option<u32>) -> (u16, Vec<u8>) {
    match xattr {
        None => (kind, body),
        Some(number) => {
            body.extend_from_slice(&number.to_le_bytes());
            (kind + kind::EXTENDED, body)
        }
    }
}
