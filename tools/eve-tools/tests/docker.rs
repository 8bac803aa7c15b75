//! The tool images in docker: built from scratch, run like lf-edge/eve's scripts do, results compared with the library's.
//! Starts its own daemon, so it needs root; runs only with `XTASK_TEST_DOCKER=y`.
#![allow(clippy::unwrap_used)]

mod common;

use common::{CONF, EPOCH, ROOT, same, tar};
use diskimage::eve;
use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

/// A docker daemon without networks, with all its files in one folder. Dropping it stops the daemon.
struct Docker {
    daemon: Child,
    host: String,
}

impl Docker {
    /// `None`, with a message, if it cannot run.
    fn start(folder: &Path) -> Option<Self> {
        let at = |name: &str| folder.join(name).into_os_string();
        let host = format!("unix://{}", folder.join("socket").display());
        let log = File::create(folder.join("log")).unwrap();
        if Command::new("docker").arg("--version").output().is_err() {
            skips::missing("docker", "docker.io");
            return None;
        }
        let mut command = Command::new("dockerd");
        for (option, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            command.arg(option).arg(at(name));
        }
        command.args(["--host", &host, "--bridge=none", "--iptables=false", "--storage-driver=vfs"]);
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
        let Ok(daemon) = command.stdout(log.try_clone().unwrap()).stderr(log).spawn() else {
            skips::missing("dockerd", "docker.io iptables");
            return None;
        };
        let mut docker = Self { daemon, host };
        for _ in 0..120 {
            if docker.run(&["version"], b"").is_some_and(|output| output.status.success()) {
                return Some(docker);
            }
            if docker.daemon.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        skips::refused(&format!("the docker daemon does not come up: {}", fs::read_to_string(folder.join("log")).unwrap()));
        None
    }

    /// `None` if the client is missing.
    fn run(&self, args: &[&str], stdin: &[u8]) -> Option<Output> {
        let mut command = Command::new("docker");
        command.args(["--host", &self.host]).args(args).env("DOCKER_BUILDKIT", "0");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().ok()?;
        let mut pipe = child.stdin.take().unwrap();
        let _ = pipe.write_all(stdin);
        drop(pipe);
        Some(child.wait_with_output().unwrap())
    }

    fn succeed(&self, args: &[&str], stdin: &[u8]) -> Vec<u8> {
        let output = self.run(args, stdin).unwrap();
        assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// `docker run` of the image with volumes.
    fn tool(&self, image: &str, volumes: &[String], args: &[&str], stdin: &[u8]) -> Output {
        let epoch = format!("SOURCE_DATE_EPOCH={EPOCH}");
        let mut all = vec!["run", "-i", "--rm", "--network=none", "-e", "ROOTFS_VERSION=1.2.3", "-e", "ZARCH=amd64", "-e", &epoch];
        for volume in volumes {
            all.extend(["-v", volume]);
        }
        all.push(image);
        all.extend(args);
        self.run(&all, stdin).unwrap()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // SIGTERM lets the daemon stop its containerd; SIGKILL would leave it running.
        let _ = Command::new("kill").arg(self.daemon.id().to_string()).status();
        let _ = self.daemon.wait();
    }
}

/// The statically linked program, built like in `xtask/src/tools/static_binary.rs`.
fn static_program() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_eve-tools")).ancestors().nth(2).unwrap().join("static");
    let version = Command::new(env!("CARGO")).args(["--version", "--verbose"]).output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--release", "--locked", "-p", "eve-tools", "--target", host, "--target-dir"]).arg(&target);
    let status = command.current_dir(env!("CARGO_MANIFEST_DIR")).env("RUSTFLAGS", "-C target-feature=+crt-static").status().unwrap();
    assert!(status.success());
    target.join(host).join("release/eve-tools")
}

fn build_images(docker: &Docker, folder: &Path) {
    let context = folder.join("context");
    fs::create_dir(&context).unwrap();
    fs::copy(static_program(), context.join("eve-tools")).unwrap();
    for name in ["mkconf", "mkrootfs-squash", "mkrootfs-ext4", "mkimage-raw-efi", "mkverification-raw-efi", "mkimage-iso-efi"] {
        let dockerfile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pkg").join(name).join("Dockerfile");
        docker.succeed(&["build", "-t", name, "-f", dockerfile.to_str().unwrap(), context.to_str().unwrap()], b"");
    }
}

fn check(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Installation media as makeiso.sh, makeflash.sh and makeverification.sh make them.
fn check_installers(docker: &Docker, folder: &Path, parts: &Path) {
    common::place(parts, common::INSTALLER);
    common::place(parts, &[("persist.img", &[0; 4096]), ("verification.img", b"payload")]);
    let (iso, raw) = (folder.join("installer.iso"), folder.join("installer.raw"));
    File::create(&iso).unwrap();
    let volume = |path: &Path, inside: &str| format!("{}:{inside}", path.display());
    check(&docker.tool("mkimage-iso-efi", &[volume(parts, "/bits"), volume(&iso, "/output.iso")], &["installer"], b""));
    same(File::open(&iso).unwrap(), common::iso(parts));
    let volumes = [volume(parts, "/parts"), volume(&raw, "/output.img")];
    File::create(&raw).unwrap().set_len(eve::DISK_SIZE).unwrap();
    check(&docker.tool("mkimage-raw-efi", &volumes, &["/output.img", "conf_win installer inventory_win"], b""));
    same(File::open(&raw).unwrap(), common::installer(parts));
    File::create(&raw).unwrap().set_len(eve::VERIFICATION_DISK_SIZE).unwrap();
    check(&docker.tool("mkverification-raw-efi", &volumes, &["/output.img", "conf_win verification inventory_win"], b""));
}

#[test]
fn the_images_make_the_librarys_bytes() {
    if std::env::var("XTASK_TEST_DOCKER").as_deref() != Ok("y") {
        skips::skipped(skips::Lack::Request, "it runs the tool images in docker: `cargo xtask test` does, or XTASK_TEST_DOCKER=y");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(docker) = Docker::start(folder.path()) else { return };
    build_images(&docker, folder.path());
    let parts = folder.path().join("parts");
    fs::create_dir(&parts).unwrap();
    let file = |name: &str, size: u64| {
        let path = parts.join(name);
        File::create(&path).unwrap().set_len(size).unwrap();
        path
    };
    let (config, rootfs) = (file("config.img", 0), file("rootfs.img", 0));
    let volume = |path: &Path, inside: &str| format!("{}:{inside}", path.display());

    check(&docker.tool("mkconf", &[volume(&config, "/config.img")], &["/config.img"], &tar(CONF)));
    same(File::open(&config).unwrap(), common::config());
    check(&docker.tool("mkrootfs-squash", &[volume(&rootfs, "/rootfs.img")], &[], &tar(ROOT)));
    same(File::open(&rootfs).unwrap(), common::rootfs());
    let piped = docker.tool("mkrootfs-squash", &[], &[], &tar(ROOT));
    check(&piped);
    same(&piped.stdout[..], common::rootfs());

    let live = folder.path().join("live.raw");
    File::create(&live).unwrap().set_len(eve::DISK_SIZE).unwrap();
    let volumes = [volume(&parts, "/parts"), volume(&live, "/output.img")];
    check(&docker.tool("mkimage-raw-efi", &volumes, &["/output.img", "efi", "conf", "imga"], b""));
    same(File::open(&live).unwrap(), common::live(&parts));

    let ext4 = file("rootfs.ext4", 0);
    check(&docker.tool("mkrootfs-ext4", &[volume(&ext4, "/rootfs.img")], &[], &tar(ROOT)));
    same(File::open(&ext4).unwrap(), common::ext4());
    fs::remove_file(ext4).unwrap();
    check_installers(&docker, folder.path(), &parts);

    // Bad input leaves a mounted file unchanged.
    let large = vec![7; 2 << 20];
    let failed = docker.tool("mkconf", &[volume(&config, "/config.img")], &["/config.img"], &tar(&[("conf/a", b""), ("conf/b", &large)]));
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("error: cannot make config.img"));
    same(File::open(&config).unwrap(), common::config());
}
