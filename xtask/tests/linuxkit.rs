//! The linuxkit engine on this repository: docker is real, with a daemon of the test's own; linuxkit is a stand-in that keeps its
//! interface. What comes out are the bytes of the native engine.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, clone_tree, daemon::Daemon, scratch, skip_boots};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

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
        return skips::skipped(skips::Lack::Request, why);
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
        xtask.args(["--engine", engine, "make", "live-raw", "rootfstar"]).ok();
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
