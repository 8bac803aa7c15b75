//! A file system that is open: its entries, and the bytes of its files, whatever the format.

use crate::{
    archive, cpio, iso,
    source::{self, Shared, folder},
};
use anyhow::{Context as _, Result, bail};
use diskimage::{
    ext4, fat,
    squashfs::{self, Entry, EntryKind},
};
use filetree::{Content, Kind, Meta, Node, Tree};
use std::{
    collections::HashMap,
    io::{self, Write},
    path::Path,
};

/// An open file system. Paths are bytes without a leading `/`; the root is empty.
pub struct Volume {
    format: &'static str,
    entries: Vec<Entry>,
    places: HashMap<Vec<u8>, usize>,
    /// The names and links, without contents: it resolves paths.
    names: Tree,
    store: Store,
    remarks: Vec<String>,
}

/// Where the bytes of files are.
enum Store {
    Squashfs(Box<squashfs::Reader>),
    Fat(Shared, HashMap<Vec<u8>, fat::Entry>),
    Ext(Shared),
    /// Each file is one range of the image.
    Ranges(Shared, HashMap<Vec<u8>, (u64, u64)>),
    Tree(Tree),
}

impl Volume {
    /// Opens the file system in `source`; none if no format fits.
    pub(crate) fn open(source: &Shared) -> Result<Option<Self>> {
        let start = source.start(512)?;
        let magic = |at: usize, text: &[u8]| start.get(at..at + text.len()) == Some(text);
        let opened = if magic(0, b"hsqs") {
            Self::of_squashfs(source).context("cannot read the squashfs")
        } else if magic(257, b"ustar") {
            Self::of_tar(source).context("cannot read the tar")
        } else if magic(0, b"070701") || magic(0, b"070702") {
            let files = cpio::read(source).context("cannot read the cpio archive")?;
            Self::of_tree("cpio", files)
        } else if ext4::Reader::fits(source) {
            Self::of_ext(source).context("cannot read the ext file system")
        } else if iso::fits(source) {
            let (entries, ranges) = iso::read(source).context("cannot read the ISO 9660 file system")?;
            Self::new("ISO 9660", entries, Store::Ranges(source.clone(), ranges))
        } else if matches!(start.first(), Some(0xeb | 0xe9)) && fat::Reader::open(source).is_ok() {
            Self::of_fat(source).context("cannot read the FAT file system")
        } else {
            return Ok(None);
        };
        opened.map(Some)
    }

    fn of_squashfs(source: &Shared) -> Result<Self> {
        let reader = squashfs::Reader::open_image(Box::new(source.clone()))?;
        Self::new("squashfs", reader.list()?, Store::Squashfs(Box::new(reader)))
    }

    fn of_fat(source: &Shared) -> Result<Self> {
        let listed = fat::Reader::open(source)?.entries()?;
        let mut entries = vec![folder(Vec::new(), 0)];
        for (number, entry) in (1..).zip(&listed) {
            let kind = if entry.directory { EntryKind::Dir } else { EntryKind::File };
            let meta = Meta::root(if entry.directory { 0o755 } else { 0o644 }, 0);
            entries.push(Entry { path: entry.path.clone().into_bytes(), kind, meta, size: entry.size.into(), inode: number });
        }
        let places = listed.into_iter().map(|entry| (entry.path.clone().into_bytes(), entry)).collect();
        Self::new("FAT", entries, Store::Fat(source.clone(), places))
    }

    fn of_ext(source: &Shared) -> Result<Self> {
        let reader = ext4::Reader::open(source)?;
        let mut sizes = HashMap::new();
        let take = &mut |path: &[u8], size: u64, _: &mut dyn io::Read| {
            sizes.insert(path.to_vec(), size);
            Ok(Some(Content::from("")))
        };
        let (tree, remarks) = reader.tree(take)?;
        let mut entries = entries_of(&tree)?;
        for entry in entries.iter_mut().filter(|entry| entry.kind == EntryKind::File) {
            // `tree` does not ask again for another name of one file.
            let first = || sizes.get(&entry.path).copied();
            entry.size = match first() {
                Some(size) => size,
                None => reader.size_of(&entry.path)?,
            };
        }
        Ok(Self { remarks, ..Self::new("ext4", entries, Store::Ext(source.clone()))? })
    }

    fn of_tar(source: &Shared) -> Result<Self> {
        let content = source::spooled(&mut source.reader())?;
        let (format, tree) = archive::read(&content)?;
        Self::of_tree(format, tree)
    }

    /// Opens the tar, OCI archive or docker archive at `path`, whose contents stay in the file.
    pub(crate) fn of_tar_file(path: &Path) -> Result<Self> {
        let (format, tree) = archive::read(&Content::of_path(path)?).context("cannot read the tar")?;
        Self::of_tree(format, tree)
    }

    /// A volume of this tree.
    pub fn of_tree(format: &'static str, tree: Tree) -> Result<Self> {
        Self::new(format, entries_of(&tree)?, Store::Tree(tree))
    }

    fn new(format: &'static str, entries: Vec<Entry>, store: Store) -> Result<Self> {
        let mut names = Tree::new();
        for entry in &entries {
            let kind = match &entry.kind {
                EntryKind::Dir => Kind::Dir(filetree::Children::new()),
                EntryKind::Symlink(target) => Kind::Symlink(target.clone()),
                _ => Kind::Fifo,
            };
            names.insert(&entry.path, Node { meta: Meta::root(0o755, 0), kind })?;
        }
        let places = entries.iter().enumerate().map(|(at, entry)| (entry.path.clone(), at)).collect();
        Ok(Self { format, entries, places, names, store, remarks: Vec::new() })
    }

    /// The name of its format.
    #[must_use]
    pub fn format(&self) -> &'static str {
        self.format
    }

    /// What could not be read, a sentence each.
    #[must_use]
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// All entries: directories before what is in them.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry at `path`, without following links.
    #[must_use]
    pub fn get(&self, path: &[u8]) -> Option<&Entry> {
        self.places.get(path).map(|at| &self.entries[*at])
    }

    /// The entry at `path`, links followed inside the file system.
    pub fn find(&self, path: &[u8]) -> Result<Option<&Entry>> {
        Ok(self.get(&self.names.resolve(path, true)?))
    }

    /// The names in the folder `path`, in byte order; none if it is no folder.
    #[must_use]
    pub fn names_in(&self, path: &[u8]) -> Option<Vec<&[u8]>> {
        Some(self.names.get(path)?.children()?.keys().map(Vec::as_slice).collect())
    }

    /// The entries in the folder `path`, in byte order.
    #[must_use]
    pub fn children(&self, path: &[u8]) -> Vec<&Entry> {
        let below = |name: &[u8]| if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() };
        self.names_in(path).unwrap_or_default().into_iter().filter_map(|name| self.get(&below(name))).collect()
    }

    /// The entries below the folder `path`, at any depth.
    pub fn below<'v>(&'v self, path: &'v [u8]) -> impl Iterator<Item = &'v Entry> {
        let inside = move |entry: &&Entry| {
            !entry.path.is_empty() && (path.is_empty() || entry.path.strip_prefix(path).is_some_and(|rest| rest.starts_with(b"/")))
        };
        self.entries.iter().filter(inside)
    }

    /// Copies the bytes of a file to `out`.
    pub fn copy(&self, entry: &Entry, out: &mut dyn Write) -> Result<()> {
        let name = || format!("cannot read `/{}`", String::from_utf8_lossy(&entry.path));
        if entry.kind != EntryKind::File {
            bail!("`/{}` is no file", String::from_utf8_lossy(&entry.path));
        }
        match &self.store {
            Store::Squashfs(reader) => reader.copy_file(&entry.path, out),
            Store::Fat(source, places) => {
                let place = places.get(&entry.path).context("the entry is of another file system")?;
                fat::Reader::open(source)?.copy(place, out)
            }
            Store::Ext(source) => ext4::Reader::open(source)?.copy_file(&entry.path, out),
            Store::Ranges(source, ranges) => {
                let (start, len) = ranges.get(&entry.path).context("the entry is of another file system")?;
                source.copy(*start, *len, out)
            }
            Store::Tree(tree) => match tree.get(&entry.path).map(|node| &node.kind) {
                Some(Kind::File { content, .. }) => content.open().and_then(|mut reader| Ok(io::copy(&mut reader, out).map(drop)?)),
                _ => bail!("the entry is of another file system"),
            },
        }
        .with_context(name)
    }

    /// The bytes of a file; an error above `most`.
    pub fn read(&self, entry: &Entry, most: u64) -> Result<Vec<u8>> {
        if entry.size > most {
            bail!("`/{}` has {} bytes, more than {most}", String::from_utf8_lossy(&entry.path), entry.size);
        }
        let mut bytes = Vec::new();
        self.copy(entry, &mut bytes)?;
        Ok(bytes)
    }

    /// The text of the file at `path`, links followed; none if there is no such file, or it is large or no UTF-8.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<String> {
        let entry = self.find(path.as_bytes()).ok()??;
        String::from_utf8(self.read(entry, 4 << 20).ok()?).ok()
    }

    /// The reader of a squashfs, which also knows compressed sizes.
    #[must_use]
    pub fn squashfs(&self) -> Option<&squashfs::Reader> {
        match &self.store {
            Store::Squashfs(reader) => Some(reader),
            _ => None,
        }
    }

    /// The bytes of a file as an image of its own: in place where they are one range, else copied to an unlinked temporary file.
    pub(crate) fn inside(&self, entry: &Entry) -> Result<Shared> {
        match &self.store {
            Store::Ranges(source, ranges) => {
                let (start, len) = ranges.get(&entry.path).context("the entry is of another file system")?;
                source.part(*start, *len)
            }
            Store::Tree(tree) => match tree.get(&entry.path).map(|node| &node.kind) {
                Some(Kind::File { content, .. }) => source::of_content(content),
                _ => bail!("the entry is of another file system"),
            },
            _ => {
                let mut file = tempfile::tempfile().context("cannot make a temporary file")?;
                self.copy(entry, &mut file)?;
                Ok(Shared::new(diskimage::FileImage::new(file)?))
            }
        }
    }
}

fn entries_of(tree: &Tree) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut links: HashMap<u64, u32> = HashMap::new();
    let mut next = 0;
    tree.walk(&mut |path, node| {
        next += 1;
        let (mut inode, mut size) = (next, 0);
        let kind = match &node.kind {
            Kind::Dir(_) => EntryKind::Dir,
            Kind::File { content, link } => {
                size = content.len();
                if let Some(link) = link {
                    inode = *links.entry(*link).or_insert(next);
                }
                EntryKind::File
            }
            Kind::Symlink(target) => {
                size = target.len() as u64;
                EntryKind::Symlink(target.clone())
            }
            Kind::CharDevice { major, minor } => EntryKind::CharDevice(*major, *minor),
            Kind::BlockDevice { major, minor } => EntryKind::BlockDevice(*major, *minor),
            Kind::Fifo => EntryKind::Fifo,
        };
        entries.push(Entry { path: path.to_vec(), kind, meta: node.meta.clone(), size, inode });
        Ok(())
    })?;
    Ok(entries)
}
