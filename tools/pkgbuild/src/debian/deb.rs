//! The .deb format (deb(5)): an `ar` of `debian-binary`, `control.tar*` and `data.tar*`. Reads what is in one; writes nothing
//! but to a spool, and refuses what is not exactly of that form.

use super::control::stanzas;
use anyhow::{Context as _, Result, bail};
use filetree::{Content, EntryKind, Kind, Spool, Tree, entries_to_tree, read_tar_stream};
use std::{
    fs::File,
    io::{BufReader, Read},
    sync::Arc,
};

/// What a package says of itself, and its files.
#[derive(Debug)]
pub struct Deb {
    /// The control stanza as it stands in the file.
    pub control: String,
    /// The files, as unpacking them into an empty root gives.
    pub files: Tree,
}

impl Deb {
    /// A field of the control stanza.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        stanzas(&self.control, "control").next()?.ok()?.get(name)
    }
}

/// The most memory that a decoder may take: what `xz -9` needs, and no more.
const XZ_MEMORY: u64 = 96 << 20;
/// The most bytes of control.tar, unpacked: it holds scripts and lists.
const MAX_CONTROL: u64 = 64 << 20;

/// Reads a .deb. The contents of its files, except those that `keep` refuses by path (`usr/share/man/x`), go to `spool`.
pub fn read_deb(file: &Content, spool: &mut Spool, keep: &dyn Fn(&[u8]) -> bool) -> Result<Deb> {
    let mut members = ar_members(file)?.into_iter();
    let mut next = |what: &str| members.next().with_context(|| format!("there is no {what} in it"));
    let (name, version) = next("debian-binary")?;
    if name != "debian-binary" || version.len() > 64 || !version.read_all()?.starts_with(b"2.") {
        bail!("its first part, `{name}`, does not say that it is a .deb of format 2");
    }
    let (control_name, control) = next("control.tar")?;
    let control = read_control(&control_name, &control).with_context(|| control_name.clone())?;
    let (mut data_name, mut data) = next("data.tar")?;
    // deb(5) reserves names with an underscore for what a reader may pass over.
    while data_name.starts_with('_') {
        (data_name, data) = next("data.tar")?;
    }
    let files = read_data(&data_name, &data, spool, keep).with_context(|| data_name.clone())?;
    Ok(Deb { control, files })
}

/// Names and contents of the members of an `ar` archive, in order.
fn ar_members(file: &Content) -> Result<Vec<(String, Content)>> {
    let (header, end) = (60, file.len());
    let mut magic = [0; 8];
    file.open()?.read_exact(&mut magic).ok().filter(|()| magic == *b"!<arch>\n").context("it is no ar archive")?;
    let mut members = Vec::new();
    let mut at = 8;
    while at < end {
        if end - at < header {
            bail!("it ends within the header of a part, at byte {at}");
        }
        let head = part(file, at, header)?.read_all()?;
        let text = |from: usize, to: usize| std::str::from_utf8(&head[from..to]).map(str::trim_end).ok();
        let (Some(name), Some(size), b"`\n") = (text(0, 16), text(48, 58).and_then(|size| size.parse::<u64>().ok()), &head[58..]) else {
            bail!("the header of a part, at byte {at}, is damaged");
        };
        at += header;
        if size > end - at {
            bail!("it is cut off: `{name}` should have {size} bytes, {} are there", end - at);
        }
        members.push((name.trim_end_matches('/').to_owned(), part(file, at, size)?));
        // Parts begin at even offsets.
        at += size + size % 2;
    }
    Ok(members)
}

/// `len` bytes of `content` from `offset` on, which must be inside it.
fn part(content: &Content, offset: u64, len: u64) -> Result<Content> {
    Ok(match content {
        Content::Bytes(bytes) => {
            let from = usize::try_from(offset)?;
            Content::Bytes(bytes.get(from..from + usize::try_from(len)?).context("a part lies outside")?.into())
        }
        Content::Range { file, offset: start, .. } => Content::Range { file: file.clone(), offset: start + offset, len },
        Content::Path { path, .. } => {
            let file = File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
            Content::Range { file: Arc::new(file), offset, len }
        }
    })
}

/// A reader of the tar in a member `control.tar*` or `data.tar*`.
fn decode(name: &str, stem: &str, content: &Content) -> Result<Box<dyn Read>> {
    let reader = BufReader::with_capacity(64 << 10, content.open()?);
    Ok(match name.strip_prefix(stem) {
        Some("") => Box::new(reader),
        Some(".gz") => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        Some(".xz") => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(reader, stream))
        }
        Some(".zst") => Box::new(ruzstd::decoding::StreamingDecoder::new(reader).context("it is no zstd stream")?),
        Some(other) => bail!("it is compressed in a way that is not known: `{other}`"),
        None => bail!("`{stem}` should stand here"),
    })
}

fn read_control(name: &str, content: &Content) -> Result<String> {
    let mut archive = tar::Archive::new(decode(name, "control.tar", content)?.take(MAX_CONTROL));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path_bytes().into_owned();
        if matches!(&path[..], b"control" | b"./control") {
            let mut text = String::new();
            entry.read_to_string(&mut text).context("the file `control` is not text")?;
            return Ok(text);
        }
    }
    bail!("there is no file `control` in it")
}

fn read_data(name: &str, content: &Content, spool: &mut Spool, keep: &dyn Fn(&[u8]) -> bool) -> Result<Tree> {
    let mut reader = decode(name, "data.tar", content)?;
    let mut entries = read_tar_stream(&mut reader, spool)?;
    // The check at the end of a compressed stream is met only when all of it is read.
    std::io::copy(&mut reader, &mut std::io::sink())?;
    for entry in &entries {
        let climbs = |path: &[u8]| path.split(|b| *b == b'/').any(|part| part == b"..");
        if climbs(&entry.path) || matches!(&entry.kind, EntryKind::HardLink(target) if climbs(target)) {
            bail!("`{}` leaves the package's tree", String::from_utf8_lossy(&entry.path));
        }
    }
    entries.retain(|entry| {
        let path = clean(&entry.path);
        path.is_empty() || keep(&path)
    });
    // A package's own links come from someone else: a file that goes through one must still land below the root, and does,
    // since a tree resolves links inside itself.
    entries.iter_mut().filter(|entry| clean(&entry.path).is_empty()).for_each(|entry| {
        entry.path.clear();
        if !matches!(entry.kind, EntryKind::Node(Kind::Dir(_))) {
            entry.kind = EntryKind::Node(Kind::Dir(std::collections::BTreeMap::new()));
        }
    });
    entries_to_tree(entries)
}

/// A member's path without `./` and the like.
fn clean(path: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    parts.join(&b'/')
}
