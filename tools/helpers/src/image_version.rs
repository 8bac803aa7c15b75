//! `getimgversion`: prints the version in a root file system's /etc/eve-release, without mount or sudo.

use anyhow::{Context as _, Result, bail};
use diskimage::{FileImage, ReadAt, container, eve, ext4, gpt, squashfs};
use filetree::Content;
use std::{fs::File, io::Read as _, path::Path, sync::Arc};

const RELEASE: &str = "etc/eve-release";
const PROGRAMS: &[(&str, &str)] = &[
    ("zedagent", "containers/services/pillar/lower/opt/zededa/bin/zedagent"),
    ("lisp-ztr", "containers/services/pillar/lower/opt/zededa/bin/lisp-ztr"),
];
/// The largest file that is read, in bytes.
const MOST: u64 = 1 << 30;
/// The first bytes of a squashfs.
const SQUASHFS: &[u8] = b"hsqs";

/// Prints the version in the image at `path`: a squashfs, a disk (in a container that can be read) that contains one, an ext4, or the tar of a root file
/// system. With `programs`, prints also the file types of pillar's programs.
pub fn print_image_version(path: &Path, programs: bool) -> Result<()> {
    let files = open(path)?;
    let release = files.read(RELEASE).with_context(|| format!("`{}` has no version: it has no /{RELEASE}", path.display()))?;
    println!("{}", String::from_utf8_lossy(&release).trim_end());
    if programs {
        for (name, program) in PROGRAMS {
            let what = files.read(program).map_or_else(|_| "missing".to_owned(), |bytes| describe(&bytes));
            println!("file {name}: /{program}: {what}");
        }
    }
    Ok(())
}

/// A root file system.
enum Files {
    Squashfs(squashfs::Reader),
    Tar(filetree::Tree),
}

impl Files {
    fn read(&self, path: &str) -> Result<Vec<u8>> {
        match self {
            Self::Squashfs(reader) => reader.read_file(path, MOST),
            Self::Tar(tree) => {
                let path = tree.resolve(path, true)?;
                match tree.get(&path).map(|node| &node.kind) {
                    Some(filetree::Kind::File { content, .. }) if content.len() <= MOST => content.read_all(),
                    _ => bail!("it has no file of that name"),
                }
            }
        }
    }
}

fn open(path: &Path) -> Result<Files> {
    let open = || File::open(path).with_context(|| format!("cannot open `{}`", path.display()));
    let mut start = Vec::new();
    open()?.take(512).read_to_end(&mut start).with_context(|| format!("cannot read `{}`", path.display()))?;
    if start.get(257..262) == Some(b"ustar") {
        let entries = filetree::read_tar_file(Arc::new(open()?)).with_context(|| format!("cannot read the tar `{}`", path.display()))?;
        return Ok(Files::Tar(filetree::entries_to_tree(entries)?));
    }
    let image = FileImage::new(open()?)?;
    if ext4::Reader::fits(&image) {
        return files_of_ext4(&image).map(Files::Tar).with_context(|| format!("cannot read `{}`", path.display()));
    }
    let reader = squashfs_in(container::open(path)?.into()).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(Files::Squashfs(reader))
}

/// All names in an ext4, with the contents of only those files that we read.
fn files_of_ext4(image: &dyn ReadAt) -> Result<filetree::Tree> {
    let wanted = |path: &[u8]| path == RELEASE.as_bytes() || PROGRAMS.iter().any(|(_, program)| path == program.as_bytes());
    let (tree, _) = ext4::Reader::open(image)?.tree(&mut |path, len, bytes| {
        let mut content = Vec::new();
        if wanted(path) && len <= MOST {
            bytes.read_to_end(&mut content)?;
        }
        Ok(Some(Content::from(content)))
    })?;
    Ok(tree)
}

/// The image itself if it is a squashfs, else its first partition that is a squashfs with a version; the active slot before others.
fn squashfs_in(image: Arc<dyn ReadAt>) -> Result<squashfs::Reader> {
    let size = image.size();
    let whole = Part { image, start: 0, size };
    if whole.is_squashfs() {
        return squashfs::Reader::open_image(Box::new(whole));
    }
    let Some(table) = gpt::read(&whole)? else {
        bail!("it is neither a squashfs nor a disk with partitions\nhint: cargo xtask inspect IMAGE shows what it is")
    };
    // Of two slots the one that a machine starts next comes first.
    let mut entries = table.entries;
    entries.sort_by_key(|entry| eve::slot_state(entry.type_guid, entry.attributes) != Some("active"));
    for entry in entries {
        let start = entry.first_lba.saturating_mul(gpt::SECTOR);
        let end = entry.last_lba.saturating_add(1).saturating_mul(gpt::SECTOR).min(size);
        let part = Part { image: Arc::clone(&whole.image), start, size: end.saturating_sub(start) };
        if part.is_squashfs() {
            let reader = squashfs::Reader::open_image(Box::new(part)).with_context(|| format!("its partition `{}`", entry.name))?;
            if reader.read_file(RELEASE, MOST).is_ok() {
                return Ok(reader);
            }
        }
    }
    bail!("none of its partitions is a squashfs with /{RELEASE}\nhint: cargo xtask inspect IMAGE lists them")
}

/// A range of bytes of an open image.
struct Part {
    image: Arc<dyn ReadAt>,
    start: u64,
    size: u64,
}

impl Part {
    fn is_squashfs(&self) -> bool {
        let mut magic = [0; 4];
        self.size >= 96 && self.read_at(&mut magic, 0).is_ok() && magic == SQUASHFS
    }
}

impl ReadAt for Part {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        match offset.checked_add(buffer.len() as u64) {
            Some(end) if end <= self.size => self.image.read_at(buffer, self.start + offset),
            _ => bail!("{} bytes at {offset} lie behind the end", buffer.len()),
        }
    }
}

/// Describes a program by its first bytes, as `file` does.
fn describe(bytes: &[u8]) -> String {
    let size = bytes.len();
    match bytes {
        [0x7f, b'E', b'L', b'F', class, ..] if size >= 20 => {
            let machine = match u16::from_le_bytes([bytes[18], bytes[19]]) {
                0x3e => "x86-64",
                0xb7 => "ARM aarch64",
                0xf3 => "RISC-V",
                _ => "another machine",
            };
            format!("ELF {}-bit, {machine}, {size} bytes", if *class == 2 { 64 } else { 32 })
        }
        [b'#', b'!', ..] => format!("script, {size} bytes"),
        _ => format!("data, {size} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_by_their_first_bytes() {
        let mut elf = vec![0x7f, b'E', b'L', b'F', 2];
        elf.resize(64, 0);
        elf[18] = 0xb7;
        assert_eq!(describe(&elf), "ELF 64-bit, ARM aarch64, 64 bytes");
        assert_eq!(describe(b"#!/bin/sh"), "script, 9 bytes");
        assert_eq!(describe(b""), "data, 0 bytes");
    }

    #[test]
    fn the_active_slot_tells_the_version() {
        use diskimage::{disk, eve::Kind};
        let folder = tempfile::tempdir().expect("folder");
        let slot = |version: &str| {
            let path = folder.path().join(version);
            let mut tree = filetree::Tree::new();
            tree.insert(RELEASE, filetree::Node::file(0o644, 0, Content::from(version.as_bytes().to_vec()))).expect("insert");
            let options = squashfs::Options { compressor: squashfs::Compressor::Gzip, ..squashfs::Options::default() };
            squashfs::write(&tree, &options, &mut File::create(&path).expect("create")).expect("squashfs");
            disk::Source::Image(Content::of_path(&path).expect("content"))
        };
        for (active, expected) in [(0, "one"), (1, "two")] {
            let mut table = eve::table(vec![(Kind::Imga, slot("one")), (Kind::Imgb, slot("two"))], 640 << 20).expect("table");
            table.parts.iter_mut().for_each(|part| part.attributes = 0);
            table.parts[active].attributes = 0x102 << 48;
            let path = folder.path().join("disk.raw");
            disk::layout(table).expect("layout").write(&File::create(&path).expect("create")).expect("write");
            assert_eq!(open(&path).expect("open").read(RELEASE).expect("read"), expected.as_bytes());
        }
    }

    #[test]
    fn what_is_no_image_says_what_to_do() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("x");
        std::fs::write(&path, [0; 4096]).expect("write");
        let error = format!("{:#}", open(&path).err().expect("refused"));
        assert!(error.contains("neither a squashfs nor a disk"), "{error}");
    }
}
