//! Written images can be read, and depend on the tree and the options only.

use super::*;
use std::io::{Seek as _, Write as _};

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let tree = tree();
    for compressor in compressors() {
        let path = written(folder.path(), &tree, &options(compressor.clone(), 3));
        assert_same(&read(&path), &tree, &format!("{compressor:?}"));
        let reader = Reader::open(File::open(path).unwrap()).unwrap();
        assert_eq!(reader.read_file("twin-b", 5000).unwrap(), noise(5000, 1));
        assert_eq!(reader.read_file("/twin-b", 4999).unwrap_err().to_string(), "`/twin-b` in the image has 5000 bytes, more than 4999");
        assert_eq!(reader.read_file("link/d", 1).unwrap_err().to_string(), "the image has no `link/d`");
        assert_eq!(reader.superblock().mtime, 1_700_000_000);
        let links = reader.subtree("link").unwrap();
        let all = read(&folder.path().join("image"));
        assert_eq!(describe(&links)[1], describe(&all).iter().find(|line| line.starts_with("link/a")).unwrap().replace("link/", ""));
    }
}

#[test]
fn block_sizes_from_the_smallest_to_the_largest() {
    let folder = tempfile::tempdir().unwrap();
    let tree = tree();
    for block_size in [4096, 1 << 20] {
        let path = written(folder.path(), &tree, &Options { block_size, ..options(Compressor::Gzip, 2) });
        assert_same(&read(&path), &tree, &block_size.to_string());
    }
}

#[test]
fn the_bytes_do_not_depend_on_the_threads_or_on_what_lay_there() {
    let folder = tempfile::tempdir().unwrap();
    let tree = tree();
    for compressor in [Compressor::Gzip, Compressor::Xz { bcj: vec![Bcj::X86] }] {
        let mut images = Vec::new();
        for threads in [1, 2, 7] {
            std::fs::write(folder.path().join("image"), vec![0xff; 8 << 20]).unwrap();
            images.push(std::fs::read(written(folder.path(), &tree, &options(compressor.clone(), threads))).unwrap());
        }
        assert!(images[0] == images[1] && images[1] == images[2], "{compressor:?}");
    }
}

#[test]
fn a_content_is_stored_once_and_a_link_is_no_inode() {
    let folder = tempfile::tempdir().unwrap();
    let mut out = File::create(folder.path().join("image")).unwrap();
    let mut tree = Tree::new();
    let mut summaries = Vec::new();
    for name in ["a", "b", "c"] {
        tree.insert(name, file(noise(3 * BLOCK, 5))).unwrap();
        summaries.push(write(&tree, &options(Compressor::Gzip, 2), &mut out).unwrap());
    }
    assert_eq!(summaries[2].duplicates, 2);
    assert_eq!(summaries[2].inodes, 4);
    assert_eq!(summaries[0].bytes, summaries[2].bytes, "only metadata is new");
    for name in ["a", "b", "c"] {
        let Some(Node { kind: Kind::File { link, .. }, .. }) = tree.get_mut(name) else { panic!() };
        *link = Some(1);
    }
    let linked = write(&tree, &options(Compressor::Gzip, 2), &mut out).unwrap();
    assert_eq!((linked.inodes, linked.duplicates), (2, 0));
}

#[test]
fn files_beyond_four_gibibytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    let mut sparse = File::create(&path).unwrap();
    let size = (4 << 30) + 5;
    sparse.seek(SeekFrom::Start(size - 3)).unwrap();
    sparse.write_all(b"end").unwrap();
    let mut tree = Tree::new();
    tree.insert("large", Node::file(0o644, 1, Content::of_path(&path).unwrap())).unwrap();
    let image = written(folder.path(), &tree, &options(Compressor::Gzip, 2));
    let reader = Reader::open(File::open(&image).unwrap()).unwrap();
    assert_eq!(reader.list().unwrap()[1].size, size);
    let error = format!("{:#}", reader.subtree("").unwrap_err());
    assert!(error.contains("exceed 134217728 bytes in total"), "{error}");
    if here("unsquashfs") {
        let list = stdout(Command::new("unsquashfs").arg("-lln").arg(&image));
        assert!(list.contains("4294967301"), "{list}");
        let tail = "unsquashfs -cat \"$1\" large | tail -c 4 | od -An -c";
        assert_eq!(
            stdout(Command::new("sh").args(["-c", tail, "sh"]).arg(&image)).split_whitespace().collect::<Vec<_>>(),
            ["\\0", "e", "n", "d"]
        );
    }
}

#[test]
fn what_the_format_cannot_hold_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut out = File::create(folder.path().join("x")).unwrap();
    let mut error = |node: Node| {
        let mut tree = Tree::new();
        tree.insert("etc/it", node).unwrap();
        write(&tree, &options(Compressor::Gzip, 1), &mut out).unwrap_err().to_string()
    };
    let mut acl = file("x");
    acl.meta.xattrs.insert("system.posix_acl_access".into(), vec![1]);
    assert_eq!(error(acl), "`etc/it` has the extended attribute `system.posix_acl_access`, which squashfs does not support");
    assert_eq!(
        error(node(0o600, Kind::CharDevice { major: 5000, minor: 0 })),
        "the device `etc/it` has the numbers 5000, 0; Linux allows at most 4095, 1048575"
    );
    assert_eq!(error(node(0o777, Kind::Symlink(vec![]))), "the link `etc/it` has a target of 0 bytes; Linux allows 1 to 4095");
    assert_eq!(error(Node::file(0o644, 1 << 33, Content::from(""))), "the time of `etc/it` is after 2106, the limit of squashfs");
    let gone = folder.path().join("gone");
    std::fs::write(&gone, "x").unwrap();
    let content = Content::of_path(&gone).unwrap();
    std::fs::remove_file(gone).unwrap();
    assert_eq!(error(Node::file(0o644, 1, content)), "cannot read the content of `etc/it`");
    let error = write(&Tree::new(), &Options { block_size: 5000, ..Options::default() }, &mut out).unwrap_err().to_string();
    assert_eq!(error, "invalid squashfs block size of 5000 bytes: it must be a power of two from 4096 to 1048576");
}

#[test]
fn a_full_disk_ends_the_work_at_once() {
    let mut tree = Tree::new();
    for number in 0..200 {
        tree.insert(number.to_string(), file(noise(BLOCK, number))).unwrap();
    }
    let Ok(mut full) = File::options().write(true).open("/dev/full") else {
        return skips::skipped(skips::Lack::Kernel, "there is no /dev/full");
    };
    // A device cannot be truncated, so this calls the function after that step.
    let contents = dedup::Contents::of(&tree, 2, None).unwrap();
    let error = blocks::write(&contents, &options(Compressor::Gzip, 2), None, &|_, _| {}, &mut full, 0).err().unwrap();
    assert!(format!("{error:#}").starts_with("cannot write the image: No space left"), "{error:#}");
}
