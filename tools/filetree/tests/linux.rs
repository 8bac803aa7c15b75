//! Links, folders and contents, compared with what the kernel and `find` say of the same files.
#![allow(clippy::unwrap_used)]

use filetree::{Content, Kind, Meta, Node, Spool, Tree, read_dir};
use std::{
    fs,
    io::Read as _,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::Path,
    process::Command,
    sync::Arc,
};

fn link(target: &str) -> Node {
    Node { meta: Meta::root(0o777, 0), kind: Kind::Symlink(target.into()) }
}

/// Links in the tree and, with absolute targets below it, in `folder`.
fn both(folder: &Path, links: &[(String, String)]) -> Tree {
    let mut tree = Tree::new();
    for path in ["a/b/c", "x/y", "usr/lib"] {
        fs::create_dir_all(folder.join(path)).unwrap();
        tree.insert(path, Node::dir(0o755, 0)).unwrap();
    }
    for (path, target) in links {
        let real = if target.starts_with('/') { format!("{}{target}", folder.display()) } else { target.clone() };
        symlink(real, folder.join(path)).unwrap();
        tree.insert(path, link(target)).unwrap();
    }
    tree
}

#[test]
fn links_lead_where_the_kernel_says() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().canonicalize().unwrap();
    let links = [
        ("a/b/absolute", "/x"),
        ("a/b/relative", "c"),
        ("a/b/up", "../../x"),
        ("a/b/dots", "././/../b/./c"),
        ("a/chain", "b/absolute/y"),
        ("lib", "usr/lib"),
        ("x/y/root", "/"),
    ]
    .map(|(path, target)| (path.to_owned(), target.to_owned()));
    let tree = both(&top, &links);
    let paths = [
        "a/b/absolute",
        "a/b/absolute/y",
        "a/b/relative",
        "a/b/up/y",
        "a/b/dots",
        "a/chain",
        "lib",
        "x/y/root",
        "x/y/root/x",
        "a/b/absolute/y/root/lib",
        "/a//./b/",
        "",
    ];
    for path in paths {
        let real = top.join(path.trim_start_matches('/')).canonicalize().unwrap();
        let expected = real.strip_prefix(&top).unwrap().as_os_str().as_bytes();
        assert_eq!(tree.resolve(path, true).unwrap(), expected, "{path}");
    }
    // The last part alone stays, and what is not there stays.
    for (path, expected) in [("a/b/absolute", "a/b/absolute"), ("a/b/absolute/y/root", "x/y/root"), ("lib/none/z", "usr/lib/none/z")] {
        assert_eq!(tree.resolve(path, false).unwrap(), expected.as_bytes(), "{path}");
    }
    let error = tree.resolve("a/../x", true).unwrap_err().to_string();
    assert_eq!(error, "the path `a/../x` contains `..`");
    assert_eq!(tree.resolve("a\0b", true).unwrap_err().to_string(), "the path `a\0b` contains a NUL byte");
}

#[test]
fn as_many_links_are_followed_as_the_kernel_follows() {
    let folder = tempfile::tempdir().unwrap();
    let name = |number: usize| if number == 0 { "x".to_owned() } else { format!("l{number}") };
    let links: Vec<(String, String)> = (1..=45).map(|number| (name(number), name(number - 1))).collect();
    let tree = both(folder.path(), &links);
    for number in 35..=45 {
        let kernel = fs::metadata(folder.path().join(name(number))).map(|_| "x".into());
        let ours = tree.resolve(name(number), true);
        assert_eq!(ours.as_ref().ok(), kernel.as_ref().ok(), "{number} links");
        if let Err(error) = ours {
            assert_eq!(error.to_string(), format!("too many levels of symbolic links in `l{number}`"));
        }
    }
}

#[test]
fn nodes_go_where_links_lead_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut tree = both(folder.path(), &[("lib".to_owned(), "usr/lib".to_owned()), ("a/abs".to_owned(), "/x".to_owned())]);
    let file = |text: &str| Node::file(0o640, 77, Content::from(text));
    tree.insert("a/abs/new/f", file("1")).unwrap();
    assert!(matches!(tree.get("x/new/f").unwrap().kind, Kind::File { .. }) && tree.get("a/x").is_none());
    let made = &tree.get("x/new").unwrap().meta;
    assert_eq!((made.mode, made.mtime), (0o755, 77), "a missing folder has the node's time");
    // The last part of a path is replaced, not followed.
    tree.insert("lib", file("2")).unwrap();
    assert!(tree.get("usr/lib").unwrap().children().unwrap().is_empty());
    assert_eq!(tree.insert("lib/x", file("3")).unwrap_err().to_string(), "a parent of `lib/x` is not a directory");
    assert_eq!(tree.insert("lib/x/y", file("3")).unwrap_err().to_string(), "a parent of `lib/x/y` is not a directory");
    assert_eq!(tree.insert(".", file("3")).unwrap_err().to_string(), "the root of a tree must be a directory");
    let mut root = Node::dir(0o700, 5);
    let Kind::Dir(children) = &mut root.kind else { unreachable!() };
    children.insert(b"x".to_vec(), Node::dir(0o711, 6));
    tree.insert("", root).unwrap();
    assert_eq!((tree.root.meta.mode, tree.root.meta.mtime, tree.get("x").unwrap().meta.mode), (0o700, 5, 0o711));
    assert!(tree.get("x/new/f").is_some(), "the root's children are merged");

    tree.get_mut("x/new").unwrap().meta.mode = 0o500;
    assert!(tree.get_mut("lib/none").is_none() && tree.get_mut("none").is_none());
    let taken = tree.remove("x/new").unwrap();
    assert!(taken.meta.mode == 0o500 && taken.children().unwrap().len() == 1);
    assert!(tree.get("x/new").is_none() && tree.get("x/y").is_some());
    assert!(tree.remove("x/new").is_none() && tree.remove("lib/x").is_none() && tree.remove("").is_none() && tree.remove("../x").is_none());
    let mut seen = Vec::new();
    tree.walk(&mut |path, _| {
        seen.push(String::from_utf8(path.to_vec())?);
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, ["", "a", "a/abs", "a/b", "a/b/c", "lib", "usr", "usr/lib", "x", "x/y"]);
}

#[test]
fn a_path_may_be_as_long_as_the_kernel_takes_and_no_longer() {
    let mut tree = Tree::new();
    tree.insert("p".repeat(4096), Node::dir(0o755, 0)).unwrap();
    let error = tree.insert("p".repeat(4097), Node::dir(0o755, 0)).unwrap_err().to_string();
    assert_eq!(error, format!("the path `{}…` has 4097 bytes, more than Linux's limit of 4096", "p".repeat(64)));
}

/// `find`'s line for each path, and ours.
#[test]
fn a_folder_is_read_as_find_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().join("top");
    fs::create_dir_all(top.join("d/e")).unwrap();
    fs::write(top.join("d/f"), "bytes").unwrap();
    fs::hard_link(top.join("d/f"), top.join("g")).unwrap();
    fs::write(top.join("single"), "").unwrap();
    symlink("d/none", top.join("h")).unwrap();
    let tool =
        |name: &str, args: &[&str]| Command::new(name).args(args).current_dir(&top).output().is_ok_and(|output| output.status.success());
    assert!(tool("mkfifo", &["p"]));
    fs::set_permissions(top.join("d"), fs::Permissions::from_mode(0o1750)).unwrap();
    fs::set_permissions(top.join("g"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::set_permissions(&top, fs::Permissions::from_mode(0o2701)).unwrap();
    let found = Command::new("find").args([".", "-printf", "%P|%m|%U|%G|%Ts|%y|%l\n"]).current_dir(&top).output().unwrap();
    let mut expected: Vec<String> = String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect();
    expected.sort_unstable();

    let tree = read_dir(&top, &mut |_, _| true).unwrap();
    let mut lines = Vec::new();
    tree.walk(&mut |path, node| {
        let (letter, target) = match &node.kind {
            Kind::Dir(_) => ('d', String::new()),
            Kind::File { .. } => ('f', String::new()),
            Kind::Symlink(target) => ('l', String::from_utf8(target.clone())?),
            Kind::Fifo => ('p', String::new()),
            other => unreachable!("{other:?}"),
        };
        let Meta { mode, uid, gid, mtime, .. } = &node.meta;
        lines.push(format!("{}|{mode:o}|{uid}|{gid}|{mtime}|{letter}|{target}", String::from_utf8_lossy(path)));
        Ok(())
    })
    .unwrap();
    lines.sort_unstable();
    assert_eq!(lines, expected);
    let identity = |path: &str| match &tree.get(path).unwrap().kind {
        Kind::File { link, content } => (*link, content.read_all().unwrap()),
        other => unreachable!("{other:?}"),
    };
    assert_eq!(identity("g"), (Some(fs::metadata(top.join("g")).unwrap().ino()), b"bytes".to_vec()));
    assert_eq!((identity("d/f"), identity("single").0), (identity("g"), None));

    let without = read_dir(&top, &mut |path, meta| {
        meta.uid = 42;
        path != b"d" && path != b"p"
    });
    let without = without.unwrap();
    assert!(without.get("d").is_none() && without.get("p").is_none() && without.get("g").is_some_and(|node| node.meta.uid == 42));

    let _socket = std::os::unix::net::UnixListener::bind(top.join("s")).unwrap();
    let error = format!("{:#}", read_dir(&top, &mut |_, _| true).unwrap_err());
    assert_eq!(error, format!("`{}` is a socket: images cannot contain sockets", top.join("s").display()));
    let none = format!("{:#}", read_dir(&top.join("none"), &mut |_, _| true).unwrap_err());
    assert!(none.starts_with(&format!("cannot read the folder `{}`: ", top.join("none").display())), "{none}");
}

#[test]
fn device_numbers_are_those_of_mknod() {
    let folder = tempfile::tempdir().unwrap();
    let numbers = [("c", 1, 3), ("b", 259, 7), ("c", 4095, 1_048_575), ("b", 8, 256)];
    for (number, (kind, major, minor)) in numbers.iter().enumerate() {
        let args = [format!("{number}"), (*kind).to_owned(), major.to_string(), minor.to_string()];
        let made = Command::new("mknod").args(args).current_dir(folder.path()).output();
        if !made.as_ref().is_ok_and(|output| output.status.success()) {
            return skips::refused(&format!("no device node can be made here: {made:?}"));
        }
    }
    let tree = read_dir(folder.path(), &mut |_, _| true).unwrap();
    for (number, (kind, major, minor)) in numbers.into_iter().enumerate() {
        let found = match tree.get(number.to_string()).unwrap().kind {
            Kind::CharDevice { major, minor } => ("c", major, minor),
            Kind::BlockDevice { major, minor } => ("b", major, minor),
            ref other => unreachable!("{other:?}"),
        };
        assert_eq!(found, (kind, major, minor));
    }
}

#[test]
fn a_content_is_its_bytes_wherever_they_lie() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    fs::write(&path, "0123456789").unwrap();
    let file = Arc::new(fs::File::open(&path).unwrap());
    let whole = Content::of_path(&path).unwrap();
    let contents = [Content::from("23456"), Content::Range { file, offset: 2, len: 5 }, whole.slice(2, 5).unwrap()];
    for content in &contents {
        assert_eq!((content.len(), content.is_empty(), content.read_all().unwrap()), (5, false, b"23456".to_vec()));
        for (offset, len, bytes) in [(0, 5, "23456"), (1, 3, "345"), (5, 0, ""), (4, 1, "6")] {
            let slice = content.slice(offset, len).unwrap();
            assert_eq!((slice.read_all().unwrap(), slice.is_empty()), (bytes.as_bytes().to_vec(), len == 0));
        }
        for (offset, len) in [(0, 6), (5, 1), (6, 0), (u64::MAX, 2)] {
            let error = content.slice(offset, len).unwrap_err().to_string();
            assert_eq!(error, format!("the range of {len} bytes at {offset} exceeds the content's 5 bytes"));
        }
    }
    let mut reader = whole.open().unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(4).unwrap();
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "the file is shorter than its recorded length");
    assert_eq!(whole.open().unwrap_err().to_string(), format!("`{}` changed its length during the build", path.display()));
    let error = format!("{:#}", Content::of_path(&folder.path().join("none")).unwrap_err());
    assert!(error.starts_with("cannot read the metadata of `"), "{error}");
}

#[test]
fn a_spool_keeps_contents_apart_and_holes_empty() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::new_in(folder.path()).unwrap();
    let mut sparse = vec![0; 1 << 20];
    sparse[600_000] = 7;
    let one = spool.add(&mut &b"one"[..]).unwrap();
    let holes = spool.add_sparse(&mut &sparse[..]).unwrap();
    let two = spool.add(&mut &b"two"[..]).unwrap();
    let again = spool.add_sparse(&mut &sparse[..700_000]).unwrap();
    for (content, bytes) in [(&one, &b"one"[..]), (&holes, &sparse), (&two, b"two"), (&again, &sparse[..700_000])] {
        assert_eq!(content.len(), bytes.len() as u64);
        assert!(content.read_all().unwrap() == bytes);
    }
    let Content::Range { file, offset, .. } = &holes else { unreachable!() };
    let used = file.metadata().unwrap().blocks() * 512;
    assert!(used < 1 << 20, "{used} bytes are allocated for two times 64 KiB and few bytes");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset + 600_000).unwrap();
    assert_eq!(byte, [7]);
    let none = Spool::new_in(&folder.path().join("none")).unwrap_err().to_string();
    assert!(none.starts_with("cannot make a temporary file in `"), "{none}");
}
