//! Archives of the real GNU tar, and maps that lie.
#![allow(clippy::unwrap_used)]

use crate::{Content, Entry, EntryKind, Kind, Spool, read_tar_content, read_tar_file, read_tar_stream};
use anyhow::Result;
use std::{
    fs::File,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    process::Command,
    sync::Arc,
};

fn content(entry: &Entry) -> &Content {
    let EntryKind::Node(Kind::File { content, .. }) = &entry.kind else { unreachable!("a file") };
    content
}

/// Reads `tar` in both ways; the results must not differ.
fn read(tar: &[u8]) -> Result<Vec<Entry>> {
    let streamed = read_tar_stream(tar, &mut Spool::new_in(&std::env::temp_dir()).unwrap());
    let entries = read_tar_content(&Content::from(tar.to_vec()));
    assert_eq!(streamed.is_ok(), entries.is_ok());
    let entries = entries?;
    assert!(entries.iter().all(|(_, records)| records.iter().all(|(key, _)| !key.starts_with("GNU.sparse"))));
    for (streamed, (entry, _)) in streamed?.iter().zip(&entries) {
        assert_eq!(streamed.path, entry.path);
        assert!(content(streamed).read_all().unwrap() == content(entry).read_all().unwrap());
    }
    Ok(entries.into_iter().map(|(entry, _)| entry).collect())
}

#[test]
fn sparse_files_of_gnu_tar_have_their_names_and_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let long = format!("folder/{}", "n".repeat(150));
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    // Name, size, pieces of one block: many need extension headers and a map of several blocks.
    let files = [("s", 3 << 20, 2), ("many", 8 << 20, 90), ("hole", 1 << 20, 0), (long.as_str(), (1 << 20) + 77, 5), ("plain", 0, 0)];
    for (name, size, pieces) in files {
        let file = File::create(folder.path().join(name)).unwrap();
        (0..pieces).for_each(|n| file.write_all_at(&[n as u8 + 1; 4096], n * 3 * (8 << 10)).unwrap());
        if name == long {
            file.write_all_at(b"the end", size - 7).unwrap();
        }
        file.set_len(size).unwrap();
    }
    let names = files.map(|(name, ..)| name);
    for format in [
        &["--format=posix", "--sparse-version=0.0"][..],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
        &["--format=gnu"],
    ] {
        let archive = folder.path().join("archive.tar");
        let made = Command::new("tar").arg("-S").args(format).arg("-cf").arg(&archive).args(names).current_dir(folder.path()).status();
        assert!(made.unwrap().success());
        let bytes = std::fs::read(&archive).unwrap();
        assert!(bytes.len() < 2 << 20, "{format:?}: the archive is not sparse");
        let by_file = read_tar_file(Arc::new(File::open(&archive).unwrap())).unwrap();
        for entries in [by_file, read(&bytes).unwrap()] {
            assert_eq!(entries.iter().map(|entry| String::from_utf8_lossy(&entry.path)).collect::<Vec<_>>(), names, "{format:?}");
            for (entry, name) in entries.iter().zip(names) {
                assert!(content(entry).read_all().unwrap() == std::fs::read(folder.path().join(name)).unwrap(), "{format:?} {name}");
            }
            if let Content::Range { file, .. } = content(&entries[1]) {
                assert!(file.metadata().unwrap().blocks() * 512 < 4 << 20, "{format:?}: the holes are on the disk");
            }
        }
    }
}

/// A member `GNUSparseFile.1/s` with these records and data.
fn member(records: &[(&str, &str)], data: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_pax_extensions(records.iter().map(|(key, value)| (*key, value.as_bytes()))).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_size(data.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    tar.append_data(&mut header, "GNUSparseFile.1/s", data).unwrap();
    tar.into_inner().unwrap()
}

fn refusal(tar: &[u8]) -> String {
    format!("{:#}", read(tar).unwrap_err())
}

#[test]
fn maps_that_lie_are_refused_by_name() {
    let mapped = |size: &str, map: &str, data: &[u8]| {
        member(&[("GNU.sparse.name", "dir/s"), ("GNU.sparse.size", size), ("GNU.sparse.map", map)], data)
    };
    let good = read(&mapped("1024", "512,3,1024,0", b"abc")).unwrap();
    assert_eq!((&good[0].path[..], content(&good[0]).read_all().unwrap()[510..516].to_vec()), (&b"dir/s"[..], b"\0\0abc\0".to_vec()));
    for (size, map, want) in [
        ("1024", "512,3,500,0", "the piece of 0 bytes at 500 overlaps"),
        ("1024", "0,2,1,1", "the piece of 1 bytes at 1 overlaps"),
        ("1024", "1022,3", "the piece of 3 bytes at 1022 exceeds the file's 1024 bytes"),
        ("1024", "18446744073709551615,3", "exceeds the file's 1024 bytes"),
        ("1024", "0,1,512,2", "a piece before the one at 512 is no multiple of 512"),
        ("1024", "0,4", "the pieces have 4 bytes, the member has 3"),
        ("1024", "", "the pieces have 0 bytes, the member has 3"),
        ("1024", "0", "the map ends with an offset"),
        ("1024", "0,-3", "`-3` is not a number of 64 bits"),
        ("1024", "0,18446744073709551616", "is not a number of 64 bits"),
        ("99999999999999", "0,3", "it has 99999999999999 bytes with its holes, more than the limit of 1099511627776"),
    ] {
        let error = refusal(&mapped(size, map, b"abc"));
        assert!(error.starts_with("the sparse file `dir/s` cannot be read: ") && error.contains(want), "{map}: {error}");
    }
    for (key, first, second) in [("GNU.sparse.map", "0,1", "512,2"), ("GNU.sparse.offset", "0", "512")] {
        let named = [("GNU.sparse.name", "dir/s"), ("GNU.sparse.size", "1024"), (key, first), (key, second)];
        let error = refusal(&member(&named, b"abc"));
        assert_eq!(error, format!("the sparse file `dir/s` cannot be read: the record {key} does not belong there"));
    }
    let many = "0,0,".repeat(1 << 20) + "0,0";
    assert!(refusal(&mapped("1024", &many, b"")).ends_with("the map has more than 1048576 pieces"));
}

#[test]
fn maps_in_the_data_and_versions_are_checked() {
    let one = |data: &str, more: &[(&str, &str)]| {
        let records = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "1024"), ("GNU.sparse.name", "s")];
        member(&[&records, more].concat(), data.as_bytes())
    };
    let padded = |map: &str, data: &str| format!("{map}{}{data}", "\0".repeat(512 - map.len()));
    assert_eq!(content(&read(&one(&padded("1\n9\n2\n", "hi"), &[])).unwrap()[0]).read_all().unwrap()[8..12], *b"\0hi\0");
    for (data, want) in [
        (padded("2\n9\n2\n", "hi"), "a number in the map has more than 20 digits"),
        (padded("99999999\n", ""), "the map has more than 1048576 pieces"),
        (padded("1\n9\n3\n", "hi"), "the pieces have 3 bytes, the member has 2"),
        (padded("x\n", ""), "`x` is not a number of 64 bits"),
        ("1\n".to_owned(), "the map is cut off"),
        (String::new(), "the map is cut off"),
    ] {
        let error = refusal(&one(&data, &[]));
        assert!(error.contains(want), "{data}: {error}");
    }
    assert!(refusal(&one(&padded("0\n", ""), &[("GNU.sparse.map", "0,0")])).ends_with("there are two maps"));
    for (records, want) in [
        (&[("GNU.sparse.major", "2"), ("GNU.sparse.minor", "0"), ("GNU.sparse.size", "0")][..], "the version 2.0 is unknown"),
        (&[("GNU.sparse.new", "0")], "the record GNU.sparse.new is unknown"),
        (&[("GNU.sparse.map", "0,0")], "there is no record of the file's size"),
        (&[("GNU.sparse.numbytes", "0")], "a piece of the map has a length but no offset"),
        (&[("GNU.sparse.size", "0"), ("GNU.sparse.offset", "0")], "a piece of the map has an offset but no length"),
        (&[("GNU.sparse.offset", "0"), ("GNU.sparse.offset", "0")], "the record GNU.sparse.offset does not belong there"),
        (&[("GNU.sparse.size", "0"), ("GNU.sparse.numblocks", "1")], "the map has 0 pieces, not 1"),
    ] {
        let error = refusal(&member(records, b""));
        assert!(error.starts_with("the sparse file `GNUSparseFile.1/s` cannot be read: ") && error.ends_with(want), "{error}");
    }
}

#[test]
fn an_old_map_is_checked_too() {
    let old = |pieces: &[(u64, u64)], real: u64, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_path("s").unwrap();
        header.set_entry_type(tar::EntryType::GNUSparse);
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        let gnu = header.as_gnu_mut().unwrap();
        let octal = |field: &mut [u8; 12], value: u64| match format!("{value:011o}\0") {
            text if text.len() == 12 => field.copy_from_slice(text.as_bytes()),
            _ => *field = [&[0x80, 0, 0, 0][..], &value.to_be_bytes()].concat().try_into().unwrap(),
        };
        octal(&mut gnu.realsize, real);
        for (place, (offset, length)) in gnu.sparse.iter_mut().zip(pieces) {
            octal(&mut place.offset, *offset);
            octal(&mut place.numbytes, *length);
        }
        header.set_cksum();
        [header.as_bytes(), data, &vec![0; (512 - data.len() % 512) % 512 + 1024]].concat()
    };
    assert_eq!(content(&read(&old(&[(4, 2), (8, 0)], 8, b"hi")).unwrap()[0]).read_all().unwrap(), b"\0\0\0\0hi\0\0");
    for (pieces, real) in [(&[(4, 2), (3, 0)][..], 8), (&[(4, 3)], 7), (&[(4, 1)], 5), (&[(4, 2)], 5), (&[(4, 2)], 8)] {
        assert!(refusal(&old(pieces, real, b"hi")).starts_with("the tar is damaged: "));
    }
    // A number of more than eleven octal digits is binary.
    let large = u64::MAX >> 1;
    let error = refusal(&old(&[(large, 0)], large, b""));
    assert_eq!(
        error,
        format!("the sparse file `s` cannot be read: it has {large} bytes with its holes, more than the limit of 68719476736")
    );
}
