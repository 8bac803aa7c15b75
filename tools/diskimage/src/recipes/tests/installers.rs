//! Content of installation media, checked with foreign tools.

use super::*;
use crate::{disk as disks, gcp, gpt, read_at::read_array};
use std::{cell::RefCell, os::unix::fs::FileExt as _, process::Command};

const EPOCH: i64 = 1_684_000_001;

fn parts() -> Vec<(&'static str, &'static str)> {
    let mut files: Vec<(&str, &str)> =
        vec![("EFI/BOOT/BOOTX64.EFI", "program"), ("EFI/BOOT/grub.cfg", "of the disk"), ("boot/u-boot.bin", "u-boot")];
    files.extend([
        ("grub.cfg", "of the installer"),
        ("rootfs.img", "rootfs"),
        ("rootfs-1.2.3.squash", "the same"),
        ("eve_version", "1.2.3"),
    ]);
    files
        .extend(["config.img", "persist.img", "initrd.img", "installer.img", "verification.img", "kernel", "ipxe.efi.cfg"].map(|n| (n, n)));
    files
}

/// Runs a foreign tool; prints a message and returns `None` if it is missing.
fn foreign(command: &mut Command) -> Option<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let Ok(output) = command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").output() else {
        skips::missing(&name, if name == "isoinfo" { "genisoimage" } else { "tar" });
        return None;
    };
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn installer_and_verification_disks_have_their_media() {
    for (kinds, size, payload) in
        [(eve::INSTALLER, eve::DISK_SIZE, "installer.img"), (eve::VERIFICATION, eve::VERIFICATION_DISK_SIZE, "verification.img")]
    {
        let layout = disks::layout(disk(kinds, size, &Parts::of_tree(tree(&parts())), EPOCH).unwrap()).unwrap();
        let out = tempfile::tempfile().unwrap();
        layout.write(&out).unwrap();
        let image = crate::FileImage::new(out).unwrap();
        let table = gpt::read(&image).unwrap().unwrap();
        let names: Vec<(u32, &str)> = table.entries.iter().map(|entry| (entry.number, entry.name.as_str())).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [(1, "EFI System"), (4, "CONFIG"), (5, "INVENTORY")]);
        let esp = table.entries.iter().find(|entry| entry.number == 1).unwrap();
        let window = crate::Window::new(&image, esp.first_lba * 512, (esp.last_lba + 1 - esp.first_lba) * 512).unwrap();
        let reader = fat::Reader::open(&window).unwrap();
        let entries = reader.entries().unwrap();
        let text = |path: &str| {
            let entry = entries.iter().find(|entry| entry.path == path).unwrap();
            String::from_utf8(reader.read(entry, 1 << 20).unwrap()).unwrap()
        };
        let files: Vec<&str> = entries.iter().filter(|entry| !entry.directory).map(|entry| entry.path.as_str()).collect();
        let want = [
            "EFI/BOOT/BOOTX64.EFI",
            "EFI/BOOT/grub.cfg",
            "UsbInvocationScript.txt",
            "boot/.boot_repository",
            "boot/.uuid",
            "boot/u-boot.bin",
            "initrd.img",
            payload,
            "persist.img",
            "rootfs.img",
            "u-boot.bin",
        ];
        let mut found = files.clone();
        found.sort_unstable();
        let mut want = want;
        want.sort_unstable();
        assert_eq!(found, want);
        assert_eq!(text("EFI/BOOT/grub.cfg"), "of the installer");
        assert_eq!(text("boot/.uuid").len(), 33);
        assert!(text("UsbInvocationScript.txt").starts_with("usb_disable_secure_boot noreset;\n"));
        assert_eq!(read_array::<2>(&image, 510).unwrap(), [0x55, 0xaa]);
    }
}

#[test]
fn every_writer_tells_how_far_it_is_and_ends_with_all_of_it() {
    let given = || Parts::of_tree(tree(&parts()));
    let out = || tempfile::tempfile().unwrap();
    let seen = RefCell::new(Vec::new());
    let tell = |done, total| seen.borrow_mut().push((done, total));
    let check = |what: &str, least: usize| {
        let seen = seen.take();
        let last = seen.last().copied().unwrap_or_default();
        assert!(seen.is_sorted() && last.0 == last.1 && last.1 > 0 && seen.len() >= least, "{what}: {seen:?}");
    };
    disks::layout(disk(eve::INSTALLER, eve::DISK_SIZE, &given(), EPOCH).unwrap()).unwrap().write_with(&tell, &out()).unwrap();
    check("disk", 3);
    iso(IsoKind::Installer, &given(), EPOCH).unwrap().write_with(&tell, &out()).unwrap();
    check("iso", parts().len() / 2);
    write_installer_net(&given(), EPOCH, &tell, &mut out()).unwrap();
    check("net", 1);
    ext4_rootfs(
        tree(&[
            ("boot/kernel", "kernel"),
            ("boot/cmdline", "console=ttyS0"),
            ("etc/a", "a"),
            ("EFI/BOOT/grub.cfg", "set linuxkit_cmdline=\n"),
        ]),
        EPOCH,
    )
    .unwrap()
    .write_with(&tell, &out())
    .unwrap();
    check("ext4", 4);
    let raw = out();
    raw.write_all_at(&vec![7; 1 << 20], 0).unwrap();
    gcp::layout(raw, &gcp::Options::new(1 << 30, 0)).unwrap().write_with(&tell, &mut Vec::new()).unwrap();
    check("gcp", 4);
}

#[test]
fn a_medium_is_told_from_another() {
    let uuid = |files: &[(&str, &str)], epoch| {
        let parts = Parts::of_tree(tree(files));
        let tree = installer::medium(Kind::Installer, &parts, epoch).unwrap();
        let Some(Node { kind: filetree::Kind::File { content, .. }, .. }) = tree.get("boot/.uuid") else { unreachable!("a file") };
        content.read_all().unwrap()
    };
    let mut files = parts();
    let first = uuid(&files, EPOCH);
    assert_eq!(first, uuid(&files, EPOCH));
    assert_ne!(first, uuid(&files, EPOCH + 1));
    files.iter_mut().find(|(name, _)| *name == "config.img").unwrap().1 = "another!!!";
    assert_ne!(first, uuid(&files, EPOCH));
    files.retain(|(name, _)| *name != "initrd.img");
    let error = installer::medium(Kind::Installer, &Parts::of_tree(tree(&files)), 0).unwrap_err().to_string();
    assert_eq!(error, "the part `initrd.img` for the partition `installer` is missing");
}

#[test]
fn the_iso_has_the_parts_and_boots_from_their_efi() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("installer.iso");
    let write = |kind, files: &[(&str, &str)]| {
        let layout = iso(kind, &Parts::of_tree(tree(files)), EPOCH).unwrap();
        layout.write(&fs::File::create(&path).unwrap()).unwrap();
    };
    let mut hidden = parts();
    hidden.push((".hidden", "x"));
    write(IsoKind::Installer, &hidden);
    let Some(text) = foreign(Command::new("isoinfo").args(["-R", "-f", "-i"]).arg(&path)) else { return };
    for (name, there) in [
        ("/rootfs.img", true),
        ("/rootfs-1.2.3.squash", false),
        ("/.hidden", false),
        ("/boot/.uuid", true),
        ("/boot/.boot_repository", true),
        ("/boot/u-boot.bin", true),
        ("/eve_version", true),
        ("/kernel", true),
    ] {
        assert_eq!(text.lines().any(|line| line == name), there, "{name}: {text}");
    }
    let cat = |name: &str| foreign(Command::new("isoinfo").arg("-i").arg(&path).args(["-R", "-x", name])).unwrap();
    assert_eq!(cat("/EFI/BOOT/grub.cfg"), "of the installer");
    let report = foreign(Command::new("isoinfo").arg("-d").arg("-i").arg(&path)).unwrap();
    assert!(report.contains("Volume id: ISOIMAGE") && report.contains("Arch 239") && report.contains("Bootid 88"), "{report}");
    write(IsoKind::Plain, &parts());
    assert_eq!(cat("/EFI/BOOT/grub.cfg"), "of the disk");
    let error = |files: &[(&str, &str)]| format!("{:#}", iso(IsoKind::Installer, &Parts::of_tree(tree(files)), 0).unwrap_err());
    assert_eq!(error(&[("EFI/BOOT/x", "")]), "the part `grub.cfg`, GRUB's configuration for the installer, is missing");
    assert!(error(&[("EFI/BOOT/x", ""), ("grub.cfg", "")]).ends_with("the file EFI/BOOT/BOOT*.EFI is missing"));
}

#[test]
fn an_iso_has_room_for_large_loaders_and_keeps_broken_links() {
    let folder = tempfile::tempdir().unwrap();
    let (parts, path) = (folder.path().join("parts"), folder.path().join("installer.iso"));
    fs::create_dir_all(parts.join("EFI/BOOT/fonts")).unwrap();
    std::os::unix::fs::symlink("no/where", parts.join("dangling")).unwrap();
    std::os::unix::fs::symlink("loop", parts.join("loop")).unwrap();
    for megabytes in [31, 33, 40, 90, 300] {
        fs::File::create(parts.join("EFI/BOOT/BOOTX64.EFI")).unwrap().set_len(megabytes << 20).unwrap();
        fs::File::create(parts.join("EFI/BOOT/fonts/large")).unwrap().set_len(megabytes << 19).unwrap();
        let layout = iso(IsoKind::Plain, &Parts::of_folder(&parts, true).unwrap(), EPOCH).unwrap();
        layout.write(&fs::File::create(&path).unwrap()).unwrap();
    }
    let Some(text) = foreign(Command::new("isoinfo").args(["-R", "-l", "-i"]).arg(&path)) else { return };
    assert!(text.contains("dangling -> no/where") && text.contains("loop -> loop"), "{text}");
}

#[test]
fn the_net_installer_is_a_tar_with_an_initrd_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("installer.net");
    let given = Parts::of_tree(tree(&parts()));
    let write = |path| write_installer_net(&given, EPOCH, &|_, _| {}, &mut fs::File::create(path).unwrap()).unwrap();
    write(&path);
    write(&folder.path().join("again"));
    assert!(fs::read(&path).unwrap() == fs::read(folder.path().join("again")).unwrap());
    let Some(listed) = foreign(Command::new("tar").arg("-tf").arg(&path)) else { return };
    assert_eq!(listed.lines().collect::<Vec<_>>(), NET_FILES);
    foreign(Command::new("tar").arg("-xf").arg(&path).arg("-C").arg(folder.path()));
    assert_eq!(fs::read_to_string(folder.path().join("kernel")).unwrap(), "kernel");
    let script = "gzip -dc initrd.bits | cpio -idm --quiet && find media | sort && cat media/root-rw/boot/.uuid media/root-rw/config.img";
    if Command::new("cpio").arg("--version").output().is_err() {
        skips::missing("cpio", "cpio");
        return;
    }
    let text = foreign(Command::new("sh").args(["-c", script]).current_dir(folder.path())).unwrap();
    let want = "media\nmedia/root-rw\nmedia/root-rw/boot\nmedia/root-rw/boot/.uuid\nmedia/root-rw/config.img\nmedia/root-rw/persist.img\nnetboot\nconfig.img";
    assert_eq!(text, want);
    let missing = Parts::of_tree(tree(&[("ipxe.efi.cfg", "")]));
    let error = write_installer_net(&missing, 0, &|_, _| {}, &mut Vec::new()).unwrap_err().to_string();
    assert_eq!(error, "the part `kernel` of installer.net is missing");
}

#[test]
fn a_usb_stick_has_what_was_asked_for() {
    let stick = UsbConf { dump: true, identity: false, config: Some(Content::from("{}")) };
    let layout = disks::layout(usb_conf(&stick, USB_SIZE, EPOCH).unwrap()).unwrap();
    assert_eq!((layout.size(), layout.entries().len()), (USB_SIZE, 1));
    let out = tempfile::tempfile().unwrap();
    layout.write(&out).unwrap();
    let mut mbr = [0; 512];
    out.read_exact_at(&mut mbr, 0).unwrap();
    assert_eq!(mbr[450], 0xee);
    let image = crate::FileImage::new(out).unwrap();
    let entry = &layout.entries()[0];
    let window = crate::Window::new(&image, entry.first_lba * 512, (entry.last_lba + 1 - entry.first_lba) * 512).unwrap();
    let reader = fat::Reader::open(&window).unwrap();
    let names: Vec<(String, bool)> = reader.entries().unwrap().into_iter().map(|entry| (entry.path, entry.directory)).collect();
    assert_eq!(names, [("dump".into(), true), ("usb.json".into(), false)]);
    assert_eq!((entry.name.as_str(), reader.label().unwrap().as_str()), ("DevicePortConfig", "EVEDPC"));
    let error = usb_conf(&UsbConf::default(), USB_SIZE, 0).unwrap_err().to_string();
    assert!(error.starts_with("the USB stick would be empty"), "{error}");
}
