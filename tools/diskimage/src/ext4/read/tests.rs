//! Reads file systems of mkfs.ext2 to mkfs.ext4, of our writer, and damaged ones.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::{
    ext4::{Options, layout},
    read_at::FileImage,
};
use filetree::Spool;
use std::{
    fs::{self, File},
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
    process::Command,
};

/// Size limit of files in these tests.
const MOST: u64 = 6 << 30;

fn read(source: &dyn ReadAt) -> Result<(Tree, Vec<String>)> {
    let folder = tempfile::tempdir()?;
    let mut spool = Spool::new_in(folder.path())?;
    Reader::open(source)?.tree(&mut |_, len, bytes| if len > MOST { Ok(None) } else { spool.add_sparse(bytes).map(Some) })
}

fn read_file(path: &Path) -> (Tree, Vec<String>) {
    read(&FileImage::new(File::open(path).unwrap()).unwrap()).unwrap()
}

/// A folder with all file types that an unprivileged user can create, and edge cases of sizes and positions.
fn fill(folder: &Path) {
    for len in [0, 1, 59, 60, 61, 1023, 1024, 4096, 4097, 300_000] {
        fs::write(folder.join(format!("file{len}")), (0..len).map(|n| (n * 31 + len) as u8).collect::<Vec<u8>>()).unwrap();
    }
    fs::set_permissions(folder.join("file1"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::hard_link(folder.join("file4097"), folder.join("other name")).unwrap();
    for len in [1, 59, 60, 61, 1000] {
        std::os::unix::fs::symlink("x".repeat(len), folder.join(format!("link{len}"))).unwrap();
    }
    fs::create_dir_all(folder.join("deep/er/and/deeper")).unwrap();
    fs::write(folder.join("deep/er/and/deeper/file"), "deep").unwrap();
    fs::create_dir(folder.join("many")).unwrap();
    for n in 0..2000 {
        fs::write(folder.join(format!("many/a file with the number {n:05}")), n.to_string()).unwrap();
    }
    // Many extents, and every level of a block map.
    let holes = File::create(folder.join("holes")).unwrap();
    for n in 0..700 {
        holes.write_all_at(format!("piece {n}").as_bytes(), n * 40_000).unwrap();
    }
    for at in [5_u64 << 20, 70 << 20, 100 << 20] {
        holes.write_all_at(b"far", at).unwrap();
    }
    // Not up to a hole: mkfs with inline_data drops a hole at the end.
    holes.write_all_at(b"end", (100 << 20) + 12_345).unwrap();
}

/// Compares a tree with its source folder.
fn compare(tree: &Tree, folder: &Path, what: &str) {
    let mut count = 0;
    for entry in walkdir(folder) {
        let name = entry.strip_prefix(folder).unwrap().to_str().unwrap();
        let (node, real) = (tree.get(name).unwrap_or_else(|| panic!("{what}: {name}")), entry.symlink_metadata().unwrap());
        count += 1;
        assert_eq!(node.meta.mtime, real.mtime(), "{what}: {name}");
        match &node.kind {
            Kind::Symlink(target) => assert_eq!(target, fs::read_link(&entry).unwrap().as_os_str().as_encoded_bytes(), "{what}: {name}"),
            Kind::Dir(_) => assert!(real.is_dir(), "{what}: {name}"),
            Kind::File { content, link } => {
                assert_eq!((node.meta.mode, content.len()), (real.mode() & 0o7777, real.len()), "{what}: {name}");
                assert_eq!(link.is_some(), real.nlink() > 1, "{what}: {name}");
                assert!(same(content, &File::open(&entry).unwrap()), "{what}: {name}");
            }
            other => panic!("{what}: {name}: {other:?}"),
        }
    }
    let mut found = 0;
    tree.walk(&mut |path, _| {
        found += usize::from(!path.is_empty() && path != b"lost+found");
        Ok(())
    })
    .unwrap();
    assert_eq!(found, count, "{what}");
}

fn same(content: &Content, file: &File) -> bool {
    let (mut ours, mut theirs, mut bytes, mut at) = (content.open().unwrap(), vec![0; 1 << 20], vec![0; 1 << 20], 0);
    loop {
        let count = file.read_at(&mut theirs, at).unwrap();
        if count == 0 {
            return at == content.len();
        }
        ours.read_exact(&mut bytes[..count]).unwrap();
        if bytes[..count] != theirs[..count] {
            return false;
        }
        at += count as u64;
    }
}

fn walkdir(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        all.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            all.extend(walkdir(&entry.path()));
        }
    }
    all
}

/// Makes a file system of `folder` at `image`; prints a message if the program is missing.
fn make(words: &str, folder: &Path, image: &Path) -> bool {
    let _ = fs::remove_file(image);
    let mut words: Vec<&str> = words.split(' ').collect();
    let program = words.remove(0);
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let done = Command::new(program).args(["-q", "-F", "-d"]).arg(folder).args(&words).arg(image).arg("2G").env("PATH", path).output();
    let Ok(output) = done else {
        skips::missing(program, "e2fsprogs");
        return false;
    };
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    true
}

#[test]
fn what_others_made_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, image) = (dir.path().join("folder"), dir.path().join("image"));
    fs::create_dir(&folder).unwrap();
    fill(&folder);
    for words in [
        "mkfs.ext4",
        "mkfs.ext4 -b 1024 -O ^64bit,^metadata_csum,meta_bg,^resize_inode",
        "mkfs.ext4 -O inline_data,encrypt,sparse_super2,bigalloc,quota",
        "mkfs.ext3 -b 1024",
        "mkfs.ext2 -I 128 -O ^sparse_super,^resize_inode",
        "mkfs.ext4 -b 2048 -O meta_bg,64bit,^resize_inode -g 8192",
    ] {
        if make(words, &folder, &image) {
            let (tree, left_out) = read_file(&image);
            assert!(left_out.is_empty(), "{words}: {left_out:?}");
            compare(&tree, &folder, words);
        }
    }
}

#[test]
fn what_we_wrote_is_read() {
    let mut tree = Tree::new();
    for (name, kind) in
        [("null", Kind::CharDevice { major: 1, minor: 3 }), ("disk", Kind::BlockDevice { major: 259, minor: 70_000 }), ("pipe", Kind::Fifo)]
    {
        tree.insert(name, Node { meta: Meta { uid: 70_000, gid: 100_001, ..Meta::root(0o640, 1 << 32) }, kind }).unwrap();
    }
    let image = tempfile::tempfile().unwrap();
    let options = Options { label: "l".into(), uuid: Guid(7), mtime: 0, size: 2 << 20 };
    layout(&tree, &options).unwrap().write(&image).unwrap();
    let image = FileImage::new(image).unwrap();
    let reader = Reader::open(&image).unwrap();
    assert!(reader.is_whole() && reader.uuid() == Guid(7) && reader.label()[..2] == *b"l\0");
    let (found, _) = read(&image).unwrap();
    tree.walk(&mut |path, node| {
        let got = found.get(path).unwrap();
        assert!(path.is_empty() || (format!("{:?}", got.kind), &got.meta) == (format!("{:?}", node.kind), &node.meta), "{got:?}");
        Ok(())
    })
    .unwrap();
}

/// Runs debugfs commands.
fn debugfs(image: &Path, commands: &str) -> Option<String> {
    let list = image.with_extension("commands");
    fs::write(&list, commands).unwrap();
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let output = Command::new("debugfs").args(["-w", "-f"]).arg(list).arg(image).env("PATH", path).output().ok()?;
    Some(String::from_utf8(output.stdout).unwrap())
}

fn content(tree: &Tree, name: &str) -> Vec<u8> {
    match &tree.get(name).unwrap().kind {
        Kind::File { content, .. } => content.read_all().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Journal blocks are used if their transaction was committed and they were not revoked later.
#[test]
fn a_journal_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, image) = (dir.path().join("folder"), dir.path().join("image"));
    fs::create_dir(&folder).unwrap();
    for name in ["a", "b", "c"] {
        fs::write(folder.join(name), [b'0'; 5000]).unwrap();
    }
    // The journal escapes blocks that start with its magic number.
    let magic = [&Newer::START[..], &[b'1'; 4092]].concat();
    for (name, bytes) in [("magic", &magic[..]), ("three", &[b'2'; 12288])] {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    for (words, open) in [
        ("mkfs.ext4 -b 4096", "jo -c"),
        ("mkfs.ext4 -b 4096", "jo -c -v 2"),
        ("mkfs.ext4 -b 4096 -O ^64bit,^metadata_csum", "jo"),
        ("mkfs.ext3 -b 4096", "jo"),
    ] {
        if !make(words, &folder, &image) {
            return;
        }
        let block = |name: &str| debugfs(&image, &format!("bmap /{name} 0\n")).unwrap().lines().nth(1).unwrap().trim().to_owned();
        let (a, b, c) = (block("a"), block("b"), block("c"));
        let at = dir.path().display();
        let written = format!("{open}\njw -b {a},{b},{c} {at}/three\njc\njo\njw -b {a} {at}/magic\njc\njo\njw -r {c}\njc\n");
        let said = debugfs(&image, &written).unwrap();
        let source = FileImage::new(File::open(&image).unwrap()).unwrap();
        assert!(Reader::open(&source).unwrap().is_whole(), "{words}");
        let (tree, _) = read(&source).unwrap();
        let first = |name: &str| content(&tree, name);
        assert!(first("a") == [&magic[..], &[b'0'; 904]].concat(), "{words}: {said}");
        assert_eq!((first("b")[0], first("c")[0]), (b'2', b'0'), "{words} {open}");
        debugfs(&image, "jr\n").unwrap();
        assert_eq!(
            Command::new("debugfs").args(["-R", "cat /a"]).arg(&image).env("PATH", "/usr/sbin:/sbin:/usr/bin").output().unwrap().stdout,
            first("a")
        );
    }
}

#[test]
fn damage_is_an_error_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut tree = Tree::new();
    for n in 0..20 {
        tree.insert(format!("a/{n}/b"), Node::file(0o644, 1, Content::from(vec![n; 9000]))).unwrap();
    }
    tree.insert("link", Node { meta: Meta::root(0o777, 1), kind: Kind::Symlink(vec![b'x'; 200]) }).unwrap();
    let path = dir.path().join("image");
    let image = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    layout(&tree, &Options { label: String::new(), uuid: Guid(1), mtime: 0, size: 1 << 20 }).unwrap().write(&image).unwrap();
    let good = fs::read(&path).unwrap();
    let mut number = 12_345_u64;
    let mut next = |below: usize| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(number >> 33).unwrap() % below
    };
    let (mut read, mut refused) = (0, 0);
    for _ in 0..3000 {
        let mut bytes = good.clone();
        for _ in 0..1 + next(4) {
            // Superblock, descriptors, inodes, and everything else.
            let (start, len) = [(1024, 400), (4096, 64), (8192, 32 << 10), (0, good.len())][next(4)];
            bytes[start + next(len)] = [0, 1, 0x7f, 0xff, 2, 12][next(6)];
        }
        let taken = Reader::open(&&bytes[..]).and_then(|reader| {
            reader.tree(&mut |_, len, content| {
                let mut some = Vec::new();
                content.take(1 << 20).read_to_end(&mut some)?;
                Ok((len <= 1 << 20).then(|| Content::from(some)))
            })
        });
        *if taken.is_ok() { &mut read } else { &mut refused } += 1;
    }
    assert!(read > 100 && refused > 100, "{read} {refused}");
}
