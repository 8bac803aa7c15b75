//! A firmware that holds keys of `keys init` boots the image of `live --sign` up to the end, and refuses it when GRUB, kernel, initrd or command
//! line is another one. What a disk's configuration says, nobody reads. A changed root file system stops the kernel, and the other slot is tried.

use crate::common::{
    machine::{LIMIT as SECONDS, Machine, configuration, disk, ready, turn, xtask},
    repository, scratch, tool, wants,
};
use diskimage::{
    recipes::pack_rootfs,
    squashfs::{Compressor, Reader},
};
use filetree::{Content, Node, Tree};
use secureboot::{EfiProgram, uki::section};
use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// Debian's OVMF with Secure Boot, variables without keys, and the code of unified kernel images.
pub(super) const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
pub(super) const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
/// What a busy computer needs under emulation.
const LIMIT: Duration = Duration::from_secs(600);
/// The version of the signed image.
const VERSION: &str = "boot-test-signed";
/// The programs in it.
pub(super) const GRUB: &str = "EFI/BOOT/BOOTX64.EFI";
pub(super) const UNIFIED: &str = "EFI/Linux/eve.efi";
/// Where IMGA begins on a live disk.
const IMGA: u64 = 38 << 20;
/// What a GRUB prints that reads the configuration on the disk.
const READ: &str = "CONFIG-WAS-READ";

/// Whether signed images can be built and booted here; says what is missing.
pub(super) fn can_boot_signed() -> bool {
    let tools = [("openssl", "openssl"), ("sbverify", "sbsigntool")];
    if !ready("qemu-system-x86_64") || !tools.iter().all(|(program, package)| wants(program, package)) {
        return false;
    }
    for (file, package) in [(CODE, "ovmf"), (VARIABLES, "ovmf"), (STUB, "systemd-boot-efi")] {
        if !Path::new(file).is_file() {
            skips::missing(file, package);
            return false;
        }
    }
    true
}

/// A machine that ends with the test.
pub(super) struct Started(pub Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An empty folder of this name for the files of a test.
pub(super) fn empty_folder(name: &str) -> PathBuf {
    let folder = scratch().join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The keys of two owners, in folders of `safe`, which is not in the tree: keys in there are refused.
pub(super) fn two_owners(safe: &Path) -> [String; 2] {
    ["keys", "others"].map(|name| {
        let keys = safe.join(name).display().to_string();
        xtask("amd64").args(["keys", "init", "--keys", &keys]).ok();
        keys
    })
}

#[test]
fn a_firmware_with_ones_own_keys_boots_what_is_signed_and_nothing_else() {
    if !can_boot_signed() || ![("swtpm", "swtpm"), ("sgdisk", "gdisk")].iter().all(|(program, package)| wants(program, package)) {
        return;
    }
    let (folder, safe) = (empty_folder("secure-boot"), tempfile::tempdir().unwrap());
    let [keys, others] = two_owners(safe.path());
    let conf = conf(&folder);
    let signed = |words: &[&str]| xtask("amd64").env("ROOTFS_VERSION", VERSION).env("CONF_DIR", &conf).args(words).args(["--keys", &keys]);
    ["live", "live-raw"].iter().for_each(|verb| drop(signed(&[verb, "--sign"]).ok()));
    let [grub, unified] = [GRUB, UNIFIED].map(|path| program(&folder, &live(), path, &keys));
    // What the machine checks updates with.
    assert_eq!(taken(&folder, &live(), "etc/eve-update/image.pub"), fs::read(format!("{keys}/image.pub")).unwrap());
    let commit = tool("git", &["-C", repository().to_str().unwrap(), "log", "-1", "--format=%ct"]);
    assert_eq!(String::from_utf8(taken(&folder, &live(), "etc/eve-update/made")).unwrap().trim(), commit.trim());

    let console = {
        let _turn = turn();
        let image = live().with_file_name("live.qcow2");
        let machine =
            Machine::start_with(SECONDS, VERSION, &disk(&image, "signed"), "signed", &["--secure-boot", "--keys", &keys, "--tpm"]);
        machine.ready_line();
        // The root file system is read through dm-verity, which lies on IMGA.
        machine.ssh(
            "grep -q '^/dev/[^ ]* / squashfs ro[, ]' /proc/1/mounts && test $(cat /sys/block/dm-0/dm/name) = eve-root && \
             test $(awk '$5 == \"/\" { print $3 }' /proc/1/mountinfo) = $(cat /sys/block/dm-0/dev) && \
             grep -qx PARTNAME=IMGA /sys/block/dm-0/slaves/*/uevent && test $(cat /sys/block/dm-0/ro) = 1 && \
             grep -q '\\[integrity\\]' /sys/kernel/security/lockdown",
        );
        machine.check_pcrs(&image, "signed", &["--secure-boot", "--keys", &keys]);
        machine.console()
    };
    assert!(console.contains("-kvm-amd64 hv=kvm") && console.contains("slot=A") && !console.contains(READ), "{console}");

    let vars = folder.join("vars.fd");
    xtask("amd64").args(["keys", "enrol", "--keys", &keys, "--firmware", VARIABLES, "--out", vars.to_str().unwrap()]).ok();
    let refused = refused(&folder, &grub, &unified, &others);
    let in_slot = slot_with(&folder, &changed(&unified, Some(".linux")));
    let console = {
        let _turn = turn();
        let mut machine = start(&folder, &refused, &in_slot, &["-no-reboot"]);
        wait_for(&mut machine, &folder.join("console.log"), "EVE-FAILED boot: no slot of ")
    };
    // The firmware itself refuses all but the last disk. There it starts GRUB, and refuses the kernel that GRUB hands to it.
    let denied = console.matches("Access Denied").count();
    assert!(denied == refused.len() && console.matches("Welcome to GRUB!").count() == 1, "{denied} are refused:\n{console}");
    assert!(console.contains("cannot load image") && !console.contains("Linux version") && !console.contains(READ), "{console}");
    a_changed_root_file_system_gives_the_other_slot_a_trial(&folder);
    fs::remove_dir_all(folder).unwrap();
}

/// IMGA has a changed byte in a file that each start reads, and has been started four times in a row without coming up. IMGB has a statement that
/// was changed: after its trial IMGA is next again.
fn a_changed_root_file_system_gives_the_other_slot_a_trial(folder: &Path) {
    let disk = damaged(folder);
    fs::remove_file(folder.join("console.log")).unwrap();
    let _turn = turn();
    let mut machine = start(folder, &[], &disk, &[]);
    let console = wait_for(&mut machine, &folder.join("console.log"), "or was changed");
    let at = |text: &str| console.find(text).unwrap_or_else(|| panic!("no `{text}`:\n{console}"));
    let corrupted = at(" is corrupted");
    let panicked = at("Kernel panic - not syncing: dm-verity device corrupted");
    let next = at("EVE-FAILED boot: slot A did not come up in five starts; B is on trial");
    let refused = at(
        "EVE-FAILED initrd: the statement about the root hash of /dev/vda3 is not signed by the key of this kernel's image, or was changed",
    );
    assert!(corrupted < panicked && panicked < next && next < refused && !console.contains("EVE-READY"), "{console}");
    let state = state_on(&disk);
    assert!(state.starts_with("ORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=0\nSTARTS=0\n#"), "{state}");
}

/// What follows the first line of the state of the slots.
fn state_on(disk: &Path) -> String {
    let mut esp = vec![0; usize::try_from(IMGA).unwrap()];
    fs::File::open(disk).unwrap().read_exact(&mut esp).unwrap();
    let head = b"# GRUB Environment Block\nORDER=";
    let at = esp.windows(head.len()).position(|window| window == head).unwrap() + 25;
    String::from_utf8_lossy(&esp[at..at + 100]).into_owned()
}

/// The disk of that machine.
fn damaged(folder: &Path) -> PathBuf {
    const IMGB: u64 = IMGA + (310 << 20);
    let root = repository().join("dist/amd64").join(VERSION).join("installer/rootfs.img");
    let reader = Reader::open(fs::File::open(&root).unwrap()).unwrap();
    let read_by_each_start = reader.stored(b"bin/busybox").unwrap().blocks[0].at + 100;
    let mut image = fs::read(root).unwrap();
    let statement = usize::try_from(reader.superblock().bytes_used.next_multiple_of(4096)).unwrap();
    assert!(image[statement..].starts_with(b"eve-verity-1\nversion=b"));
    let disk = folder.join("damaged.raw");
    fs::copy(live(), &disk).unwrap();
    let mut file = fs::File::options().read(true).write(true).open(&disk).unwrap();
    file.set_len(IMGB + (320 << 20)).unwrap();
    // First of all, because the backup of the table lies where IMGB will be.
    let (sector, end) = ((IMGB / 512).to_string(), (IMGB + (300 << 20)) / 512);
    for words in [&["-e"][..], &["-n", &format!("3:{sector}:{end}"), "-c", "3:IMGB"]] {
        tool("sgdisk", &[words, &[disk.to_str().unwrap()]].concat());
    }
    image[statement + 21] ^= 1;
    file.write_all_at(&image, IMGB).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, IMGA + read_by_each_start).unwrap();
    file.write_all_at(&[byte[0] ^ 1], IMGA + read_by_each_start).unwrap();
    // The state of the slots, on the ESP.
    let mut esp = vec![0; usize::try_from(IMGA).unwrap()];
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_exact(&mut esp).unwrap();
    let old = b"# GRUB Environment Block\nORDER=A\n";
    let at = esp.windows(old.len()).position(|window| window == old).unwrap();
    let lines = "# GRUB Environment Block\nORDER=A B\nA_OK=1\nA_TRY=0\nB_OK=1\nB_TRY=0\nSTARTS=4\n";
    file.write_all_at(format!("{lines:#<1024}").as_bytes(), at as u64).unwrap();
    disk
}

/// A configuration with a grub.cfg.
fn conf(folder: &Path) -> String {
    let conf = folder.join("conf");
    fs::create_dir(&conf).unwrap();
    for entry in fs::read_dir(configuration()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), conf.join(entry.file_name())).unwrap();
    }
    fs::write(conf.join("grub.cfg"), format!("echo {READ}\n")).unwrap();
    conf.display().to_string()
}

/// The signed disk.
fn live() -> PathBuf {
    repository().join("dist/amd64").join(VERSION).join("live.raw")
}

/// A program of the image, which sbverify says is signed with db.
pub(super) fn program(folder: &Path, disk: &Path, path: &str, keys: &str) -> Vec<u8> {
    let bytes = taken(folder, disk, path);
    let file = folder.join("program");
    fs::write(&file, &bytes).unwrap();
    let verified = Command::new("sbverify").args(["--cert", &format!("{keys}/db.crt")]).arg(&file).output().unwrap();
    assert!(verified.status.success(), "{path}: {}", String::from_utf8_lossy(&verified.stderr));
    bytes
}

/// A file of the root file system on the signed disk.
fn taken(folder: &Path, disk: &Path, path: &str) -> Vec<u8> {
    let taken = folder.join("taken");
    let place = format!("{}:IMGA:/{path}", disk.display());
    xtask("amd64").args(["inspect", &place, "--out", taken.to_str().unwrap()]).ok();
    let file = if taken.is_dir() { taken.join(Path::new(path).file_name().unwrap()) } else { taken };
    let bytes = fs::read(&file).unwrap();
    fs::remove_file(file).unwrap();
    bytes
}

/// `program` with another byte in a section of this name, or somewhere.
fn changed(program: &[u8], name: Option<&str>) -> Vec<u8> {
    let at = name.map_or(0x8000, |name| {
        let content = section(program, name).unwrap().unwrap();
        content.as_ptr().addr() - program.as_ptr().addr() + content.len() / 2
    });
    let mut bytes = program.to_vec();
    bytes[at] ^= 1;
    bytes
}

/// Folders for disks whose program the firmware must not start.
pub(super) fn refused(folder: &Path, grub: &[u8], unified: &[u8], others: &str) -> Vec<PathBuf> {
    let disk = |name: &str, program: &[u8]| {
        let file = folder.join(name).join(GRUB);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, program).unwrap();
        folder.join(name)
    };
    let by_others = disk("others", grub);
    xtask("amd64").args(["sign", by_others.join(GRUB).to_str().unwrap(), "--keys", others]).ok();
    vec![
        by_others,
        disk("unsigned", &EfiProgram::parse(grub).unwrap().unsigned()),
        disk("changed", &changed(grub, None)),
        disk("kernel", &changed(unified, Some(".linux"))),
        disk("initrd", &changed(unified, Some(".initrd"))),
        disk("command-line", &changed(unified, Some(".cmdline"))),
    ]
}

/// The signed disk, with another root file system in its slot: one with `unified`.
fn slot_with(folder: &Path, unified: &[u8]) -> PathBuf {
    let mut tree = Tree::new();
    for (path, bytes) in [("boot/kernel", &b"kernel"[..]), (UNIFIED, unified)] {
        tree.insert(path, Node::file(0o644, 0, Content::from(bytes.to_vec()))).unwrap();
    }
    let root = folder.join("root.img");
    pack_rootfs(tree, Compressor::Gzip, 0, &mut fs::File::create(&root).unwrap()).unwrap();
    let disk = folder.join("slot.raw");
    fs::copy(live(), &disk).unwrap();
    let mut file = fs::File::options().write(true).open(&disk).unwrap();
    file.seek(SeekFrom::Start(IMGA)).unwrap();
    file.write_all(&fs::read(root).unwrap()).unwrap();
    disk
}

/// A machine that tries the folders `disks`, and then `last`.
pub(super) fn start(folder: &Path, disks: &[PathBuf], last: &Path, more: &[&str]) -> Started {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-nodefaults", "-machine", "q35,smm=on,accel=tcg", "-cpu", "max", "-m", "512", "-display", "none"]).args(more);
    qemu.args(["-global", "ICH9-LPC.disable_s3=1", "-global", "driver=cfi.pflash01,property=secure,value=on"]);
    qemu.args(["-drive", &format!("if=pflash,unit=0,format=raw,readonly=on,file={CODE}")]);
    qemu.args(["-drive", &format!("if=pflash,unit=1,format=raw,file={}", folder.join("vars.fd").display())]);
    qemu.args(["-serial", &format!("file:{}", folder.join("console.log").display())]);
    let folders = disks.iter().map(|disk| format!("format=vvfat,dir={}", disk.display()));
    for (index, drive) in folders.chain([format!("format=raw,file={}", last.display())]).enumerate() {
        qemu.args(["-drive", &format!("if=none,id=disk{index},{drive}")]);
        qemu.args(["-device", &format!("virtio-blk-pci,drive=disk{index},bootindex={}", index + 1)]);
    }
    Started(qemu.stdin(Stdio::null()).spawn().unwrap())
}

/// The console, when `text` is on it.
pub(super) fn wait_for(machine: &mut Started, console: &Path, text: &str) -> String {
    let start = Instant::now();
    loop {
        let said = fs::read(console).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        if said.contains(text) {
            return said;
        }
        assert!(machine.0.try_wait().unwrap().is_none() && start.elapsed() < LIMIT, "no `{text}`:\n{said}");
        sleep(Duration::from_millis(500));
    }
}
