//! Assigns inodes and blocks to all files, and writes the file system.

use super::{
    BLOCK, BLOCK_BYTES, Options,
    dirs::{self, DIRECTORY, Entry},
    geometry::{Allocator, Geometry, INODE},
    inode::{self, Inode},
    superblock::{self, FIRST_INODE, Free, Group},
    xattrs::{self, Xattrs},
};
use crate::sparse::{Meter, copy_content};
use anyhow::{Context as _, Result, bail};
use filetree::{Children, Content, Kind, Meta, Node, Tree};
use std::{
    collections::{HashMap, HashSet},
    fs::File,
    ops::Range,
    os::unix::fs::FileExt as _,
};

/// A validated file system. It refers to file contents without holding them.
#[derive(Clone, Debug)]
pub struct Layout {
    options: Options,
    geometry: Geometry,
    allocator: Allocator,
    tables: Tables,
    /// Inodes from number 1 on; unused ones have no links.
    inodes: Vec<Inode>,
    contents: Vec<(Vec<Range<u64>>, Content)>,
}

/// First blocks of each group's metadata: bitmaps of all groups in a row, inode tables one by one.
#[derive(Clone, Debug)]
struct Tables {
    block_bitmaps: u64,
    inode_bitmaps: u64,
    inodes: Vec<u64>,
}

const ROOT: u32 = 2;
const LOST_AND_FOUND: &[u8] = b"lost+found";
/// Blocks of lost+found: e2fsck needs preallocated space.
const LOST_BLOCKS: usize = 4;
const MODE_DIR: u16 = 0o040_000;

pub(super) fn plan(tree: &Tree, options: &Options) -> Result<Layout> {
    if options.label.len() > 16 || options.label.contains('\0') {
        bail!("invalid ext4 label `{}`: at most 16 bytes", options.label.escape_debug());
    }
    let geometry = Geometry::choose(options.size, count_inodes(tree)?)?;
    let mut allocator = Allocator::new(geometry.clone());
    let tables = Tables {
        block_bitmaps: allocator.take(geometry.groups).start,
        inode_bitmaps: allocator.take(geometry.groups).start,
        inodes: (0..geometry.groups).map(|_| allocator.take(geometry.inode_blocks()).start).collect(),
    };
    let inodes = vec![Inode::default(); FIRST_INODE as usize - 1];
    let mut planner = Planner { allocator, inodes, contents: Vec::new(), links: HashMap::new(), mtime: options.mtime };
    let Some(children) = tree.root.children() else { bail!("the tree's root is not a directory") };
    planner.place_directory(&mut Vec::new(), &tree.root.meta, children, ROOT, ROOT)?;
    let Planner { allocator, inodes, contents, .. } = planner;
    if allocator.end() > geometry.blocks {
        bail!("the files do not fit: they need {} bytes, the ext4 has {}", allocator.end().saturating_mul(BLOCK), geometry.blocks * BLOCK);
    }
    Ok(Layout { options: options.clone(), geometry, allocator, tables, inodes, contents })
}

/// Number of inodes that the tree needs, including the reserved ones and lost+found.
fn count_inodes(tree: &Tree) -> Result<u64> {
    let mut seen = HashSet::new();
    let mut count = u64::from(FIRST_INODE);
    tree.walk(&mut |_, node| {
        let again = matches!(&node.kind, Kind::File { link: Some(link), .. } if !seen.insert(*link));
        count += u64::from(!again);
        Ok(())
    })?;
    Ok(count)
}

struct Planner {
    allocator: Allocator,
    inodes: Vec<Inode>,
    contents: Vec<(Vec<Range<u64>>, Content)>,
    /// Inodes of hard links.
    links: HashMap<u64, u32>,
    mtime: u32,
}

impl Planner {
    fn new_inode(&mut self) -> Result<u32> {
        self.inodes.push(Inode::default());
        u32::try_from(self.inodes.len()).context("an ext4 has at most 2^32 files")
    }

    fn inode(&mut self, number: u32) -> &mut Inode {
        &mut self.inodes[number as usize - 1]
    }

    /// Places a directory and its children.
    fn place_directory(&mut self, path: &mut Vec<u8>, meta: &Meta, children: &Children, number: u32, parent: u32) -> Result<()> {
        let mut entries = vec![Entry { name: b".", inode: number, kind: DIRECTORY }, Entry { name: b"..", inode: parent, kind: DIRECTORY }];
        let mut links: usize = 2;
        if number == ROOT && !children.contains_key(LOST_AND_FOUND) {
            let inode = self.place_lost_and_found()?;
            entries.push(Entry { name: LOST_AND_FOUND, inode, kind: DIRECTORY });
            links += 1;
        }
        for (name, node) in children {
            let length = path.len();
            path.push(b'/');
            path.extend_from_slice(name);
            let inode = self.place(path, name, node, number)?;
            path.truncate(length);
            links += usize::from(matches!(node.kind, Kind::Dir(_)));
            entries.push(Entry { name, inode, kind: dirs::type_of(&node.kind) });
        }
        let shown = || String::from_utf8_lossy(if path.is_empty() { b"/" } else { path }).into_owned();
        let Ok(links) = u16::try_from(links).map_err(|_| ()).and_then(|links| if links <= 65_000 { Ok(links) } else { Err(()) }) else {
            bail!("`{}` has {} subdirectories, more than the 64998 of ext4", shown(), links - 2);
        };
        self.finish_directory(number, &entries, 1)?;
        let inode = self.inode(number);
        inode.links = links;
        self.set_meta(number, MODE_DIR, meta).with_context(|| format!("cannot store `{}` in an ext4", shown()))
    }

    fn finish_directory(&mut self, number: u32, entries: &[Entry<'_>], least: usize) -> Result<()> {
        let (bytes, blocks) = dirs::encode(entries, least);
        self.set_content(number, Content::from(bytes), blocks)?;
        self.inode(number).size = blocks * BLOCK;
        Ok(())
    }

    fn place_lost_and_found(&mut self) -> Result<u32> {
        let number = self.new_inode()?;
        let entries = [Entry { name: b".", inode: number, kind: DIRECTORY }, Entry { name: b"..", inode: ROOT, kind: DIRECTORY }];
        self.finish_directory(number, &entries, LOST_BLOCKS)?;
        self.inode(number).links = 2;
        self.set_meta(number, MODE_DIR, &Meta::root(0o700, self.mtime.into()))?;
        Ok(number)
    }

    /// Places a node; returns its inode.
    fn place(&mut self, path: &mut Vec<u8>, name: &[u8], node: &Node, parent: u32) -> Result<u32> {
        let shown = |path: &[u8]| format!("cannot store `{}` in an ext4", String::from_utf8_lossy(path));
        if name.len() > 255 {
            bail!("{}: the name has {} bytes, more than 255", shown(path), name.len());
        }
        if let Kind::File { link: Some(link), .. } = &node.kind
            && let Some(number) = self.links.get(link).copied()
        {
            let inode = self.inode(number);
            inode.links = inode
                .links
                .checked_add(1)
                .filter(|links| *links <= 65_000)
                .with_context(|| format!("{}: more than 65000 hard links", shown(path)))?;
            return Ok(number);
        }
        let number = self.new_inode()?;
        if let Kind::Dir(children) = &node.kind {
            self.place_directory(path, &node.meta, children, number, parent)?;
            return Ok(number);
        }
        self.inode(number).links = 1;
        self.place_other(number, node).with_context(|| shown(path))?;
        Ok(number)
    }

    /// Places a node that is no directory.
    fn place_other(&mut self, number: u32, node: &Node) -> Result<()> {
        let kind = match &node.kind {
            Kind::Dir(_) => MODE_DIR,
            Kind::File { content, link } => {
                if let Some(link) = link {
                    self.links.insert(*link, number);
                }
                self.inode(number).size = content.len();
                self.set_content(number, content.clone(), content.len().div_ceil(BLOCK))?;
                0o100_000
            }
            Kind::Symlink(target) => {
                if target.is_empty() || target.len() >= BLOCK_BYTES {
                    bail!("the target of a symbolic link must have 1 to 4095 bytes, not {}", target.len());
                }
                self.inode(number).size = target.len() as u64;
                if target.len() <= inode::FAST_LINK {
                    self.inode(number).place.clone_from(target);
                } else {
                    self.set_content(number, Content::from(target.clone()), 1)?;
                }
                0o120_000
            }
            Kind::CharDevice { major, minor } => {
                self.inode(number).place = device(*major, *minor);
                0o020_000
            }
            Kind::BlockDevice { major, minor } => {
                self.inode(number).place = device(*major, *minor);
                0o060_000
            }
            Kind::Fifo => 0o010_000,
        };
        self.set_meta(number, kind, &node.meta)
    }

    /// Allocates blocks for an inode and assigns the content to them.
    fn set_content(&mut self, number: u32, content: Content, blocks: u64) -> Result<()> {
        let extents = self.allocator.take_extents(blocks);
        if extents.len() > inode::MOST {
            bail!("its {} bytes need too many extents", content.len());
        }
        let allocator = &mut self.allocator;
        let (place, leaves) = inode::encode_extents(&extents, || allocator.take(1).start);
        let inode = self.inode(number);
        inode.extents = true;
        inode.place = place;
        inode.blocks = blocks + leaves.len() as u64;
        let one = |block| std::iter::once(block..block + 1).collect();
        self.contents.extend(leaves.into_iter().map(|(block, bytes)| (one(block), Content::from(bytes))));
        if !content.is_empty() {
            self.contents.push((extents, content));
        }
        Ok(())
    }

    fn set_meta(&mut self, number: u32, kind: u16, meta: &Meta) -> Result<()> {
        let xattrs = xattrs::encode(&meta.xattrs)?;
        let block = matches!(xattrs, Xattrs::Block(_)).then(|| self.allocator.take(1));
        let inode = self.inode(number);
        inode.mode = kind | u16::try_from(meta.mode & 0o7777)?;
        (inode.uid, inode.gid, inode.mtime) = (meta.uid, meta.gid, meta.mtime);
        match (xattrs, block) {
            (Xattrs::Inside(bytes), _) => inode.xattrs = bytes,
            (Xattrs::Block(bytes), Some(block)) => {
                inode.xattr_block = u32::try_from(block.start).unwrap_or(u32::MAX);
                inode.blocks += 1;
                self.contents.push((vec![block], Content::from(bytes)));
            }
            _ => {}
        }
        Ok(())
    }
}

/// A device number: the old encoding if it fits, else the new one after a zero.
fn device(major: u32, minor: u32) -> Vec<u8> {
    if major < 256 && minor < 256 {
        return (major << 8 | minor).to_le_bytes().to_vec();
    }
    let new = minor & 0xff | major << 8 | (minor & !0xff) << 12;
    [[0; 4], new.to_le_bytes()].concat()
}

impl Layout {
    /// Size of the file system in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.options.size
    }

    /// Free space in bytes.
    #[must_use]
    pub fn free(&self) -> u64 {
        (0..self.geometry.groups).map(|group| self.allocator.bitmap(group).1 * BLOCK).sum()
    }

    /// Writes the file system to `out`, sparse; overwrites all old content.
    pub fn write(&self, out: &File) -> Result<()> {
        self.write_with(&|_, _| {}, out)
    }

    /// The same; `progress` gets the bytes of files that are written, and those of all files.
    pub fn write_with(&self, progress: &dyn Fn(u64, u64), out: &File) -> Result<()> {
        out.set_len(0).context("cannot empty the image file")?;
        out.set_len(self.size()).with_context(|| format!("cannot set the size of the image file to {} bytes", self.size()))?;
        let groups = self.write_groups(out)?;
        let free =
            Free { blocks: groups.iter().map(|group| group.free.blocks).sum(), inodes: groups.iter().map(|group| group.free.inodes).sum() };
        let table: Vec<u8> = groups.iter().flat_map(Group::encode).collect();
        for number in (0..self.geometry.groups).filter(|number| Geometry::has_superblock(*number)) {
            let start = self.geometry.blocks_of(number).start * BLOCK;
            let offset = if number == 0 { 1024 } else { 0 };
            put(out, &superblock::encode(&self.geometry, &self.options, free, number), start + offset)?;
            put(out, &table, start + BLOCK)?;
        }
        let meter = Meter::new(self.contents.iter().map(|(_, content)| content.len()).sum(), progress);
        for (extents, content) in &self.contents {
            write_content(out, extents, content, &meter)?;
        }
        Ok(())
    }

    /// Writes bitmaps and inode tables of all groups; returns their descriptors.
    fn write_groups(&self, out: &File) -> Result<Vec<Group>> {
        let per_group = usize::try_from(self.geometry.inodes_per_group)?;
        (0..self.geometry.groups)
            .map(|number| {
                let first = usize::try_from(number)? * per_group;
                let inodes = self.inodes.get(first..).unwrap_or_default();
                let inodes = &inodes[..inodes.len().min(per_group)];
                let (bitmap, free_blocks) = self.allocator.bitmap(number);
                let group = Group {
                    block_bitmap: self.tables.block_bitmaps + number,
                    inode_bitmap: self.tables.inode_bitmaps + number,
                    inode_table: self.tables.inodes[usize::try_from(number)?],
                    free: Free { blocks: free_blocks, inodes: (per_group - inodes.len()) as u64 },
                    directories: inodes.iter().filter(|inode| inode.mode & 0o170_000 == MODE_DIR).count() as u64,
                };
                put(out, &bitmap, group.block_bitmap * BLOCK)?;
                // Reserved inodes, and bits beyond the table, are marked as used.
                let mut bits = vec![0_u8; BLOCK_BYTES];
                (0..inodes.len()).chain(per_group..BLOCK_BYTES * 8).for_each(|bit| bits[bit / 8] |= 1 << (bit % 8));
                put(out, &bits, group.inode_bitmap * BLOCK)?;
                for (index, part) in inodes.chunks(4096).enumerate() {
                    let bytes: Vec<u8> = part.iter().flat_map(|inode| if inode.links == 0 { [0; INODE] } else { inode.encode() }).collect();
                    put(out, &bytes, group.inode_table * BLOCK + (index * 4096 * INODE) as u64)?;
                }
                Ok(group)
            })
            .collect()
    }
}

fn put(out: &File, bytes: &[u8], at: u64) -> Result<()> {
    out.write_all_at(bytes, at).context("cannot write the ext4")
}

fn write_content(out: &File, extents: &[Range<u64>], content: &Content, meter: &Meter<'_>) -> Result<()> {
    if let [extent] = extents {
        return copy_content(content, out, extent.start * BLOCK, meter);
    }
    let mut done = 0;
    for extent in extents {
        let len = ((extent.end - extent.start) * BLOCK).min(content.len() - done);
        copy_content(&content.slice(done, len)?, out, extent.start * BLOCK, meter)?;
        done += len;
    }
    Ok(())
}
