//! Installers in QEMU: what they write boots, and what cannot be installed is said in one line.

use crate::common::{
    Xtask,
    machine::{self, LIMIT, Machine, VERSION, free_port, turn},
    repository, scratch, tool, wants,
};
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;
/// Places on installer.raw, and on a disk that it installed, in bytes.
const CONFIG_OF_MEDIUM: u64 = 337 * MIB;
const INVENTORY: u64 = 338 * MIB;
const CONFIG_OF_TARGET: u64 = 37 * MIB;
const P3_OF_TARGET: u64 = 638 * MIB;

/// A machine whose disk is this test's own, with a TPM of its own; none, with a word about it, where installers cannot boot.
fn begin(target: &str) -> Option<Target> {
    if !machine::ready("qemu-system-x86_64") {
        return None;
    }
    // Programs are compiled for this machine's architecture only.
    if std::env::consts::ARCH != "x86_64" {
        skips::skipped(
            skips::Lack::Architecture,
            "the installer's test boots amd64, and its program is compiled for this machine's architecture",
        );
        return None;
    }
    wants("mcopy", "mtools").then(|| Target(scratch().join(target)))
}

fn xtask() -> Xtask {
    machine::xtask("amd64").env("IMAGE_FORMAT", "raw").env("MEDIA_SIZE", "2048")
}

/// `dist/amd64/<version>/NAME`.
fn built(name: &str) -> PathBuf {
    machine::folder("amd64", VERSION).join(name)
}

/// The name that mtools has for a volume at `offset` in a disk.
fn volume(disk: &Path, offset: u64) -> String {
    format!("{}@@{offset}", disk.display())
}

/// A copy of the medium whose CONFIG, `at` this offset, a person changed.
fn changed_medium(from: &Path, at: u64, name: &str, grub_cfg: &str) -> PathBuf {
    let stick = scratch().join(name);
    tool("cp", &["--sparse=always", from.to_str().unwrap(), stick.to_str().unwrap()]);
    for (name, text) in [("grub.cfg", grub_cfg), ("server", "changed.example\n")] {
        let file = stick.with_extension(name);
        std::fs::write(&file, text).unwrap();
        tool("mcopy", &["-o", "-i", &volume(&stick, at), file.to_str().unwrap(), &format!("::/{name}")]);
    }
    stick
}

/// What a machine printed.
struct Console(String);

impl Console {
    /// The last line with a text.
    fn line(&self, text: &str) -> &str {
        self.0.lines().rfind(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text} in {}", self.0)).trim()
    }
}

/// The disk on which a test installs.
struct Target(PathBuf);

impl Target {
    /// Runs the verb until the console prints `until`.
    fn run(&self, verb: &str, name: &str, until: &str, more: &[&str]) -> Console {
        let _turn = turn();
        let log = scratch().join(format!("{name}.log"));
        let port = free_port().to_string();
        let words = [verb, "--until", until, "--timeout", LIMIT, "--serial-log", log.to_str().unwrap(), "--ssh-port", &port];
        xtask().args(words).args(["--target"]).args([&self.0]).args(more).ok();
        Console(String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned())
    }

    /// The same; the line with that.
    fn boot(&self, verb: &str, name: &str, until: &str, more: &[&str]) -> String {
        self.run(verb, name, until, more).line(until).to_owned()
    }
}

/// Where the data of a file in an ISO begin, in bytes.
fn place_in_iso(iso: &Path, file: &str) -> u64 {
    let said = tool("xorriso", &["-indev", iso.to_str().unwrap(), "-find", file, "-exec", "report_lba", "--"]);
    // `File data lba:  0 ,      123 ,      512 ,  1048576 , '/config.img'`
    let line = said.lines().find(|line| line.starts_with("File data lba:")).unwrap_or_else(|| panic!("{said}"));
    line.split(',').nth(1).unwrap().trim().parse::<u64>().unwrap() * 2048
}

/// A disk of another system: a partition table, and an ext4 at `offset`.
fn used_disk(path: &Path, mebibytes: u64, offset: Option<u64>) {
    let _ = std::fs::remove_file(path);
    std::fs::File::create(path).unwrap().set_len(mebibytes * MIB).unwrap();
    let path = path.to_str().unwrap();
    tool("sgdisk", &["-n", "1:0:+32M", "-c", "1:Microsoft reserved partition", path]);
    if let Some(offset) = offset {
        tool("sgdisk", &["-n", &format!("2:{}:0", offset / 512), "-c", "2:home", path]);
        tool("mkfs.ext4", &["-q", "-F", "-E", &format!("offset={offset}"), path, "300M"]);
    }
}

#[test]
fn a_changed_stick_installs_on_large_sectors_although_the_power_went_and_the_result_boots() {
    let Some(target) = begin("target-large.img") else { return };
    xtask().args(["installer-raw"]).ok();
    let grub = "set_global eve_install_disk nvme0n1\nset_global dom0_extra_args \"$dom0_extra_args eve_soft_serial=test-1\"\n";
    let stick = changed_medium(&built("installer.raw"), CONFIG_OF_MEDIUM, "stick-large.raw", grub);
    let medium = ["--medium", stick.to_str().unwrap(), "--disk-bus", "usb"];
    let disk = ["--target-bus", "nvme", "--target-sector", "4096"];

    // The power goes while the root file system is written.
    target.boot("run-installer-raw", "installer-lost", "installer: writing IMGA", &[&medium[..], &disk].concat());
    let line = target.boot("run-installer-raw", "installer", "EVE-INSTALLED", &[&medium[..], &disk, &["--again", "--tpm"]].concat());
    assert_eq!(line, format!("EVE-INSTALLED {VERSION}-kvm-amd64 disk=nvme0n1 report=test-1"));
    let report = |name: &str| tool("mtype", &["-i", &volume(&stick, INVENTORY), &format!("::/test-1/{name}")]);
    assert!(report("installer.log").contains("installed and read back"), "{}", report("installer.log"));
    assert!(report("hardware.txt").contains("product_serial: 31415926"), "{}", report("hardware.txt"));
    assert!(report("hardware.txt").contains("nvme0n1: 2147483648 bytes, sectors of 4096"), "{}", report("hardware.txt"));
    // PCR 15 was extended with `installer` and its line feed, so no shell here gets what is sealed to the zeros of before.
    let marked = "15: CF8D5F8474EA01CF45C621E09D2BA465F532F337322222517A2F39C384330160\n";
    assert!(report("tpm.txt").contains("[pcr-sha256]") && report("tpm.txt").contains(marked), "{}", report("tpm.txt"));
    let installed = &target.0;
    let config = |name: &str| tool("mtype", &["-i", &volume(installed, CONFIG_OF_TARGET), &format!("::/{name}")]);
    assert_eq!((config("server").as_str(), config("soft_serial").trim()), ("changed.example\n", "test-1"));

    let console = target.run("run-target", "target", "EVE-READY", &[&disk[..], &["--tpm"]].concat());
    let line = console.line("EVE-READY");
    assert!(line.starts_with(&format!("EVE-READY {VERSION}-kvm-amd64")) && line.contains(" persist=new"), "{line}");
    // `run-target` asks for a login in CONFIG, which has the disk's sectors; the key in there does not give it.
    console.line("no login on the consoles: /config/authorized_keys has a key for ssh");
}

#[test]
fn an_iso_on_a_stick_installs_on_the_disk_that_fits_and_the_machine_starts_again() {
    let Some(target) = begin("target-used.img") else { return };
    if ![("xorriso", "xorriso"), ("sgdisk", "gdisk"), ("mkfs.ext4", "e2fsprogs")].iter().all(|(program, package)| wants(program, package)) {
        return;
    }
    xtask().args(["installer-iso"]).ok();
    let words = "set_global eve_persist_disk vdb\nset_global eve_nuke_disks nvme0n1\nset_global eve_reboot_after_install\n";
    let iso = built("installer.iso");
    let stick = changed_medium(&iso, place_in_iso(&iso, "/config.img"), "stick-used.iso", words);
    // Where P3 begins there is another system's file system. The disk that the installer would rather take is too small.
    let (small, persist) = (scratch().join("small.raw"), scratch().join("persist.raw"));
    used_disk(&target.0, 2048, Some(P3_OF_TARGET));
    used_disk(&small, 64, None);
    used_disk(&persist, 512, Some(64 * MIB));
    let more = [small.display(), persist.display()].map(|path| path.to_string());
    let more = [format!("nvme:{}", more[0]), format!("virtio:{}", more[1])];
    let medium = ["--medium", stick.to_str().unwrap(), "--disk-bus", "usb", "--target-bus", "virtio", "--again"];
    // In one go: installed, started again, and ready.
    let console = target.run(
        "run-installer-raw",
        "installer-stick",
        "EVE-READY",
        &[&medium[..], &["--more-disk", &more[0], "--more-disk", &more[1]]].concat(),
    );
    for line in ["installer: removed the partition tables of nvme0n1", "installer: writing P3 on vdb", "The machine starts again."] {
        console.line(line);
    }
    assert_eq!(console.line("EVE-INSTALLED"), format!("EVE-INSTALLED {VERSION}-kvm-amd64 disk=vda persist=vdb"));
    let line = console.line("EVE-READY");
    assert!(line.starts_with(&format!("EVE-READY {VERSION}-kvm-amd64")) && line.ends_with(" persist=new slot=A"), "{line}");
    // The first boot made the file system of P3 where the installer put it.
    let has_ext4 = |disk: &Path, partition: u64| {
        let mut magic = [0; 2];
        std::os::unix::fs::FileExt::read_exact_at(&std::fs::File::open(disk).unwrap(), &mut magic, partition + 1024 + 56).unwrap();
        magic == [0x53, 0xef]
    };
    assert!(has_ext4(&persist, MIB));
    assert!(tool("sgdisk", &["-p", small.to_str().unwrap()]).contains("Creating new GPT entries"), "{}", small.display());
    let table = tool("sgdisk", &["-v", "-p", target.0.to_str().unwrap()]);
    assert!(table.contains("No problems found") && table.contains("IMGB") && !table.contains("home"), "{table}");
}

#[test]
fn the_installer_waits_for_a_person_and_then_says_why_there_is_no_disk_to_install_on() {
    let Some(target) = begin("target-small.img") else { return };
    if !wants("script", "bsdutils") {
        return;
    }
    xtask().args(["installer-raw"]).ok();
    let stick = changed_medium(&built("installer.raw"), CONFIG_OF_MEDIUM, "stick-small.raw", "set_global eve_pause_before_install\n");
    let _turn = turn();
    let words = ["IMAGE_FORMAT=raw", "MEDIA_SIZE=512", "run-installer-raw", "--medium", stick.to_str().unwrap()];
    let machine = Machine::on_terminal(&[&words[..], &["--target", target.0.to_str().unwrap()]].concat(), "installer-small");
    machine.wait_for_line("The installer waits before it installs. Type exit to go on.");
    machine.type_line("echo typed > /dev/console; exit");
    let line = machine.wait_for_line("EVE-FAILED");
    assert!(machine.console().lines().any(|line| line.trim_end() == "typed"), "{}", machine.console());
    let small = "it has 512 MiB, less than the needed 895";
    let medium = "it is the medium of this installer";
    let wanted =
        |first: &str, second: &str| format!("EVE-FAILED install: disk: there is no disk to install on (sda: {first}; sdb: {second})");
    // Linux finds the two disks at the same time and names them as they come.
    assert!(line == wanted(small, medium) || line == wanted(medium, small), "{line}");
}

#[test]
fn a_cd_installs_and_a_verification_reports_its_checks() {
    let Some(target) = begin("target-cd.img") else { return };
    xtask().args(["installer-iso"]).ok();
    xtask().args(["verification-raw"]).ok();
    let line = target.boot("run-installer-iso", "installer-iso", "EVE-INSTALLED", &[]);
    assert_eq!(line, format!("EVE-INSTALLED {VERSION}-kvm-amd64 disk=sda"));

    let words = "set_global dom0_extra_args \"eve_soft_serial=test-2\"\n";
    let stick = changed_medium(&built("verification.raw"), CONFIG_OF_MEDIUM, "stick-verification.raw", words);
    let line = target.boot("run-verification-raw", "verification", "EVE-INSTALLED", &["--medium", stick.to_str().unwrap(), "--tpm"]);
    let summary = Xtask::new(&repository()).within(&scratch()).args(["extract-verification-info", stick.to_str().unwrap()]).ok();
    // Linux finds the stick and the disk at the same time and names them as they come.
    let disk = if line.contains("disk=sdb ") { "sdb" } else { "sda" };
    let storage = format!("ok: storage {disk}: 64 MiB read at");
    for wanted in ["ok: memory: ", "ok: TPM: version 2", &storage, "ok: network eth0: DHCP answers"] {
        assert!(summary.contains(wanted), "{wanted}: {summary}");
    }
    // QEMU's processor has virtualization for the guest or not, as this machine's allows.
    let found = if summary.contains("FAILED: processor: ") { "1-failed" } else { "ok" };
    assert_eq!(line, format!("EVE-INSTALLED {VERSION}-kvm-amd64 disk={disk} verification={found} report=test-2"));
}

#[test]
fn a_server_installs_by_the_firmwares_network_boot_and_by_ipxe() {
    let Some(target) = begin("target-net.img") else { return };
    xtask().args(["installer-net"]).ok();
    let line = target.boot("run-installer-net", "installer-net", "EVE-INSTALLED", &[]);
    assert_eq!(line, format!("EVE-INSTALLED {VERSION}-kvm-amd64 disk=sda"));
    // The network card's iPXE runs the script, whose words the installer obeys. What follows is as above.
    let line = target.boot("run-installer-net", "installer-ipxe", "installer: installing", &["--ipxe"]);
    assert!(line.ends_with(" on sda, 2048 MiB, machine 52-54-00-12-34-56"), "{line}");
}
