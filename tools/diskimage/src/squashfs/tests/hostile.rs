//! Damaged and malicious images give errors, never a panic, an endless loop or exhausted memory.

use super::*;

/// A small image with uncompressed directories, because their names are random.
fn small(folder: &Path) -> Vec<u8> {
    let mut tree = Tree::new();
    let (outer, inner) = (name(1), name(2));
    for name in [[&outer, &inner, &b"c"[..]].join(&b'/'), [&outer, &b"d"[..]].join(&b'/'), b"e".to_vec()] {
        let mut node = file(noise(3000, 2));
        node.meta.xattrs.insert("user.a".into(), noise(300, 3));
        tree.insert(name, node).unwrap();
    }
    std::fs::read(written(folder, &tree, &options(Compressor::Xz { bcj: vec![] }, 1))).unwrap()
}

/// A long, incompressible name.
fn name(seed: u64) -> Vec<u8> {
    noise(200, seed).into_iter().filter(|byte| *byte != 0 && *byte != b'/').collect()
}

/// Reads everything; returns the number of paths.
fn open(folder: &Path, bytes: &[u8]) -> Result<usize> {
    let path = folder.join("damaged");
    std::fs::write(&path, bytes)?;
    let reader = Reader::open(File::open(path)?)?;
    let entries = reader.list()?;
    for entry in entries.iter().filter(|entry| entry.kind == EntryKind::File) {
        reader.read_file(&entry.path, 1 << 20)?;
    }
    Ok(entries.len())
}

fn field(image: &[u8], at: usize) -> usize {
    usize::try_from(u64::from_le_bytes(image[at..at + 8].try_into().unwrap())).unwrap()
}

/// Offsets of the table positions in the superblock: ids, attributes, inodes, directories, fragments, export.
const POSITIONS: [usize; 6] = [48, 56, 64, 72, 80, 88];

#[test]
fn an_image_cut_off_at_any_table() {
    let folder = tempfile::tempdir().unwrap();
    let whole = small(folder.path());
    assert_eq!(open(folder.path(), &whole).unwrap(), 6);
    let used = field(&whole, 40);
    let mut lengths = vec![0, 1, 50, 95, 96, 97, 2000, used - 1, used - 8];
    lengths.extend(POSITIONS.iter().flat_map(|at| [field(&whole, *at) - 1, field(&whole, *at), field(&whole, *at) + 1]));
    for length in lengths {
        let mut image = whole[..length].to_vec();
        let error = open(folder.path(), &image).unwrap_err().to_string();
        assert!(length < 96 || error.starts_with(&format!("the image is truncated: {used} bytes expected,")), "{length}: {error}");
        // The same with a matching superblock.
        if length >= 96 {
            image[40..48].copy_from_slice(&(length as u64).to_le_bytes());
            let error = format!("{:#}", open(folder.path(), &image).unwrap_err());
            let kinds = ["has no valid end", "is out of range", "is damaged", "is truncated", "cannot read the metadata at "];
            assert!(kinds.iter().any(|kind| error.contains(kind)), "cut to {length}: {error}");
        }
    }
}

#[test]
fn any_byte_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let whole = small(folder.path());
    let used = field(&whole, 40);
    for at in (0..96).chain(field(&whole, 64)..used) {
        for value in [0, 0xff, 0x80, whole[at] ^ 1] {
            let mut image = whole.clone();
            image[at] = value;
            // Either an error or another list.
            let _ = open(folder.path(), &image);
        }
    }
    for at in POSITIONS.into_iter().chain([32, 40]) {
        for value in [0, 95, used as u64 - 1, used as u64, 1 << 40, u64::MAX - 1, u64::MAX] {
            let mut image = whole.clone();
            image[at..at + 8].copy_from_slice(&value.to_le_bytes());
            let _ = open(folder.path(), &image);
        }
    }
}

#[test]
fn a_directory_in_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut image = small(folder.path());
    let inner = name(2);
    let entry = image.windows(inner.len()).rposition(|bytes| bytes == inner).unwrap() - 8;
    // The innermost directory's entry now refers to the root inode.
    let root = field(&image, 32);
    image[entry..entry + 2].copy_from_slice(&u16::try_from(root).unwrap().to_le_bytes());
    let error = format!("{:#}", open(folder.path(), &image).unwrap_err());
    assert!(error.starts_with("the directory `") && error.ends_with("is damaged: it has two parents"), "{error}");
}

#[test]
fn names_that_lead_out() {
    let folder = tempfile::tempdir().unwrap();
    let whole = small(folder.path());
    let inner = name(2);
    let entry = whole.windows(inner.len()).rposition(|bytes| bytes == inner).unwrap();
    let mut image = whole.clone();
    image[entry + 3] = b'/';
    assert!(format!("{:#}", open(folder.path(), &image).unwrap_err()).ends_with("an entry has an invalid name"));
    // `d` is correctly sorted; a name on the other side, and a dot, are errors.
    let position = whole.windows(9).rposition(|bytes| bytes[6..] == [0, 0, b'd']).unwrap();
    let mut image = whole.clone();
    image[position + 8] = b'.';
    assert!(format!("{:#}", open(folder.path(), &image).unwrap_err()).ends_with("an entry has an invalid name"));
    image[position + 8] = if inner[0] > b'd' { 0xff } else { 1 };
    assert!(format!("{:#}", open(folder.path(), &image).unwrap_err()).ends_with("the entries are not sorted"));
}

#[test]
fn a_block_that_grows_beyond_its_size() {
    let folder = tempfile::tempdir().unwrap();
    for compressor in [Compressor::Gzip, Compressor::Xz { bcj: vec![] }] {
        let mut tree = Tree::new();
        tree.insert("a", file(vec![1; BLOCK])).unwrap();
        let mut image = std::fs::read(written(folder.path(), &tree, &options(compressor.clone(), 1))).unwrap();
        // The same data in blocks of half the size.
        image[12..16].copy_from_slice(&(BLOCK as u32 / 2).to_le_bytes());
        image[22..24].copy_from_slice(&16u16.to_le_bytes());
        let error = format!("{:#}", open(folder.path(), &image).unwrap_err());
        assert!(error.starts_with("cannot read `a` in the image: cannot decompress the block at 96: "), "{compressor:?}: {error}");
    }
}
