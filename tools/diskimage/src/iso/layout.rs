//! Assigns blocks in this order: descriptors, directories (level by level), continuation areas, path tables, boot catalog, EFI
//! image, files.

use super::{
    BLOCK, BLOCK_BYTES, Options,
    names::{self, Short},
    susp::{self, Areas, Entries},
    volume::{self, Extent, PathEntry, Primary},
};
use crate::{
    fat,
    gpt::{self, MbrEntry},
    sparse::{Meter, copy_content},
};
use anyhow::{Context as _, Result, bail};
use filetree::{Children, Content, Kind, Node, Tree};
use std::{collections::HashMap, fs::File, os::unix::fs::FileExt as _};

/// A validated volume. It refers to file contents without holding them.
#[derive(Clone, Debug)]
pub struct Layout {
    blocks: u64,
    /// Everything before the files, from [`SYSTEM_AREA`] on.
    head: Vec<u8>,
    efi: Option<(u64, fat::Layout)>,
    contents: Vec<(u64, Content)>,
}

/// Unused blocks at the start.
const SYSTEM_AREA: u64 = 16;
/// Zero blocks after the last file, for drives that read ahead.
const PADDING: u64 = 150;

/// A directory; the first is the root.
struct Directory {
    identifier: Vec<u8>,
    /// Index of the parent directory.
    parent: usize,
    own: Entries,
    above: Entries,
    records: Vec<Record>,
    extent: Extent,
}

struct Record {
    short: Short,
    entries: Entries,
    to: To,
}

/// Target of a record.
#[derive(Clone, Copy)]
enum To {
    Directory(usize),
    File(usize),
    Nothing,
}

/// A file's content; hard links share it.
struct Bytes {
    content: Content,
    extent: Extent,
}

#[derive(Default)]
struct Planner {
    directories: Vec<Directory>,
    files: Vec<Bytes>,
    links: HashMap<u64, usize>,
    areas: Areas,
    stamp: [u8; 7],
}

pub(super) fn plan(tree: &Tree, efi: Option<fat::Layout>, options: &Options) -> Result<Layout> {
    let good = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if options.label.len() > 32 || !options.label.bytes().all(good) {
        bail!("invalid ISO label `{}`: at most 32 upper-case ASCII letters, digits and `_`", options.label.escape_debug());
    }
    let Some(children) = tree.root.children() else { bail!("the tree's root is not a directory") };
    let mut planner = Planner { stamp: volume::stamp(options.mtime), ..Planner::default() };
    planner.place_directories(children)?;
    planner.finish(efi, options)
}

const MODE_DIR: u32 = 0o040_755;

impl Planner {
    /// Places all directories level by level, sorted by identifier, as path tables require.
    fn place_directories(&mut self, root: &Children) -> Result<()> {
        let own = vec![susp::indicator(), susp::attributes(MODE_DIR, links(root)), susp::times(self.stamp), susp::extension()];
        let mut level = vec![(vec![0], 0, own, Vec::new(), root)];
        while !level.is_empty() {
            let mut below = Vec::new();
            for (identifier, parent, own, path, children) in level {
                let index = self.directories.len();
                let fixed = volume::record_len(1);
                let (own, above) = (self.areas.split(own, fixed)?, self.above(fixed)?);
                let directory = Directory { identifier, parent, own, above, records: Vec::new(), extent: Extent::default() };
                self.directories.push(directory);
                let mut records = self.place_children(&path, children, index, &mut below)?;
                records.sort_by(|a, b| a.short.cmp(&b.short));
                self.directories[index].records = records;
            }
            below.sort_by(|a: &Below<'_>, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
            level = Vec::new();
            for (identifier, parent, path, children) in below {
                let own = vec![susp::attributes(MODE_DIR, links(children)), susp::times(self.stamp)];
                level.push((identifier, parent, own, path, children));
            }
        }
        self.connect()
    }

    /// System use entries of `..`.
    fn above(&mut self, fixed: usize) -> Result<Entries> {
        self.areas.split(vec![susp::attributes(MODE_DIR, 2), susp::times(self.stamp)], fixed)
    }

    fn place_children<'t>(
        &mut self,
        path: &[u8],
        children: &'t Children,
        parent: usize,
        below: &mut Vec<Below<'t>>,
    ) -> Result<Vec<Record>> {
        let shorts = names::assign(children.iter().map(|(name, node)| (name.as_slice(), node.children().is_some())));
        let mut records = Vec::new();
        for ((name, node), short) in children.iter().zip(shorts) {
            let path = [path, b"/", name].concat();
            let shown = || format!("cannot store `{}` in an ISO", String::from_utf8_lossy(&path));
            let identifier = short.identifier();
            let (mode, to, mut more) = self.place_node(node).with_context(shown)?;
            if name.len() > 255 {
                bail!("{}: the name has {} bytes, more than 255", shown(), name.len());
            }
            let links = node.children().map_or(1, links);
            let mut entries = vec![susp::attributes(mode, links), susp::times(self.stamp)];
            let used: usize = entries.iter().map(Vec::len).sum();
            entries.append(&mut susp::name(name, susp::room(identifier.len()) - used));
            entries.append(&mut more);
            let entries = self.areas.split(entries, volume::record_len(identifier.len())).with_context(shown)?;
            if let Kind::Dir(children) = &node.kind {
                below.push((identifier, parent, path, children));
            }
            records.push(Record { short, entries, to });
        }
        Ok(records)
    }

    /// Mode, target and additional entries of a child. The index of a directory is set later.
    fn place_node(&mut self, node: &Node) -> Result<(u32, To, Vec<Vec<u8>>)> {
        Ok(match &node.kind {
            Kind::Dir(_) => (MODE_DIR, To::Directory(0), Vec::new()),
            Kind::Symlink(target) => (0o120_777, To::Nothing, susp::target(target)?),
            Kind::File { content, link } => {
                let Ok(bytes) = u32::try_from(content.len()) else {
                    bail!("it has {} bytes; the limit of an ISO is {}", content.len(), u32::MAX);
                };
                let known = link.and_then(|link| self.links.get(&link).copied());
                let index = known.unwrap_or_else(|| {
                    self.files.push(Bytes { content: content.clone(), extent: Extent { block: 0, bytes } });
                    self.files.len() - 1
                });
                if let Some(link) = link {
                    self.links.insert(*link, index);
                }
                let mode = if node.meta.mode & 0o100 == 0 { 0o100_644 } else { 0o100_755 };
                (mode, To::File(index), Vec::new())
            }
            _ => bail!("it is neither a file, a folder nor a symbolic link"),
        })
    }

    /// Sets the target of all directory records.
    fn connect(&mut self) -> Result<()> {
        if self.directories.len() > usize::from(u16::MAX) {
            bail!("{} folders exceed the 65535 of an ISO", self.directories.len());
        }
        let known: HashMap<(usize, Vec<u8>), usize> =
            (1..).zip(&self.directories[1..]).map(|(index, directory)| ((directory.parent, directory.identifier.clone()), index)).collect();
        for (parent, directory) in self.directories.iter_mut().enumerate() {
            for record in &mut directory.records {
                if let To::Directory(index) = &mut record.to {
                    *index = *known.get(&(parent, record.short.identifier())).expect("every folder was placed");
                }
            }
        }
        Ok(())
    }

    /// Assigns all blocks, and encodes everything before the files.
    fn finish(mut self, efi: Option<fat::Layout>, options: &Options) -> Result<Layout> {
        let mut next = SYSTEM_AREA + 2 + u64::from(efi.is_some());
        for directory in &mut self.directories {
            let bytes = directory.size();
            directory.extent = Extent { block: block32(next)?, bytes: u32::try_from(bytes)? };
            next += bytes / BLOCK;
        }
        let areas = block32(next)?;
        next += (self.areas.len as u64).div_ceil(BLOCK);
        let paths = self.path_entries();
        let table_bytes = volume::path_table(&paths, false).len() as u64;
        let tables = [next, next + table_bytes.div_ceil(BLOCK)];
        next = tables[1] + table_bytes.div_ceil(BLOCK);
        let mut catalog = None;
        let mut image = None;
        if let Some(efi) = efi {
            catalog = Some((next, Extent { block: block32(next + 1)?, bytes: u32::try_from(efi.size())? }));
            let start = next + 1;
            next = start + efi.size().div_ceil(BLOCK);
            image = Some((start * BLOCK, efi));
        }
        let contents = self.place_files(&mut next)?;
        let blocks = next + PADDING;
        let primary = Primary {
            blocks: block32(blocks)?,
            root: self.directories[0].extent,
            path_table_bytes: u32::try_from(table_bytes)?,
            path_tables: [block32(tables[0])?, block32(tables[1])?],
        };
        let mut head = volume::primary(options, &primary);
        if let Some((at, _)) = catalog {
            head.extend(volume::boot_record(block32(at)?));
        }
        head.extend(volume::terminator());
        self.directories.iter().for_each(|directory| head.extend(self.encode_directory(directory, areas)));
        head.extend(self.encode_areas());
        for big_endian in [false, true] {
            head.extend(volume::path_table(&paths, big_endian));
            head.resize(head.len().next_multiple_of(BLOCK_BYTES), 0);
        }
        if let Some((_, image)) = catalog {
            head.extend(volume::catalog(image));
        }
        Ok(Layout { blocks, head, efi: image, contents })
    }

    fn place_files(&mut self, next: &mut u64) -> Result<Vec<(u64, Content)>> {
        let mut contents = Vec::new();
        for file in &mut self.files {
            // An empty file still needs a valid block number.
            file.extent.block = block32(*next)?;
            if !file.content.is_empty() {
                contents.push((*next * BLOCK, file.content.clone()));
            }
            *next += file.content.len().div_ceil(BLOCK);
        }
        Ok(contents)
    }

    fn path_entries(&self) -> Vec<PathEntry> {
        let number = |index: usize| u16::try_from(index + 1).expect("folders were counted");
        let entry = |directory: &Directory| PathEntry {
            identifier: directory.identifier.clone(),
            block: directory.extent.block,
            parent: number(directory.parent),
        };
        self.directories.iter().map(entry).collect()
    }

    fn encode_directory(&self, directory: &Directory, areas: u32) -> Vec<u8> {
        let above = self.directories[directory.parent].extent;
        let mut out = volume::record(&[0], directory.extent, true, self.stamp, &directory.own.encode(areas));
        out.extend(volume::record(&[1], above, true, self.stamp, &directory.above.encode(areas)));
        for record in &directory.records {
            let (extent, is_directory) = match record.to {
                To::Directory(index) => (self.directories[index].extent, true),
                To::File(index) => (self.files[index].extent, false),
                To::Nothing => (Extent::default(), false),
            };
            let system = record.entries.encode(areas);
            let bytes = volume::record(&record.short.identifier(), extent, is_directory, self.stamp, &system);
            // No record crosses a block boundary.
            if out.len() % BLOCK_BYTES + bytes.len() > BLOCK_BYTES {
                out.resize(out.len().next_multiple_of(BLOCK_BYTES), 0);
            }
            out.extend(bytes);
        }
        out.resize(out.len().next_multiple_of(BLOCK_BYTES), 0);
        out
    }

    fn encode_areas(&self) -> Vec<u8> {
        let mut out = vec![0; self.areas.len.next_multiple_of(BLOCK_BYTES)];
        for directory in &self.directories {
            let records = directory.records.iter().map(|record| &record.entries);
            for (offset, bytes) in [&directory.own, &directory.above].into_iter().chain(records).filter_map(|e| e.outside.as_ref()) {
                out[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
        }
        out
    }
}

/// A directory to place: identifier, index of the parent, path, children.
type Below<'t> = (Vec<u8>, usize, Vec<u8>, &'t Children);

impl Directory {
    /// Size of its blocks in bytes.
    fn size(&self) -> u64 {
        let record = |identifier: usize, entries: &Entries| (volume::record_len(identifier) + entries.len()).next_multiple_of(2);
        let mut len = record(1, &self.own) + record(1, &self.above);
        for Record { short, entries, .. } in &self.records {
            let bytes = record(short.identifier().len(), entries);
            if len % BLOCK_BYTES + bytes > BLOCK_BYTES {
                len = len.next_multiple_of(BLOCK_BYTES);
            }
            len += bytes;
        }
        len.next_multiple_of(BLOCK_BYTES) as u64
    }
}

/// Link count of a directory: its name, `.`, and `..` of each subdirectory.
fn links(children: &Children) -> u32 {
    let below = children.values().filter(|node| node.children().is_some()).count();
    u32::try_from(below).unwrap_or(u32::MAX - 2) + 2
}

fn block32(block: u64) -> Result<u32> {
    u32::try_from(block).with_context(|| format!("the files exceed the {} bytes of an ISO", u64::from(u32::MAX) * BLOCK))
}

impl Layout {
    /// Size of the volume in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.blocks * BLOCK
    }

    /// Writes the volume to `out`, sparse; overwrites all old content.
    pub fn write(&self, out: &File) -> Result<()> {
        self.write_with(&|_, _| {}, out)
    }

    /// The same; `progress` gets the bytes of files that are written, and those of all files.
    pub fn write_with(&self, progress: &dyn Fn(u64, u64), out: &File) -> Result<()> {
        out.set_len(0).context("cannot empty the image file")?;
        out.set_len(self.size()).with_context(|| format!("cannot set the size of the image file to {} bytes", self.size()))?;
        out.write_all_at(&self.head, SYSTEM_AREA * BLOCK).context("cannot write the ISO")?;
        if let Some((at, efi)) = &self.efi {
            out.write_all_at(&mbr(*at, efi.size())?, 0).context("cannot write the ISO's MBR")?;
            efi.write_at(out, *at).context("cannot write the ISO's EFI system partition")?;
        }
        let meter = Meter::new(self.contents.iter().map(|(_, content)| content.len()).sum(), progress);
        self.contents.iter().try_for_each(|(at, content)| copy_content(content, out, *at, &meter))
    }
}

/// An MBR that tells the firmware where the EFI system partition is when the ISO is on a stick, whose sectors are smaller than a CD's.
fn mbr(at: u64, len: u64) -> Result<[u8; 512]> {
    let sectors = |bytes: u64| u32::try_from(bytes.div_ceil(gpt::SECTOR)).context("the EFI system partition is too far inside the ISO");
    let esp = MbrEntry { number: 1, kind: ESP, bootable: false, first_lba: sectors(at)?, sectors: sectors(len)? };
    Ok(gpt::encode_mbr(&[], &[esp]))
}

/// MBR type of an EFI system partition (UEFI specification 2.10, chapter 5.2.2).
const ESP: u8 = 0xef;
