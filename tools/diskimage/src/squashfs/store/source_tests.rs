//! What the store knows of the files of earlier images saves reading them, and never gives the bytes of a file that has changed.
#![allow(clippy::unwrap_used)]

use super::{tests::*, *};
use crate::squashfs::{Compressor, write_with};
use filetree::{Content, Node, Tree};
use std::{fs::OpenOptions, os::unix::fs::FileExt as _, sync::Arc};

/// Longer than the time after which a file counts as settled.
const SETTLES: Duration = Duration::from_millis(4500);

/// A tree of files that lie one after the other in one file, as those of a layer do: large ones, small ones, a hole.
fn tree(layer: &File) -> Tree {
    let (file, mut offset, mut tree) = (Arc::new(layer.try_clone().unwrap()), 0, Tree::new());
    let sizes = [70_000, 3, 200, 8192, 100, 33_000, 40, 5000, 5000].into_iter().chain((0..60).map(|number| 900 + number));
    for (number, len) in sizes.enumerate() {
        let content = Content::Range { file: file.clone(), offset, len };
        tree.insert(format!("usr/{number}"), Node::file(0o644, 1, content)).unwrap();
        offset += len;
    }
    tree.insert("zeros", Node::file(0o644, 1, Content::Range { file, offset, len: 20_000 })).unwrap();
    tree.insert("version", Node::file(0o644, 1, Content::from("1"))).unwrap();
    tree
}

/// A file for [`tree`], which ends in zeros.
fn layer(path: &Path) -> File {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path).unwrap();
    let text: Vec<u8> = (0..300_000_u32).map(|at| (at / 7 * at % 251) as u8 % 40 + 40).collect();
    file.write_all_at(&text[..70_000 + 3 + 200 + 8192 + 100 + 33_000 + 40 + 10_000 + 60 * 900 + 1770], 0).unwrap();
    file.set_len(300_000).unwrap();
    file
}

#[test]
fn a_file_that_changes_in_place_is_read_again_and_others_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (path, blocks) = (folder.path().join("layer"), folder.path().join("blocks"));
    let file = layer(&path);
    let store = || BlockStore::open(&blocks, u64::MAX);
    let clean = |tree: &Tree| image(tree, &Compressor::Gzip, None).0;
    assert!(image(&tree(&file), &Compressor::Gzip, Some(&store())).0 == clean(&tree(&file)));
    assert!(!blocks.join("sources").exists(), "nothing is remembered of a file that was written just now");
    std::thread::sleep(SETTLES);
    let expected = clean(&tree(&file));
    for _ in 0..2 {
        assert!(image(&tree(&file), &Compressor::Gzip, Some(&store())).0 == expected);
    }
    // Every byte is another one, and the file has its old length and time.
    let (before, time) = (std::fs::read(&path).unwrap(), file.metadata().unwrap().modified().unwrap());
    let other: Vec<u8> = before.iter().map(|byte| byte ^ 1).collect();
    file.write_all_at(&other, 0).unwrap();
    file.set_modified(time).unwrap();
    let changed = clean(&tree(&file));
    assert!(changed != expected && image(&tree(&file), &Compressor::Gzip, Some(&store())).0 == changed);
    std::thread::sleep(SETTLES);
    for _ in 0..2 {
        assert!(image(&tree(&file), &Compressor::Gzip, Some(&store())).0 == changed);
    }
}

#[test]
fn blocks_of_known_sources_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let (path, blocks) = (folder.path().join("layer"), folder.path().join("blocks"));
    let file = layer(&path);
    std::thread::sleep(SETTLES);
    let first = image(&tree(&file), &Compressor::Gzip, Some(&BlockStore::open(&blocks, u64::MAX)));
    // The store answers for every block of the file, which cannot be read any more.
    let unreadable = OpenOptions::new().write(true).open(&path).unwrap();
    assert!(image_of(&tree(&unreadable), Some(&BlockStore::open(&blocks, u64::MAX))).unwrap() == first.0);
    for store in [None, Some(&BlockStore::open(&blocks, u64::MAX).reading_all())] {
        let error = format!("{:#}", image_of(&tree(&unreadable), store).unwrap_err());
        assert!(error.starts_with("cannot read the content of `usr/"), "{error}");
    }
    // The block with the version is new.
    let mut next = tree(&file);
    next.insert("version", Node::file(0o644, 1, Content::from("2"))).unwrap();
    let store = BlockStore::open(&blocks, u64::MAX);
    let second = image(&next, &Compressor::Gzip, Some(&store));
    assert_eq!((second.1.known, second.1.compressed), (first.1.compressed - 1, 1));
    let rows = std::fs::read(blocks.join("sources")).unwrap();
    let hashed = 2;
    let expected = first.1.compressed as usize + 1 + 3 + hashed;
    assert_eq!((rows.len() - 16 - 32) / 64, expected, "each block, the new one, three holes, and two contents of the same length");
    // The rows of a store whose packs are gone: the blocks are made again.
    packs(&blocks).iter().for_each(|pack| std::fs::remove_file(pack).unwrap());
    let third = image(&next, &Compressor::Gzip, Some(&BlockStore::open(&blocks, u64::MAX)));
    assert!(third.0 == second.0 && third.1.known == 0, "{:?}", third.1);
}

/// The bytes of the image of `tree`, or why it cannot be made.
fn image_of(tree: &Tree, store: Option<&BlockStore>) -> Result<Vec<u8>> {
    let mut out = tempfile::tempfile()?;
    let summary = write_with(tree, &options(Compressor::Gzip), store, &|_, _| {}, &mut out)?;
    let mut bytes = vec![0; usize::try_from(summary.bytes)?];
    out.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[test]
fn damaged_rows_count_as_none() {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<Known> = (0..9).map(|number| ([number; 32], (number != 4).then_some([number + 1; 32]))).collect();
    Sources::default().add(folder.path(), &rows).unwrap();
    let sources = Sources::read(folder.path());
    assert!(rows.iter().all(|(source, key)| sources.find(source) == Some(*key)) && sources.find(&[9; 32]).is_none());
    let path = folder.path().join("sources");
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(Sources::read(folder.path()).find(&[1; 32]).is_none(), "byte {at}");
        std::fs::write(&path, &whole[..at]).unwrap();
        assert!(Sources::read(folder.path()).find(&[1; 32]).is_none(), "{at} bytes");
    }
}

#[test]
fn rows_of_many_images_are_dropped_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let rows = |start: u32| -> Vec<Known> {
        let source = |number: u32| std::array::from_fn(|at| number.to_le_bytes().get(at).copied().unwrap_or(0));
        (start..start + 25_000).map(|number| (source(number), Some(source(number + 1)))).collect()
    };
    for (image, left) in [(0, 25_000), (1, 50_000), (2, 25_000)] {
        Sources::read(folder.path()).add(folder.path(), &rows(image * 25_000)).unwrap();
        let sources = Sources::read(folder.path());
        assert!(rows(image * 25_000).iter().all(|(source, key)| sources.find(source) == Some(*key)));
        assert_eq!(std::fs::read(folder.path().join("sources")).unwrap().len(), 16 + left * 64 + 32, "image {image}");
    }
}
