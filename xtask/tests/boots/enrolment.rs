//! A signed installer has a firmware in setup mode take its keys. From then on the firmware starts what it installed, and the installer itself, and
//! refuses installers that were changed, and programs of others.

use super::secure_boot::{GRUB, Started, UNIFIED, VARIABLES, can_boot_signed, empty_folder, program, refused, start, two_owners, wait_for};
use crate::common::{
    machine::{configuration, turn, xtask},
    repository, tool,
};
use secureboot::{store::variables, uki::section};
use std::{
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

/// The version of the signed installer.
const VERSION: &str = "boot-test-enrolment";
/// What GRUB prints when it starts a kernel that nobody has checked.
const UNCHECKED: &str = "Booting `Boot EVE from ";

#[test]
fn an_installer_enrols_its_keys_and_its_system_starts_alone() {
    // Programs of packages are compiled for this machine's architecture only.
    if std::env::consts::ARCH != "x86_64" {
        skips::skipped(
            skips::Lack::Architecture,
            "the installer's program is compiled for this machine's architecture, and the test boots amd64",
        );
        return;
    }
    if !can_boot_signed() {
        return;
    }
    let (folder, safe) = (empty_folder("enrolment"), tempfile::tempdir().unwrap());
    let [keys, others] = two_owners(safe.path());
    let make = |verb: &str, word: &str| {
        let conf = conf(&folder, word);
        xtask("amd64").env("ROOTFS_VERSION", VERSION).env("CONF_DIR", &conf).args([verb, "--sign", "--keys", &keys]).ok();
    };
    make("installer-raw", "eve_enroll_keys");
    let medium = built("installer.raw");
    // A machine without an operating system, whose firmware has no keys.
    fs::copy(VARIABLES, folder.join("vars.fd")).unwrap();
    let disk = folder.join("disk.raw");
    fs::File::create(&disk).unwrap().set_len(1 << 30).unwrap();

    // The installer writes its report to the stick.
    let stick = folder.join("stick.raw");
    tool("cp", &["--sparse=always", medium.to_str().unwrap(), stick.to_str().unwrap()]);
    let console = install(&folder, &stick, &disk);
    let line = console.lines().find(|line| line.starts_with(&format!("EVE-INSTALLED {VERSION}-kvm-amd64 disk=vd"))).unwrap_or_default();
    assert!(console.contains(UNCHECKED) && line.contains(" keys=enrolled"), "{console}");
    let enrolled = variables(&fs::read(folder.join("vars.fd")).unwrap()).unwrap();
    for name in ["PK", "KEK", "db"] {
        let value = enrolled.iter().find(|variable| variable.name == name).map(|variable| &variable.data);
        assert!(value == Some(&fs::read(format!("{keys}/{name}.esl")).unwrap()), "{name}");
    }

    let [grub, unified] = [GRUB, UNIFIED].map(|path| program(&folder, &medium, path, &keys));
    let line = String::from_utf8_lossy(section(&unified, ".cmdline").unwrap().unwrap()).into_owned();
    assert!(line.contains(" root=LoaderDevicePartUUID rootimg=/rootfs_installer.img ") && line.contains(" eve_verity "), "{line}");
    // Installers that were changed, signed by others, or not signed; and then one that is as it was made, on a stick.
    make("installer-iso", "eve_install_disk none");
    let refused = refused(&folder, &grub, &unified, &others);
    let console = until(&folder, &refused, &built("installer.iso"), "EVE-FAILED install: ");
    let denied = console.matches("Access Denied").count();
    assert!(denied == refused.len() && console.matches("Welcome to GRUB!").count() == 1, "{denied} are refused:\n{console}");
    // It has read CONFIG, so it is the one with this word.
    assert!(console.contains("EVE-FAILED install: disk: there is no disk none; disks are vd") && !console.contains(UNCHECKED), "{console}");

    let console = until(&folder, &[], &disk, "EVE-READY");
    assert!(console.contains(&format!("EVE-READY {VERSION}-kvm-amd64")) && !console.contains(UNCHECKED), "{console}");
    fs::remove_dir_all(folder).unwrap();
}

/// A configuration whose grub.cfg has one setting of the installer.
fn conf(folder: &Path, word: &str) -> String {
    let conf = folder.join("conf");
    fs::create_dir_all(&conf).unwrap();
    for entry in fs::read_dir(configuration()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), conf.join(entry.file_name())).unwrap();
    }
    fs::write(conf.join("grub.cfg"), format!("set_global {word}\n")).unwrap();
    conf.display().to_string()
}

fn built(name: &str) -> PathBuf {
    repository().join("dist/amd64").join(VERSION).join(name)
}

/// The console of a machine that installs from `medium` on `disk`, and then goes off.
fn install(folder: &Path, medium: &Path, disk: &Path) -> String {
    let _turn = turn();
    let drive = format!("if=none,id=target,format=raw,file={}", disk.display());
    let mut machine = boot(folder, &[], medium, &["-drive", &drive, "-device", "virtio-blk-pci,drive=target"]);
    let console = folder.join("console.log");
    let said = wait_for(&mut machine, &console, "The machine goes off.");
    for _ in 0..120 {
        if machine.0.try_wait().unwrap().is_some() {
            return said;
        }
        sleep(Duration::from_millis(500));
    }
    panic!("the machine did not go off:\n{said}");
}

/// The console, with `text` on it, of a machine that tries the folders `disks`, and then `last`.
fn until(folder: &Path, disks: &[PathBuf], last: &Path, text: &str) -> String {
    let _turn = turn();
    let mut machine = boot(folder, disks, last, &[]);
    // The whole line.
    wait_for(&mut machine, &folder.join("console.log"), text);
    sleep(Duration::from_secs(1));
    fs::read(folder.join("console.log")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap()
}

fn boot(folder: &Path, disks: &[PathBuf], last: &Path, more: &[&str]) -> Started {
    let _ = fs::remove_file(folder.join("console.log"));
    // GRUB keeps the whole root file system of an ISO in memory while it measures it, and EVE is ready when it has a lease.
    start(folder, disks, last, &[&["-no-reboot", "-m", "1024", "-nic", "user,model=virtio-net-pci"], more].concat())
}
