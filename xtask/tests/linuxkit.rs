//! The linuxkit engine on this repository: docker is real, with a daemon of the test's own; linuxkit is a stand-in that keeps its
//! interface. What comes out are the bytes of the native engine.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, clone_tree, scratch, skip_boots};
use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A docker daemon with everything in one folder, without networks. It ends with the value.
struct Daemon {
    process: Child,
    host: String,
}

impl Daemon {
    /// `None`, loudly, where there can be none.
    fn start(folder: &Path) -> Option<Self> {
        let host = format!("unix://{}", folder.join("socket").display());
        let log = File::create(folder.join("log")).unwrap();
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
        skips::skipped(&format!("the docker daemon does not come up: {}", fs::read_to_string(folder.join("log")).unwrap()));
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

/// The stand-in as `linuxkit` in a folder of its own.
fn stand_in(folder: &Path) -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("examples").join("linuxkit");
    assert!(program.is_file(), "cargo test builds the examples, so `{}` is there", program.display());
    fs::create_dir_all(folder).unwrap();
    symlink(program, folder.join("linuxkit")).unwrap();
    folder.to_owned()
}

#[test]
fn live_by_docker_and_linuxkit_has_the_bytes_of_the_native_engine() {
    if let Some(why) = skip_boots() {
        return skips::skipped(why);
    }
    // Not below the target folder: the socket's path must be short.
    let folder = tempfile::tempdir().unwrap();
    let Some(daemon) = Daemon::start(folder.path()) else { return };
    let bin = stand_in(&folder.path().join("bin"));
    let home = std::env::var("HOME").unwrap_or_default();
    let cache = std::env::var("LINUXKIT_CACHE").unwrap_or_else(|_| format!("{home}/.linuxkit/cache"));
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let of_native = scratch().join("linuxkit-engine-native");
    let build = |engine: &str, tree: &Path| {
        clone_tree(tree);
        let xtask = Xtask::new(tree).env("PATH", &path).env("LINUXKIT_CACHE", &cache).env("DOCKER_HOST", &daemon.host);
        let xtask = xtask
            .env("STANDIN_XTASK", env!("CARGO_BIN_EXE_xtask"))
            .env("STANDIN_TREE", &of_native)
            .env("ROOTFS_VERSION", "engines")
            .env("ZARCH", "amd64");
        xtask.args(["--engine", engine, "live-raw"]).ok();
        let made = tree.join("dist/amd64/engines");
        ["rootfs.tar", "installer/rootfs.img", "installer/config.img", "installer/firmware/OVMF_CODE.fd", "live.raw"]
            .map(|name| (name, fs::read(made.join(name)).unwrap()))
    };
    let native = build("native", &of_native);
    let linuxkit = build("linuxkit", &scratch().join("linuxkit-engine"));
    for ((name, one), (_, other)) in native.iter().zip(&linuxkit) {
        assert!(one == other, "{name} differs between the engines: {} and {} bytes", one.len(), other.len());
    }
}
