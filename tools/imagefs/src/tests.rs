//! Images that foreign tools made are read as those tools read them; nested ones are found; damaged ones give an error; nothing is
//! extracted outside its folder.
#![allow(clippy::unwrap_used, clippy::panic)]

mod limits;

use crate::{Changed, LookedUp, Owners, Spec, Volume, compare, extract, look_up, measure, open_file};
use diskimage::squashfs::EntryKind;
use filetree::{Content, Kind, Meta, Node, Tree};
use std::{
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

/// Whether the program is here; if not, the skip is recorded.
fn here(program: &str, package: &str) -> bool {
    let found = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].iter().any(|folder| Path::new(folder).join(program).exists());
    if !found {
        skips::missing(program, package);
    }
    found
}

fn run(folder: &Path, script: &str) {
    let made = Command::new("sh").args(["-ec", script]).current_dir(folder).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().unwrap();
    assert!(made.status.success(), "{script}: {}", String::from_utf8_lossy(&made.stderr));
}

/// A folder `tree` with texts, a file of several blocks with a hole, an empty one, and links.
fn source() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    std::fs::create_dir_all(tree.join("etc/deep/er")).unwrap();
    std::fs::write(tree.join("etc/os-release"), "NAME=test\n").unwrap();
    std::fs::write(tree.join("etc/deep/er/empty"), "").unwrap();
    let large: Vec<u8> =
        (0..700_001_u32).map(|n| if (200_000..500_000).contains(&n) { 0 } else { (n.wrapping_mul(n) >> 7) as u8 }).collect();
    std::fs::write(tree.join("large.bin"), large).unwrap();
    std::fs::write(tree.join("run.sh"), "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(tree.join("run.sh"), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(tree.join("etc/os-release"), PermissionsExt::from_mode(0o640)).unwrap();
    folder
}

fn link(folder: &Path) {
    symlink("etc/os-release", folder.join("tree/release")).unwrap();
    symlink("/etc/deep", folder.join("tree/etc/link")).unwrap();
    std::fs::hard_link(folder.join("tree/large.bin"), folder.join("tree/second-name")).unwrap();
}

/// Every file of the folder is in the image with its bytes, and the image extracts to the same folder.
fn assert_same(folder: &Path, image: &str, links: bool) {
    let volume = open_file(&folder.join(image), None).unwrap();
    for path in ["etc/os-release", "etc/deep/er/empty", "large.bin", "run.sh"] {
        let entry = volume.find(path.as_bytes()).unwrap().unwrap_or_else(|| panic!("{image} has no {path}"));
        assert!(volume.read(entry, 1 << 20).unwrap() == std::fs::read(folder.join("tree").join(path)).unwrap(), "{image}: {path}");
    }
    if links {
        let release = volume.find(b"release").unwrap().unwrap();
        assert_eq!((&release.path[..], release.meta.mode), (&b"etc/os-release"[..], 0o640), "{image}");
        assert_eq!(volume.get(b"release").unwrap().kind, EntryKind::Symlink(b"etc/os-release".to_vec()), "{image}");
        assert_eq!(volume.find(b"etc/link/er/empty").unwrap().unwrap().path, b"etc/deep/er/empty", "{image}");
        let [first, second] = [&b"large.bin"[..], b"second-name"].map(|name| volume.get(name).unwrap());
        assert!(volume.read(second, 1 << 20).unwrap() == volume.read(first, 1 << 20).unwrap(), "{image}");
        // The reader of ISO 9660 does not know links of one file.
        assert!(first.inode == second.inode || volume.format() == "ISO 9660", "{image}");
    }
    let out = folder.join(format!("out-{image}"));
    let done = extract(&volume, b"", &out).unwrap();
    assert_eq!(done.files, if links { 5 } else { 4 }, "{image}");
    // ext4 has a folder of its own.
    run(folder, &format!("rmdir 'out-{image}/lost+found' 2>/dev/null || true; diff -r --no-dereference tree 'out-{image}'"));
}

#[test]
fn images_of_foreign_tools_are_read() {
    let folder = source();
    let folder = folder.path();
    // FAT has no links.
    if here("mkfs.vfat", "dosfstools") && here("mcopy", "mtools") {
        run(folder, "truncate -s 8M a.fat; mkfs.vfat a.fat >/dev/null; mcopy -s -i a.fat tree/etc tree/large.bin tree/run.sh ::/");
        assert_same(folder, "a.fat", false);
    }
    link(folder);
    for (tool, package, image, script) in [
        ("mksquashfs", "squashfs-tools", "a.squash", "mksquashfs tree a.squash -quiet -no-progress"),
        ("mkfs.ext4", "e2fsprogs", "a.ext4", "truncate -s 16M a.ext4; mkfs.ext4 -q -d tree a.ext4"),
        ("xorriso", "xorriso", "a.iso", "xorriso -as mkisofs -quiet -R -o a.iso tree"),
        ("tar", "tar", "a.tar", "tar -C tree -cf a.tar ."),
        ("gzip", "gzip", "a.tar.gz", "tar -C tree -czf a.tar.gz ."),
        ("xz", "xz-utils", "a.tar.xz", "tar -C tree -cf - . | xz -0 > a.tar.xz"),
        ("zstd", "zstd", "a.tar.zst", "tar -C tree -cf - . | zstd -q > a.tar.zst"),
        ("cpio", "cpio", "a.cpio", "cd tree; find . | cpio --quiet -o -H newc > ../a.cpio"),
        (
            "cpio",
            "cpio",
            "a.initrd",
            "cd tree; find etc | cpio --quiet -o -H newc > ../a.initrd; (find . -maxdepth 1 | cpio --quiet -o -H newc | gzip) >> ../a.initrd",
        ),
    ] {
        if here(tool, package) {
            run(folder, script);
            assert_same(folder, image, true);
        }
    }
}

#[test]
fn a_file_of_ext4_has_the_bytes_that_debugfs_shows() {
    if !here("debugfs", "e2fsprogs") || !here("mkfs.ext4", "e2fsprogs") {
        return;
    }
    let folder = source();
    run(folder.path(), "truncate -s 16M a.ext4; mkfs.ext4 -q -d tree a.ext4; debugfs -R 'cat /large.bin' a.ext4 >shown 2>/dev/null");
    let volume = open_file(&folder.path().join("a.ext4"), None).unwrap();
    let bytes = volume.read(volume.get(b"large.bin").unwrap(), 1 << 20).unwrap();
    assert!(bytes == std::fs::read(folder.path().join("shown")).unwrap());
}

fn found(file: &Path, rest: &str) -> Result<String, String> {
    let spec = Spec::parse(&format!("{}{rest}", file.display()), None);
    match look_up(&spec).map_err(|error| format!("{error:#}").replace(&format!("{}/", file.parent().unwrap().display()), ""))? {
        LookedUp::Whole => Ok("whole".to_owned()),
        LookedUp::Entry(volume, path) => match volume.get(&path).unwrap().kind {
            EntryKind::File => Ok(String::from_utf8(volume.read(volume.get(&path).unwrap(), 1000).unwrap()).unwrap()),
            _ => Ok(volume.names_in(&path).unwrap().into_iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")),
        },
    }
}

/// A tar with a file.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tree = Tree::new();
    for (path, bytes) in files {
        tree.insert(path, Node::file(0o644, 0, Content::from(bytes.to_vec()))).unwrap();
    }
    filetree::write_tar(&tree, Vec::new()).unwrap()
}

#[test]
fn images_in_images_are_found_and_errors_name_the_missing_part() {
    let folder = tempfile::tempdir().unwrap();
    let inner = tar(&[("etc/os-release", b"inner"), ("etc/a:b", b"colon"), ("etc/hosts", b"h")]);
    let path = folder.path().join("disk.raw");
    let parts = diskimage::recipes::UsbConf { identity: true, config: Some(Content::from("{}")), ..Default::default() };
    let table = diskimage::recipes::usb_conf(&parts, 8 << 20, 1_700_000_000).unwrap();
    diskimage::disk::layout(table).unwrap().write(&std::fs::File::create(&path).unwrap()).unwrap();
    let outer = folder.path().join("outer:1.tar");
    std::fs::write(
        &outer,
        tar(&[("images/inner.tar", &inner), ("images/disk.raw", &std::fs::read(&path).unwrap()), ("none", b"no image")]),
    )
    .unwrap();
    assert_eq!(found(&path, ""), Ok("whole".to_owned()));
    for (rest, expected) in [
        (":/images", "disk.raw inner.tar none_is_not_here"),
        (":images/inner.tar:/etc/os-release", "inner"),
        (":images/inner.tar:etc", "a:b hosts os-release"),
        (":images/inner.tar:/etc/a:b", "colon"),
        (":images/disk.raw:DevicePortConfig", "identity usb.json"),
        (":images/disk.raw:1:/", "identity usb.json"),
        (":images/disk.raw:deviceportconfig:/usb.json", "{}"),
    ] {
        let expected = expected.replace(" none_is_not_here", "");
        assert_eq!(found(&outer, rest), Ok(expected), "{rest}");
    }
    for (rest, error) in [
        (
            ":images/disk.raw:DevicePortConf:/",
            "`outer:1.tar:/images/disk.raw` is a disk without a partition `DevicePortConf`: it has DevicePortConfig (1); did you mean DevicePortConfig?",
        ),
        (
            ":images/iner.tar",
            "`images/iner.tar` is not in `outer:1.tar`: `/images` has no `iner.tar`; it has disk.raw, inner.tar; did you mean inner.tar?",
        ),
        (
            ":images/inner.tar:/etc/os-relese",
            "`/etc/os-relese` is not in `outer:1.tar:/images/inner.tar`: `/etc` has no `os-relese`; it has a:b, hosts, os-release; did you mean os-release?",
        ),
        (":images/inner.tar:/etc/hosts/x", "`/etc/hosts/x` is not in `outer:1.tar:/images/inner.tar`: `/etc/hosts` is no folder"),
        (":images:x", "`outer:1.tar:/images` is no file, so nothing is in it"),
        (
            ":none:x",
            "`outer:1.tar:/none` holds no file system that is read: no known format fits\nhint: squashfs, FAT, ext4, ISO 9660, tar and cpio are read",
        ),
    ] {
        assert_eq!(found(&outer, rest), Err(error.to_owned()));
    }
}

fn volume(build: impl FnOnce(&mut Tree)) -> Volume {
    let mut tree = Tree::new();
    build(&mut tree);
    Volume::of_tree("tar", tree).unwrap()
}

#[test]
fn nothing_is_extracted_outside_and_no_device() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let evil = volume(|tree| {
        let node = |kind| Node { meta: Meta::root(0o4777, 0), kind };
        let target = outside.display().to_string().into_bytes();
        tree.insert("way", node(Kind::Symlink(target))).unwrap();
        tree.insert("up", node(Kind::Symlink(b"../outside/x".to_vec()))).unwrap();
        tree.insert("null", node(Kind::CharDevice { major: 1, minor: 3 })).unwrap();
        tree.insert("closed/file", node(Kind::File { content: Content::from("1"), link: None })).unwrap();
        tree.get_mut("closed").unwrap().meta.mode = 0o555;
    });
    let out = folder.path().join("out");
    let done = extract(&evil, b"", &out).unwrap();
    assert_eq!((done.files, done.left_out), (1, vec!["/null".to_owned()]));
    assert_eq!(std::fs::read_link(out.join("way")).unwrap(), outside);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(out.join("closed/file").metadata().unwrap().permissions().mode() & 0o7777, 0o777, "no setuid");
    assert_eq!(out.join("closed").metadata().unwrap().permissions().mode() & 0o7777, 0o555);
    // A file below a link is refused, whatever the image says; an existing file stays.
    let error = extract(&evil, b"", &out).unwrap_err().to_string();
    assert!(error.contains("is not empty"), "{error}");
    let file = folder.path().join("file");
    symlink(&outside, &file).unwrap();
    std::fs::write(outside.join("file"), "mine").unwrap();
    assert!(extract(&evil, b"closed/file", &outside).unwrap_err().to_string().contains("exists"));
    assert_eq!(std::fs::read(outside.join("file")).unwrap(), b"mine");
}

#[test]
fn layers_of_an_image_are_applied() {
    let digest = |bytes: &[u8]| common::digest::hex(&<sha2::Sha256 as sha2::Digest>::digest(bytes));
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, &tar(&[("etc/.wh.old", b""), ("etc/new", b"new")])).unwrap();
    let layers = [tar(&[("etc/old", b"old"), ("etc/kept", b"kept")]), gz.finish().unwrap()];
    let diff_ids = [&layers[0], &tar(&[("etc/.wh.old", b""), ("etc/new", b"new")])].map(|layer| format!("sha256:{}", digest(layer)));
    let config =
        serde_json::json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}).to_string();
    let descriptor = |kind: &str, bytes: &[u8]| serde_json::json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": format!("sha256:{}", digest(bytes)), "size": bytes.len()});
    let listed = [descriptor("layer.v1.tar", &layers[0]), descriptor("layer.v1.tar+gzip", &layers[1])];
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": descriptor("config.v1+json", config.as_bytes()), "layers": listed}).to_string();
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [descriptor("manifest.v1+json", manifest.as_bytes())]}).to_string();
    let blobs: Vec<(String, Vec<u8>)> = [config.into_bytes(), manifest.into_bytes(), layers[0].clone(), layers[1].clone()]
        .map(|bytes| (format!("blobs/sha256/{}", digest(&bytes)), bytes))
        .to_vec();
    let mut files: Vec<(&str, &[u8])> = blobs.iter().map(|(path, bytes)| (path.as_str(), &bytes[..])).collect();
    files.extend([("index.json", index.as_bytes()), ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("oci.tar");
    std::fs::write(&path, tar(&files)).unwrap();
    assert_eq!(found(&path, ":/etc"), Ok("kept new".to_owned()));
    assert_eq!(found(&path, ":/etc/new"), Ok("new".to_owned()));
    if here("skopeo", "skopeo") {
        let policy = folder.path().join("policy.json");
        std::fs::write(&policy, r#"{"default":[{"type":"insecureAcceptAnything"}]}"#).unwrap();
        run(folder.path(), "skopeo --policy policy.json copy -q oci-archive:oci.tar docker-archive:docker.tar:lfedge/x:1");
        assert_eq!(found(&folder.path().join("docker.tar"), ":/etc"), Ok("kept new".to_owned()));
    }
    files.retain(|(path, _)| !path.ends_with(&digest(&layers[1])));
    std::fs::write(&path, tar(&files)).unwrap();
    assert!(found(&path, ":/etc").unwrap_err().contains("the archive does not contain `blobs/sha256/"));
}

#[test]
fn a_squashfs_is_measured_and_compared_as_its_tools_see_it() {
    if !here("mksquashfs", "squashfs-tools") || !here("unsquashfs", "squashfs-tools") {
        return;
    }
    let folder = source();
    let folder = folder.path();
    run(folder, "cp tree/large.bin tree/etc/copy; mksquashfs tree a.squash -quiet -no-progress -all-time 1");
    let old = open_file(&folder.join("a.squash"), None).unwrap();
    let sizes = measure(&old, &Owners::of(&old, None, None).unwrap(), 1).unwrap();
    assert_eq!((sizes.total.files, sizes.total.bytes), (5, 2 * 700_001 + 10 + 10));
    let copy = sizes.folders.iter().find(|part| part.name == "/etc").unwrap();
    let all: u64 = sizes.folders.iter().filter_map(|part| part.stored).sum();
    assert!(sizes.total.stored == Some(all) && all < sizes.image.unwrap(), "{sizes:?}");
    // unsquashfs unpacks the copy from the same blocks: whichever comes first has them all.
    let large = sizes.folders.iter().find(|part| part.name == "/").unwrap();
    assert!(copy.stored.unwrap().min(large.stored.unwrap()) < 1000, "{sizes:?}");
    run(
        folder,
        "echo more >> tree/etc/os-release; chmod 700 tree/run.sh; rm tree/etc/copy; echo x > tree/new; mksquashfs tree b.squash -quiet -no-progress -all-time 1",
    );
    let new = open_file(&folder.join("b.squash"), None).unwrap();
    assert!(compare(&old, &old, true).unwrap().is_same());
    let found = compare(&old, &new, true).unwrap();
    let files: Vec<_> = found.files.iter().map(|file| (file.path.as_str(), file.change, file.old_size, file.new_size)).collect();
    assert_eq!(
        files,
        [
            ("/etc/copy", Changed::Removed, 700_001, 0),
            ("/etc/os-release", Changed::Content, 10, 15),
            ("/new", Changed::Added, 0, 2),
            ("/run.sh", Changed::Attributes, 10, 10)
        ]
    );
    assert_eq!(found.lines, [("/etc/os-release".to_owned(), vec!["+more".to_owned()]), ("/new".to_owned(), vec!["+x".to_owned()])]);
    // The same files in another order, in other blocks, and of another compressor are the same.
    run(
        folder,
        "mksquashfs tree c.squash -quiet -no-progress -all-time 1 -b 8192 -comp gzip -no-fragments; mksquashfs tree d.squash -quiet -no-progress -all-time 1 -comp xz",
    );
    for other in ["c.squash", "d.squash"] {
        assert!(compare(&new, &open_file(&folder.join(other), None).unwrap(), true).unwrap().is_same(), "{other}");
    }
}

#[test]
fn damaged_images_give_an_error_or_other_bytes() {
    let folder = source();
    let folder = folder.path();
    let mut images = vec![("a.tar", "tar -C tree -cf a.tar .")];
    for (tool, package, image, script) in [
        ("mksquashfs", "squashfs-tools", "a.squash", "mksquashfs tree a.squash -quiet -no-progress"),
        ("mkfs.ext4", "e2fsprogs", "a.ext4", "truncate -s 2M a.ext4; mkfs.ext4 -q -d tree a.ext4"),
        ("xorriso", "xorriso", "a.iso", "xorriso -as mkisofs -quiet -R -o a.iso tree"),
        ("cpio", "cpio", "a.cpio", "cd tree; find . | cpio --quiet -o -H newc > ../a.cpio"),
    ] {
        if here(tool, package) {
            images.push((image, script));
        }
    }
    let mut seed = 7_u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for (image, script) in images {
        run(folder, script);
        let whole = std::fs::read(folder.join(image)).unwrap();
        let path: PathBuf = folder.join("damaged");
        let mut refused = 0;
        for round in 0..60 {
            let mut bytes = whole.clone();
            match round % 3 {
                0 => bytes.truncate(random(whole.len())),
                1 => (0..40).for_each(|_| bytes[random(whole.len().min(70_000))] = random(256) as u8),
                _ => (0..9).for_each(|_| bytes[random(whole.len())] ^= 1 << random(8)),
            }
            std::fs::write(&path, bytes).unwrap();
            let read = open_file(&path, None).and_then(|volume| {
                volume
                    .entries()
                    .iter()
                    .filter(|entry| entry.kind == EntryKind::File)
                    .try_for_each(|entry| volume.read(entry, 1 << 24).map(drop))
            });
            if let Err(error) = read {
                assert!(!format!("{error:#}").is_empty());
                refused += 1;
            }
        }
        assert!(refused > 10, "{image}: {refused} of 60 damaged images were refused");
    }
}
