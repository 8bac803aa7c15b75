//! The kernel's image: its kernel, microcode and modules tar are used; its other files are ignored.

use crate::{
    places::Origin,
    rootfs::{RootfsWriter, Sink},
    yml::Kernel,
};
use anyhow::{Context as _, Result, bail};
use filetree::{Content, Entry, EntryKind, Kind, read_tar_content};

/// Writes `boot/kernel`, `boot/cmdline`, `boot/ucode.cpio` and the entries of the modules tar, in the image's order.
pub(crate) fn put_kernel<S: Sink>(kernel: &Kernel, entries: &[Entry], from: Origin<'_>, rootfs: &mut RootfsWriter<'_, S>) -> Result<()> {
    let binary = if kernel.binary.is_empty() { "kernel" } else { &kernel.binary };
    let tar = match kernel.tar.as_deref() {
        None => "kernel.tar",
        Some("none") => "",
        Some(name) => name,
    };
    let ucode = kernel.ucode.as_deref().unwrap_or_default();
    let (mut has_binary, mut has_tar, mut has_ucode) = (false, false, false);
    for entry in entries {
        let is = |name: &str| !name.is_empty() && entry.path == name.as_bytes();
        if is(binary) {
            if !has_ucode {
                rootfs.make_dir("boot", from)?;
            }
            has_binary = true;
            let cmdline = Kind::File { content: kernel.cmdline.as_str().into(), link: None };
            rootfs.make("boot/cmdline", 0o644, cmdline, from)?;
            let file = Kind::File { content: content_of(entries, entry)?, link: None };
            rootfs.make("boot/kernel", entry.meta.mode, file, from)?;
        } else if is(tar) {
            has_tar = true;
            put_modules(&content_of(entries, entry)?, from, rootfs)
                .with_context(|| format!("cannot read the tar `{tar}` in the kernel's image"))?;
        } else if is(ucode) {
            if !has_binary {
                rootfs.make_dir("boot", from)?;
            }
            has_ucode = true;
            let file = Kind::File { content: content_of(entries, entry)?, link: None };
            rootfs.make("boot/ucode.cpio", entry.meta.mode, file, from)?;
        }
    }
    for (found, name) in [(has_binary, binary), (has_tar, tar), (has_ucode || kernel.ucode.is_none(), ucode)] {
        if !found && !name.is_empty() {
            bail!("the kernel's image has no file `{name}`");
        }
    }
    Ok(())
}

/// Content of a file of the image; follows hard links.
fn content_of(entries: &[Entry], entry: &Entry) -> Result<Content> {
    let mut at = entry;
    while let EntryKind::HardLink(target) = &at.kind {
        at = entries
            .iter()
            .find(|other| other.path == *target && !std::ptr::eq(*other, at))
            .context("a hard link in the kernel's image has no target")?;
    }
    match &at.kind {
        EntryKind::Node(Kind::File { content, .. }) => Ok(content.clone()),
        _ => bail!("`{}` in the kernel's image is not a regular file", String::from_utf8_lossy(&entry.path)),
    }
}

/// Writes the entries of the modules tar unchanged, with their PAX records.
fn put_modules<S: Sink>(tar: &Content, from: Origin<'_>, rootfs: &mut RootfsWriter<'_, S>) -> Result<()> {
    for (entry, records) in read_tar_content(tar)? {
        let path = inside(&entry.path)?;
        let kind = match &entry.kind {
            EntryKind::HardLink(target) => EntryKind::HardLink(inside(target)?.to_vec()),
            kind => kind.clone(),
        };
        rootfs.put(path, &entry.meta, &kind, from, &records)?;
    }
    Ok(())
}

/// The path without leading `/`; fails on `..`.
fn inside(path: &[u8]) -> Result<&[u8]> {
    if path.split(|b| *b == b'/').any(|part| part == b"..") {
        bail!("the path `{}` contains `..`", String::from_utf8_lossy(path));
    }
    let from = path.iter().position(|b| *b != b'/').unwrap_or(path.len());
    Ok(&path[from..])
}
