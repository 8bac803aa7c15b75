//! The linuxkit engine on this repository: docker is real, with a daemon of the test's own; linuxkit is a stand-in that keeps its
//! interface, and where there is one the real program. What comes out are the bytes of the native engine.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use child::{Tools, docker_registry::LocalRegistry};
use common::{Xtask, clone_tree, daemon::Daemon, git, repository, scratch, skip_boots, texts, tool, wants};
use filetree::{Content, EntryKind, Kind};
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
    let path = with_path(&bin);
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

/// A folder with the real linuxkit: the one that `LINUXKIT` names, or the one that `build-tools` has made.
fn real_linuxkit(folder: &Path) -> Option<PathBuf> {
    let made = Some(repository().join("build-tools/bin/linuxkit")).filter(|made| made.exists());
    let Some(program) = std::env::var_os("LINUXKIT").map(PathBuf::from).or(made) else {
        let why = "LINUXKIT names no linuxkit, and `cargo xtask build-tools linuxkit` has made none";
        skips::skipped(skips::Lack::Request, why);
        return None;
    };
    assert!(program.is_file(), "LINUXKIT names `{}`, which is no file", program.display());
    fs::create_dir_all(folder).unwrap();
    symlink(program.canonicalize().unwrap(), folder.join("linuxkit")).unwrap();
    Some(folder.to_owned())
}

fn with_path(bin: &Path) -> String {
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default())
}

#[test]
fn a_real_linuxkit_names_packages_as_we_do_and_sends_and_takes_what_we_built() {
    let folder = tempfile::tempdir().unwrap();
    let Some(bin) = real_linuxkit(&folder.path().join("bin")) else { return };
    if !wants("docker-registry", "docker-registry") || !wants("skopeo", "skopeo") {
        return;
    }
    let Some(daemon) = Daemon::start(folder.path()) else { return };
    let data = folder.path().join("registry");
    fs::create_dir(&data).unwrap();
    let registry = LocalRegistry::start(&Tools::only_in("/usr/bin"), &data).unwrap();
    let tree = folder.path().join("tree");
    clone_tree(&tree);
    let package = |name: &str, org: &str| {
        let folder = tree.join("pkg").join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("build.yml"), format!("org: {org}\nimage: eve-{name}\n")).unwrap();
        fs::write(folder.join("Dockerfile"), "FROM scratch\nCOPY hello /\n").unwrap();
        fs::write(folder.join("hello"), format!("hello from {name}\n")).unwrap();
    };
    package("greeting", &format!("{}/team", registry.address()));
    package("mirrored", "lfedge");
    git(&tree, &["add", "pkg"]);
    git(&tree, &["commit", "-qm", "two packages"]);

    let linuxkit = bin.join("linuxkit");
    let mut names = Vec::new();
    for entry in fs::read_dir(tree.join("pkg")).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.join("build.yml").is_file() {
            continue;
        }
        let name = folder.file_name().unwrap().to_str().unwrap();
        let theirs = tool(linuxkit.to_str().unwrap(), &["pkg", "show-tag", folder.to_str().unwrap()]);
        assert_eq!(Xtask::new(&tree).args(["show-tag", name]).ok().trim(), theirs.trim(), "{name}");
        names.push(theirs);
    }
    assert!(names.len() > 20, "{names:?}");

    let images = folder.path().join("images");
    let xtask = || {
        let xtask = Xtask::new(&tree).env("PATH", with_path(&bin)).env("LINUXKIT_CACHE", &images).env("DOCKER_HOST", &daemon.host);
        xtask.env("ZARCH", "amd64")
    };
    xtask().args(["pkg", "greeting"]).ok();
    xtask().args(["--engine", "linuxkit", "pkg", "greeting", "LINUXKIT_PKG_TARGET=push"]).ok();
    let image = xtask().args(["show-tag", "greeting"]).ok();
    let copy = folder.path().join("copy.tar");
    tool(
        "skopeo",
        &["copy", "--quiet", "--src-tls-verify=false", &format!("docker://{}", image.trim()), &format!("oci-archive:{}", copy.display())],
    );
    let shown = Xtask::new(&tree).args(["inspect", copy.to_str().unwrap(), "/hello"]).ok();
    assert_eq!(shown, "hello from greeting\n");

    // What we send to a team's registry, linuxkit finds there, as in a mirror of the usual one, and builds nothing.
    let team = format!("{}/lfedge", registry.address());
    xtask().env("CACHE", team).env("CACHE_MODE", "write").args(["pkg", "mirrored"]).ok();
    let mirror = format!("docker.io=http://{}", registry.address());
    let engine = xtask().env("LINUXKIT_CACHE", folder.path().join("fresh")).env("LINUXKIT_MIRROR", mirror);
    let output = engine.args(["--engine", "linuxkit", "--verbose", "pkg", "mirrored"]).output();
    let (out, err) = texts(&output);
    assert!(output.status.success() && format!("{out}{err}").contains("amd64 found on registry"), "{out}{err}");
}

/// The members of a tar in their order, with all that they have; a folder's name without its `/`, which linuxkit leaves out for some.
fn members(tar: &Path) -> Vec<String> {
    let content = Content::of_path(tar).unwrap();
    let entries = filetree::read_tar_content(&content).unwrap().into_iter();
    let line = |(entry, records): (filetree::Entry, filetree::Records)| {
        let what = match &entry.kind {
            EntryKind::Node(Kind::File { content, .. }) => format!("a file {}", ::common::digest::sha256(&content.read_all().unwrap())),
            other => format!("{other:?}"),
        };
        format!("{} {:?} {records:?} {what}", String::from_utf8_lossy(&entry.path), entry.meta)
    };
    entries.map(line).collect()
}

#[test]
fn a_real_linuxkit_composes_what_the_composer_composes() {
    if let Some(why) = skip_boots() {
        return skips::skipped(skips::Lack::Request, why);
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(bin) = real_linuxkit(&folder.path().join("bin")) else { return };
    let Some(daemon) = Daemon::start(folder.path()) else { return };
    let [native, linuxkit] = ["native", "linuxkit"].map(|engine| {
        let tree = scratch().join(format!("real-linuxkit-{engine}"));
        clone_tree(&tree);
        let xtask = Xtask::new(&tree).env("PATH", with_path(&bin)).env("DOCKER_HOST", &daemon.host).env("ROOTFS_VERSION", "real");
        xtask.env("ZARCH", "amd64").args(["--engine", engine, "rootfstar"]).ok();
        members(&tree.join("dist/amd64/real/rootfs.tar"))
    });
    // Its list of packages has a random name in it (DEVIATIONS), so the composer writes none.
    let (lists, linuxkit): (Vec<String>, Vec<String>) = linuxkit.into_iter().partition(|member| member.starts_with("sbom.spdx.json "));
    assert!(lists.len() <= 1 && native.len() > 2000, "{lists:?} {}", native.len());
    for (ours, theirs) in native.iter().zip(&linuxkit) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(native.len(), linuxkit.len());
}
