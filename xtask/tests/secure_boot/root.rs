//! The root file system of a signed image: its tree of hashes, the statement about it, and the script of the initrd that believes it or not.

use super::{
    STUB,
    common::{texts, tool, wants},
    place::{Place, program},
};
use std::{fs, path::Path, process::Command};

impl Place {
    /// Makes the tree one whose image can be signed, with the modules of a kernel.
    fn make_signable(&self) {
        let mut modules = filetree::Tree::new();
        let dep = "kernel/dm-mod.ko:\nkernel/dm-bufio.ko: kernel/dm-mod.ko\nkernel/dm-verity.ko: kernel/dm-bufio.ko kernel/dm-mod.ko\n";
        let files = ["dm-mod", "dm-bufio", "dm-verity"].map(|name| (format!("lib/modules/6.1/kernel/{name}.ko"), name));
        let files = files.into_iter().chain([("lib/modules/6.1/modules.dep".to_owned(), dep), ("boot/initrd.img".to_owned(), "first")]);
        for (name, text) in files {
            modules.insert(name, filetree::Node::file(0o644, 0, filetree::Content::from(text))).unwrap();
        }
        for (name, bytes) in [
            ("kernel.tar", filetree::write_tar(&modules, Vec::new()).unwrap()),
            ("kernel", program(1000)),
            ("EFI/BOOT/BOOTX64.EFI", program(2000)),
            ("etc/eve-release", b"1.0".to_vec()),
        ] {
            let path = self.root().join("pkg/base/files").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }

    /// The image that is signed with the keys of a folder.
    fn signed(&self, version: &str, keys: &str) -> Vec<u8> {
        let xtask = self.xtask(&["rootfs", "--sign", "--keys", keys]).env("ZARCH", "amd64").env("ROOTFS_VERSION", version);
        xtask.env("LINUXKIT_CACHE", self.at("images")).ok();
        fs::read(self.root().join("dist/amd64").join(version).join("installer/rootfs.img")).unwrap()
    }

    /// Whether the initrd of a signed image, unpacked in `initrd`, takes the image `bytes`; what it says.
    fn opens(&self, bytes: &[u8]) -> (bool, String) {
        let image = self.at("partition");
        fs::write(&image, bytes).unwrap();
        let output = Command::new("busybox").args(["ash", &self.at("initrd/verity/open"), &image]).output().unwrap();
        let (out, err) = texts(&output);
        (output.status.success(), (out + &err).replace(&image, "PARTITION"))
    }

    #[track_caller]
    fn does_not_open(&self, bytes: &[u8], why: &str) {
        let (good, said) = self.opens(bytes);
        assert!(!good && said.contains(why) && said.lines().count() == 1, "{good}: {said}");
    }
}

/// Unpacks what the signed kernel of an image has besides the initrd of the root file system.
fn unpack_initrd(place: &Place, image: &[u8]) {
    let (file, unified) = (place.at("rootfs.img"), place.at("eve.efi"));
    fs::write(&file, image).unwrap();
    place.xtask(&["inspect", &format!("{file}:/EFI/Linux/eve.efi"), "--out", &unified]).ok();
    let unified = fs::read(unified).unwrap();
    let initrd = secureboot::uki::section(&unified, ".initrd").unwrap().unwrap();
    let archive = initrd.strip_prefix(b"first\0\0\0").unwrap();
    fs::write(place.at("archive.gz"), archive).unwrap();
    let _ = fs::remove_dir_all(place.at("initrd"));
    fs::create_dir(place.at("initrd")).unwrap();
    tool("sh", &["-c", &format!("cd {} && gzip -dc {} | cpio -idm --quiet", place.at("initrd"), place.at("archive.gz"))]);
}

#[test]
fn the_root_file_system_of_a_signed_image_is_one_that_its_initrd_takes() {
    let place = Place::new();
    let tools = [("openssl", "openssl"), ("busybox", "busybox-static"), ("cpio", "cpio"), ("veritysetup", "cryptsetup-bin")];
    if !tools.iter().all(|(program, package)| wants(program, package)) {
        return;
    }
    if !Path::new(STUB).is_file() {
        return skips::missing(STUB, "systemd-boot-efi");
    }
    let (keys, others) = (place.at("keys"), place.at("others"));
    for keys in [&keys, &others] {
        place.xtask(&["keys", "init", "--keys", keys]).ok();
    }
    place.make_signable();
    let image = place.signed("1.0", &keys);
    unpack_initrd(&place, &image);
    let used = u64::from_le_bytes(image[40..48].try_into().unwrap());
    let (statement, signature) = diskimage::verity::find(&&image[..], used).unwrap().unwrap();
    let root = statement.verity.root_hash();
    let said = place.xtask(&["inspect", &place.at("rootfs.img")]).ok();
    assert!(said.contains("inodes, dm-verity\nroot hash ") && said.contains(&format!("{root} of ")), "{said}");
    // Other tools agree with the tree and with the signature.
    let (at, blocks) = (usize::try_from(used).unwrap().next_multiple_of(4096), used.div_ceil(4096));
    let file = place.at("rootfs.img");
    tool("veritysetup", &["verify", &format!("--hash-offset={}", at + 4096), &file, &file, &root]);
    let (text, sig, public) = (place.at("text"), place.at("sig"), place.at("public"));
    fs::write(&text, statement.text().unwrap()).unwrap();
    fs::write(&sig, &signature).unwrap();
    fs::write(&public, tool("openssl", &["x509", "-pubkey", "-noout", "-in", &format!("{keys}/db.crt")])).unwrap();
    tool("openssl", &["dgst", "-sha256", "-verify", &public, "-signature", &sig, &text]);
    // What the kernel is told.
    let salt = &statement.text().unwrap().split("salt=").nth(1).unwrap()[..64].to_owned();
    let (start, blocks) = (blocks + 2, blocks);
    let table = format!("1 PARTITION PARTITION 4096 4096 {blocks} {start} sha256 {root} {salt} 1 panic_on_corruption");
    assert_eq!(place.opens(&image), (true, format!("eve-root\n{}\nverity\n{table}\n", blocks * 8)));
    assert_eq!(tool("ls", &[&place.at("initrd/verity/modules")]), "dm-bufio.ko\ndm-mod.ko\ndm-verity.ko\n");
    assert_eq!(fs::read_to_string(place.at("initrd/verity/modules.list")).unwrap(), "dm-mod.ko\ndm-bufio.ko\ndm-verity.ko\n");
    a_kernel_that_makes_no_device_is_named(&place, &image);
    // A kernel of the same name that was made with another content.
    let content = place.at("initrd/verity/content");
    assert_eq!(fs::read_to_string(&content).unwrap(), format!("{}\n", statement.content));
    fs::write(&content, "another\n").unwrap();
    let said = "the root file system of PARTITION has the version 1.0-kvm-amd64, and not the content that this kernel was made with";
    place.does_not_open(&image, said);
    fs::write(&content, format!("{}\n", statement.content)).unwrap();

    // The same bytes again, in another tree.
    let again = Place::new();
    again.make_signable();
    assert!(again.signed("1.0", &keys) == image);
    refuses_other_images(&place, &image, at);
    place.does_not_open(&again.signed("1.0", &others), "is not signed by the key of this kernel's image, or was changed");
    place.does_not_open(
        &again.signed("2.0", &keys),
        "the root file system of PARTITION has the version 2.0-kvm-amd64, and this kernel's image 1.0-kvm-amd64",
    );
}

/// The kernel of a signed image that takes its modules, as no machine's does here, or has no device mapper.
fn a_kernel_that_makes_no_device_is_named(place: &Place, image: &[u8]) {
    let program = place.at("initrd/verity/dm-create");
    let before = fs::read(&program).unwrap();
    fs::write(&program, "#!/bin/sh\necho '/dev/mapper/control: No such file'\nexit 1\n").unwrap();
    let (good, said) = place.opens(image);
    assert!(
        !good && said.starts_with("/dev/mapper/control: No such file; insmod: can't insert '") && said.contains("dm-verity.ko'"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    fs::write(&program, before).unwrap();
}

/// What is damaged or cut, with the statement in the block at byte `at`.
fn refuses_other_images(place: &Place, image: &[u8], at: usize) {
    const NO_STATEMENT: &str =
        "PARTITION has no statement about its root hash behind the squashfs: it is damaged, or from an image that is not signed";
    const CHANGED: &str = "the statement about the root hash of PARTITION is not signed by the key of this kernel's image, or was changed";
    place.does_not_open(&image[..at], NO_STATEMENT);
    place.does_not_open(&[&image[..at], &[0; 8192]].concat(), NO_STATEMENT);
    place.does_not_open(b"ext4", "PARTITION is no squashfs");
    place.does_not_open(b"hsqs", "the superblock of PARTITION is damaged");
    let text = String::from_utf8_lossy(&image[at..at + 4096]).into_owned();
    for (from, to) in [
        ("root=", "root=0"),
        ("version=1.0", "version=2.0"),
        ("content=", "content=0"),
        ("\nsignature=", "\nsignaturf="),
        ("\nsignature=", "\n\nsignature="),
    ] {
        let block = text.replacen(from, to, 1);
        let changed = [&image[..at], &block.as_bytes()[..4096], &image[at + 4096..]].concat();
        place.does_not_open(&changed, CHANGED);
    }
    // A signature of nothing, and one that is too short.
    let start = at + text.find("\nsignature=").unwrap() + 11;
    let mut changed = image.to_vec();
    changed[start..start + 512].fill(b'0');
    place.does_not_open(&changed, CHANGED);
    changed[start + 10] = b'\n';
    place.does_not_open(&changed, CHANGED);
}
