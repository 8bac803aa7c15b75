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
    let parse = |bytes: &[u8]| Index::parse(bytes);
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
    for broken in [&b"x\x001 0\n"[..], b"\x001 0", b"\x001 z\n", b"\x001 0\nshort", b"\0-1 0\nx\0-1 0\n"] {
        assert!(parse(&index(&[("a", 0)], &[(b"TREE", broken)])).is_none(), "{broken:?}");
    }
    for cut in 0..two.len() - 20 {
        assert!(parse(&two[..cut]).is_none_or(|index| index.files.len() < 3), "{cut}");
    }
}
