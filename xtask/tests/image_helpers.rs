//! The old helper scripts that make or read images: real small images, checked by foreign tools; docker and adam are stand-ins.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, git, init, repository, tool, wants};
use diskimage::{
    disk::{self, Source},
    eve::{self, Kind},
    ext4, fat,
    gpt::Guid,
};
use filetree::{Content, Node, Tree};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

/// A tree that has nothing to build, parts of a disk, and stand-ins that write down what they are told.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        fs::copy(repository().join("xtask.toml"), place.path("xtask.toml")).unwrap();
        for (name, text) in [
            ("conf/server", "zedcloud\n"),
            ("conf/sub/x", "x"),
            ("usb.json", "{}"),
            ("parts/EFI/BOOT/BOOTX64.EFI", "MZ"),
            ("parts/EFI/BOOT/grub.cfg", "normal"),
            ("parts/grub.cfg", "set x=1"),
            ("parts/ipxe.efi.cfg", "#!ipxe"),
            ("parts/rootfs.img", "root"),
            ("parts/config.img", "config"),
            ("parts/persist.img", "persist"),
            ("parts/initrd.img", "initrd"),
            ("parts/installer.img", "installer"),
            ("parts/verification.img", "verification"),
            ("parts/kernel", "kernel"),
        ] {
            fs::create_dir_all(place.path(name).parent().unwrap()).unwrap();
            fs::write(place.path(name), text).unwrap();
        }
        init(place.folder.path(), "main", "tree");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn xtask(&self, line: &str) -> Xtask {
        let tools = ["docker", "linuxkit", "adam"].map(|name| (format!("XTASK_TOOL_{}", name.to_uppercase()), self.path(name)));
        let cache = self.path("cache");
        let start = Xtask::new(self.folder.path()).env("LINUXKIT_CACHE", cache);
        tools.into_iter().fold(start, |xtask, (name, path)| xtask.env(&name, path)).args(line.split(' '))
    }

    /// A program that writes its words into `calls`, and then does `script`.
    fn stand_in(&self, name: &str, script: &str) {
        let text = format!("#!/bin/sh\necho \"{name} $*\" >> \"{}\"\n{script}\n", self.path("calls").display());
        child::fake::executable(&self.path(name), &text);
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.path("calls")).unwrap_or_default().replace(&self.folder.path().display().to_string(), "")
    }

    fn inspect(&self, name: &str) -> String {
        self.xtask(&format!("inspect {name}")).ok()
    }
}

/// Lets a foreign tool, which Debian's `package` has, look at a result.
fn check(program: &str, package: &str, words: &[&str]) {
    if wants(program, package) {
        tool(program, words);
    }
}

#[test]
fn a_format_that_is_not_read_is_no_success() {
    let place = Place::new();
    fs::write(place.path("disk.vhdx"), [&b"vhdxfile"[..], &[0; 4096]].concat()).unwrap();
    let (_, text) = place.xtask("inspect disk.vhdx").fails();
    assert!(text.contains("was not looked into: VHDX is not read\nhint: qemu-img convert -O raw "), "{text}");
}

#[test]
fn config_and_usb_stick_are_made_of_files() {
    let place = Place::new();
    place.xtask("makeconfig out/config.img 1.2.3 conf/server conf/sub").ok();
    check("fsck.vfat", "dosfstools", &["-n", place.path("out/config.img").to_str().unwrap()]);
    let report = place.inspect("out/config.img");
    assert!(report.contains("origin.2026-01-02.1.2.3") && report.contains("server") && report.contains("sub/x"), "{report}");
    place.xtask("makeusbconf -d -f usb.json -s 20480 usb.img").ok();
    check("sgdisk", "gdisk", &["-v", place.path("usb.img").to_str().unwrap()]);
    assert_eq!(place.path("usb.img").metadata().unwrap().len(), 20480 << 10);
    assert!(place.inspect("usb.img").contains("DevicePortConfig"));
    // What is there already says how large it is.
    place.xtask("makeusbconf -i usb.img").ok();
    assert_eq!(place.path("usb.img").metadata().unwrap().len(), 20480 << 10);
}

#[test]
fn disks_and_installers_are_made_of_parts() {
    let place = Place::new();
    place.xtask("makeflash -C 400 parts live.raw efi conf imga persist").ok();
    place.xtask("makeverification -C 650 parts verification.raw conf_win,verification").fails();
    assert!(!place.path("verification.raw").exists());
    place.xtask("makeverification -C 650 parts verification.raw conf_win verification inventory_win").ok();
    place.xtask("makeflash -C 350 parts installer.raw conf_win installer inventory_win").ok();
    for (disk, name) in [("live.raw", "IMGA"), ("verification.raw", "INVENTORY"), ("installer.raw", "INVENTORY")] {
        check("sgdisk", "gdisk", &["-v", place.path(disk).to_str().unwrap()]);
        assert!(place.inspect(disk).contains(name), "{disk}");
    }
    // Without -C the disk keeps its size, and what lies outside the partitions.
    let disk = File::options().read(true).write(true).open(place.path("live.raw")).unwrap();
    disk.write_all_at(b"mine", 390 << 20).unwrap();
    place.xtask("makeflash parts live.raw efi conf imga").ok();
    let disk = File::open(place.path("live.raw")).unwrap();
    assert_eq!(disk.metadata().unwrap().len(), 400 << 20);
    let mut bytes = [0; 4];
    disk.read_exact_at(&mut bytes, 390 << 20).unwrap();
    assert_eq!(&bytes, b"mine");
    check("sgdisk", "gdisk", &["-v", place.path("live.raw").to_str().unwrap()]);
    place.xtask("makeiso parts out.iso installer").ok();
    assert!(place.inspect("out.iso").contains("ISO"));
    place.xtask("makenet parts out.net").ok();
    assert!(tool("tar", &["-tf", place.path("out.net").to_str().unwrap()]).contains("initrd.bits"));
}

#[test]
fn a_tar_becomes_a_root_file_system() {
    let place = Place::new();
    let mut tree = Tree::new();
    tree.insert("etc/issue", Node::file(0o644, 7, Content::from("EVE\n"))).unwrap();
    filetree::write_tar(&tree, File::create(place.path("rootfs.tar")).unwrap()).unwrap();
    place.xtask("makerootfs imagefromtar -t rootfs.tar -i rootfs.img").ok();
    place.xtask("makerootfs imagefromtar -t rootfs.tar -i rootfs.ext4 -f ext4").ok();
    assert!(place.inspect("rootfs.img").contains("squashfs"));
    check("e2fsck", "e2fsprogs", &["-fn", place.path("rootfs.ext4").to_str().unwrap()]);
    let (code, err) = place.xtask("makerootfs image -y none.yml -i none.img").fails();
    assert!(code == 1 && err.contains("none.yml") && !place.path("none.img").exists(), "{code} {err}");
}

#[test]
fn what_a_machine_left_is_read_without_a_mount() {
    let place = Place::new();
    let mut tree = Tree::new();
    tree.insert("0123/summary.log", Node::file(0o644, 0, Content::from("all is well\n"))).unwrap();
    let options = fat::Options { size: 8 << 20, label: "X".into(), volume_id: 1, mtime: 0, sector: 512, bits: fat::Bits::Auto };
    let volume = || Source::Fat(fat::layout(&tree, &options).unwrap());
    let write = |kind, name: &str| {
        let table = eve::table(vec![(kind, volume())], 64 << 20).unwrap();
        disk::layout(table).unwrap().write(&File::create(place.path(name)).unwrap()).unwrap();
    };
    write(Kind::InventoryWin, "verification.img");
    assert_eq!(place.xtask("extract-verification-info verification.img").ok(), "all is well\n");
    assert_eq!(fs::read_to_string(place.path("summary.log")).unwrap(), "all is well\n");
    write(Kind::Persist, "live.raw");
    place.xtask("extract-persist live.raw").ok();
    assert!(tool("tar", &["-tzf", place.path("tmp/persist.tgz").to_str().unwrap()]).contains("0123/summary.log"));
    // What EVE makes is an ext4.
    tree.insert("etc/eve-release", Node::file(0o644, 0, Content::from("1.2.3\n"))).unwrap();
    let options = ext4::Options { label: "P3".into(), uuid: Guid(1), mtime: 0, size: 4 << 20 };
    ext4::layout(&tree, &options).unwrap().write(&File::create(place.path("ext4.img")).unwrap()).unwrap();
    assert_eq!(place.xtask("getimgversion ext4.img").ok(), "1.2.3\n");
    let disk = File::options().write(true).open(place.path("live.raw")).unwrap();
    disk.write_all_at(&fs::read(place.path("ext4.img")).unwrap(), 1 << 20).unwrap();
    place.xtask("extract-persist live.raw amd64 -o other/persist.tgz").ok();
    assert_eq!(tool("tar", &["-xzOf", place.path("other/persist.tgz").to_str().unwrap(), "0123/summary.log"]), "all is well\n");
    disk.write_all_at(&[b'x'; 4096], 1 << 20).unwrap();
    let (_, err) = place.xtask("extract-persist live.raw amd64 -o none/persist.tgz").fails();
    assert!(err.contains("neither ext4 nor FAT") && !place.path("none/persist.tgz").exists(), "{err}");
    let (_, err) = place.xtask("extract-persist verification.img").fails();
    assert!(err.contains("no partition P3, only INVENTORY"), "{err}");
}

#[test]
fn a_single_use_installer_comes_out_of_a_container() {
    let place = Place::new();
    place.stand_in("docker", "case \"$1\" in volume) echo vol;; create) echo cid;; cp) tar -t;; start) echo installer; exit $FAIL;; esac");
    place.xtask("eve-gen-single-use-installer -t 8.5-kvm-amd64 -c host -s 12 -o single.raw").ok();
    assert_eq!(fs::read_to_string(place.path("single.raw")).unwrap(), "installer\n");
    let wanted = "docker volume create\ndocker create --mount source=vol,destination=/in lfedge/eve:8.5-kvm-amd64 installer_raw\n\
                  docker cp - cid:/in\ndocker start -a cid\ndocker rm cid\ndocker volume rm vol\n";
    assert_eq!(place.calls(), wanted);
    let lines = place.xtask("--dry-run eve-gen-single-use-installer -t 8.5 -o x.iso -f iso").ok();
    assert_eq!(lines.lines().count(), 3, "{lines}");
    assert_eq!(place.calls(), wanted);
    place.stand_in("docker", "case \"$1\" in create) echo cid;; start) echo half; exit 4;; esac");
    let (code, err) = place.xtask("eve-gen-single-use-installer -t 8.5 -o half.raw").fails();
    assert!(code == 1 && err.contains("making the installer") && !place.path("half.raw").exists(), "{code} {err}");
    assert!(place.calls().ends_with("docker start -a cid\ndocker rm cid\n"));
}

#[test]
fn adam_is_asked_about_the_one_device() {
    let place = Place::new();
    place.stand_in("adam", "case \"$*\" in *list) echo u1;; *) echo \"$ADAM_SERVER\";; esac");
    assert_eq!(place.xtask("adam getconf").ok(), "https://localhost:6000\n");
    place.xtask("adam setconf usb.json").ok();
    place.xtask("adam logs --uuid u2").ok();
    let before = "adam admin --insecure --server-ca /dev/null device";
    let wanted = format!(
        "{before} list\n{before} config get --uuid u1\n{before} list\n{before} config set --uuid u1 --config-path /usb.json\n\
         {before} logs --uuid u2\n"
    );
    assert_eq!(place.calls(), wanted);
    assert_eq!(place.xtask("adam dance").fails().0, 2);
    place.stand_in("adam", "echo u1; echo u2");
    assert!(place.xtask("adam info").fails().1.contains("--uuid UUID"));
    assert_eq!(place.xtask("fake-zboot curpart").ok(), "IMGA\n");
}

#[test]
fn with_containers_the_same_lines_as_the_scripts() {
    let place = Place::new();
    let profile = fs::read_to_string(place.path("xtask.toml")).unwrap();
    fs::write(place.path("xtask.toml"), profile.replace("archive = \"debian\"", "published = true")).unwrap();
    for name in ["mkconf", "mkimage-raw-efi", "mkimage-iso-efi"] {
        fs::create_dir_all(place.path("pkg").join(name)).unwrap();
        fs::write(place.path("pkg").join(name).join("build.yml"), format!("org: o\nimage: {name}\n")).unwrap();
        fs::write(place.path("pkg").join(name).join("Dockerfile"), "FROM scratch\n").unwrap();
    }
    git(place.folder.path(), &["add", "-A"]);
    git(place.folder.path(), &["commit", "-q", "-m", "tools"]);
    let write = "for word; do case \"$word\" in *:/output.i*|*:/config.img) echo image 1<> \"${word%%:*}\";; esac; done; cat > /dev/null";
    place.stand_in("docker", &format!("[ \"$1\" = run ] || {{ echo 1; exit; }}\n{write}"));
    place.xtask("--engine linuxkit makeconfig config.img 1.2 conf/server").ok();
    place.xtask("--engine linuxkit makeflash -C 2 parts disk.raw efi imga").ok();
    place.xtask("--engine linuxkit makeiso parts plain.iso").ok();
    place.xtask("--engine linuxkit makeusbconf -i usb.img").ok();
    let calls: Vec<String> = place.calls().lines().filter(|line| line.starts_with("docker run")).map(str::to_owned).collect();
    let tag = |name: &str| place.xtask(&format!("show-tag {name}")).ok().trim().to_owned();
    let (conf, raw, iso) = (tag("mkconf"), tag("mkimage-raw-efi"), tag("mkimage-iso-efi"));
    for (call, wanted) in calls.iter().zip([
        format!("-v /config.img:/config.img {conf} /config.img"),
        format!("-v /parts:/parts -v /disk.raw:/output.img {raw} /output.img efi imga"),
        format!("-v /parts:/bits -v /plain.iso:/output.iso {iso}"),
        format!("-v /usb.img:/output.img {raw} /output.img usb_conf"),
    ]) {
        assert!(call.ends_with(&wanted), "{call}\n{wanted}");
    }
    assert_eq!(calls.len(), 4);
    // A disk that was there stays when the tool fails; one that was to be made does not.
    place.stand_in("docker", "[ \"$1\" = run ] || { echo 1; exit; }\nexit 3");
    place.xtask("--engine linuxkit makeflash parts disk.raw efi imga").fails();
    assert_eq!(place.path("disk.raw").metadata().unwrap().len(), 2 << 20);
    place.xtask("--engine linuxkit makeflash -C 2 parts disk.raw efi imga").fails();
    assert!(!place.path("disk.raw").exists());
}

#[test]
fn with_linuxkit_a_yml_becomes_a_root_file_system() {
    let place = Place::new();
    let profile = fs::read_to_string(place.path("xtask.toml")).unwrap();
    fs::write(place.path("xtask.toml"), profile.replace("archive = \"debian\"", "published = true")).unwrap();
    fs::create_dir_all(place.path("pkg/mkrootfs-squash")).unwrap();
    fs::write(place.path("pkg/mkrootfs-squash/build.yml"), "org: o\nimage: mkrootfs\n").unwrap();
    fs::write(place.path("images.yml"), "kernel: x\n").unwrap();
    git(place.folder.path(), &["add", "-A"]);
    git(place.folder.path(), &["commit", "-q", "-m", "tools"]);
    let linuxkit = "[ $1 = build ] || { echo linuxkit version v1.0.1; exit; }\nwhile [ $1 != -o ]; do shift; done; tar -cf $2 -T /dev/null";
    place.stand_in("linuxkit", linuxkit);
    let docker = "[ $1 = run ] || { echo 1; exit; }\nfor word; do case $word in *:/rootfs.img) cat > ${word%%:*};; esac; done";
    place.stand_in("docker", docker);
    place.xtask("--engine linuxkit makerootfs tar -y images.yml -t out.tar -a arm64").ok();
    place.xtask("--engine linuxkit makerootfs image -y images.yml -i rootfs.img").ok();
    assert_eq!(fs::read(place.path("rootfs.img")).unwrap(), fs::read(place.path("out.tar")).unwrap());
    let calls = place.calls();
    assert!(calls.contains("linuxkit build -docker -arch arm64 -o /out.tar ") && calls.contains("images.yml\n"), "{calls}");
    assert!(calls.lines().any(|line| line.starts_with("docker run -i --rm ") && line.contains(":/rootfs.img o/mkrootfs:")), "{calls}");
    // What a tool left half made is not there.
    place.stand_in("docker", &format!("{docker}; [ $1 != run ]"));
    place.xtask("--engine linuxkit makerootfs imagefromtar -t out.tar -i bad.img").fails();
    assert!(!place.path("bad.img").exists());
}

#[test]
fn mistakes_get_the_usage_with_an_example() {
    let place = Place::new();
    for line in [
        "makerootfs",
        "makerootfs tar -y x -i y",
        "makeflash parts",
        "makeconfig out 1.2",
        "makeiso parts",
        "makenet parts",
        "makeusbconf x",
        "parallels-disk live",
        "extract-verification-info",
        "eve-gen-single-use-installer -t x",
        "adam",
    ] {
        let (code, err) = place.xtask(line).fails();
        assert!(code == 2 && err.contains("usage: ") && err.contains("for example: cargo xtask "), "{line}: {code} {err}");
    }
    place.xtask("parallels-disk live {5fbaabe3-6958-40ff-92a7-860e329aab41} 8589934592").ok();
    let text = fs::read_to_string(place.path("live.parallels/DiskDescriptor.xml")).unwrap();
    assert!(text.contains("<File>live.0.{5fbaabe3-6958-40ff-92a7-860e329aab41}.hds</File>") && text.contains(">16777216<"), "{text}");
    assert!(Path::new(&place.path("live.parallels")).is_dir());
}
