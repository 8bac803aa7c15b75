//! Damaged indexes give `None`. The results for valid ones are compared with git in the tests of pkgbuild's tags.

use super::*;

fn index(entries: &[(&str, u16)], extensions: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut bytes = b"DIRC\0\0\0\x02".to_vec();
    bytes.extend(u32::try_from(entries.len()).expect("few").to_be_bytes());
    for (path, flags) in entries {
        let start = bytes.len();
        bytes.extend([0; 24]);
        bytes.extend(0o100_644_u32.to_be_bytes());
        bytes.extend([0; 12]);
        bytes.extend([7; 20]);
        bytes.extend(flags.to_be_bytes());
        bytes.extend(path.as_bytes());
        bytes.push(0);
        bytes.resize(start + (bytes.len() - start).next_multiple_of(8), 0);
    }
    for (name, content) in extensions {
        bytes.extend(*name);
        bytes.extend(u32::try_from(content.len()).expect("small").to_be_bytes());
        bytes.extend(*content);
    }
    bytes.extend([0; 20]);
    bytes
}

#[test]
fn entries_and_extensions_are_read_or_refused() {
    let parse = |bytes: &[u8]| Index::parse(bytes.to_vec());
    let two = index(&[("a", 0), ("b/c", 0)], &[]);
    let mut read = parse(&two).expect("an index");
    assert_eq!(read.files.iter().map(|file| &*file.path).collect::<Vec<_>>(), [&b"a"[..], b"b/c"]);
    assert_ne!(read.complete(), [0; 20]);
    assert_eq!(read.trees.len(), 1);
    assert!(parse(&index(&[("b", 0), ("a", 0)], &[])).is_none(), "the order");
    assert!(parse(&index(&[("a", 1 << 12)], &[])).is_none(), "a conflict");
    assert!(parse(&index(&[("a", 0)], &[(b"link", b"")])).is_none(), "an index in two files");
    assert!(parse(&index(&[("a", 0)], &[(b"UNTR", b"x")])).is_some(), "what need not be understood");
    let tree = [&b"\x001 0\n"[..], &[9; 20]].concat();
    assert_eq!(parse(&index(&[("a", 0)], &[(b"TREE", &tree)])).expect("an index").complete(), [9; 20]);
    let empty = [&b"\x000 0\n"[..], &[8; 20]].concat();
    assert_eq!(parse(&index(&[], &[(b"TREE", &empty)])).expect("an index").complete(), [8; 20], "a folder without files has an id");
    for broken in [&b"x\x001 0\n"[..], b"\x001 0", b"\x001 z\n", b"\x001 0\nshort", b"\0-1 0\nx\0-1 0\n"] {
        assert!(parse(&index(&[("a", 0)], &[(b"TREE", broken)])).is_none(), "{broken:?}");
    }
    for cut in 0..two.len() - 20 {
        assert!(parse(&two[..cut]).is_none_or(|index| index.files.len() < 3), "{cut}");
    }
}

/// A checkout with one file, its index entry with the id of `known`, and the index written `after` (seconds, nanoseconds) the file.
fn beside(known: &str, after: (i64, i64)) -> Option<Clean> {
    use std::{os::unix::fs::MetadataExt as _, time::Duration};
    let folder = tempfile::tempdir().expect("a folder");
    let (top, git) = (folder.path(), folder.path().join(".git"));
    std::fs::create_dir(&git).expect("a folder");
    std::fs::write(top.join("a"), "what is there").expect("a file");
    std::fs::write(git.join("known"), known).expect("a file");
    // In the middle of a second, so that the index can be older and newer within it.
    let written = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 500_000_000);
    std::fs::File::options().write(true).open(top.join("a")).and_then(|file| file.set_modified(written)).expect("a time");
    let meta = top.join("a").metadata().expect("metadata");
    let (mode, id) = objects::file_now(&git.join("known")).expect("a file").expect("an id");
    let mut bytes = index(&[("a", 0)], &[]);
    let low = |number: i64| u32::try_from(number & 0xffff_ffff).expect("32 bits");
    let words = [
        low(meta.ctime()),
        low(meta.ctime_nsec()),
        low(meta.mtime()),
        low(meta.mtime_nsec()),
        0,
        u32::try_from(meta.ino() & 0xffff_ffff).expect("32 bits"),
        mode,
        meta.uid(),
        meta.gid(),
        u32::try_from(meta.size()).expect("small"),
    ];
    let entry = [&words.map(u32::to_be_bytes).concat()[..], &id].concat();
    bytes[12..72].copy_from_slice(&entry);
    std::fs::write(git.join("index"), bytes).expect("an index");
    let nanoseconds = 1_700_000_000_500_000_000 + after.0 * 1_000_000_000 + after.1;
    let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(nanoseconds).expect("a time"));
    std::fs::File::options().write(true).open(git.join("index")).and_then(|file| file.set_modified(at)).expect("a time");
    clean(top, &git, None)
}

#[test]
fn a_file_as_young_as_its_index_is_read() {
    let (same, other) = ("what is there", "another text!");
    // Written before the index: the metadata decides.
    for after in [(0, 1), (0, 400_000_000), (1, 0), (100, 0)] {
        assert!(beside(same, after).is_some() && beside(other, after).is_some(), "{after:?}");
    }
    // Written with it or after it: the content does.
    for after in [(0, 0), (0, -1), (-1, 0), (-100, 0)] {
        assert!(beside(same, after).is_some(), "{after:?}");
        assert!(beside(other, after).is_none(), "{after:?}");
    }
}

#[test]
fn what_git_may_compare_is_told() {
    let racy = |after| beside("what is there", after).expect("clean").racy;
    assert!(racy((0, 1)) && racy((0, 0)) && racy((-5, 0)), "in the index's second or later");
    assert!(!racy((0, 500_000_000)) && !racy((1, 0)), "in an earlier second");
}

/// The index entry of what is at `path` below `top`, as git writes it; of mode `mode` if it is given.
fn entry_of(top: &Path, path: &str, mode: Option<u32>) -> Vec<u8> {
    use std::os::unix::fs::MetadataExt as _;
    let meta = top.join(path).symlink_metadata().expect("metadata");
    let (real, id) = objects::file_now(&top.join(path)).ok().flatten().unwrap_or((0, [0; 20]));
    let low = |number: u64| u32::try_from(number & 0xffff_ffff).expect("32 bits");
    let signed = |number: i64| low(number.cast_unsigned());
    let times = [signed(meta.ctime()), signed(meta.ctime_nsec()), signed(meta.mtime()), signed(meta.mtime_nsec())];
    let rest = [0, low(meta.ino()), mode.unwrap_or(real), meta.uid(), meta.gid(), low(meta.size())];
    let mut bytes = [times.as_slice(), &rest].concat().iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    bytes.extend(id);
    bytes.extend(u16::try_from(path.len()).expect("short").to_be_bytes());
    bytes.extend(path.as_bytes());
    bytes.resize((bytes.len() + 1).next_multiple_of(8), 0);
    bytes
}

/// Writes an index of these paths, and compares.
fn compared(top: &Path, paths: &[(&str, Option<u32>)], write: bool) -> Option<Clean> {
    let git = top.join(".git");
    if write {
        std::fs::create_dir_all(&git).expect("a folder");
        let mut bytes = [&b"DIRC\0\0\0\x02"[..], &u32::try_from(paths.len()).expect("few").to_be_bytes()].concat();
        paths.iter().for_each(|(path, mode)| bytes.extend(entry_of(top, path, *mode)));
        bytes.extend([0; 20]);
        std::fs::write(git.join("index"), bytes).expect("an index");
    }
    clean(top, &git, None)
}

#[test]
fn unknown_names_are_listed_and_links_are_no_folders() {
    let folder = tempfile::tempdir().expect("a folder");
    let top = folder.path();
    std::fs::create_dir(top.join("d")).expect("a folder");
    for path in ["d/f", "d/new", "g", "other"] {
        std::fs::write(top.join(path), path).expect("a file");
    }
    let paths = [("d/f", None), ("g", None)];
    let mut found = compared(top, &paths, true).expect("clean").unknown;
    found.sort();
    assert_eq!(found, ["d/new", "other"].map(PathBuf::from));
    // The same file, behind a link: for git `d/f` is gone.
    std::fs::rename(top.join("d"), top.join("e")).expect("renamed");
    assert!(compared(top, &paths, false).is_none(), "the folder is gone");
    std::os::unix::fs::symlink("e", top.join("d")).expect("a link");
    assert!(compared(top, &paths, false).is_none(), "the folder is a link");
    std::fs::remove_file(top.join("d")).expect("removed");
    std::fs::rename(top.join("e"), top.join("d")).expect("renamed");
    assert!(compared(top, &paths, false).is_some(), "as before");
}

#[test]
fn a_submodule_that_is_not_there_is_an_empty_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let (top, linked) = (folder.path(), [("sub", Some(objects::LINKED_COMMIT))]);
    std::fs::create_dir(top.join("sub")).expect("a folder");
    assert!(compared(top, &linked, true).is_some(), "empty");
    std::fs::write(top.join("sub/f"), "").expect("a file");
    assert!(compared(top, &linked, false).is_none(), "something is in it");
    std::fs::remove_dir_all(top.join("sub")).expect("removed");
    assert!(compared(top, &linked, false).is_none(), "gone");
    std::fs::create_dir(top.join("empty")).expect("a folder");
    std::os::unix::fs::symlink("empty", top.join("sub")).expect("a link");
    assert!(compared(top, &linked, false).is_none(), "a link");
    std::fs::remove_file(top.join("sub")).expect("removed");
    std::fs::write(top.join("sub"), "").expect("a file");
    assert!(compared(top, &linked, false).is_none(), "a file");
}
