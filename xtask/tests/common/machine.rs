//! Boots of images in QEMU for tests: an image that is built once, a disk on top of it, and a machine that goes on after it is ready.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, missing_docs)]

use super::{Xtask, repository, scratch, skip_boots, tool, wants};
use std::{
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Condvar, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

/// The version of the images that these tests build, apart from a person's own.
pub const VERSION: &str = "boot-test";
/// Seconds that a boot may take under emulation on a busy machine.
pub const LIMIT: &str = "600";

/// The number of machines that run now. Without acceleration a machine keeps one processor busy.
static RUNNING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// A place for one machine; free again when this is dropped.
pub struct Turn(());

/// Waits until a processor has no machine of this program. A test that waits for a second place while it has one may wait for ever.
pub fn turn() -> Turn {
    let places = std::thread::available_parallelism().map_or(1, usize::from);
    let running = RUNNING.0.lock().unwrap_or_else(PoisonError::into_inner);
    *RUNNING.1.wait_while(running, |running| *running >= places).unwrap_or_else(PoisonError::into_inner) += 1;
    Turn(())
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        RUNNING.1.notify_one();
    }
}

/// Whether boots can run here; says loudly when not.
pub fn ready(qemu: &str) -> bool {
    if let Some(why) = skip_boots() {
        skips::skipped(skips::Lack::Request, why);
        return false;
    }
    if !wants(qemu, if qemu == "qemu-system-x86_64" { "qemu-system-x86" } else { "qemu-system-arm" }) {
        return false;
    }
    true
}

/// A configuration folder with a key of our own, and `set_getty`, which the key makes void; made once.
pub fn configuration() -> &'static Path {
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
        std::fs::OpenOptions::new().append(true).open(folder.join("grub.cfg")).unwrap().write_all(b"set_getty\n").unwrap();
        folder
    })
}

pub fn xtask(arch: &str) -> Xtask {
    Xtask::new(&repository()).env("ROOTFS_VERSION", VERSION).env("CONF_DIR", configuration()).env("ZARCH", arch)
}

/// The live image of an architecture, built once.
pub fn image(arch: &'static str) -> PathBuf {
    static BUILT: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !built.contains(&arch) {
        xtask(arch).args(["live"]).ok();
        built.push(arch);
    }
    folder(arch, VERSION).join("live.qcow2")
}

/// The folder of a build.
pub fn folder(arch: &str, version: &str) -> PathBuf {
    repository().join("dist").join(arch).join(version)
}

/// A disk of its own for one test, on top of the image.
pub fn disk(image: &Path, name: &str) -> PathBuf {
    let disk = scratch().join(format!("{name}.qcow2"));
    let _ = std::fs::remove_file(&disk);
    tool("qemu-img", &["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image.to_str().unwrap(), disk.to_str().unwrap()]);
    disk
}

/// Boots until the guest says that it is ready; the line in which it does.
pub fn boot(arch: &str, disk: &Path, name: &str, more: &[&str]) -> String {
    let _turn = turn();
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

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A machine that goes on after it is ready.
pub struct Machine {
    child: Mutex<Child>,
    log: PathBuf,
    pub port: u16,
}

impl Machine {
    /// A machine with `disk`, on top of an image of [`VERSION`].
    pub fn start(disk: &Path, name: &str) -> Self {
        Self::start_of(VERSION, disk, name)
    }

    /// The same for an image of `version`, whose build has the machine's firmware.
    pub fn start_of(version: &str, disk: &Path, name: &str) -> Self {
        Self::start_for(LIMIT, version, disk, name)
    }

    /// The same for a machine that runs for at most `limit` seconds.
    pub fn start_for(limit: &str, version: &str, disk: &Path, name: &str) -> Self {
        Self::start_with(limit, version, disk, name, &["--disk-bus", "virtio"])
    }

    /// The same with more options of `run`.
    pub fn start_with(limit: &str, version: &str, disk: &Path, name: &str, more: &[&str]) -> Self {
        let log = scratch().join(format!("{name}.log"));
        let _ = std::fs::remove_file(&log);
        let port = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.arg("--root").arg(repository()).args(["run", "--memory", "1024", "--timeout", limit, "--disk"]).arg(disk).args(more);
        command.arg("--serial-log").arg(&log).args(["--ssh-port", &port.to_string()]);
        command.env("ROOTFS_VERSION", version).env("CONF_DIR", configuration()).env("ZARCH", "amd64");
        let said = std::fs::File::create(log.with_extension("said")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn().unwrap();
        Self { child: Mutex::new(child), log, port }
    }

    /// A machine that a verb with these words runs on a terminal, into which the test types.
    pub fn on_terminal(words: &[&str], name: &str) -> Self {
        let log = scratch().join(format!("{name}.log"));
        let _ = std::fs::remove_file(&log);
        let port = free_port();
        let (root, port_word) = (repository(), port.to_string());
        let start = [env!("CARGO_BIN_EXE_xtask"), "--root", root.to_str().unwrap()];
        let end = ["--memory", "1024", "--serial-log", log.to_str().unwrap(), "--ssh-port", &port_word];
        let line: Vec<String> = start.iter().chain(words).chain(&end).map(|word| format!("'{word}'")).collect();
        let mut command = Command::new("script");
        command.args(["-qec", &format!("exec {}", line.join(" ")), "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::null());
        command.env("ROOTFS_VERSION", VERSION).env("CONF_DIR", configuration()).env("ZARCH", "amd64");
        Self { child: Mutex::new(command.spawn().unwrap()), log, port }
    }

    /// Types a line on the terminal of the machine.
    pub fn type_line(&self, line: &str) {
        let mut child = self.child.lock().unwrap();
        child.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    pub fn console(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// What `run` said beside the console.
    fn said(&self) -> String {
        std::fs::read_to_string(self.log.with_extension("said")).unwrap_or_default()
    }

    pub fn ready_line(&self) -> String {
        self.wait_for_line("EVE-READY")
    }

    /// The first line of the console with `text`, when it is whole: the machine writes while we read.
    pub fn wait_for_line(&self, text: &str) -> String {
        let until = Instant::now() + Duration::from_secs(LIMIT.parse().unwrap());
        while Instant::now() < until {
            if let Some(line) = self.console().split_inclusive('\n').find(|line| line.contains(text) && line.ends_with('\n')) {
                return line.trim_end().to_owned();
            }
            assert!(self.child.lock().unwrap().try_wait().unwrap().is_none(), "the machine ended:\n{}\n{}", self.console(), self.said());
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("no {text} in {LIMIT} s:\n{}\n{}", self.console(), self.said());
    }

    /// A command for the machine's root shell.
    pub fn ssh_command(&self, command: &str) -> Command {
        let key = scratch().join("ssh.key");
        let options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=60", "LogLevel=ERROR"];
        let mut ssh = Command::new("ssh");
        ssh.arg("-i").arg(key).args(["-p", &self.port.to_string(), "-o", "IdentitiesOnly=yes"]);
        for option in options {
            ssh.args(["-o", option]);
        }
        ssh.args(["root@localhost", command]).stdin(Stdio::null());
        ssh
    }

    pub fn try_ssh(&self, command: &str) -> bool {
        self.ssh_command(command).status().unwrap().success()
    }

    pub fn ssh(&self, command: &str) {
        assert!(self.try_ssh(command), "over ssh: {command}\n{}", self.console());
    }

    /// What a command prints.
    pub fn answer(&self, command: &str) -> Vec<u8> {
        let output = self.ssh_command(command).output().unwrap();
        assert!(output.status.success(), "over ssh: {command}: {}\n{}", String::from_utf8_lossy(&output.stderr), self.console());
        output.stdout
    }

    /// Compares the event log and the PCRs of this machine, which was started from a disk on top of `image`, with what `pcrs` says of it with the
    /// `options` that name its firmware: no PCR differs, and only those of the firmware's code and of the machine itself are unknown. PCR 15 says that
    /// /persist is not encrypted.
    pub fn check_pcrs(&self, image: &Path, name: &str, options: &[&str]) {
        let [log, values] = ["events", "pcrs"].map(|what| scratch().join(format!("{name}-{what}")));
        std::fs::write(&log, self.answer("cat /sys/kernel/security/tpm0/binary_bios_measurements")).unwrap();
        let read = self.answer("grep . /sys/class/tpm/tpm0/pcr-sha256/*");
        // SHA-256 of 32 zeros and of the digest of `persist plain` with its line feed.
        let plain = "/15:EDC6D6962825A1445CCAC98346FF3E167B8FB1C1DE945B52B072F32565A142D7\n";
        assert!(String::from_utf8_lossy(&read).contains(plain), "{}", String::from_utf8_lossy(&read));
        assert_eq!(self.answer("cat /run/eve/measured-persist"), b"persist plain\n");
        std::fs::write(&values, read).unwrap();
        let files = [Path::new("pcrs"), image, Path::new("--log"), &log, Path::new("--values"), &values];
        let version = image.parent().and_then(Path::file_name).unwrap();
        let said = xtask("amd64").env("ROOTFS_VERSION", version).args(files).args(options).output();
        let text = [said.stdout, said.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(said.status.success(), "{text}");
        let states: Vec<(&str, &str)> = text.lines().filter_map(|line| Some((line.get(..2)?.trim(), line.get(4..13)?.trim()))).collect();
        let known = ["2", "3", "4", "5", "6", "7", "8", "9", "11", "12", "13", "14"].map(|pcr| (pcr, "as said"));
        assert_eq!(states, [&[("0", "not said"), ("1", "not said")], &known[..]].concat(), "{text}");
        assert!(text.contains("2 of 4 events as said") && text.matches(", and the TPM's value").count() == known.len() - 1, "{text}");
    }

    pub fn wait_for_end(&self) {
        let until = Instant::now() + Duration::from_secs(120);
        while self.child.lock().unwrap().try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "the machine did not power off:\n{}", self.console());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // The program ends its QEMU when it is asked to end.
        let _ = Command::new("kill").arg(child.id().to_string()).status();
        let _ = child.wait();
    }
}
