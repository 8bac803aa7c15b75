//! GNU tar lists what we write, and we read what GNU tar writes in each of its formats.
#![allow(clippy::unwrap_used)]

use filetree::{Content, Entry, EntryKind, Kind, Meta, Node, Spool, Tree, entries_to_tree, read_tar_content, read_tar_stream, write_tar};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

/// 2023-11-14 22:13:20 UTC.
const THEN: i64 = 1_700_000_000;

/// What GNU tar prints; `None` where tar is another one.
fn tar(args: &[&str], folder: &Path) -> Option<Vec<u8>> {
    let version = Command::new("tar").arg("--version").output();
    if !version.is_ok_and(|output| output.stdout.starts_with(b"tar (GNU tar)")) {
        skips::missing("tar", "tar");
        return None;
    }
    let run =
        Command::new("tar").args(args).current_dir(folder).env("TZ", "UTC").env("LC_ALL", "C").stderr(Stdio::piped()).output().unwrap();
    assert!(run.status.success() && run.stderr.is_empty(), "tar {args:?}: {}", String::from_utf8_lossy(&run.stderr));
    Some(run.stdout)
}

fn node(mode: u32, uid: u32, kind: Kind) -> Node {
    Node { meta: Meta { uid, gid: uid + 1, ..Meta::root(mode, THEN) }, kind }
}

fn file(text: impl Into<Vec<u8>>, link: Option<u64>) -> Kind {
    Kind::File { content: Content::from(text.into()), link }
}

#[test]
fn gnu_tar_lists_what_we_write() {
    let mut tree = Tree::new();
    let mut put = |path: &str, mode, uid, kind| tree.insert(path, node(mode, uid, kind)).unwrap();
    let (name_100, name_101, link_101) = ("n".repeat(100), "m".repeat(101), "t".repeat(101));
    put("a", 0o1777, 0, Kind::Dir([].into()));
    put("a/suid", 0o4755, 0o777_7777, file("x", Some(7)));
    put("a/same", 0o4755, 0o777_7777, file("x", Some(7)));
    put("b-owner", 0o640, 0o10_000_000, file("", None));
    put("c", 0o620, 5, Kind::CharDevice { major: 5, minor: 300 });
    put("d", 0o660, 6, Kind::BlockDevice { major: 259, minor: 7 });
    put("e", 0o600, 0, Kind::Fifo);
    put("f", 0o777, 0, Kind::Symlink(b"../up".to_vec()));
    put("g", 0o777, 0, Kind::Symlink(link_101.clone().into_bytes()));
    put(&name_101, 0o2711, 0, Kind::Dir([].into()));
    put(&name_100, 0o2755, 0, file([7; 513], None));
    put("z\u{e9}", 0o644, 0, file([9; 512], None));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x.tar"), write_tar(&tree, Vec::new()).unwrap()).unwrap();
    let list = ["--numeric-owner", "--full-time", "--quoting-style=literal", "-tvf", "x.tar"];
    let Some(listed) = tar(&list, folder.path()) else { return };
    let listed = String::from_utf8(listed).unwrap();
    let listed: Vec<String> = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let at = "2023-11-14 22:13:20";
    let expected = [
        format!("drwxrwxrwt 0/1 0 {at} a/"),
        format!("-rwsr-xr-x 2097151/2097152 1 {at} a/same"),
        format!("hrwsr-xr-x 2097151/2097152 0 {at} a/suid link to a/same"),
        format!("-rw-r----- 2097152/2097153 0 {at} b-owner"),
        format!("crw--w---- 5/6 5,300 {at} c"),
        format!("brw-rw---- 6/7 259,7 {at} d"),
        format!("prw------- 0/1 0 {at} e"),
        format!("lrwxrwxrwx 0/1 0 {at} f -> ../up"),
        format!("lrwxrwxrwx 0/1 0 {at} g -> {link_101}"),
        format!("drwx--s--x 0/1 0 {at} {name_101}/"),
        format!("-rwxr-sr-x 0/1 513 {at} {name_100}"),
        format!("-rw-r--r-- 0/1 512 {at} z\u{e9}"),
    ];
    assert_eq!(listed, expected);
    for (path, bytes) in [(&*name_100, vec![7; 513]), ("z\u{e9}", vec![9; 512]), ("a/same", b"x".to_vec())] {
        assert_eq!(tar(&["-xOf", "x.tar", path], folder.path()).unwrap(), bytes, "{path}");
    }
}

#[test]
fn gnu_tar_finds_the_attributes_that_we_write() {
    let mut tree = Tree::new();
    let mut attributed = node(0o644, 0, file("x", None));
    // Lengths at which the number of digits of a record's own length changes.
    for length in [1, 60, 67, 68, 69, 70, 966, 967, 968, 969] {
        attributed.meta.xattrs.insert(format!("user.{length}"), vec![b'v'; length]);
    }
    tree.insert("x", attributed).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x.tar"), write_tar(&tree, Vec::new()).unwrap()).unwrap();
    let Some(listed) = tar(&["--xattrs", "-tvvf", "x.tar"], folder.path()) else { return };
    let listed = String::from_utf8(listed).unwrap();
    let mut lines: Vec<&str> = listed.lines().skip(1).map(str::trim).collect();
    lines.sort_unstable();
    let mut expected: Vec<String> =
        [1, 60, 67, 68, 69, 70, 966, 967, 968, 969].iter().map(|length| format!("x: {length} user.{length}")).collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

/// One line for each entry: all that the tar says of it.
fn lines(entries: &[Entry]) -> Vec<String> {
    let line = |entry: &Entry| {
        let kind = match &entry.kind {
            EntryKind::HardLink(target) => format!("hard {}", String::from_utf8_lossy(target)),
            EntryKind::Node(Kind::Dir(children)) => format!("dir {}", children.len()),
            EntryKind::Node(Kind::File { content, link }) => {
                format!("file {:?} {link:?}", String::from_utf8(content.read_all().unwrap()).unwrap())
            }
            EntryKind::Node(Kind::Symlink(target)) => format!("link {}", String::from_utf8_lossy(target)),
            EntryKind::Node(other) => format!("{other:?}"),
        };
        let Meta { mode, uid, gid, mtime, xattrs } = &entry.meta;
        assert!(xattrs.is_empty());
        format!("{} {mode:o} {uid} {gid} {mtime} {kind}", String::from_utf8_lossy(&entry.path))
    };
    entries.iter().map(line).collect()
}

#[test]
fn what_gnu_tar_writes_is_read_in_each_format() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().join("top");
    let long = "l".repeat(120);
    fs::create_dir_all(top.join("d")).unwrap();
    fs::write(top.join("d/f"), "bytes").unwrap();
    fs::hard_link(top.join("d/f"), top.join("d/g")).unwrap();
    std::os::unix::fs::symlink("f", top.join("d/h")).unwrap();
    for (path, mode) in [("", 0o711), ("d", 0o1750), ("d/f", 0o4640)] {
        fs::set_permissions(top.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut formats = vec![("v7", false, 8), ("ustar", false, 8), ("oldgnu", false, 8)];
    for (format, uid) in [("gnu", 3_000_000), ("posix", 3_000_000)] {
        formats.push((format, true, uid));
    }
    for (format, with_long, uid) in formats {
        if with_long {
            fs::write(top.join(&long), "").unwrap();
            std::os::unix::fs::symlink(&long, top.join("z")).unwrap();
            fs::set_permissions(top.join(&long), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let owner = format!("--owner=x:{uid}");
        let name = format!("{format}.tar");
        let args = ["--sort=name", &owner, "--group=y:9", "--mtime=@1700000000", "--format", format, "-C", "top", "-cf", &name, "."];
        if tar(&args, folder.path()).is_none() {
            return;
        }
        let bytes = fs::read(folder.path().join(&name)).unwrap();
        let mut expected = vec![
            format!(". 711 {uid} 9 {THEN} dir 0"),
            format!("./d 1750 {uid} 9 {THEN} dir 0"),
            format!("./d/f 4640 {uid} 9 {THEN} file \"bytes\" None"),
            format!("./d/g 4640 {uid} 9 {THEN} hard ./d/f"),
            format!("./d/h 777 {uid} 9 {THEN} link f"),
        ];
        if with_long {
            expected.push(format!("./{long} 600 {uid} 9 {THEN} file \"\" None"));
            expected.push(format!("./z 777 {uid} 9 {THEN} link {long}"));
            fs::remove_file(top.join(&long)).unwrap();
            fs::remove_file(top.join("z")).unwrap();
        }
        let streamed = read_tar_stream(&bytes[..], &mut Spool::new_in(folder.path()).unwrap()).unwrap();
        assert_eq!(lines(&streamed), expected, "{format}");
        let ranges: Vec<Entry> = read_tar_content(&Content::from(bytes)).unwrap().into_iter().map(|(entry, _)| entry).collect();
        assert_eq!(lines(&ranges), expected, "{format}");

        let tree = entries_to_tree(streamed).unwrap();
        let root = &tree.root.meta;
        assert_eq!((root.mode, root.uid, root.gid, root.mtime), (0o711, uid, 9, THEN), "{format}: `./` describes the root");
        let link = |path: &str| match &tree.get(path).unwrap().kind {
            Kind::File { link, .. } => *link,
            other => unreachable!("{other:?}"),
        };
        assert!(link("d/f").is_some() && link("d/f") == link("d/g"), "{format}");
    }
}

/// What cannot be a tree is refused with its name.
#[test]
fn hard_links_that_cannot_be_are_refused_with_their_names() {
    let entry = |path: &str, kind: EntryKind| Entry { path: path.into(), meta: Meta::root(0o755, 0), kind };
    let hard = |to: &str| EntryKind::HardLink(to.into());
    let folder = || EntryKind::Node(Kind::Dir([].into()));
    let error = |entries: Vec<Entry>| entries_to_tree(entries).unwrap_err().to_string();
    assert_eq!(error(vec![entry("a", hard("b"))]), "the hard link `a` to `b` has no target in the archive");
    assert_eq!(error(vec![entry("d", folder()), entry("a", hard("d"))]), "the hard link `a` to `d` names a directory");
    assert_eq!(error(vec![entry("a", hard("../b"))]), "the path `../b` contains `..`");
    let two = entries_to_tree(vec![
        entry("a", EntryKind::Node(file("1", None))),
        entry("b", EntryKind::Node(file("2", None))),
        entry("c", hard("a")),
        entry("d", hard("b")),
        entry("e", hard("a")),
    ]);
    let two = two.unwrap();
    let links: Vec<u64> = ["a", "b", "c", "d", "e"]
        .iter()
        .filter_map(|path| if let Kind::File { link, .. } = two.get(path)?.kind { link } else { None })
        .collect();
    assert!(links[0] == links[2] && links[0] == links[4] && links[1] == links[3] && links[0] != links[1], "{links:?}");
}

/// What fits into ustar's fields needs no further header.
#[test]
fn a_header_is_as_short_as_ustar_allows() {
    let written = |uid: u32, name: &str| {
        let mut tree = Tree::new();
        tree.insert(name, Node { meta: Meta { uid, ..Meta::root(0o644, THEN) }, kind: file("x", None) }).unwrap();
        write_tar(&tree, Vec::new()).unwrap()
    };
    let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    for (uid, length) in [(0, 1), (5, 100), (0o777_7777, 100)] {
        assert_eq!(written(uid, &"n".repeat(length)).len(), 512 + 512 + 1024, "owner {uid}");
    }
    let (owner, name) = (written(0o10_000_000, "n"), written(0, &"n".repeat(101)));
    assert!(owner.len() == name.len() && owner.len() == 4 * 512 + 1024);
    assert!(has(&owner, "15 uid=2097152\n") && has(&name, &format!("111 path={}\n", "n".repeat(101))));
}

#[test]
fn both_readers_agree_on_each_prefix_of_a_tar() {
    let folder = tempfile::tempdir().unwrap();
    let mut tree = Tree::new();
    let name = "d".repeat(150);
    for (path, length) in [("a", 0), ("b", 511), ("c", 512), ("d", 15_000), (name.as_str(), 3), ("e", 40_000), ("f", 1)] {
        tree.insert(path, Node::file(0o644, 7, Content::from(vec![b'x'; length]))).unwrap();
    }
    let whole = write_tar(&tree, Vec::new()).unwrap();
    let path = folder.path().join("tar");
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let stepping = filetree::read_tar_file(Arc::new(fs::File::open(&path).unwrap()));
        let streamed = read_tar_stream(bytes, &mut Spool::new_in(folder.path()).unwrap());
        let names = |entries: anyhow::Result<Vec<Entry>>| {
            entries.map(|entries| entries.into_iter().map(|entry| String::from_utf8(entry.path).unwrap()).collect::<Vec<_>>()).ok()
        };
        (names(stepping), names(streamed))
    };
    let lengths = (0..whole.len()).step_by(97).chain((0..=whole.len()).step_by(512));
    let mut refused = 0;
    for length in lengths {
        let (stepping, streamed) = read(&whole[..length]);
        assert_eq!(stepping, streamed, "{length} of {} bytes", whole.len());
        refused += usize::from(stepping.is_none());
    }
    assert!(refused > 100 && read(&whole).0.unwrap().len() == 7, "{refused}");
}
