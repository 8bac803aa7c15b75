//! Reads and writes tar (ustar with PAX records, POSIX.1-2001): as entries in archive order, or as a whole tree.

use crate::{
    Content, ContentReader, Kind, Meta, Node, Spool, Tree,
    sparse::{self, Sparse},
};
use anyhow::{Context as _, Result, bail};
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    sync::Arc,
};
use tar::{Archive, EntryType, Header};

/// PAX key prefix of extended attributes, as GNU tar, star and Go write them.
const XATTR: &str = "SCHILY.xattr.";

/// One member of an archive.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name in the archive, without trailing `/`.
    pub path: Vec<u8>,
    /// Owner, permissions, times.
    pub meta: Meta,
    /// Type and data.
    pub kind: EntryKind,
}

/// Type of an archive member.
#[derive(Clone, Debug)]
pub enum EntryKind {
    /// Any type but a hard link. A directory has no children here: they are members of their own.
    Node(Kind),
    /// Hard link: the name of an earlier member.
    HardLink(Vec<u8>),
}

/// PAX records that have no field in [`Entry`] (atime, fractions of seconds …), in archive order.
pub type Records = Vec<(String, String)>;

/// Entries of the tar in `file`, in archive order. Contents are ranges of `file` and are not read.
pub fn read_tar_file(file: Arc<File>) -> Result<Vec<Entry>> {
    let content = Content::Range { len: file.metadata()?.len(), file, offset: 0 };
    Ok(read_tar_content(&content)?.into_iter().map(|(entry, _)| entry).collect())
}

/// Entries of a tar inside `content` (a tar in a tar), in archive order, with PAX records that have no field in [`Entry`]. File
/// contents are ranges of `content` and are not read, except sparse files: they are copied to an unlinked temporary file.
pub fn read_tar_content(content: &Content) -> Result<Vec<(Entry, Records)>> {
    // Opens a path once instead of once per member.
    let content = &content.slice(0, content.len())?;
    let mut archive = Archive::new(Members::of(content)?);
    let mut spool = None;
    read_entries(archive.entries_with_seek()?, &mut |entry, kept| match kept {
        Kept::Plain => content.slice(entry.raw_file_position(), entry.size()),
        sparse => {
            let spool = match &mut spool {
                Some(spool) => spool,
                none => none.insert(Spool::new_in(&std::env::temp_dir())?),
            };
            sparse.copy(entry, spool)
        }
    })
}

/// Entries of the tar in `stream`, in archive order. Copies file contents to `spool`.
pub fn read_tar_stream(stream: impl Read, spool: &mut Spool) -> Result<Vec<Entry>> {
    let mut archive = Archive::new(stream);
    let entries = read_entries(archive.entries()?, &mut |entry, kept| kept.copy(entry, spool))?;
    Ok(entries.into_iter().map(|(entry, _)| entry).collect())
}

/// Reads the headers of a tar in a content, and steps over what lies between them.
struct Members {
    reader: BufReader<ContentReader>,
    at: u64,
    end: u64,
}

impl Members {
    /// Larger than the headers and contents of several small files, and smaller than what is stepped over in large ones.
    const BUFFER: usize = 16 << 10;

    fn of(content: &Content) -> Result<Self> {
        Ok(Self { reader: BufReader::with_capacity(Self::BUFFER, content.open()?), at: 0, end: content.len() })
    }
}

impl Read for Members {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.reader.read(buffer)?;
        self.at += got as u64;
        Ok(got)
    }
}

impl Seek for Members {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Current(distance) = to else { return Err(io::ErrorKind::Unsupported.into()) };
        let to = self.at.checked_add_signed(distance).filter(|to| *to <= self.end);
        self.at = to.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "it ends within a member"))?;
        self.reader.seek_relative(distance)?;
        Ok(self.at)
    }
}

/// Keys of PAX records that have a field in [`Entry`].
const HELD: [&str; 5] = ["path", "linkpath", "size", "uid", "gid"];

/// How the archive holds a file's bytes.
enum Kept {
    Plain,
    Sparse(Sparse),
    /// GNU tar's type `S`.
    OldSparse,
}

impl Kept {
    /// Copies the bytes to `spool`, with the holes of a sparse file.
    fn copy<R: Read>(self, entry: &mut tar::Entry<'_, R>, spool: &mut Spool) -> Result<Content> {
        let size = entry.size();
        match self {
            Self::Plain => spool.add(entry),
            Self::Sparse(sparse) => sparse.expand(entry, size, spool),
            Self::OldSparse => sparse::expand_old(entry, size, spool),
        }
    }
}

/// Makes the [`Content`] of a file.
type Keep<'k, R> = dyn FnMut(&mut tar::Entry<'_, R>, Kept) -> Result<Content> + 'k;

fn read_entries<R: Read>(members: tar::Entries<'_, R>, keep: &mut Keep<'_, R>) -> Result<Vec<(Entry, Records)>> {
    let mut entries = Vec::new();
    for entry in members {
        let mut entry = entry.context("the tar is damaged")?;
        let (sparse, path) = name_of(&mut entry)?;
        let name = String::from_utf8_lossy(&path).into_owned();
        let mut meta = Meta {
            mode: entry.header().mode()? & 0o7777,
            uid: u32::try_from(entry.header().uid()?).with_context(|| format!("the owner of `{name}` does not fit 32 bits"))?,
            gid: u32::try_from(entry.header().gid()?).with_context(|| format!("the group of `{name}` does not fit 32 bits"))?,
            mtime: i64::try_from(entry.header().mtime()?).unwrap_or(0),
            xattrs: BTreeMap::new(),
        };
        let mut records = Records::new();
        for record in entry.pax_extensions()?.into_iter().flatten() {
            let record = record?;
            let Ok(key) = record.key() else { continue };
            if let Some(name) = key.strip_prefix(XATTR) {
                meta.xattrs.insert(name.to_owned(), record.value_bytes().to_vec());
            } else if let (Ok(value), false) = (record.value(), HELD.contains(&key) || key.starts_with(sparse::PREFIX)) {
                records.push((key.to_owned(), value.to_owned()));
            }
        }
        let target = entry.link_name_bytes().map(|target| target.into_owned());
        let target = || target.clone().with_context(|| format!("the link `{name}` has no target"));
        let device =
            |header: &Header| -> Result<(u32, u32)> { Ok((header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0))) };
        let kind = match entry.header().entry_type() {
            kind @ (EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse) => {
                let kept = match (sparse, kind) {
                    (Some(sparse), EntryType::Regular) => Kept::Sparse(sparse),
                    (None, EntryType::GNUSparse) => Kept::OldSparse,
                    (None, _) => Kept::Plain,
                    (Some(_), _) => bail!("`{name}` is a sparse file in two ways"),
                };
                let plain = matches!(kept, Kept::Plain);
                let content = keep(&mut entry, kept);
                let content = if plain { content? } else { content.with_context(|| unreadable(&name))? };
                EntryKind::Node(Kind::File { content, link: None })
            }
            EntryType::Directory => EntryKind::Node(Kind::Dir(BTreeMap::new())),
            EntryType::Symlink => EntryKind::Node(Kind::Symlink(target()?)),
            EntryType::Link => EntryKind::HardLink(target()?),
            EntryType::Char => device(entry.header()).map(|(major, minor)| EntryKind::Node(Kind::CharDevice { major, minor }))?,
            EntryType::Block => device(entry.header()).map(|(major, minor)| EntryKind::Node(Kind::BlockDevice { major, minor }))?,
            EntryType::Fifo => EntryKind::Node(Kind::Fifo),
            EntryType::XGlobalHeader => continue,
            other => bail!("the type `{}` of the tar member `{name}` is not supported", other.as_byte().escape_ascii()),
        };
        entries.push((Entry { path, meta, kind }, records));
    }
    Ok(entries)
}

fn unreadable(name: &str) -> String {
    format!("the sparse file `{name}` cannot be read")
}

/// The sparse map of a member, and its name without trailing `/`: that of the sparse file, or the member's own.
fn name_of<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<(Option<Sparse>, Vec<u8>)> {
    let mut path = entry.path_bytes().into_owned();
    let mut sparse: Option<Sparse> = None;
    for record in entry.pax_extensions()?.into_iter().flatten() {
        let record = record?;
        let Some(key) = record.key().ok().and_then(|key| key.strip_prefix(sparse::PREFIX)) else { continue };
        let sparse = sparse.get_or_insert_default();
        let taken = sparse.record(key, record.value_bytes());
        taken.with_context(|| unreadable(&String::from_utf8_lossy(sparse.name.as_ref().unwrap_or(&path))))?;
    }
    if let Some(name) = sparse.as_mut().and_then(|sparse| sparse.name.take()) {
        path = name;
    }
    while path.last() == Some(&b'/') {
        path.pop();
    }
    Ok((sparse, path))
}

/// The tree that unpacking `entries` in order creates: a later member replaces an earlier one; a hard link shares the file.
pub fn entries_to_tree(entries: Vec<Entry>) -> Result<Tree> {
    let mut tree = Tree::new();
    let mut next_link = 1;
    for entry in entries {
        let kind = match entry.kind {
            EntryKind::Node(kind) => kind,
            EntryKind::HardLink(target) => {
                let at = tree.resolve(&target, false)?;
                let name = || format!("the hard link `{}` to `{}`", String::from_utf8_lossy(&entry.path), String::from_utf8_lossy(&target));
                let node = tree.get_mut(&at).with_context(|| format!("{} has no target in the archive", name()))?;
                if let Kind::File { link: link @ None, .. } = &mut node.kind {
                    *link = Some(next_link);
                    next_link += 1;
                }
                if matches!(node.kind, Kind::Dir(_)) {
                    bail!("{} names a directory", name());
                }
                let node = node.clone();
                tree.insert(&entry.path, node)?;
                continue;
            }
        };
        tree.insert(&entry.path, Node { meta: entry.meta, kind })?;
    }
    Ok(tree)
}

/// Writes members one by one. The output depends on the arguments only.
pub struct TarWriter<W: Write> {
    out: W,
}

impl<W: Write> TarWriter<W> {
    /// A writer to `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// Appends a member with additional PAX `records`. For a directory writes its own entry only, not its children.
    pub fn append(&mut self, path: &[u8], meta: &Meta, kind: &EntryKind, records: &[(&str, &str)]) -> Result<()> {
        let mut header = Header::new_ustar();
        header.set_mode(meta.mode);
        header.set_mtime(u64::try_from(meta.mtime).unwrap_or(0));
        header.set_size(0);
        let mut pax: BTreeMap<String, Vec<u8>> = records.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect();
        for (name, value) in &meta.xattrs {
            pax.insert(format!("{XATTR}{name}"), value.clone());
        }
        let number = |value: u32, key: &str, pax: &mut BTreeMap<String, Vec<u8>>| {
            // The uid and gid fields of ustar hold seven octal digits.
            if value > 0o777_7777 {
                pax.insert(key.to_owned(), value.to_string().into_bytes());
                return 0;
            }
            u64::from(value)
        };
        header.set_uid(number(meta.uid, "uid", &mut pax));
        header.set_gid(number(meta.gid, "gid", &mut pax));
        let mut content = None;
        let mut name = path.to_vec();
        let (kind, target) = match kind {
            EntryKind::HardLink(target) => (EntryType::Link, Some(target)),
            EntryKind::Node(Kind::Dir(_)) => {
                name.push(b'/');
                (EntryType::Directory, None)
            }
            EntryKind::Node(Kind::File { content: bytes, .. }) => {
                if bytes.len() > 0o777_7777_7777 {
                    pax.insert("size".to_owned(), bytes.len().to_string().into_bytes());
                } else {
                    header.set_size(bytes.len());
                }
                content = Some(bytes);
                (EntryType::Regular, None)
            }
            EntryKind::Node(Kind::Symlink(target)) => (EntryType::Symlink, Some(target)),
            EntryKind::Node(Kind::CharDevice { major, minor }) => {
                header.set_device_major(*major)?;
                header.set_device_minor(*minor)?;
                (EntryType::Char, None)
            }
            EntryKind::Node(Kind::BlockDevice { major, minor }) => {
                header.set_device_major(*major)?;
                header.set_device_minor(*minor)?;
                (EntryType::Block, None)
            }
            EntryKind::Node(Kind::Fifo) => (EntryType::Fifo, None),
        };
        header.set_entry_type(kind);
        if !put(&mut header.as_old_mut().name, &name) {
            pax.insert("path".to_owned(), name.clone());
        }
        if let Some(target) = target
            && !put(&mut header.as_old_mut().linkname, target)
        {
            pax.insert("linkpath".to_owned(), target.clone());
        }
        if !pax.is_empty() {
            self.write_pax(&pax)?;
        }
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        if let Some(content) = content {
            std::io::copy(&mut content.open()?, &mut self.out)?;
            self.pad(content.len())?;
        }
        Ok(())
    }

    fn write_pax(&mut self, records: &BTreeMap<String, Vec<u8>>) -> Result<()> {
        let mut data = Vec::new();
        for (key, value) in records {
            // The length of a PAX record includes its own digits.
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        let mut header = Header::new_ustar();
        put(&mut header.as_old_mut().name, b"PaxHeaders/entry");
        header.set_entry_type(EntryType::XHeader);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(data.len() as u64);
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(&data)?;
        self.pad(data.len() as u64)
    }

    fn pad(&mut self, length: u64) -> Result<()> {
        let rest = usize::try_from(length % 512)?;
        if rest > 0 {
            self.out.write_all(&[0; 512][rest..])?;
        }
        Ok(())
    }

    /// Writes the end of the archive, flushes and returns the output.
    pub fn finish(mut self) -> Result<W> {
        self.out.write_all(&[0; 1024])?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Copies as much of `bytes` into a header field as fits; returns whether all did.
fn put(field: &mut [u8; 100], bytes: &[u8]) -> bool {
    let fits = bytes.len() <= field.len();
    let length = bytes.len().min(field.len());
    field[..length].copy_from_slice(&bytes[..length]);
    fits
}

/// Writes `tree` without an entry for its root: directories before their children, names in byte order, hard links after their
/// first name.
pub fn write_tar<W: Write>(tree: &Tree, out: W) -> Result<W> {
    let mut writer = TarWriter::new(out);
    let mut first: HashMap<u64, Vec<u8>> = HashMap::new();
    tree.walk(&mut |path, node| {
        if path.is_empty() {
            return Ok(());
        }
        if let Kind::File { link: Some(link), .. } = &node.kind {
            if let Some(target) = first.get(link) {
                return writer.append(path, &node.meta, &EntryKind::HardLink(target.clone()), &[]);
            }
            first.insert(*link, path.to_vec());
        }
        let kind = match &node.kind {
            Kind::Dir(_) => Kind::Dir(BTreeMap::new()),
            other => other.clone(),
        };
        writer.append(path, &node.meta, &EntryKind::Node(kind), &[])
    })?;
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tar_in_a_tar_refers_into_it_and_keeps_its_records() {
        let mut inner = TarWriter::new(Vec::new());
        let file = EntryKind::Node(Kind::File { content: Content::from("inside"), link: None });
        inner.append(b"a", &Meta::root(0o644, 5), &file, &[("mtime", "5.25"), ("SCHILY.xattr.user.x", "v")]).expect("append");
        let bytes = inner.finish().expect("finish");
        let mut spool = Spool::new_in(&std::env::temp_dir()).expect("spool");
        spool.add(&mut &b"before"[..]).expect("spool");
        for content in [spool.add(&mut &bytes[..]).expect("spool"), Content::from(bytes.clone())] {
            let entries = read_tar_content(&content).expect("read");
            let [(entry, records)] = &entries[..] else { unreachable!("one entry") };
            assert_eq!(records[..], [("mtime".to_owned(), "5.25".to_owned())]);
            assert_eq!(entry.meta.xattrs["user.x"], b"v");
            let EntryKind::Node(Kind::File { content, .. }) = &entry.kind else { unreachable!("a file") };
            assert_eq!(content.read_all().expect("read"), b"inside");
        }
    }

    #[test]
    fn a_tree_survives_tar() {
        let mut tree = Tree::new();
        let long = format!("etc/{}", "n".repeat(150));
        let mut file = Node::file(0o4755, 11, Content::from("bytes"));
        file.meta.xattrs.insert("security.capability".into(), vec![1, 0, 0, 2, 255]);
        if let Kind::File { link, .. } = &mut file.kind {
            *link = Some(9);
        }
        tree.insert("etc/a", file.clone()).expect("insert");
        tree.insert(&long, file).expect("insert");
        tree.insert("dev/null", Node { meta: Meta::root(0o666, 3), kind: Kind::CharDevice { major: 1, minor: 3 } }).expect("insert");
        let bytes = write_tar(&tree, Vec::new()).expect("write");
        let mut spool = Spool::new_in(&std::env::temp_dir()).expect("spool");
        let again = entries_to_tree(read_tar_stream(&bytes[..], &mut spool).expect("read")).expect("tree");
        assert_eq!(write_tar(&again, Vec::new()).expect("write"), bytes);
        let node = again.get(&long).expect("the long name");
        assert_eq!(node.meta.xattrs["security.capability"], [1, 0, 0, 2, 255]);
        assert!(matches!(node.kind, Kind::File { link: Some(_), .. }));
    }
}
