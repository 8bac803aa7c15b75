//! The artifacts of a whole build, looked at by the tools of others, and built twice in different circumstances.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, clone_tree, python::python, repository, scratch, skip_boots, tool, wants};
use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Instant,
};

const VERSION: &str = "image-test";

/// The folder of a whole build of this repository, made once; none when whole builds are switched off.
fn built() -> Option<&'static Path> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    if let Some(why) = skip_boots() {
        skips::skipped(skips::Lack::Request, why);
        return None;
    }
    Some(FOLDER.get_or_init(|| {
        live().ok();
        of_this_build().args(["live-raw"]).ok();
        repository().join("dist/amd64").join(VERSION)
    }))
}

fn live() -> Xtask {
    of_this_build().args(["live"])
}

fn of_this_build() -> Xtask {
    Xtask::new(&repository()).env("ROOTFS_VERSION", VERSION).env("ZARCH", "amd64")
}

#[test]
fn the_disk_has_the_original_table() {
    let Some(folder) = built() else { return };
    if !wants("sgdisk", "gdisk") {
        return;
    }
    let raw = folder.join("live.raw");
    let raw = raw.to_str().unwrap();
    let verdict = tool("sgdisk", &["-v", raw]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    let expected = [
        (1, "2048", "36.0 MiB", "EFI System", "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "51", "0000000000000004"),
        (2, "", "300.0 MiB", "IMGA", "5DFBF5F4-2848-4BAC-AA5E-0D9A20B745A6", "52", "0102000000000000"),
        (4, "", "1024.0 KiB", "CONFIG", "13307E62-CD9C-4920-8F9B-91B45828B798", "54", "0000000000000000"),
    ];
    for (number, start, size, name, kind, uuid, attributes) in expected {
        let info = tool("sgdisk", &["-i", &number.to_string(), raw]);
        for part in [
            format!("{start} (at"),
            format!("({size})"),
            format!("'{name}'"),
            kind.into(),
            format!("AD6871EE-31F9-4CF3-9E09-6F7A25C300{uuid}"),
            attributes.into(),
        ] {
            assert!(start.is_empty() && part == " (at" || info.contains(&part), "partition {number} has no {part}:\n{info}");
        }
    }
    let table = tool("sgdisk", &["-p", raw]);
    assert!(table.contains("AD6871EE-31F9-4CF3-9E09-6F7A25C30050"), "{table}");
    let mut head = vec![0; 512];
    std::io::Read::read_exact(&mut std::fs::File::open(raw).unwrap(), &mut head).unwrap();
    assert_eq!((head[446], head[450]), (0x80, 0x0c), "the first record of the MBR is the bootable ESP");
    assert_eq!(head[446 + 16 + 4], 0xee, "the second one protects the GPT");
}

#[test]
fn the_file_systems_are_sound() {
    let Some(folder) = built() else { return };
    let config = folder.join("installer/config.img");
    if wants("fsck.vfat", "dosfstools") {
        tool("fsck.vfat", &["-n", config.to_str().unwrap()]);
    }
    if wants("mdir", "mtools") {
        let list = tool("mdir", &["-b", "-i", config.to_str().unwrap(), "::"]);
        assert!(list.contains("origin.") && list.contains("grub.cfg"), "{list}");
    }
    if wants("unsquashfs", "squashfs-tools") {
        let list = tool("unsquashfs", &["-l", folder.join("installer/rootfs.img").to_str().unwrap()]);
        for path in ["/boot/kernel", "/EFI/BOOT/BOOTX64.EFI", "/containers/onboot/", "/etc/eve-release"] {
            assert!(list.contains(path), "{path} is missing");
        }
    }
    if wants("qemu-img", "qemu-utils") {
        let image = folder.join("live.qcow2");
        tool("qemu-img", &["check", "-q", image.to_str().unwrap()]);
        let info = tool("qemu-img", &["info", image.to_str().unwrap()]);
        assert!(info.contains("virtual size: 32 GiB"), "{info}");
    }
}

#[test]
fn the_kernel_mounts_what_we_wrote() {
    let Some(folder) = built() else { return };
    if !rustix_is_root() {
        return skips::skipped(skips::Lack::Privilege, "only root mounts");
    }
    let place = scratch().join("mnt");
    std::fs::create_dir_all(&place).unwrap();
    for image in ["installer/rootfs.img", "installer/config.img"] {
        let mounted = Command::new("mount").args(["-o", "loop,ro"]).arg(folder.join(image)).arg(&place).status().unwrap();
        if !mounted.success() {
            skips::refused(&format!("the kernel cannot mount {image} here"));
            continue;
        }
        let entries = walk(&place);
        tool("umount", &[place.to_str().unwrap()]);
        assert!(entries > 3, "{image} has {entries} entries");
    }
}

fn rustix_is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Reads every file below a folder to its end.
fn walk(folder: &Path) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        count += 1;
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            count += walk(&entry.path());
        } else if kind.is_file() {
            std::fs::read(entry.path()).unwrap();
        }
    }
    count
}

#[test]
fn the_kernel_and_the_initrd_are_those_of_the_root_file_system() {
    let Some(folder) = built() else { return };
    assert_eq!(std::fs::read_link(folder.join("live.img")).unwrap(), Path::new("live.qcow2"));
    of_this_build().args(["rootfstar"]).ok();
    for (verb, file, entry) in [("kernel", "kernel", "boot/kernel"), ("initrd", "initrd.img", "boot/initrd.img")] {
        Xtask::new(&repository()).env("ROOTFS_VERSION", VERSION).env("ZARCH", "amd64").args([verb]).ok();
        let inside = Command::new("tar").arg("-xOf").arg(folder.join("rootfs.tar")).arg(entry).output().unwrap().stdout;
        assert!(inside.len() > 1 << 20, "{entry}: {}", inside.len());
        assert!(std::fs::read(folder.join("installer").join(file)).unwrap() == inside, "{file} is not {entry}");
    }
}

/// The names in PKGS of the packages' Dockerfiles for amd64, of packages that the root file system's template names.
fn wanted_debian_packages() -> Vec<String> {
    let template = std::fs::read_to_string(repository().join("images/rootfs.yml.in")).unwrap();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(repository().join("pkg")).unwrap() {
        let folder = entry.unwrap();
        let word = format!("{}_TAG", folder.file_name().to_string_lossy().to_uppercase().replace('-', "_"));
        let Ok(text) = std::fs::read_to_string(folder.path().join("Dockerfile")) else { continue };
        if template.contains(&word) {
            let lines = text.lines().filter_map(|line| line.strip_prefix("ENV PKGS ").or(line.strip_prefix("ENV PKGS_amd64 ")));
            names.extend(lines.flat_map(str::split_whitespace).map(str::to_owned));
        }
    }
    assert!(names.len() > 10, "{names:?}");
    names
}

#[test]
fn the_bill_of_materials_is_valid_and_complete() {
    let Some(folder) = built() else { return };
    Xtask::new(&repository()).env("ROOTFS_VERSION", VERSION).env("ZARCH", "amd64").args(["sbom"]).ok();
    let path = folder.join("installer/rootfs.spdx.json");
    let document: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let packages = document["packages"].as_array().unwrap();
    let names: Vec<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    for name in wanted_debian_packages() {
        assert!(names.contains(&name.as_str()), "{name} is not in {names:?}");
    }
    let package = |name: &str| packages.iter().find(|package| package["name"] == name).unwrap();
    assert_eq!(package("zlib1g")["licenseDeclared"], "Zlib");
    assert!(
        package("linux-image-amd64")["sourceInfo"].as_str().unwrap().contains("linux-signed-amd64"),
        "{}",
        package("linux-image-amd64")
    );
    // SPDX's own validator.
    let Some(validator) = python("spdx_tools", &["spdx-tools"]).map(|python| python.with_file_name("pyspdxtools")) else { return };
    let check = |path: &Path| Command::new(&validator).arg("-i").arg(path).output().unwrap();
    let verdict = check(&path);
    assert!(verdict.status.success(), "{}", String::from_utf8_lossy(&verdict.stdout));
    // It does look: a document with a licence that nobody knows is refused.
    let broken = scratch().join("broken.spdx.json");
    std::fs::write(&broken, document.to_string().replace("\"Zlib\"", "\"Zlob\"")).unwrap();
    assert!(!check(&broken).status.success(), "the validator accepts anything");
}

#[test]
fn the_eve_image_makes_the_artifacts_with_docker_and_without() {
    let Some(folder) = built() else { return };
    let archive = folder.join("eve.tar");
    Xtask::new(&repository()).env("ROOTFS_VERSION", VERSION).env("ZARCH", "amd64").args(["eve"]).ok();
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    std::fs::create_dir(at("in")).unwrap();
    std::fs::write(at("in/server"), "my.controller\n").unwrap();
    std::fs::create_dir(at("single")).unwrap();
    std::fs::write(at("single/server"), "my.controller\n").unwrap();
    std::fs::write(at("single/soft_serial"), "1234\n").unwrap();
    let image = || Xtask::new(&repository()).args(["eve-image", "--image"]).args([&archive]);
    assert_eq!(image().args(["version"]).ok(), format!("{VERSION}-kvm-amd64\n"));
    image().args(["live", "--out"]).args([at("live.raw")]).ok();
    assert!(same_files(&at("live.raw"), &folder.join("live.raw")), "the live disk of the image is not live.raw");
    image().args(["live", "--in"]).args([at("in")]).args(["--out"]).args([at("mine.raw")]).ok();
    assert!(!same_files(&at("mine.raw"), &at("live.raw")), "/in changes nothing");
    let (code, err) = image().args(["live", "10"]).fails();
    assert!(code == 1 && err.contains("a disk of 10 MiB"), "{code}: {err}");
    std::fs::write(at("in/large"), vec![1; 2 << 20]).unwrap();
    let (_, err) = image().args(["live", "--in"]).args([at("in")]).args(["--out"]).args([at("large.raw")]).fails();
    assert!(err.contains("do not go into the configuration") && !at("large.raw").exists(), "{err}");
    std::fs::remove_file(at("in/large")).unwrap();
    std::fs::create_dir(at("docker")).unwrap();
    for (verb, word, file) in [
        ("installer-raw", "installer_raw", "installer.raw"),
        ("installer-iso", "installer_iso", "installer.iso"),
        ("installer-net", "installer_net", "installer.net"),
    ] {
        Xtask::new(&repository()).env("ROOTFS_VERSION", VERSION).env("ZARCH", "amd64").args([verb]).ok();
        image().args([word, "--out"]).args([at(file)]).ok();
        assert!(same_files(&at(file), &folder.join(file)), "{file} of the image is not {file}");
    }
    image().args(["installer_raw", "--in"]).args([at("single")]).args(["--out"]).args([at("single.raw")]).ok();
    let Some(daemon) = common::daemon::Daemon::start(&at("docker")) else { return };
    tool("docker", &["--host", &daemon.host, "load", "--quiet", "--input", archive.to_str().unwrap()]);
    let name = format!("lfedge/eve:{VERSION}-kvm-amd64");
    let run = ["--host", &daemon.host, "run", "--rm", "--network=none"];
    assert_eq!(tool("docker", &[&run[..], &[&name, "version"]].concat()), format!("{VERSION}-kvm-amd64\n"));
    std::fs::create_dir(at("out")).unwrap();
    let volumes = ["in", "out"].map(|folder| format!("{}:/{folder}", at(folder).display()));
    tool("docker", &[&run[..], &["-v", &volumes[0], "-v", &volumes[1], &name, "live"]].concat());
    assert!(same_files(&at("out/live.raw"), &at("mine.raw")), "the container makes another disk");
    let single = Xtask::new(&repository()).env("DOCKER_HOST", &daemon.host).args(["eve-gen-single-use-installer", "-s", "1234"]);
    single.args(["-c", "my.controller", "-t", &format!("{VERSION}-kvm-amd64"), "-o"]).args([at("own.raw")]).ok();
    assert!(same_files(&at("own.raw"), &at("single.raw")), "eve-gen-single-use-installer makes another disk");
    let refused = Command::new("docker").args(run).args([&name, "installer_nonsense"]).output().unwrap();
    assert!(!refused.status.success() && common::texts(&refused).1.contains("unknown word `installer_nonsense`"));
}

fn same_files(one: &Path, two: &Path) -> bool {
    Command::new("cmp").arg("-s").args([one, two]).status().unwrap().success()
}

#[test]
fn a_second_run_does_nothing() {
    if built().is_none() {
        return;
    }
    // A tool that fails when it is started proves that none is.
    let since = Instant::now();
    let out = live().env("XTASK_TOOL_QEMU_IMG", "/bin/false").ok();
    assert!(out.starts_with("up to date: "), "{out}");
    eprintln!("a second run took {:?}", since.elapsed());
}

/// The digest of a disk was made of those of the ranges that were copied into it; another process reads the disk itself.
#[test]
fn a_disk_has_the_digest_that_was_made_of_what_was_copied_there() {
    if built().is_none() {
        return;
    }
    for verb in ["live", "live-raw"] {
        // A version of its own, so that no store has its artifacts.
        let version = format!("digests-{verb}-{}", std::process::id());
        let build = |words: &[&str]| of_this_build().env("ROOTFS_VERSION", &version).args([verb]).args(words).ok();
        let made = build(&[]);
        assert!(made.starts_with("made: "), "{made}");
        let again = build(&["--check-artifacts"]);
        assert!(again.starts_with("up to date: "), "{again}");
        std::fs::remove_dir_all(repository().join("dist/amd64").join(version)).unwrap();
    }
    // `current` leads to a folder that is there.
    live().ok();
}

#[test]
fn inspect_shows_the_disk_in_the_qcow2() {
    let Some(folder) = built() else { return };
    let table = Xtask::new(&repository()).args(["inspect"]).args([folder.join("live.qcow2")]).ok();
    for word in ["EFI System", "IMGA", "CONFIG", "squashfs"] {
        assert!(table.contains(word), "no {word}:\n{table}");
    }
}

#[test]
fn size_knows_the_image_of_each_file_without_a_tar() {
    let Some(folder) = built() else { return };
    let copy = scratch().join("rootfs-alone.img");
    std::fs::copy(folder.join("installer/rootfs.img"), &copy).unwrap();
    let sizes = |file: &Path| -> serde_json::Value {
        serde_json::from_str(&Xtask::new(&repository()).args(["size", "--json", file.to_str().unwrap()]).ok()).unwrap()
    };
    let alone = sizes(&copy);
    assert_eq!(alone["packages_complete"], true, "{alone}");
    let names: Vec<&str> = alone["packages"].as_array().unwrap().iter().filter_map(|part| part["name"].as_str()).collect();
    for package in ["eve-kernel:", "eve-init:", "eve-grub:", "eve-debug:"] {
        assert!(names.iter().any(|name| name.contains(package)), "{package} {names:?}");
    }
    // The tar's records say the same.
    let tar = folder.join("rootfs.tar");
    of_this_build().args(["rootfstar"]).ok();
    assert!(tar.is_file());
    assert_eq!(sizes(&folder.join("installer/rootfs.img"))["packages"], alone["packages"]);
}

/// The digests of the artifacts that must be the same.
fn digests(root: &Path) -> Vec<String> {
    let current = root.join("dist/amd64/current");
    let files = ["rootfs.tar", "installer/rootfs.img", "installer/config.img", "live.raw", "installer/rootfs.spdx.json"];
    files.iter().map(|file| tool("sha256sum", &[current.join(file).to_str().unwrap()])[..64].to_owned()).collect()
}

/// Copies what was downloaded and what was compressed, but no artifacts, from one cache folder to another.
fn copy_downloads(from: &Path, to: &Path) {
    for name in ["debs", "checkouts", "store/blocks"].map(|name| Path::new("eve-xtask").join(name)) {
        if from.join(&name).exists() {
            std::fs::create_dir_all(to.join(&name)).unwrap();
            tool("cp", &["-rT", from.join(&name).to_str().unwrap(), to.join(&name).to_str().unwrap()]);
        }
    }
}

#[test]
fn another_folder_user_umask_and_locale_give_the_same_bytes() {
    if built().is_none() {
        return;
    }
    let program = env!("CARGO_BIN_EXE_xtask");
    let folder = tempfile::Builder::new().prefix("eve-twice-").tempdir().unwrap();
    // What was downloaded is shared; packages are built anew in each.
    let home = std::env::var("XDG_CACHE_HOME").unwrap_or_else(|_| format!("{}/.cache", std::env::var("HOME").unwrap()));
    let mut results = Vec::new();
    for (name, umask, locale) in [("one", "022", "C.UTF-8"), ("two/with a space", "077", "POSIX")] {
        let root = folder.path().join(name);
        // The second one is a clone of the first, whatever happens to the working tree in between.
        if results.is_empty() {
            clone_tree(&root);
        } else {
            tool("git", &["clone", "-q", folder.path().join("one").to_str().unwrap(), root.to_str().unwrap()]);
        }
        let caches = folder.path().join(format!("{}-cache", &name[..3]));
        // The artifacts of other builds are not.
        copy_downloads(Path::new(&home), &caches);
        let copy = caches.join("xtask");
        std::fs::copy(program, &copy).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "umask $1; shift; exec \"$@\"", "sh", umask]);
        if name != "one" && rustix_is_root() {
            tool("chown", &["-R", "65534:65534", folder.path().to_str().unwrap()]);
            command.args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
        }
        command.arg(&copy).arg("--root").arg(&root).args(["make", "live-raw", "sbom", "ZARCH=amd64"]);
        command.env_clear().env("PATH", std::env::var("PATH").unwrap()).env("HOME", &caches).env("LC_ALL", locale);
        command
            .env("XDG_CACHE_HOME", &caches)
            .env("LINUXKIT_CACHE", caches.join("images"))
            .env("TZ", if name == "one" { "UTC" } else { "Asia/Tokyo" });
        let output = command.output().unwrap();
        let (out, err) = common::texts(&output);
        assert!(output.status.success(), "{name}:\n{out}{err}");
        results.push(digests(&root));
    }
    assert_eq!(results[0], results[1], "rootfs.tar, rootfs.img, config.img, live.raw, rootfs.spdx.json");
}

#[test]
fn installers_and_eve_have_the_same_bytes_in_another_folder() {
    if built().is_none() {
        return;
    }
    let folder = tempfile::Builder::new().prefix("eve-installers-").tempdir().unwrap();
    let files = ["installer.raw", "installer.iso", "installer.net", "verification.raw", "eve.tar"];
    let mut results = Vec::new();
    for name in ["one", "two/with a space"] {
        let root = folder.path().join(name);
        if results.is_empty() {
            clone_tree(&root);
        } else {
            tool("git", &["clone", "-q", folder.path().join("one").to_str().unwrap(), root.to_str().unwrap()]);
        }
        // The packages, and what was compressed already, are those of the first test; the artifacts are made anew.
        let words = ["make", "installer-raw", "installer-iso", "installer-net", "verification-raw", "eve", "ZARCH=amd64"];
        let store = folder.path().join("store");
        let _ = std::fs::remove_dir_all(store.join("artifacts"));
        let xtask = Xtask::new(&root).env("TZ", if name == "one" { "UTC" } else { "Asia/Tokyo" });
        xtask.env("STORE", store).args(words).ok();
        let current = root.join("dist/amd64/current");
        results.push(files.map(|file| tool("sha256sum", &[current.join(file).to_str().unwrap()])[..64].to_owned()));
        std::fs::remove_dir_all(root.join("dist")).unwrap();
    }
    assert_eq!(results[0], results[1], "{files:?}");
}
