//! What would take too long or too much memory is refused; what cannot be read is said.

use super::*;
use crate::{ImageContents, Shared, compare_contents, cpio, open_all};
use diskimage::ReadAt;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

#[test]
fn an_index_that_names_itself_and_a_list_of_many_images_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tar");
    let rows = vec![r#"{"digest":"sha256:aa"}"#; 40].join(",");
    let index = format!(r#"{{"manifests":[{rows}]}}"#);
    let list = format!("[{}]", vec![r#"{"Layers":[]}"#; 300].join(","));
    let layers = format!(r#"[{{"Layers":[{}]}}]"#, vec![r#""layer""#; 5000].join(","));
    for (files, expected) in [
        (vec![("index.json", &index), ("blobs/sha256/aa", &index)], "more than 8 indexes in each other"),
        (vec![("manifest.json", &list)], "the archive lists more than 256 images and indexes"),
        (vec![("manifest.json", &layers)], "the images of the archive list more than 4096 layers"),
    ] {
        let files: Vec<(&str, &[u8])> = files.into_iter().map(|(name, text)| (name, text.as_bytes())).collect();
        std::fs::write(&path, tar(&files)).unwrap();
        let error = format!("{:#}", open_file(&path, None).err().unwrap());
        assert!(error.ends_with(expected), "{error}");
    }
    // Eight levels, each naming the next one twenty times: 20^8 manifests.
    let level = |next: usize| format!(r#"{{"manifests":[{}]}}"#, vec![format!(r#"{{"digest":"sha256:{next}"}}"#); 20].join(","));
    let mut files = vec![("index.json".to_owned(), level(0))];
    files.extend((0..7).map(|number| (format!("blobs/sha256/{number}"), level(number + 1))));
    files.push(("blobs/sha256/7".to_owned(), r#"{"layers":[]}"#.to_owned()));
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    std::fs::write(&path, tar(&files)).unwrap();
    let error = format!("{:#}", open_file(&path, None).err().unwrap());
    assert!(error.ends_with("the archive lists more than 256 images and indexes"), "{error}");
}

/// Counts how often its bytes are read.
struct Counted(Vec<u8>, Arc<AtomicU64>);

impl ReadAt for Counted {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> anyhow::Result<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0[..].read_at(buffer, offset)
    }
}

/// An entry of a newc archive.
fn newc(name: &str, mode: u32, inode: u32, names: u32, bytes: &[u8]) -> Vec<u8> {
    let fields = [inode, mode, 0, 0, names, 0, bytes.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
    let mut entry = format!("070701{}{name}\0", fields.map(|field| format!("{field:08x}")).concat()).into_bytes();
    entry.resize(entry.len().next_multiple_of(4), 0);
    entry.extend_from_slice(bytes);
    entry.resize(entry.len().next_multiple_of(4), 0);
    entry
}

#[test]
fn a_cpio_archive_with_many_zeros_after_it_is_read_in_pieces() {
    let mut bytes = [newc("a", 0o100_644, 1, 1, b"text"), newc("TRAILER!!!", 0, 0, 1, b"")].concat();
    bytes.resize(32 << 20, 0);
    let reads = Arc::new(AtomicU64::new(0));
    assert!(cpio::read(&Shared::new(Counted(bytes, reads.clone()))).unwrap().get("a").is_some());
    assert!(reads.load(Ordering::Relaxed) < 600, "{reads:?}");
}

#[test]
fn all_names_of_a_file_in_a_cpio_archive_have_its_bytes() {
    let file = |name: &str, inode, bytes: &[u8]| newc(name, 0o100_644, inode, 3, bytes);
    let end = newc("TRAILER!!!", 0, 0, 1, b"");
    let archive = [
        file("one", 7, b""),
        file("gone", 7, b""),
        newc("gone", 0o040_755, 9, 2, b""),
        newc("gone/in", 0o100_644, 10, 1, b"kept"),
        file("two", 7, b"bytes"),
        file("three", 7, b""),
        file("other", 7, b"repeated"),
        file("empty", 8, b""),
        end.clone(),
        // Numbers of inodes belong to one archive.
        file("next", 7, b""),
        end,
    ]
    .concat();
    let tree = cpio::read(&Shared::new(Counted(archive, Arc::default()))).unwrap();
    let found = ["one", "two", "three", "other", "empty", "next", "gone/in"].map(|name| match &tree.get(name).unwrap().kind {
        Kind::File { content, link } => (String::from_utf8(content.read_all().unwrap()).unwrap(), *link),
        kind => panic!("{name}: {kind:?}"),
    });
    let expected = [("bytes", Some(1)), ("bytes", Some(1)), ("bytes", Some(1)), ("repeated", Some(2)), ("", Some(3)), ("", Some(4))];
    assert_eq!(found[..6], expected.map(|(text, link)| (text.to_owned(), link)));
    assert_eq!(found[6], ("kept".to_owned(), None));
    let long = [newc("link", 0o120_777, 1, 1, &[b'a'; 4096]), newc("TRAILER!!!", 0, 0, 1, b"")].concat();
    let error = cpio::read(&Shared::new(Counted(long, Arc::default()))).err().unwrap().to_string();
    assert_eq!(error, "a link's target has 4096 bytes");
}

/// A disk whose MBR has an empty first record, then a partition with `byte` everywhere, and one that exceeds the disk if `more`.
fn disk(path: &Path, byte: u8, more: bool) {
    let mut bytes = vec![byte; 8 * 512];
    bytes[..512].fill(0);
    let record = |first: u8, sectors: u8| [0, 0, 0, 0, 0x83, 0, 0, 0, first, 0, 0, 0, sectors, 0, 0, 0];
    bytes[462..478].copy_from_slice(&record(1, 4));
    if more {
        bytes[478..494].copy_from_slice(&record(5, 100));
    }
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn partitions_without_a_file_system_are_compared_by_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one.raw"), folder.path().join("two.raw"));
    disk(&one, 1, false);
    disk(&two, 2, true);
    let (old, new) = (open_all(&one).unwrap(), open_all(&two).unwrap());
    let names = |parts: &[(String, ImageContents)]| parts.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!((names(&old), names(&new)), (vec!["2".to_owned()], vec!["2".to_owned(), "3".to_owned()]));
    assert!(compare_contents("2", &old[0].1, &old[0].1, false).unwrap().is_same());
    let found = compare_contents("2", &old[0].1, &new[0].1, false).unwrap();
    assert_eq!((found.files[0].path.as_str(), found.files[0].change, found.files[0].new_size), ("2", Changed::Content, 4 * 512));
    let unread = compare_contents("3", &new[1].1, &new[1].1, false).unwrap();
    assert!(!unread.is_same());
    assert_eq!(unread.not_compared, ["`3` cannot be read: 51200 bytes at 2560 exceed the image of 4096 bytes"]);
    let files = ImageContents::Files(Box::new(volume(|_| {})));
    let mixed = compare_contents("2", &files, &new[0].1, false).unwrap();
    assert_eq!(mixed.not_compared, ["`2` is a tar on the old side only; on the new one it holds no file system that is read"]);
    for (rest, expected) in [
        (":/", "`one.raw` is a disk\nhint: name a partition of it: 2"),
        (":", "`one.raw` is a disk\nhint: name a partition of it: 2"),
        (":1", "`one.raw` is a disk without a partition `1`: it has 2"),
        (
            ":2",
            "`one.raw:2` holds no file system that is read: no known format fits\nhint: squashfs, FAT, ext4, ISO 9660, tar and cpio are read",
        ),
    ] {
        assert_eq!(found_in(&one, rest), expected, "{rest}");
    }
}

fn found_in(path: &Path, rest: &str) -> String {
    found(path, rest).unwrap_err()
}
