//! Reads the .deb format (deb(5)): an `ar` archive of `debian-binary`, `control.tar*` and `data.tar*`. Writes file contents to
//! a spool only; any deviation from the format is an error.

use super::control::stanzas;
use anyhow::{Context as _, Result, bail};
use filetree::{Content, EntryKind, Kind, Spool, Tree, entries_to_tree, read_tar_stream};
use std::io::{BufReader, Read};

/// A package's control data and files.
#[derive(Debug)]
pub struct Deb {
    /// The control stanza's text.
    pub control: String,
    /// The files as unpacked into an empty root.
    pub files: Tree,
}

impl Deb {
    /// A field of the control stanza.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        stanzas(&self.control, "control").next()?.ok()?.get(name)
    }
}

/// Memory limit of the decoder in bytes: the need of `xz -9`.
const XZ_MEMORY: u64 = 96 << 20;
/// Size limit of the unpacked control.tar in bytes.
const MAX_CONTROL: u64 = 64 << 20;

/// Reads a .deb. `keep` selects files by path (`usr/share/man/x`). File contents are copied to `spool`.
pub fn read_deb(file: &Content, spool: &mut Spool, keep: &dyn Fn(&[u8]) -> bool) -> Result<Deb> {
    let mut members = ar_members(file)?.into_iter();
    let mut next = |what: &str| members.next().with_context(|| format!("the member {what} is missing"));
    let (name, version) = next("debian-binary")?;
    if name != "debian-binary" || version.len() > 64 || !version.read_all()?.starts_with(b"2.") {
        bail!("the first member, `{name}`, does not declare format 2 of .deb");
    }
    let (control_name, control) = next("control.tar")?;
    let control = read_control(&control_name, &control).with_context(|| control_name.clone())?;
    let (mut data_name, mut data) = next("data.tar")?;
    // Readers ignore members whose name starts with an underscore (deb(5)).
    while data_name.starts_with('_') {
        (data_name, data) = next("data.tar")?;
    }
    let files = read_data(&data_name, &data, spool, keep).with_context(|| data_name.clone())?;
    Ok(Deb { control, files })
}

/// Names and contents of the members of an `ar` archive (ar(5)), in order.
fn ar_members(file: &Content) -> Result<Vec<(String, Content)>> {
    let (header, end) = (60, file.len());
    let mut magic = [0; 8];
    file.open()?.read_exact(&mut magic).ok().filter(|()| magic == *b"!<arch>\n").context("the file is not an ar archive")?;
    let mut members = Vec::new();
    let mut at = 8;
    while at < end {
        if end - at < header {
            bail!("the file ends within a member's header at byte {at}");
        }
        let head = file.slice(at, header)?.read_all()?;
        let text = |from: usize, to: usize| std::str::from_utf8(&head[from..to]).map(str::trim_end).ok();
        let (Some(name), Some(size), b"`\n") = (text(0, 16), text(48, 58).and_then(|size| size.parse::<u64>().ok()), &head[58..]) else {
            bail!("the member's header at byte {at} is damaged");
        };
        at += header;
        if size > end - at {
            bail!("the file is truncated: `{name}` has {} of {size} bytes", end - at);
        }
        members.push((name.trim_end_matches('/').to_owned(), file.slice(at, size)?));
        // Members start at even offsets.
        at += size + size % 2;
    }
    Ok(members)
}

/// A decompressing reader of the member `control.tar*` or `data.tar*`.
fn decode(name: &str, stem: &str, content: &Content) -> Result<Box<dyn Read>> {
    let reader = BufReader::with_capacity(64 << 10, content.open()?);
    Ok(match name.strip_prefix(stem) {
        Some("") => Box::new(reader),
        Some(".gz") => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        Some(".xz") => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(reader, stream))
        }
        Some(".zst") => Box::new(ruzstd::decoding::StreamingDecoder::new(reader).context("invalid zstd stream")?),
        Some(other) => bail!("unknown compression `{other}`"),
        None => bail!("expected the member `{stem}`"),
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
    bail!("the file `control` is missing")
}

fn read_data(name: &str, content: &Content, spool: &mut Spool, keep: &dyn Fn(&[u8]) -> bool) -> Result<Tree> {
    let mut reader = decode(name, "data.tar", content)?;
    let mut entries = read_tar_stream(&mut reader, spool)?;
    // The checksum at the end of a compressed stream is only checked if the stream is read to its end.
    std::io::copy(&mut reader, &mut std::io::sink())?;
    for entry in &entries {
        let climbs = |path: &[u8]| path.split(|b| *b == b'/').any(|part| part == b"..");
        let path = String::from_utf8_lossy(&entry.path);
        match &entry.kind {
            _ if climbs(&entry.path) => bail!("the path `{path}` contains `..`"),
            EntryKind::HardLink(target) if climbs(target) => {
                bail!("the target `{}` of the hard link `{path}` contains `..`", String::from_utf8_lossy(target))
            }
            _ => {}
        }
    }
    entries.retain(|entry| {
        let path = clean(&entry.path);
        path.is_empty() || keep(&path)
    });
    // A package may contain links, but a tree resolves them inside itself. A member for the root must be a directory.
    entries.iter_mut().filter(|entry| clean(&entry.path).is_empty()).for_each(|entry| {
        entry.path.clear();
        if !matches!(entry.kind, EntryKind::Node(Kind::Dir(_))) {
            entry.kind = EntryKind::Node(Kind::Dir(std::collections::BTreeMap::new()));
        }
    });
    entries_to_tree(entries)
}

/// A member's path without `./` and empty parts.
fn clean(path: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    parts.join(&b'/')
}
