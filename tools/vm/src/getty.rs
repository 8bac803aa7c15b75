//! Makes a copy of an image's configuration that enables a login prompt on the console and lets a key in by ssh, for a machine that `run`
//! starts. Does not change the built configuration or its source folder.

use anyhow::{Context as _, Result, bail};
use diskimage::{FileImage, ReadAt, fat::Reader, gpt, qcow2, recipes};
use filetree::{Content, Node, Tree};
use std::{fs::File, path::Path};

/// The command in GRUB's configuration that enables the login prompt, unless there is a key.
const SWITCH: &str = "set_getty";
/// The same although there is a key: for a copy that gets one. Boot loaders of other images take no argument and ignore it.
const SWITCH_ALWAYS: &str = "set_getty always";
/// GRUB's configuration on the CONFIG partition.
const GRUB_CFG: &str = "grub.cfg";
/// The public keys that may log in, one a line.
const KEYS: &str = "authorized_keys";
/// The largest file of a configuration that is read, in bytes: the size of the partition.
const MOST: u32 = 1 << 20;

/// A configuration with the command, and its place on the disk.
pub struct Patched {
    /// Byte offset of the CONFIG partition.
    pub offset: u64,
    /// The image's layout, ready to be written.
    pub layout: diskimage::fat::Layout,
}

/// The configuration of `image` (`qcow2` or `raw`) with the command, and with the public key `key` if one is given; none if it already has
/// them, or if the image has no configuration. Without a key the login is one that a key of the configuration closes: the disk may be written to
/// another machine.
pub fn patch(image: &Path, format: &str, key: Option<&str>) -> Result<Option<Patched>> {
    let file = FileImage::new(File::open(image).with_context(|| format!("cannot open `{}`", image.display()))?)?;
    let disk: Box<dyn ReadAt> = match format {
        "qcow2" => Box::new(qcow2::Reader::open(file)?),
        "raw" => Box::new(file),
        _ => return Ok(None),
    };
    let Some(table) = gpt::read(disk.as_ref())? else { return Ok(None) };
    let Some(part) = table.entries.iter().find(|entry| entry.name == "CONFIG") else { return Ok(None) };
    let bytes = |sectors: u64| sectors.checked_mul(table.sector).context("the partition table has a CONFIG without end");
    let offset = bytes(part.first_lba)?;
    let window = diskimage::Window::new(disk.as_ref(), offset, bytes((part.last_lba + 1).saturating_sub(part.first_lba))?)?;
    let Some(tree) = with_logins(&Reader::open(&window)?, key)? else { return Ok(None) };
    Ok(Some(Patched { offset, layout: recipes::config_for_disk(&tree, table.sector, 0)? }))
}

/// All files of the volume, with the command at the end of GRUB's configuration and the key at the end of the keys; none if it already
/// has both.
fn with_logins(volume: &Reader<'_>, key: Option<&str>) -> Result<Option<Tree>> {
    let mut tree = Tree::new();
    let (mut grub, mut keys) = (Vec::new(), Vec::new());
    for entry in volume.entries()? {
        if entry.directory {
            tree.insert(&entry.path, Node::dir(0o755, 0))?;
            continue;
        }
        let bytes = volume.read(&entry, MOST)?;
        match entry.path.as_str() {
            GRUB_CFG => grub = bytes,
            KEYS => keys = bytes,
            path => tree.insert(path, Node::file(0o644, 0, Content::from(bytes)))?,
        }
    }
    let switch = if key.is_some() { SWITCH_ALWAYS } else { SWITCH };
    let added = [(GRUB_CFG, add_line(GRUB_CFG, &grub, Some(switch))?), (KEYS, add_line(KEYS, &keys, key)?)];
    let is_new = added.iter().any(|(_, text)| text.is_some());
    for ((name, text), old) in added.into_iter().zip([grub, keys]) {
        let bytes = text.map_or(old, String::into_bytes);
        if !bytes.is_empty() {
            tree.insert(name, Node::file(0o644, 0, Content::from(bytes)))?;
        }
    }
    Ok(is_new.then_some(tree))
}

/// The text of a file with one more line at its end; none if it has the line, or if there is none to add.
fn add_line(name: &str, bytes: &[u8], line: Option<&str>) -> Result<Option<String>> {
    let Ok(text) = std::str::from_utf8(bytes) else { bail!("{name} of the configuration is not UTF-8") };
    let Some(line) = line.map(str::trim).filter(|line| text.lines().all(|old| old.trim() != *line)) else { return Ok(None) };
    let old = text.trim_end();
    Ok(Some(if old.is_empty() { format!("{line}\n") } else { format!("{old}\n{line}\n") }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use diskimage::{disk, eve};

    /// A disk with sectors of `sector` bytes whose only partition is a CONFIG of `conf`.
    fn write(path: &Path, conf: &Tree, sector: u64) {
        let fat = disk::Source::Fat(recipes::config_for_disk(conf, sector, 0).expect("config"));
        let table = eve::table(vec![(eve::Kind::Conf, fat)], 8 << 20).expect("table").with_sector(sector);
        disk::layout(table)
            .expect("layout")
            .write(&File::options().read(true).write(true).create(true).truncate(true).open(path).expect("file"))
            .expect("write");
    }

    #[test]
    fn the_switch_and_the_key_go_into_a_copy_once() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("live.raw");
        for sector in gpt::SECTORS {
            let mut conf = Tree::new();
            conf.insert("grub.cfg", Node::file(0o644, 0, Content::from("set timeout=1"))).expect("insert");
            conf.insert("sub/server", Node::file(0o644, 0, Content::from("s"))).expect("insert");
            write(&path, &conf, sector);
            let patched = patch(&path, "raw", Some("ssh-ed25519 AAAA me\n")).expect("patch").expect("a change");
            assert_eq!(patched.offset, 1 << 20, "{sector}");
            let copy = folder.path().join("config.img");
            let file = File::options().read(true).write(true).create(true).truncate(true).open(&copy).expect("file");
            patched.layout.write(&file).expect("write");
            let bytes = std::fs::read(&copy).expect("read");
            assert_eq!(u64::from(u16::from_le_bytes([bytes[11], bytes[12]])), sector, "Linux mounts no smaller sectors than the disk's");
            let image = FileImage::new(File::open(&copy).expect("open")).expect("image");
            let reader = Reader::open(&image).expect("fat");
            let entries = reader.entries().expect("entries");
            let text = |name: &str| reader.read(entries.iter().find(|entry| entry.path == name).expect("file"), 1000).expect("read");
            assert_eq!(text("grub.cfg"), b"set timeout=1\nset_getty always\n");
            assert_eq!(text("authorized_keys"), b"ssh-ed25519 AAAA me\n");
            assert!(entries.iter().any(|entry| entry.path == "sub/server"));
            conf.insert("grub.cfg", Node::file(0o644, 0, Content::from("set_getty\n"))).expect("insert");
            write(&path, &conf, sector);
            assert!(patch(&path, "raw", None).expect("patch").is_none());
            conf.insert("grub.cfg", Node::file(0o644, 0, Content::from("set_getty always\n"))).expect("insert");
            let keys = "ssh-rsa BBBB you\nssh-ed25519 AAAA me";
            conf.insert("authorized_keys", Node::file(0o644, 0, Content::from(keys))).expect("insert");
            write(&path, &conf, sector);
            assert!(patch(&path, "raw", Some("ssh-ed25519 AAAA me")).expect("patch").is_none());
            assert!(patch(&path, "raw", Some("ssh-ed25519 CCCC me")).expect("patch").is_some());
        }
    }
}
