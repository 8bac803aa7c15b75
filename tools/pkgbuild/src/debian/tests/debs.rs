//! Reads .deb files made by dpkg-deb, and hostile ones.

use super::*;
use filetree::{Meta, Node, Spool};

fn read(bytes: &[u8]) -> anyhow::Result<Deb> {
    let mut spool = Spool::new_in(&std::env::temp_dir())?;
    read_deb(&Content::from(bytes.to_vec()), &mut spool, &|_| true)
}

/// A package folder for `dpkg-deb -b`.
fn source(folder: &Path) {
    let put = |path: &str, text: &str, mode: u32| {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    put(
        "DEBIAN/control",
        "Package: sample\nVersion: 1:2-3\nArchitecture: all\nMaintainer: A <a@b.example>\nDescription: d\n more\n",
        0o644,
    );
    put("usr/bin/tool", "#!/bin/sh\n", 0o4755);
    put(&format!("usr/share/{}/long", "n".repeat(120)), "long", 0o644);
    put("etc/empty", "", 0o600);
    std::fs::hard_link(folder.join("usr/bin/tool"), folder.join("usr/bin/twin")).unwrap();
    std::os::unix::fs::symlink("../bin/tool", folder.join("usr/share/link")).unwrap();
}

#[test]
fn dpkg_deb_unpacks_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    source(&at.join("sample"));
    for compression in ["xz", "gzip", "zstd", "none"] {
        let compress = format!("-Z{compression}");
        if tool(at, &["dpkg-deb", "--root-owner-group", &compress, "-b", "sample", "s.deb"], &[]).is_none() {
            return;
        }
        tool(at, &["dpkg-deb", "-x", "s.deb", compression], &[]);
        let deb = read(&std::fs::read(at.join("s.deb")).unwrap()).unwrap();
        assert_eq!((deb.field("package"), deb.field("Description")), (Some("sample"), Some("d\n more")));
        let theirs = filetree::read_dir(&at.join(compression), &mut |_, _| true).unwrap();
        assert_eq!(list(&deb.files), list(&theirs), "{compression}");
    }
}

/// Real packages, if this machine has some.
#[test]
fn packages_of_this_machine_unpack_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let kept = std::fs::read_dir("/var/cache/apt/archives").into_iter().flatten().flatten().map(|entry| entry.path());
    let small =
        |path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "deb") && path.metadata().is_ok_and(|m| m.len() < 2 << 20);
    let debs: Vec<_> = kept.filter(small).take(5).collect();
    if debs.is_empty() {
        skips::skipped(skips::Lack::Unpackaged, "apt keeps no packages here, so no real one was compared with dpkg-deb");
    }
    for (at, path) in debs.iter().enumerate() {
        let to = at.to_string();
        tool(folder.path(), &["dpkg-deb", "-x", path.to_str().unwrap(), &to], &[]);
        let theirs = filetree::read_dir(&folder.path().join(to), &mut |_, _| true).unwrap();
        let deb = read(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(list(&deb.files), list(&theirs), "{}", path.display());
    }
}

/// A tar with one member of any name.
fn tar_of(entries: &[(&str, u8, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, text) in entries {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(tar::EntryType::new(*kind));
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let link = matches!(kind, b'1' | b'2');
        if link {
            header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
        }
        header.set_size(if link { 0 } else { text.len() as u64 });
        header.set_cksum();
        builder.append(&header, if link { &b""[..] } else { text.as_bytes() }).unwrap();
    }
    builder.into_inner().unwrap()
}

fn deb_of(entries: &[(&str, u8, &str)]) -> Vec<u8> {
    let control = tar_of(&[("./control", b'0', "Package: aa\nVersion: 1\nArchitecture: amd64\n")]);
    ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control), ("data.tar", &tar_of(entries))])
}

#[test]
fn nothing_leaves_the_tree() {
    for (entries, message) in [
        (&[("../../etc/passwd", b'0', "x")][..], "data.tar: the path `../../etc/passwd` contains `..`"),
        (&[("./a/../../b", b'0', "x")], "data.tar: the path `./a/../../b` contains `..`"),
        (
            &[("a", b'0', "x"), ("b", b'1', "../../etc/passwd")],
            "data.tar: the target `../../etc/passwd` of the hard link `b` contains `..`",
        ),
        (&[("b", b'1', "never/there")], "data.tar: the hard link `b` to `never/there` has no target in the archive"),
        (&[("pipe", b's', "x")], "data.tar: the type `s` of the tar member `pipe` is not supported"),
    ] {
        let error = format!("{:#}", read(&deb_of(entries)).err().unwrap());
        assert!(error.starts_with(message), "{entries:?}: {error}");
    }
    // Links that lead out are followed as in a chroot, and absolute names are below the root.
    let deb = read(&deb_of(&[("out", b'2', "/../../tmp"), ("out/evil", b'0', "x"), ("/abs", b'0', "y")])).unwrap();
    assert!(deb.files.get("tmp/evil").is_some() && deb.files.get("abs").is_some());
    let mut root = Tree::new();
    root.insert("lib", Node { meta: Meta::root(0o777, 0), kind: Kind::Symlink(b"../../usr/lib".to_vec()) }).unwrap();
    let bytes = deb_of(&[("lib", b'5', ""), ("lib/x", b'0', "x")]);
    let pin = pin_of("aa", "1", &bytes, &[]);
    unpack(&mut root, &[(&pin, &Content::from(bytes))], &std::env::temp_dir(), 1, 0).unwrap();
    assert!(root.get("usr/lib/x").is_some() && matches!(root.get("lib").unwrap().kind, Kind::Symlink(_)));
}

#[test]
fn what_is_no_deb_is_refused() {
    let good = deb_of(&[("usr/x", b'0', "hello")]);
    assert!(read(&good).is_ok());
    for length in (0..good.len() - 1024).step_by(7) {
        let error = format!("{:#}", read(&good[..length]).err().unwrap());
        let at_a_member = error.starts_with("the member ") && error.ends_with(" is missing");
        assert!(error.starts_with("the file ") || at_a_member, "cut off after {length}: {error}");
    }
    let binary: (&str, &[u8]) = ("debian-binary", b"2.0\n");
    let tar = tar_of(&[("./control", b'0', "Package: aa\n")]);
    for (members, message) in [
        (&[("debian-binary", &b"3.0\n"[..])][..], "format 2"),
        (&[binary, ("control.tar.lz4", &tar)], "unknown compression `.lz4`"),
        (&[binary, ("data.tar", &tar), ("control.tar", &tar)], "expected the member `control.tar`"),
        (&[binary, ("control.tar", &tar_of(&[("x", b'0', "")]))], "the file `control` is missing"),
        (&[binary, ("control.tar", &tar), ("_extra", b"x")], "data.tar is missing"),
        (&[binary, ("control.tar", &tar), ("data.tar.xz", b"\xfd7zXZ\0junk")], "data.tar.xz"),
        (&[binary, ("control.tar", &tar), ("data.tar.gz", b"\x1f\x8bjunk")], "data.tar.gz"),
        (&[binary, ("control.tar", &tar), ("data.tar.zst", b"junk")], "data.tar.zst"),
    ] {
        let error = format!("{:#}", read(&ar(members)).unwrap_err());
        assert!(error.contains(message), "{error}");
    }
    let mut negative = good;
    negative[8 + 48..8 + 58].copy_from_slice(b"-4        ");
    assert!(format!("{:#}", read(&negative).unwrap_err()).contains("member's header at byte 8"));
}

#[test]
fn a_deb_must_be_what_its_pin_says() {
    let bytes = make_deb("aa", "1", "amd64", &Tree::new());
    let content = Content::from(bytes.clone());
    let try_pin = |pin: &Pin| format!("{:#}", unpack(&mut Tree::new(), &[(pin, &content)], &std::env::temp_dir(), 2, 0).unwrap_err());
    assert_eq!(try_pin(&pin_of("bb", "1", &bytes, &[])), "cannot unpack `bb` 1: its Package is `aa`, not the pinned `bb`");
    assert_eq!(try_pin(&pin_of("aa", "2", &bytes, &[])), "cannot unpack `aa` 2: its Version is `1`, not the pinned `2`");
    let mut pin = pin_of("aa", "1", &bytes, &[]);
    pin.sha256 = "00".repeat(32);
    assert!(try_pin(&pin).contains("its SHA-256 is "));
}

#[test]
fn documentation_stays_out_and_licences_stay() {
    for kept in ["usr/share/doc/a/copyright", "usr/share/doc/a", "usr/share/manual", "usr/bin/man", "etc/man"] {
        assert!(is_kept(kept.as_bytes()), "{kept}");
    }
    for dropped in ["usr/share/doc/a/README", "usr/share/doc/a/b/copyright", "usr/share/man", "usr/share/man/man1/x", "usr/share/locale/de"]
    {
        assert!(!is_kept(dropped.as_bytes()), "{dropped}");
    }
}
