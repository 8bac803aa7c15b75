//! A docker daemon of a test's own.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A docker daemon with everything in one folder, without networks. It ends with the value.
pub struct Daemon {
    process: Child,
    /// Its address, for `docker --host`.
    pub host: String,
}

impl Daemon {
    /// `None`, loudly, where there can be none.
    pub fn start(folder: &Path) -> Option<Self> {
        let host = format!("unix://{}", folder.join("socket").display());
        let log = File::create(folder.join("log")).unwrap();
        if Command::new("docker").arg("--version").output().is_err() {
            skips::missing("docker", "docker.io");
            return None;
        }
        let mut command = Command::new("dockerd");
        for (option, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            command.arg(option).arg(folder.join(name));
        }
        command.args(["--host", &host, "--bridge=none", "--iptables=false", "--storage-driver=vfs"]).stdin(Stdio::null());
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let Ok(process) = command.stdout(log.try_clone().unwrap()).stderr(log).spawn() else {
            skips::missing("dockerd", "docker.io iptables");
            return None;
        };
        let mut daemon = Self { process, host };
        for _ in 0..120 {
            if Command::new("docker").args(["--host", &daemon.host, "version"]).output().is_ok_and(|output| output.status.success()) {
                return Some(daemon);
            }
            if daemon.process.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        skips::refused(&format!("the docker daemon does not come up: {}", fs::read_to_string(folder.join("log")).unwrap()));
        None
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Asked to end, the daemon ends its containerd too; killed, it would leave it behind.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}
