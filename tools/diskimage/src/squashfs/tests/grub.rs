//! GRUB, the most restrictive reader, reads our images. It cannot read directory listings above 64 KiB, not even mksquashfs's,
//! because it stores the size in 16 bits (2.06).

use super::*;

/// Files that GRUB reads at boot: a chained GRUB, a configuration, a renamed kernel, an initrd; and files around block sizes.
fn boot_tree() -> Tree {
    let mut tree = tree();
    let mut kernel = file([code(), noise(2 * BLOCK, 9)].concat());
    let Kind::File { link, .. } = &mut kernel.kind else { panic!() };
    *link = Some(77);
    for (path, node) in [
        ("EFI/BOOT/BOOTX64.EFI", file(code())),
        ("EFI/BOOT/grub.cfg", file("linux /boot/kernel")),
        ("boot/kernel", kernel.clone()),
        ("boot/vmlinuz-6.1.0", kernel),
        ("boot/link", node(0o777, Kind::Symlink(b"kernel".to_vec()))),
    ] {
        tree.insert(path, node).unwrap();
    }
    tree
}

#[test]
fn grub_reads_it() {
    if !here("grub-fstest") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let tree = boot_tree();
    let mut sizes = Vec::new();
    for compressor in compressors() {
        let path = written(folder.path(), &tree, &options(compressor.clone(), 2));
        sizes.push(path.metadata().unwrap().len());
        let list = stdout(Command::new("grub-fstest").arg(&path).args(["ls", "/"]));
        assert_eq!(list.split_whitespace().collect::<Vec<_>>(), names(&tree, ""), "{compressor:?}");
        let list = stdout(Command::new("grub-fstest").arg(&path).args(["ls", "/many"]));
        assert_eq!(list.split_whitespace().collect::<Vec<_>>(), names(&tree, "many"), "{compressor:?}");
        let mut paths: Vec<String> = LENGTHS.iter().flat_map(|length| [format!("sizes/{length}"), format!("text/{length}")]).collect();
        paths.extend(["holes", "zeros", "twin-b", "link/c", "bin/ping6", "many/599"].map(str::to_owned));
        paths.extend(["EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grub.cfg", "boot/kernel", "boot/vmlinuz-6.1.0"].map(str::to_owned));
        for name in paths {
            let Some(Node { kind: Kind::File { content, .. }, .. }) = tree.get(&name) else { panic!("{name}") };
            let bytes = content.read_all().unwrap();
            // grub-fstest creates no output file for an empty one.
            let out = folder.path().join("out");
            std::fs::write(&out, "").unwrap();
            stdout(Command::new("grub-fstest").arg(&path).args(["cp", &format!("/{name}"), out.to_str().unwrap()]));
            assert!(std::fs::read(out).unwrap() == bytes, "{compressor:?}: {name}");
        }
        assert!(stdout(Command::new("grub-fstest").arg(&path).args(["cat", "/boot/link"])).len() > BLOCK, "{compressor:?}: a link");
    }
    if cfg!(target_arch = "x86_64") {
        assert!(sizes[1] < sizes[0], "the filter for x86 was never the better one: {sizes:?}");
    }
}

/// Output of `ls`; directories end with a slash.
fn names(tree: &Tree, path: &str) -> Vec<String> {
    let children = tree.get(path).unwrap().children().unwrap().iter();
    let line = |(name, child): (&Vec<u8>, &Node)| {
        let slash = if matches!(child.kind, Kind::Dir(_)) { "/" } else { "" };
        format!("{}{slash}", String::from_utf8_lossy(name))
    };
    children.map(line).collect()
}
