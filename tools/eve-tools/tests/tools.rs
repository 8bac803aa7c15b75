//! Runs the program like its images do (standard input, arguments, environment, exit code) and compares results with the
//! library's.
#![allow(clippy::unwrap_used)]

mod common;

use common::{CONF, EPOCH, ROOT, same, tar};
use diskimage::{eve, recipes};
use std::{
    fs::{self, File},
    io::{Seek as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// A command with only the images' environment.
fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eve-tools"));
    command.args(args).env_clear().env("SOURCE_DATE_EPOCH", EPOCH.to_string()).env("ROOTFS_VERSION", "1.2.3");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run_command(mut command: Command, stdin: &[u8]) -> Output {
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // A tool that fails before reading closes the pipe.
    let _ = pipe.write_all(stdin);
    drop(pipe);
    child.wait_with_output().unwrap()
}

fn run(args: &[&str], stdin: &[u8]) -> Output {
    run_command(program(args), stdin)
}

/// Must succeed without output.
fn succeed(args: &[&str], stdin: &[u8]) -> Vec<u8> {
    let output = run(args, stdin);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Must fail; returns the message.
fn fail(args: &[&str], stdin: &[u8]) -> String {
    let output = run(args, stdin);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{text}");
    assert!(text.starts_with("error: "), "{text}");
    text
}

/// A folder with the parts of a live disk, and a root file system with the files for an ESP.
struct Parts {
    folder: tempfile::TempDir,
}

impl Parts {
    fn new() -> Self {
        let parts = Self { folder: tempfile::tempdir().unwrap() };
        succeed(&["mkconf", parts.text("config.img")], &tar(CONF));
        succeed(&["mkrootfs-squash", parts.text("rootfs.img")], &tar(ROOT));
        fs::write(parts.path("persist.img"), vec![0; 1 << 20]).unwrap();
        parts
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> &'static str {
        self.path(name).to_str().unwrap().to_owned().leak()
    }
}

#[test]
fn config_and_rootfs_are_the_librarys() {
    let parts = Parts::new();
    same(File::open(parts.path("config.img")).unwrap(), common::config());
    same(File::open(parts.path("rootfs.img")).unwrap(), common::rootfs());
    same(&succeed(&["mkrootfs-squash"], &tar(ROOT))[..], common::rootfs());
    succeed(&["mkrootfs-ext4", parts.text("rootfs.ext4")], &tar(ROOT));
    same(File::open(parts.path("rootfs.ext4")).unwrap(), common::ext4());
    same(&succeed(&["mkrootfs-ext4"], &tar(ROOT))[..], common::ext4());
}

#[test]
fn installers_are_the_librarys() {
    let parts = Parts::new();
    common::place(parts.folder.path(), common::INSTALLER);
    let out = tempfile::tempdir().unwrap();
    let (iso, raw) = (out.path().join("installer.iso"), out.path().join("installer.raw"));
    let (folder, iso, raw) = (parts.folder.path().to_str().unwrap(), iso.to_str().unwrap(), raw.to_str().unwrap());
    succeed(&["mkimage-iso-efi", "--parts", folder, "--out", iso, "installer"], b"");
    same(File::open(iso).unwrap(), common::iso(parts.folder.path()));
    succeed(&["mkimage-raw-efi", "--parts", folder, raw, "conf_win installer inventory_win"], b"");
    same(File::open(raw).unwrap(), common::installer(parts.folder.path()));
    fs::remove_file(raw).unwrap();
    fs::write(parts.path("verification.img"), "payload").unwrap();
    succeed(&["mkverification-raw-efi", "--parts", folder, raw, "conf_win verification inventory_win"], b"");
    assert_eq!(Path::new(raw).metadata().unwrap().len(), eve::VERIFICATION_DISK_SIZE);
    let files: Vec<(&str, &[u8])> = common::INSTALLER.to_vec();
    succeed(&["mkimage-iso-efi", "--parts", "/nonexistent", "--out", iso], &tar(&files));
    assert!(Path::new(iso).metadata().unwrap().len() > 90_000);
}

#[test]
fn a_disk_is_the_librarys_from_a_folder_and_from_a_tar() {
    let parts = Parts::new();
    let mut live = common::live(parts.folder.path());
    let out = parts.text("live.raw");
    File::create(out).unwrap().set_len(eve::DISK_SIZE).unwrap();
    let folder = parts.folder.path().to_str().unwrap();
    succeed(&["mkimage-raw-efi", "--parts", folder, out, "efi", "conf", "imga"], b"");
    same(File::open(out).unwrap(), &live);
    live.rewind().unwrap();
    fs::remove_file(out).unwrap();
    let images: Vec<(&str, Vec<u8>)> = ["rootfs.img", "config.img"].map(|name| (name, fs::read(parts.path(name)).unwrap())).into();
    let images: Vec<(&str, &[u8])> = images.iter().map(|(name, bytes)| (*name, &bytes[..])).collect();
    succeed(&["mkimage-raw-efi", "--parts", "/nonexistent", out, "efi conf imga"], &tar(&images));
    same(File::open(out).unwrap(), &live);
}

#[test]
fn without_a_given_time_the_newest_of_the_input_counts() {
    let folder = tempfile::tempdir().unwrap();
    let image = |name: &str, epoch: Option<&str>| {
        let path = folder.path().join(name);
        let mut command = program(&["mkconf", path.to_str().unwrap()]);
        match epoch {
            Some(epoch) => command.env("SOURCE_DATE_EPOCH", epoch),
            None => command.env_remove("SOURCE_DATE_EPOCH"),
        };
        let output = run_command(command, &tar(CONF));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read(path).unwrap()
    };
    let implied = image("a.img", None);
    assert!(implied == image("b.img", Some("1700000000")));
    assert!(implied != image("c.img", Some("0")));
}

#[test]
fn random_identities_come_only_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("usb.raw");
    let disk = |args: &[&str]| {
        File::create(&path).unwrap().set_len(64 << 20).unwrap();
        succeed(
            &[&["mkimage-raw-efi", "--parts", "/nonexistent"], args, &[path.to_str().unwrap(), "usb_conf"]].concat(),
            &tar(&[("usb.json", b"{}")]),
        );
        fs::read(&path).unwrap()
    };
    same(&disk(&[])[..], &disk(&[])[..]);
    let (first, second) = (disk(&["-r"]), disk(&["-r"]));
    assert_ne!(first[512..1024], second[512..1024]);
}

/// The folder has no new file, and the file at the output's path is unchanged.
fn untouched(folder: &Path) {
    let names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["out.img"]);
    assert_eq!(fs::read(folder.join("out.img")).unwrap(), b"old");
}

#[test]
fn bad_input_is_one_error_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.img");
    fs::write(&out, "old").unwrap();
    let out = out.to_str().unwrap();
    let large = vec![7; 2 << 20];
    let no_parts = ["mkimage-raw-efi", "--parts", "/nonexistent", out];
    let cases: &[(&[&str], Vec<u8>, &str)] = &[
        (&[], vec![], "a tool's name is missing\nusage:"),
        (&["mkiso"], vec![], "unknown tool `mkiso`\nusage:"),
        (&["mkconf"], vec![], "mkconf takes one argument"),
        (&["mkconf", out], vec![], "cannot read standard input: the input is empty"),
        (&["mkconf", out], vec![b'x'; 5000], "cannot read standard input: cannot read the tar"),
        (&["mkconf", out], tar(&[("conf/.hidden", b"")]), "the tar contains no configuration files"),
        (&["mkconf", out], tar(&[("conf/a", b""), ("conf/large", &large)]), "the files do not fit"),
        (&["mkconf", "/dev/null"], tar(CONF), "`/dev/null` is not a regular file"),
        (&["mkrootfs-squash", out], tar(&[("EFI/BOOT/grub.cfg", b"boot")]), "no boot/cmdline"),
        (&["mkrootfs-squash", out], tar(ROOT)[..90_000].to_vec(), "cannot read the tar"),
        (&["mkrootfs-squash"], vec![], "the input is empty"),
        (&["mkimage-raw-efi"], vec![], "needs the name of the disk image"),
        (&["mkimage-raw-efi", "-x", out], vec![], "unknown option `-x`"),
        (&[&no_parts[..], &["efi", "boot"]].concat(), vec![], "unknown partition kind `boot`"),
        (&[&no_parts[..], &["conf"]].concat(), vec![], "`/nonexistent` contains no parts: cannot read standard input"),
        (&[&no_parts[..], &["imga"]].concat(), tar(CONF), "the part `rootfs.img` for the partition"),
        // The disk has the size of the existing file: three bytes.
        (&[&no_parts[..], &["conf"]].concat(), tar(&[("config.img", b"c")]), "invalid disk size of 3 bytes"),
        (&["mkrootfs-ext4", out], tar(ROOT)[..90_000].to_vec(), "cannot read the tar"),
        (&["mkrootfs-ext4", out, out], vec![], "mkrootfs-ext4 takes at most one argument"),
        (&["mkimage-iso-efi", "install"], vec![], "unknown argument `install`"),
        (
            &["mkimage-iso-efi", "--parts", "/nonexistent", "--out", out, "installer"],
            tar(ROOT),
            "the part `grub.cfg`, GRUB's configuration for the installer, is missing",
        ),
        (&["mkimage-iso-efi", "--parts", "/nonexistent", "--out", out], tar(CONF), "the part `rootfs.img` for the partition"),
        (&["mkimage-raw-efi", "/dev/zero", "conf"], vec![], "`/dev/zero` is not a regular file"),
    ];
    for (args, stdin, expected) in cases {
        let message = fail(args, stdin);
        assert!(message.contains(expected), "{args:?}: {message}");
        untouched(folder.path());
    }
    let mut command = program(&["mkconf", out]);
    command.env_remove("ROOTFS_VERSION");
    assert!(String::from_utf8(run_command(command, &tar(CONF)).stderr).unwrap().starts_with("error: ROOTFS_VERSION is not set"));
    let mut command = program(&["mkconf", out]);
    command.env("SOURCE_DATE_EPOCH", "now");
    assert!(
        String::from_utf8(run_command(command, &tar(CONF)).stderr).unwrap().starts_with("error: SOURCE_DATE_EPOCH=now is not a number")
    );
    untouched(folder.path());
}

#[test]
fn an_image_larger_than_its_partition_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.img");
    fs::write(folder.path().join("config.img"), vec![1; (1 << 20) + 1]).unwrap();
    let message = fail(&["mkimage-raw-efi", "--parts", folder.path().to_str().unwrap(), out.to_str().unwrap(), "conf"], b"");
    assert!(message.contains("the image for partition 4 `CONFIG` has 1048577 bytes, more than the partition's 1048576"), "{message}");
    assert!(!out.exists());
}

#[test]
fn a_full_disk_leaves_nothing_half_made() {
    if !Path::new("/usr/bin/prlimit").exists() {
        skips::missing("prlimit", "util-linux");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("config.img");
    let mut command = Command::new("/usr/bin/prlimit");
    // A file size limit simulates a full disk; the shell's children ignore its signal.
    let script = format!("trap '' XFSZ; exec '{}' mkconf '{}'", env!("CARGO_BIN_EXE_eve-tools"), out.display());
    command.args(["--fsize=500000", "/bin/sh", "-c", &script]).env_clear().env("ROOTFS_VERSION", "1").env("TMPDIR", folder.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = run_command(command, &tar(CONF));
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_names_of_the_original_scripts_work_too() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("make-config");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_eve-tools"), &script).unwrap();
    let mut command = Command::new(&script);
    command.arg(folder.path().join("config.img")).env_clear().env("ROOTFS_VERSION", "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = run_command(command, &tar(CONF));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(folder.path().join("config.img").metadata().unwrap().len(), recipes::CONFIG_SIZE);
}
