//! unsquashfs and the kernel read our images; we read mksquashfs's.

use super::*;

/// A host folder as a tree, with extended attributes.
fn folder_tree(path: &Path) -> Tree {
    fn attributes(path: &Path, node: &mut Node) {
        let mut names = [0; 4096];
        let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
        for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let name = String::from_utf8(name.to_vec()).unwrap();
            let mut value = [0; 4096];
            let length = rustix::fs::lgetxattr(path, name.as_str(), &mut value[..]).unwrap();
            node.meta.xattrs.insert(name, value[..length].to_vec());
        }
        if let Kind::Dir(children) = &mut node.kind {
            for (name, child) in children {
                attributes(&path.join(std::str::from_utf8(name).unwrap()), child);
            }
        }
    }
    let mut tree = filetree::read_dir(path, &mut |_, _| true).unwrap();
    attributes(path, &mut tree.root);
    tree
}

#[test]
fn unsquashfs_and_mksquashfs_agree_with_us() {
    if !here("unsquashfs") || !here("mksquashfs") || !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let tree = tree();
    let (extracted, theirs) = (folder.path().join("extracted"), folder.path().join("theirs"));
    for compressor in compressors() {
        let path = written(folder.path(), &tree, &options(compressor.clone(), 2));
        let _ = std::fs::remove_dir_all(&extracted);
        stdout(Command::new("unsquashfs").args(["-quiet", "-no-progress", "-d"]).arg(&extracted).arg(&path));
        assert_same(&folder_tree(&extracted), &tree, &format!("{compressor:?}"));
    }
    for name in ["xz", "gzip", "zstd"] {
        let mut command = Command::new("mksquashfs");
        command.arg(&extracted).arg(&theirs).args(["-noappend", "-quiet", "-no-progress", "-comp", name]);
        if name == "xz" {
            command.args(["-Xbcj", "x86"]);
        }
        stdout(&mut command);
        assert_same(&read(&theirs), &tree, name);
        assert_eq!(Reader::open(File::open(&theirs).unwrap()).unwrap().superblock().compression, name);
    }
    // All numbers are the same, in the same words.
    let ours = written(folder.path(), &tree, &options(Compressor::Xz { bcj: vec![] }, 2));
    stdout(Command::new("mksquashfs").arg(&extracted).arg(&theirs).args(["-noappend", "-quiet", "-no-progress", "-comp", "xz"]));
    let facts = |path: &Path| -> Vec<String> {
        let text = stdout(Command::new("unsquashfs").arg("-s").arg(path));
        let differ = |line: &&str| !["Creation", "Found", "Filesystem size", "Number of xattr"].iter().any(|start| line.starts_with(start));
        text.lines().filter(differ).map(str::to_owned).collect()
    };
    assert_eq!(facts(&ours), facts(&theirs));
}

/// Calls `look` with the mounted image.
fn mounted(image: &Path, look: impl FnOnce(&Path)) {
    let place = image.with_extension("mnt");
    std::fs::create_dir_all(&place).unwrap();
    let mount = Command::new("mount").args(["-t", "squashfs", "-o", "loop,ro"]).arg(image).arg(&place).output();
    if !mount.as_ref().is_ok_and(|output| output.status.success()) {
        return skips::refused(&format!("the kernel cannot mount squashfs here: {mount:?}"));
    }
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| look(&place)));
    stdout(Command::new("umount").arg(&place));
    result.unwrap();
}

#[test]
fn the_kernel_mounts_it() {
    let folder = tempfile::tempdir().unwrap();
    let tree = tree();
    for compressor in compressors() {
        let image = written(folder.path(), &tree, &options(compressor.clone(), 2));
        mounted(&image, |place| assert_same(&folder_tree(place), &tree, &format!("{compressor:?}")));
    }
}

#[test]
fn a_directory_of_ten_thousand() {
    let mut tree = Tree::new();
    for number in 0..10_000 {
        tree.insert(format!("many/a name of some length, number {number}"), file(number.to_string())).unwrap();
    }
    tree.insert("many/zzz", Node::dir(0o755, 1)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let image = written(folder.path(), &tree, &options(Compressor::Gzip, 2));
    assert_same(&read(&image), &tree, "reader");
    if here("unsquashfs") {
        let list = stdout(Command::new("unsquashfs").arg("-lln").arg(&image));
        assert_eq!(list.matches("squashfs-root/many/a name").count(), 10_000);
    }
    // A lookup by name uses the index, a listing does not.
    mounted(&image, |place| {
        for number in 0..10_000 {
            let text = std::fs::read_to_string(place.join(format!("many/a name of some length, number {number}")));
            assert_eq!(text.unwrap(), number.to_string());
        }
        assert!(place.join("many/zzz").is_dir() && !place.join("many/zzzz").exists() && !place.join("many/a").exists());
        assert_eq!(std::fs::read_dir(place.join("many")).unwrap().count(), 10_001);
    });
}

#[test]
fn small_images() {
    let folder = tempfile::tempdir().unwrap();
    let mut one = Tree::new();
    one.insert("one", file(noise(BLOCK, 3))).unwrap();
    for (name, tree) in [("empty", Tree::new()), ("no fragment", one)] {
        let image = written(folder.path(), &tree, &options(Compressor::Xz { bcj: vec![] }, 1));
        assert_same(&read(&image), &tree, name);
        mounted(&image, |place| assert_eq!(std::fs::read_dir(place).unwrap().count(), describe(&tree).len() - 1));
        if here("unsquashfs") {
            stdout(Command::new("unsquashfs").arg("-lln").arg(&image));
        }
    }
}
