#![allow(clippy::unwrap_used)]
use super::*;
use crate::FileImage;
use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

/// Bytes that look random and are always the same.
fn data(blocks: u64) -> Vec<u8> {
    let mut state = blocks;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..blocks * BLOCK).map(|_| next()).collect()
}

/// An image of so many blocks with its tree.
fn protected(folder: &TempDir, blocks: u64) -> (PathBuf, Layout, Verity) {
    let path = folder.path().join("image");
    fs::write(&path, data(blocks)).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let layout = layout(blocks * BLOCK - 7).unwrap();
    let verity = write(&file, &layout, &Identity::of("1.0"), &|_, _| {}).unwrap();
    (path, layout, verity)
}

fn veritysetup(words: &[&str], path: &Path, more: &[&str]) -> Output {
    Command::new("veritysetup").args(words).arg(path).arg(path).args(more).output().unwrap()
}

#[test]
fn veritysetup_writes_the_same_and_finds_a_changed_byte() {
    if Command::new("veritysetup").arg("--version").output().is_err() {
        return skips::missing("veritysetup", "cryptsetup-bin");
    }
    let folder = tempfile::tempdir().unwrap();
    // One block alone, one level, a full one, and more of them with an end in the middle of a block.
    for blocks in [1, 2, 128, 129, 128 * 3 + 5, 128 * 128 + 1] {
        let (path, layout, verity) = protected(&folder, blocks);
        let ours = fs::read(&path).unwrap();
        let root = hex(&verity.root);
        let offset = format!("--hash-offset={}", layout.superblock());
        let verified = veritysetup(&["verify", &offset], &path, &[&root]);
        assert!(verified.status.success(), "{blocks}: {}", String::from_utf8_lossy(&verified.stderr));

        fs::write(&path, data(blocks)).unwrap();
        let Identity { salt, uuid } = Identity::of("1.0");
        let made = veritysetup(
            &["format", &offset, &format!("--data-blocks={blocks}"), &format!("--salt={}", hex(&salt)), &format!("--uuid={uuid}")],
            &path,
            &[],
        );
        let said = String::from_utf8(made.stdout).unwrap();
        assert!(made.status.success() && said.lines().any(|line| line.starts_with("Root hash:") && line.ends_with(&root)), "{said}");
        let mut theirs = fs::read(&path).unwrap();
        // It does not fill up its last block where there is no tree.
        theirs.resize(ours.len(), 0);
        assert!(theirs == ours, "{blocks}: the same bytes");

        // A byte of the data, and one of the tree.
        for at in [BLOCK * blocks / 2, layout.size() - BLOCK].into_iter().take(if blocks == 1 { 1 } else { 2 }) {
            let mut changed = ours.clone();
            changed[usize::try_from(at).unwrap()] ^= 1;
            fs::write(&path, changed).unwrap();
            let verified = veritysetup(&["verify", &offset], &path, &[&root]);
            let said = String::from_utf8_lossy(&verified.stderr).into_owned();
            let why = ["Verification failed at position", "Verification of root hash failed"];
            assert!(!verified.status.success() && why.iter().any(|why| said.contains(why)), "{blocks}, {at}: {said}");
        }
    }
}

#[test]
fn a_version_always_has_the_same_salt_and_name() {
    let one = Identity::of("1.0");
    assert_eq!(one, Identity::of("1.0"));
    let two = Identity::of("1.1");
    assert!(one.salt != two.salt && one.uuid != two.uuid);
    let uuid = one.uuid.to_string();
    assert!(&uuid[14..15] == "8" && "89ab".contains(&uuid[19..20]), "{uuid}");
}

fn statement() -> RootStatement {
    let verity = Verity { data_blocks: 300, hash_start: 302, salt: [0xab; 32], root: [1; 32] };
    RootStatement { version: "1.0-kvm-amd64".into(), architecture: "amd64".into(), content: "ef".into(), verity }
}

#[test]
fn a_statement_is_text_and_comes_back() {
    let (ab, one) = ("ab".repeat(32), "01".repeat(32));
    let text = format!(
        "eve-verity-1\nversion=1.0-kvm-amd64\narchitecture=amd64\ncontent=ef\ndata_blocks=300\nhash_start=302\nsalt={ab}\nroot={one}\n"
    );
    assert_eq!(statement().text().unwrap(), text);
    let block = statement().block(&[1, 0xff]).unwrap();
    assert!(block.starts_with(format!("{text}signature=01ff\n\0").as_bytes()));
    assert_eq!(RootStatement::parse(&block).unwrap(), (statement(), vec![1, 0xff]));
    for (from, to, why) in [
        ("eve-verity-1", "eve-verity-2", "it does not begin with `eve-verity-1`"),
        ("architecture=", "Architecture=", "it does not say `architecture=` where it should"),
        ("blocks=300", "blocks=+30", "it is not in the form in which it is written"),
        ("signature=01ff", "signature=01fF", "it is not in the form in which it is written"),
        ("salt=abab", "salt=abax", "is not hexadecimal"),
        ("root=01", "rooT=01", "it does not say `root=` where it should"),
        ("\nsignature=01ff\n", "00\nsignature=01\n", "`root` is no SHA-256"),
    ] {
        let changed = String::from_utf8(block.to_vec()).unwrap().replacen(from, to, 1);
        let error = RootStatement::parse(changed.as_bytes().try_into().unwrap()).unwrap_err().to_string();
        assert!(error.contains(why), "{to}: {error}");
    }
    let two = RootStatement { version: "1.0\nroot=".into(), ..statement() };
    assert_eq!(two.text().unwrap_err().to_string(), "`1.0\\nroot=` is no word");
    let error = statement().block(&[0; 4096]).unwrap_err().to_string();
    assert!(error.ends_with("bytes, and its block 4096"), "{error}");
}

#[test]
fn a_statement_is_found_behind_its_file_system() {
    let folder = tempfile::tempdir().unwrap();
    let (path, layout, verity) = protected(&folder, 3);
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let image = || FileImage::new(file.try_clone().unwrap()).unwrap();
    assert_eq!(find(&image(), 3 * BLOCK).unwrap(), None);
    let statement = RootStatement { verity, ..statement() };
    file.write_all_at(&statement.block(&[7]).unwrap(), layout.statement()).unwrap();
    for used in [2 * BLOCK + 1, 3 * BLOCK] {
        assert_eq!(find(&image(), used).unwrap(), Some((statement.clone(), vec![7])));
    }
    for used in [0, BLOCK, layout.size(), layout.size() + 1, u64::MAX] {
        assert_eq!(find(&image(), used).unwrap(), None, "{used}");
    }
    file.write_all_at(b"x", layout.statement() + 20).unwrap();
    let error = format!("{:#}", find(&image(), 3 * BLOCK).unwrap_err());
    assert!(error.starts_with("the statement about the root of the hashes: it does not say `version=`"), "{error}");
    assert_eq!(super::layout(0).unwrap_err().to_string(), "an empty file system has nothing to protect");
}
