//! Real machines in QEMU: the image that a person builds boots on every kind of disk, with and without a TPM, keeps its data,
//! and lets its owner in. The guest itself says when all of it holds.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, repository, scratch, skip_boots, tool, wants};
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, OnceLock},
    time::{Duration, Instant},
};

/// The version of the images that these tests build, apart from a person's own.
const VERSION: &str = "boot-test";
/// Seconds that a boot may take under emulation on a busy machine.
const LIMIT: &str = "420";

/// Virtual machines emulate on all cores, so one at a time is as fast as two.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Whether boots can run here; says loudly when not.
fn ready(qemu: &str) -> bool {
    if let Some(why) = skip_boots() {
        skips::skipped(why);
        return false;
    }
    if !wants(qemu, if qemu == "qemu-system-x86_64" { "qemu-system-x86" } else { "qemu-system-arm" }) {
        return false;
    }
    true
}

/// A configuration folder with a key of our own, made once.
fn configuration() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = scratch().join("conf");
        let key = scratch().join("ssh.key");
        if !key.exists() {
            tool("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", key.to_str().unwrap()]);
        }
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        for entry in std::fs::read_dir(repository().join("conf")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
        std::fs::copy(key.with_extension("key.pub"), folder.join("authorized_keys")).unwrap();
        folder
    })
}

fn xtask(arch: &str) -> Xtask {
    Xtask::new(&repository()).env("ROOTFS_VERSION", VERSION).env("CONF_DIR", configuration()).env("ZARCH", arch)
}

/// The live image of an architecture, built once.
fn image(arch: &'static str) -> PathBuf {
    static BUILT: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !built.contains(&arch) {
        xtask(arch).args(["live"]).ok();
        built.push(arch);
    }
    repository().join("dist").join(arch).join(VERSION).join("live.qcow2")
}

/// A disk of its own for one test, on top of the image.
fn disk(image: &Path, name: &str) -> PathBuf {
    let disk = scratch().join(format!("{name}.qcow2"));
    let _ = std::fs::remove_file(&disk);
    tool("qemu-img", &["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image.to_str().unwrap(), disk.to_str().unwrap()]);
    disk
}

/// Boots until the guest says that it is ready; the line in which it does.
fn boot(arch: &str, disk: &Path, name: &str, more: &[&str]) -> String {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let log = scratch().join(format!("{name}.log"));
    let port = free_port().to_string();
    let words = ["run", "--disk", disk.to_str().unwrap(), "--memory", "1024", "--ssh-port", &port, "--serial-log", log.to_str().unwrap()];
    let output = xtask(arch).args(words).args(["--until", "EVE-READY", "--timeout", LIMIT]).args(more).output();
    let console = String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
    let tail: Vec<&str> = console.lines().rev().take(60).collect();
    let tail: String = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
    assert!(output.status.success(), "{name} did not become ready: {}\n{tail}", String::from_utf8_lossy(&output.stderr));
    console.lines().rev().find(|line| line.contains("EVE-READY")).unwrap_or_else(|| panic!("no ready line:\n{tail}")).to_owned()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn boots_from_ahci_without_a_tpm() {
    if ready("qemu-system-x86_64") {
        // QEMU emulates SVM; on a real processor it depends on the host whether guests may have guests.
        let line = boot("amd64", &disk(&image("amd64"), "ahci"), "ahci", &["--disk-bus", "ahci", "--no-accel"]);
        assert!(line.ends_with("-kvm-amd64 hv=kvm tpm=no persist=new"), "{line}");
    }
}

#[test]
fn boots_from_nvme_with_a_tpm() {
    if ready("qemu-system-x86_64") {
        if !wants("swtpm", "swtpm") {
            return;
        }
        let line = boot("amd64", &disk(&image("amd64"), "nvme"), "nvme", &["--disk-bus", "nvme", "--tpm", "--cpu", "qemu64,-svm"]);
        assert!(line.contains("hv=none tpm=yes persist=new"), "{line}");
        let console = std::fs::read_to_string(scratch().join("nvme.log")).unwrap_or_default();
        assert!(console.contains("hv=none: the processor has neither VMX nor SVM"), "{console}");
    }
}

#[test]
fn keeps_its_data_and_lets_its_owner_in_on_virtio() {
    if !ready("qemu-system-x86_64") {
        return;
    }
    let disk = disk(&image("amd64"), "virtio");
    {
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let machine = Machine::start(&disk, "virtio-first");
        assert!(machine.ready_line().contains("persist=new"));
        machine.ssh(
            "grep -q ' /config vfat ro' /proc/mounts && grep -q ' /persist ext4 rw' /proc/mounts && echo kept > /persist/proof && sync",
        );
        let refused = machine.try_ssh("touch /config/x");
        assert!(!refused, "/config must be mounted read-only");
        // Both networks have an address.
        machine.ssh("ip -4 addr show eth0 | grep -q 'inet ' && ip -4 addr show eth1 | grep -q 'inet '");
        machine.ssh("poweroff");
        machine.wait_for_end();
    }
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let machine = Machine::start(&disk, "virtio-second");
    assert!(machine.ready_line().contains("persist=kept"));
    machine.ssh("grep -q kept /persist/proof");
}

#[test]
fn arm64_is_built_here_and_boots() {
    if ready("qemu-system-aarch64") {
        let line = boot("arm64", &disk(&image("arm64"), "arm64"), "arm64", &[]);
        assert!(line.contains("persist=new"), "{line}");
    }
}

/// A machine that goes on after it is ready.
struct Machine {
    child: Mutex<Child>,
    log: PathBuf,
    port: u16,
}

impl Machine {
    fn start(disk: &Path, name: &str) -> Self {
        let log = scratch().join(format!("{name}.log"));
        let _ = std::fs::remove_file(&log);
        let port = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .arg("--root")
            .arg(repository())
            .args(["run", "--disk-bus", "virtio", "--memory", "1024", "--timeout", LIMIT, "--disk"])
            .arg(disk);
        command.arg("--serial-log").arg(&log).args(["--ssh-port", &port.to_string()]);
        command.env("ROOTFS_VERSION", VERSION).env("CONF_DIR", configuration()).env("ZARCH", "amd64");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { child: Mutex::new(child), log, port }
    }

    fn console(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn ready_line(&self) -> String {
        let until = Instant::now() + Duration::from_secs(LIMIT.parse().unwrap());
        while Instant::now() < until {
            if let Some(line) = self.console().lines().find(|line| line.contains("EVE-READY")) {
                return line.to_owned();
            }
            assert!(self.child.lock().unwrap().try_wait().unwrap().is_none(), "the machine ended:\n{}", self.console());
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("not ready in {LIMIT} s:\n{}", self.console());
    }

    fn try_ssh(&self, command: &str) -> bool {
        let key = scratch().join("ssh.key");
        let options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=60", "LogLevel=ERROR"];
        let mut ssh = Command::new("ssh");
        ssh.arg("-i").arg(key).args(["-p", &self.port.to_string(), "-o", "IdentitiesOnly=yes"]);
        for option in options {
            ssh.args(["-o", option]);
        }
        ssh.args(["root@localhost", command]).stdin(Stdio::null()).status().unwrap().success()
    }

    fn ssh(&self, command: &str) {
        assert!(self.try_ssh(command), "over ssh: {command}\n{}", self.console());
    }

    fn wait_for_end(&self) {
        let until = Instant::now() + Duration::from_secs(120);
        while self.child.lock().unwrap().try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "the machine did not power off:\n{}", self.console());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // The program ends its QEMU when it is asked to end.
        let _ = Command::new("kill").arg(child.id().to_string()).status();
        let _ = child.wait();
    }
}
