//! `inspect`, `size`, `diff` and `delta`, as a person uses them: outside a tree, on images that the program made, with foreign tools as
//! referees.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Xtask, git, init, repository, tool, wants};
use std::path::Path;

/// The program in `folder`, which is in no tree.
fn there(folder: &Path, words: &str) -> Xtask {
    Xtask::new(&repository()).within(folder).args(words.split(' '))
}

/// Two root file systems that differ in a line, in `folder`: one.img and two.img.
fn images(folder: &Path) {
    for (name, release, more) in [("one", "1.0\n", ""), ("two", "1.1\n", "console=ttyS0")] {
        let root = folder.join(name);
        std::fs::create_dir_all(root.join("EFI/BOOT")).unwrap();
        std::fs::create_dir_all(root.join("var/lib/dpkg/status.d")).unwrap();
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::write(root.join("etc/eve-release"), release).unwrap();
        std::fs::write(root.join("EFI/BOOT/grub.cfg"), format!("# boots\nset linuxkit_cmdline=\"quiet {more}\"\n")).unwrap();
        std::fs::write(root.join("var/lib/dpkg/status.d/libc6"), format!("Package: libc6\nVersion: 2.{}Architecture: amd64\n", release))
            .unwrap();
        let large: Vec<u8> = (0..400_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        std::fs::write(root.join("large"), large).unwrap();
        std::os::unix::fs::symlink("etc/eve-release", root.join("release")).unwrap();
        let image = folder.join(format!("{name}.img"));
        tool("mksquashfs", &[root.to_str().unwrap(), image.to_str().unwrap(), "-quiet", "-no-progress", "-all-root", "-all-time", "1"]);
    }
}

#[test]
fn what_is_in_an_image_and_what_changed() {
    if !wants("mksquashfs", "squashfs-tools") || !wants("unsquashfs", "squashfs-tools") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    images(folder);
    assert_eq!(there(folder, "inspect one.img:/release").ok(), "1.0\n");
    assert_eq!(
        there(folder, "inspect one.img /etc/eve-release").ok(),
        tool("unsquashfs", &["-cat", folder.join("one.img").to_str().unwrap(), "etc/eve-release"])
    );
    let listed = there(folder, "inspect one.img:/").ok();
    assert_eq!(
        listed,
        "drwxr-xr-x       0:0            - EFI/\n\
         drwxr-xr-x       0:0            - etc/\n\
         -rw-r--r--       0:0      1600000 large\n\
         lrwxrwxrwx       0:0            - release -> etc/eve-release\n\
         drwxr-xr-x       0:0            - var/\n"
    );
    let json: serde_json::Value = serde_json::from_str(&there(folder, "--json inspect one.img:/release").ok()).unwrap();
    assert_eq!((&json[0]["path"], &json[0]["mode"]), (&"/etc/eve-release".into(), &"0644".into()));
    let (code, said) = there(folder, "inspect one.img:/etc/eve-relase").fails();
    assert_eq!(
        (code, said.as_str()),
        (1, "error: `/etc/eve-relase` is not in `one.img`: `/etc` has no `eve-relase`; it has eve-release; did you mean eve-release?\n")
    );
    assert_eq!(there(folder, "inspect one.img:/ --out got").ok(), "got: 4 files with 1.5 MiB, 8 folders and links\n");
    tool("diff", &["-r", "--no-dereference", folder.join("one").to_str().unwrap(), folder.join("got").to_str().unwrap()]);
    let (_, said) = there(folder, "inspect one.img --out got").fails();
    assert_eq!(said, "error: the folder `got` is not empty\nhint: name a new one\n");

    let (code, _) = there(folder, "diff one.img two.img").fails();
    assert_eq!(code, 1);
    let changed = common::texts(&there(folder, "diff one.img two.img").output()).0;
    assert_eq!(
        changed,
        "Debian packages:\n  ~ libc6 2.1.0 -> 2.1.1\n\
         kernel command line:\n  - quiet \n  + quiet console=ttyS0\n\
         /EFI/BOOT/grub.cfg:\n  -set linuxkit_cmdline=\"quiet \"\n  +set linuxkit_cmdline=\"quiet console=ttyS0\"\n\
         files: 0 added, 0 removed, 3 changed, 0 with other attributes\n\
         \x20 ~ /EFI/BOOT/grub.cfg (38 B -> 51 B)\n  ~ /etc/eve-release (4 B -> 4 B)\n  ~ /var/lib/dpkg/status.d/libc6 (50 B -> 50 B)\n"
            .to_owned()
            + changed.split_once("50 B)\n").unwrap().1
    );
    assert_eq!(there(folder, "diff one.img one.img").ok(), "no difference\n");
    let (code, said) = there(folder, "diff one.img thre.img").fails();
    assert!(code == 2 && said.contains("`thre.img` is no file, no version below"), "{said}");

    let sizes: serde_json::Value = serde_json::from_str(&there(folder, "size one.img --json").ok()).unwrap();
    assert_eq!((&sizes["total"]["files"], &sizes["total"]["bytes"]), (&4.into(), &(1_600_000 + 4 + 38 + 50).into()));
    assert_eq!(sizes["folders"][0]["name"], "/");
    let (code, said) = there(folder, "size rotfs").fails();
    assert_eq!(
        (code, said.as_str()),
        (2, "error: `rotfs` is neither a file nor a goal that makes a file system: rootfs, config; did you mean rootfs?\n")
    );
}

#[test]
fn a_delta_is_read_by_zstd_and_refuses_another_image() {
    if !wants("mksquashfs", "squashfs-tools") || !wants("zstd", "zstd") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    images(folder);
    there(folder, "delta one.img two.img --out d").ok();
    assert!(folder.join("d").metadata().unwrap().len() < 5000);
    there(folder, "delta --apply d one.img --out back.img").ok();
    assert!(std::fs::read(folder.join("back.img")).unwrap() == std::fs::read(folder.join("two.img")).unwrap());
    let path = |name: &str| folder.join(name).display().to_string();
    tool("zstd", &["-d", "-q", "--long=31", &format!("--patch-from={}", path("one.img")), &path("d"), "-o", &path("theirs")]);
    assert!(std::fs::read(folder.join("theirs")).unwrap() == std::fs::read(folder.join("two.img")).unwrap());
    let (_, said) = there(folder, "delta --apply d two.img --out no").fails();
    assert!(said.contains("is not the image that `d` was made from") && !folder.join("no").exists(), "{said}");
    let (code, said) = there(folder, "delta one.img two.img --out two.img").fails();
    assert_eq!((code, said.as_str()), (2, "error: `two.img` is read, so it cannot be written\nhint: --out names another file\n"));
}

#[test]
fn disks_with_other_bytes_or_another_partition_differ() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let disk = |name: &str, byte: u8, count: usize| {
        let mut bytes = vec![byte; 4 * 512];
        bytes[..512].fill(0);
        for number in 0..count {
            let at = 446 + 16 * number;
            (bytes[at + 4], bytes[at + 8], bytes[at + 12]) = (0x83, number as u8 + 1, 1);
        }
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        std::fs::write(folder.join(name), bytes).unwrap();
    };
    disk("a.raw", 1, 1);
    disk("more.raw", 1, 2);
    disk("other.raw", 2, 1);
    assert_eq!(there(folder, "diff a.raw a.raw").ok(), "no difference\n");
    for (other, expected) in [
        ("more.raw", "not compared:\n  `a.raw` has no `2`\n"),
        ("other.raw", "files: 0 added, 0 removed, 1 changed, 0 with other attributes\n  ~ 1 (512 B -> 512 B)\n"),
    ] {
        let output = there(folder, &format!("diff a.raw {other}")).output();
        let (out, err) = common::texts(&output);
        assert_eq!((output.status.code(), out.as_str()), (Some(1), expected), "{err}");
    }
}

#[test]
fn what_changed_between_two_commits() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    std::fs::create_dir_all(tree.join("pkg/one")).unwrap();
    std::fs::create_dir_all(tree.join("images")).unwrap();
    std::fs::create_dir_all(tree.join("conf")).unwrap();
    std::fs::copy(repository().join("xtask.toml"), tree.join("xtask.toml")).unwrap();
    std::fs::write(tree.join("pkg/one/build.yml"), "org: lfedge\nimage: eve-one\n").unwrap();
    std::fs::write(tree.join("images/rootfs.yml.in"), "init:\n  - ONE_TAG\n").unwrap();
    std::fs::write(tree.join("conf/server"), "one\n").unwrap();
    init(&tree, "main", "first");
    std::fs::write(tree.join("pkg/one/build.yml"), "org: lfedge\nimage: eve-one\n# changed\n").unwrap();
    std::fs::write(tree.join("conf/server"), "two\n").unwrap();
    git(&tree, &["add", "-A"]);
    git(&tree, &["commit", "-q", "-m", "second"]);
    let id = |rev: &str| tool("git", &["-C", tree.to_str().unwrap(), "rev-parse", &format!("{rev}:pkg/one")]);
    let output = Xtask::new(&tree).args(["diff", "HEAD~1", "HEAD"]).output();
    let (out, err) = common::texts(&output);
    assert_eq!(output.status.code(), Some(1));
    let expected =
        format!("packages:\n  ~ lfedge/eve-one {} -> {}\nconf/server:\n  -one\n  +two\n", id("HEAD~1").trim(), id("HEAD").trim());
    assert_eq!(out, expected);
    assert!(err.contains("files and sizes need a build of both commits"), "{err}");
    // No line differs: the mode, the final newline, and a link's target.
    std::os::unix::fs::symlink("server", tree.join("conf/link")).unwrap();
    git(&tree, &["add", "-A"]);
    git(&tree, &["commit", "-q", "-m", "third"]);
    std::fs::set_permissions(tree.join("conf/server"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(tree.join("images/rootfs.yml.in"), "init:\n  - ONE_TAG").unwrap();
    std::fs::remove_file(tree.join("conf/link")).unwrap();
    std::os::unix::fs::symlink("other", tree.join("conf/link")).unwrap();
    git(&tree, &["add", "-A"]);
    git(&tree, &["commit", "-q", "-m", "fourth"]);
    let output = Xtask::new(&tree).args(["diff", "HEAD~1", "HEAD"]).output();
    assert_eq!(output.status.code(), Some(1));
    let expected = "conf/link:\n  -server\n  +other\nfiles: 0 added, 0 removed, 1 changed, 1 with other attributes\n  m conf/server (4 B)\n  ~ images/rootfs.yml.in (18 B -> 17 B)\n";
    assert_eq!(common::texts(&output).0, expected);
}
