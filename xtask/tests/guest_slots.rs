//! `zboot`, the guest's keeper of the two slots, on this machine: busybox's shell runs it on a disk and on folders that look like a
//! guest's /proc, /sys and ESP. GRUB's reader of the environment block, and sgdisk, must agree with it.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{repository, texts, tool, wants};
use diskimage::{
    recipes::{ext4_rootfs, pack_rootfs},
    squashfs::Compressor,
};
use filetree::{Content, Node, Tree};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A machine that runs from one of its slots.
struct Guest {
    folder: tempfile::TempDir,
}

impl Guest {
    /// None, with a word about it, where a program is missing.
    fn new(running: u8, block: Option<&str>) -> Option<Self> {
        let all = [("busybox", "busybox-static"), ("sgdisk", "gdisk"), ("flock", "util-linux"), ("grub-editenv", "grub-common")];
        if !all.iter().all(|(program, package)| wants(program, package)) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path();
        for name in ["proc/self", "sys/dev/block", "sys/class/block", "dev", "run", "esp/EFI/BOOT"] {
            fs::create_dir_all(top.join(name)).unwrap();
        }
        let disk = top.join("dev/vda");
        fs::File::create(&disk).unwrap().set_len(32 << 20).unwrap();
        let disk = disk.to_str().unwrap();
        // IMGA as in our images, and an attribute below the bits of a slot that must stay.
        tool("sgdisk", &["-n", "1:2048:+1M", "-n", "2:0:+4M", "-n", "3:0:+8M", "-A", "2:=:0102000000000000", "-A", "3:=:4", disk]);
        for (number, name, size) in [(1, "EFI System", 2048), (2, "IMGA", 8192), (3, "IMGB", 16384)] {
            let part = top.join(format!("sys/devices/vda/vda{number}"));
            fs::create_dir_all(&part).unwrap();
            // The kernel has no names for partitions that were made since its start.
            let name = if number == 3 { String::new() } else { format!("PARTNAME={name}\n") };
            fs::write(part.join("uevent"), format!("MAJOR=254\n{name}")).unwrap();
            fs::write(part.join("partition"), format!("{number}\n")).unwrap();
            fs::write(part.join("size"), format!("{size}\n")).unwrap();
        }
        std::os::unix::fs::symlink(top.join("sys/devices/vda"), top.join("sys/class/block/vda")).unwrap();
        std::os::unix::fs::symlink(top.join(format!("sys/devices/vda/vda{running}")), top.join("sys/dev/block/254:1")).unwrap();
        fs::write(top.join("proc/self/mountinfo"), "21 1 254:1 / / ro - squashfs /dev/root ro\n22 21 0:5 / /proc rw - proc proc rw\n")
            .unwrap();
        fs::write(top.join("proc/cmdline"), "root=PARTUUID=x").unwrap();
        fs::write(top.join("esp/EFI/BOOT/BOOTX64.EFI"), "load_env --file grubenv").unwrap();
        if let Some(text) = block {
            fs::write(top.join("esp/EFI/BOOT/grubenv"), text).unwrap();
        }
        Some(Self { folder })
    }

    /// As with a signed image: the root file system is read through a device of dm-verity.
    fn reads_by_verity(&self, running: u8) {
        let sys = self.folder.path().join("sys");
        let (device, number) = (sys.join("devices/virtual/block/dm-0"), sys.join("dev/block/254:1"));
        fs::create_dir_all(device.join("slaves")).unwrap();
        let part = format!("vda{running}");
        std::os::unix::fs::symlink(sys.join("devices/vda").join(&part), device.join("slaves").join(part)).unwrap();
        fs::remove_file(&number).unwrap();
        std::os::unix::fs::symlink(device, number).unwrap();
    }

    fn block(&self) -> PathBuf {
        self.folder.path().join("esp/EFI/BOOT/grubenv")
    }

    fn run(&self, words: &str) -> (bool, String) {
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
        let script = repository().join("pkg/gpt-tools/rootfs/usr/bin/zboot");
        let mut command = Command::new("busybox");
        command.arg("ash").arg(script).args(words.split(' ')).env("ZBOOT_ROOT", self.folder.path()).env("PATH", path);
        let output = command.output().unwrap();
        let (out, err) = texts(&output);
        (output.status.success(), format!("{out}{err}"))
    }

    #[track_caller]
    fn says(&self, words: &str, answer: &str) {
        let (good, text) = self.run(words);
        assert!(good, "zboot {words}: {text}");
        assert_eq!(text.trim_end(), answer, "zboot {words}");
    }

    #[track_caller]
    fn refuses(&self, words: &str, why: &str) {
        let (good, text) = self.run(words);
        assert!(!good && text.contains(why), "zboot {words}: {text}");
    }

    /// What GRUB reads, and the attributes that sgdisk reads of IMGA and IMGB.
    #[track_caller]
    fn holds(&self, order: &str, a: &str, b: &str, gpt: [&str; 2]) {
        assert_eq!(fs::metadata(self.block()).unwrap().len(), 1024);
        let list = tool("grub-editenv", &[self.block().to_str().unwrap(), "list"]);
        let [a_ok, a_try, b_ok, b_try] = [&a[..1], &a[1..], &b[..1], &b[1..]];
        assert_eq!(list, format!("ORDER={order}\nA_OK={a_ok}\nA_TRY={a_try}\nB_OK={b_ok}\nB_TRY={b_try}\n"));
        for (number, expected) in [("2", gpt[0]), ("3", gpt[1])] {
            let text = tool("sgdisk", &["-i", number, self.folder.path().join("dev/vda").to_str().unwrap()]);
            assert!(text.contains(&format!("Attribute flags: {expected}\n")), "{number}: {expected}\n{text}");
        }
    }
}

/// An environment block as pkg/grub makes it, with these lines.
fn block(lines: &str) -> String {
    format!("{:#<1024}", format!("# GRUB Environment Block\n{lines}"))
}

const NEW: &str = "ORDER=A\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=0\n";
const ACTIVE: &str = "0102000000000000";

#[test]
fn an_update_goes_from_trial_to_active_and_the_gpt_follows() {
    let Some(guest) = Guest::new(2, Some(&block(NEW))) else { return };
    guest.says("curpart", "IMGA");
    guest.says("otherpart", "IMGB");
    guest.says("partdev IMGB", "/dev/vda3");
    guest.says("partdevall IMGA", "/dev/vda2");
    guest.says("partdevsize IMGB", "8388608");
    guest.says("partstate IMGA", "active");
    guest.says("partstate IMGB", "unused");
    guest.says("set_partstate IMGB unused", "");
    guest.holds("A", "10", "00", [ACTIVE, "0000000000000004"]);
    guest.says("set_partstate IMGB updating", "");
    guest.holds("B A", "10", "01", [ACTIVE, "0013000000000004"]);
    guest.says("partstate IMGB -d", "updating\n0x013: priority 3, tries left 1, successful 0");
    guest.says("set_partstate IMGB updating 3", "");
    guest.holds("B A", "10", "03", [ACTIVE, "0033000000000004"]);
    // What GRUB does before it starts B for the last time.
    tool("grub-editenv", &[guest.block().to_str().unwrap(), "set", "B_TRY=0"]);
    guest.says("partstate IMGB", "inprogress");

    // The system fell back to A: nothing changes but the GPT.
    guest.says("good", "");
    guest.holds("B A", "10", "00", [ACTIVE, "0003000000000004"]);

    // B was well.
    let text = fs::read_to_string(guest.block()).unwrap();
    let Some(guest) = Guest::new(3, Some(&text)) else { return };
    guest.reads_by_verity(3);
    guest.says("curpart", "IMGB");
    guest.says("good", "");
    guest.holds("B", "00", "10", ["0000000000000000", "0102000000000004"]);
}

#[test]
fn a_system_that_lives_ends_the_count_of_starts_and_one_on_trial_stays_on_trial() {
    let failed = "ORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=0\n";
    // Ready, or without a lease until the time is over: the first slot is still the one that is well.
    for verb in ["good", "lived"] {
        let Some(guest) = Guest::new(2, Some(&block(&format!("{failed}STARTS=4\n")))) else { return };
        guest.says("partstate IMGA", "active");
        guest.says(verb, "");
        assert_eq!(fs::read_to_string(guest.block()).unwrap(), block(failed), "{verb}");
        // Of two that are well each stays in its place.
        let both = "ORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=1\nB_TRY=0\n";
        fs::write(guest.block(), block(&format!("{both}STARTS=1\n"))).unwrap();
        guest.says(verb, "");
        assert_eq!(fs::read_to_string(guest.block()).unwrap(), block(both), "{verb}");
    }
    // After five starts of A that did not come so far, B is on trial. Alive is not ready.
    let trial = block(&format!("{failed}STARTS=0\n"));
    let Some(guest) = Guest::new(3, Some(&trial)) else { return };
    guest.says("lived", "");
    assert_eq!(fs::read_to_string(guest.block()).unwrap(), trial);
    guest.says("good", "");
    guest.holds("B", "00", "10", ["0000000000000000", "0102000000000004"]);
}

#[test]
fn without_a_whole_block_the_slot_that_runs_is_what_there_is() {
    let (foreign, wrong) = (block("saved_entry=1\n"), block("ORDER=A\nA_OK=1\nA_TRY=7\nB_OK=0\nB_TRY=0\nSTARTS=3\n"));
    for damaged in [None, Some("# GRUB Environment Block\nORDER=A\n"), Some(&foreign[..]), Some(&wrong), Some(&"\0".repeat(1024)[..])] {
        let Some(guest) = Guest::new(2, damaged) else { return };
        guest.says("partstate IMGA", "active");
        guest.says("partstate IMGB", "unused");
        guest.says("lived", "");
        assert_eq!(fs::read_to_string(guest.block()).ok().as_deref(), damaged);
        guest.says("set_partstate IMGB updating", "");
        guest.holds("B A", "10", "01", [ACTIVE, "0013000000000004"]);

        // GRUB cannot count in such a block, so it becomes a whole one.
        let Some(guest) = Guest::new(2, damaged) else { return };
        guest.says("good", "");
        guest.holds("A", "10", "00", [ACTIVE, "0000000000000004"]);
    }
    let Some(guest) = Guest::new(3, None) else { return };
    guest.says("partstate IMGB", "active");
    // A loader that does not know of slots gets no block.
    let loader = guest.folder.path().join("esp/EFI/BOOT/BOOTX64.EFI");
    fs::write(&loader, "an older loader").unwrap();
    guest.says("good", "");
    assert!(!guest.block().exists());
    // CONFIG chose the other slot of a new machine: that one is well, too.
    fs::write(guest.block(), block(NEW)).unwrap();
    guest.says("partstate IMGB", "unused");
    guest.says("good", "");
    guest.holds("A B", "10", "10", [ACTIVE, "0102000000000004"]);
}

#[test]
fn what_cannot_be_is_refused() {
    let Some(guest) = Guest::new(2, Some(&block(NEW))) else { return };
    guest.refuses("set_partstate IMGA unused", "no slot would be left");
    guest.refuses("set_partstate IMGB well", "no state well");
    guest.refuses("set_partstate IMGB updating 4", "no state updating 4");
    guest.refuses("set_partstate P3 active", "P3 is no slot");
    guest.refuses("partdev IMGC", "the disk vda has no partition IMGC");
    guest.refuses("frobnicate", "zboot curpart");
    fs::write(guest.folder.path().join("esp/EFI/BOOT/BOOTX64.EFI"), "an older loader").unwrap();
    guest.refuses("set_partstate IMGB updating", "does not choose between slots");
    guest.holds("A", "10", "00", [ACTIVE, "0000000000000004"]);
    let Some(guest) = Guest::new(1, None) else { return };
    guest.refuses("curpart", "neither IMGA nor IMGB");
}

#[test]
fn only_a_system_on_trial_gives_up() {
    let Some(guest) = Guest::new(3, None) else { return };
    let console = guest.folder.path().join("dev/console");
    guest.says("give_up late", "");
    assert!(!console.exists());
    fs::write(guest.folder.path().join("proc/cmdline"), "root=PARTUUID=x panic=10 eve_trial\n").unwrap();
    guest.says("give_up late", "");
    assert!(fs::read_to_string(console).unwrap().contains("EVE-FAILED slot: late; this was a trial"));
}

#[test]
fn grub_understands_both_configurations() {
    if wants("grub-script-check", "grub-common") {
        for name in ["embedded.cfg", "rootfs.cfg"] {
            tool(
                "grub-script-check",
                &[Path::new("pkg/grub").join(name).to_str().map(|name| repository().join(name)).unwrap().to_str().unwrap()],
            );
        }
    }
}

/// What `eve update` says of a file before it writes anything: nothing if it takes it.
fn check_of_update(file: &Path) -> String {
    let text = fs::read_to_string(repository().join("pkg/gpt-tools/rootfs/usr/bin/eve-update")).unwrap();
    // All but the lines at the end, which call the functions.
    let (functions, _) = text.split_once("\nexec 8>").unwrap();
    let (_, functions) = functions.split_once("\n# field OFFSET SIZE").unwrap();
    let mount = file.with_extension("mount");
    let call = format!(
        "fail() {{ echo \"$1\"; exit 1; }}\nfile={0}\nmount={1}\nslot=IMGB\nroom=314572800\n# {functions}\ncheck_image",
        file.display(),
        mount.display()
    );
    let output = Command::new("busybox").args(["ash", "-c", &call]).output().unwrap();
    let (out, err) = texts(&output);
    assert_eq!(output.status.success(), out.is_empty(), "{out}{err}");
    out.trim_end().replace(&format!("{} ", file.display()), "FILE ")
}

#[test]
fn an_update_is_a_squashfs_or_an_ext4_that_grub_can_read() {
    if !["busybox", "mkfs.ext4"].iter().zip(["busybox-static", "e2fsprogs"]).all(|(program, package)| wants(program, package)) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut tree = Tree::new();
    let kernel = [vec![0; 514], b"HdrS".to_vec()].concat();
    let program = match std::env::consts::ARCH {
        "aarch64" => "EFI/BOOT/BOOTAA64.EFI",
        _ => "EFI/BOOT/BOOTX64.EFI",
    };
    let grub_cfg = b"set linuxkit_cmdline=\n".to_vec();
    for (path, bytes) in [
        ("boot/kernel", kernel),
        (program, vec![1]),
        ("etc/eve-release", b"new".to_vec()),
        ("boot/cmdline", vec![]),
        ("EFI/BOOT/grub.cfg", grub_cfg),
    ] {
        tree.insert(path, Node::file(0o644, 0, Content::from(bytes))).unwrap();
    }
    pack_rootfs(tree.clone(), Compressor::Gzip, 0, &mut fs::File::create(at("squashfs")).unwrap()).unwrap();
    ext4_rootfs(tree, 0).unwrap().write(&fs::File::create(at("ext4")).unwrap()).unwrap();
    let part = fs::read(at("ext4")).unwrap();
    fs::write(at("half"), &part[..part.len() / 2]).unwrap();
    fs::write(at("text"), vec![b'x'; 4096]).unwrap();
    let made = |name: &str, features: &str| tool("mkfs.ext4", &["-q", "-F", "-O", features, at(name).to_str().unwrap(), "8M"]);
    made("foreign", "inline_data");
    made("plain", "^metadata_csum_seed,^orphan_file");
    for (name, said) in [
        ("text", "FILE is neither squashfs nor ext4".to_owned()),
        ("half", format!("FILE is truncated: its ext4 has {} bytes, the file {}", part.len(), part.len() / 2)),
    ] {
        assert_eq!(check_of_update(&at(name)), said, "{name}");
    }
    assert!(check_of_update(&at("foreign")).starts_with("GRUB cannot read the features of the ext4 in "));
    // What comes next is a mount.
    if !Command::new("losetup").arg("-f").output().is_ok_and(|output| output.status.success()) {
        return skips::refused("losetup finds no loop device, which mounting an image takes");
    }
    for name in ["squashfs", "ext4"] {
        assert_eq!(check_of_update(&at(name)), "", "{name}");
    }
    assert_eq!(check_of_update(&at("plain")), "FILE is no root file system of EVE: it has no /boot/kernel");
}
