//! What runs images, on a tree like lf-edge/eve's: the command lines are those of the original, and what is missing is said.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, repository, scratch, tool};
use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
};

const VERSION: &str = "0.0.0-master-bcf06185";

/// A tree that is taken for lf-edge/eve's of 2023, with something built.
fn eve(name: &str) -> PathBuf {
    let root = scratch().join(name);
    let _ = fs::remove_dir_all(&root);
    let files = [
        "images/rootfs.yml.in",
        "tools/parse-pkgs.sh",
        "pkg/new-kernel/build.yml.in",
        "pkg/pillar/build.yml",
        "build-tools/src/scripts/cloud-init.in",
        "build-tools/bin/linuxkit",
        "conf/server",
    ];
    for file in files {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        child::fake::executable(&path, b"#!/bin/sh\necho key=@SSH_PUB_KEY@ token=@GH_TOKEN@\n");
    }
    fs::create_dir_all(root.join("part")).unwrap();
    for words in [&["init", "-q", "-b", "master"][..], &["add", "-A"], &["commit", "-q", "-m", "tree"]] {
        let words = [&["-C", root.to_str().unwrap(), "-c", "user.name=t", "-c", "user.email=t@example.org"], words].concat();
        tool("git", &words);
    }
    root
}

/// Folders of a build of each architecture.
fn build(root: &Path) {
    for arch in ["amd64", "arm64", "riscv64"] {
        fs::create_dir_all(root.join("dist").join(arch).join(VERSION)).unwrap();
        std::os::unix::fs::symlink(VERSION, root.join("dist").join(arch).join("current")).unwrap();
    }
}

/// A printed command line as the golden file has it: names for folders, programs without theirs, an option of QEMU a line.
fn plain(line: &str, root: &Path) -> String {
    let line = line.split("  # ").next().unwrap_or_default();
    let line = line.split_once(" && ").filter(|_| line.starts_with("cd ")).map_or(line, |(_, rest)| rest);
    let mut rest = line.strip_prefix("env ").unwrap_or(line);
    while let Some((word, more)) = rest.split_once(' ').filter(|(word, _)| word.contains('=') && line.starts_with("env ")) {
        assert!(!word.is_empty());
        rest = more;
    }
    let (program, words) = rest.split_once(' ').unwrap();
    let line = format!("{} {words}", program.rsplit('/').next().unwrap());
    let mut line = line.replace(root.to_str().unwrap(), "$ROOT");
    for arch in ["amd64", "arm64", "riscv64"] {
        line = line.replace(&format!("$ROOT/dist/{arch}/{VERSION}"), "$B").replace(&format!("$ROOT/dist/{arch}/current"), "$C");
    }
    if line.starts_with("qemu-system") { line.replace(" -", "\n  -") } else { line }
}

#[test]
fn the_command_lines_are_the_originals() {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return skips::skipped(skips::Lack::Architecture, "the recordings are of Linux on amd64");
    }
    let root = eve("eve-golden");
    build(&root);
    let golden = fs::read_to_string(repository().join("xtask/tests/golden/run-eve.txt")).unwrap();
    let mut count = 0;
    for section in golden.split("\n== ").skip(1) {
        let (title, wanted) = section.split_once('\n').unwrap();
        let words = title.replace("$ROOT", root.to_str().unwrap());
        let text =
            Xtask::new(&root).env("ROOTFS_VERSION", VERSION).args(["-n", "--engine", "linuxkit"]).args(words.split_whitespace()).ok();
        let got: Vec<String> = text.lines().map(|line| plain(line, &root)).collect();
        let wanted: Vec<&str> = wanted.trim_end().lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(got.join("\n"), wanted.join("\n"), "{title}");
        count += 1;
    }
    assert!(count > 20);
}

#[test]
fn what_is_missing_is_said_before_anything_starts() {
    let root = eve("eve-empty");
    for (target, hint) in [
        ("run", "live"),
        ("run-target", "run-installer-raw"),
        ("run-installer-raw", "installer-raw"),
        ("run-installer-iso", "installer-iso"),
        ("run-installer-net", "installer-net"),
        ("run-verification-raw", "verification-raw"),
        ("run-rootfs", "rootfs"),
        ("run-build-vm", "build-vm"),
        ("run-live-vb", "live-vdi"),
        ("run-live-parallels", "live-parallels"),
    ] {
        let (code, text) = Xtask::new(&root).env("ZARCH", "amd64").args(["--engine", "linuxkit", target]).fails();
        assert_eq!(code, 2, "{text}");
        let hint = format!("has not been made\nhint: cargo xtask --root {} {hint}\n", root.display());
        assert!(text.contains(&hint), "{text}");
    }
    let changed = tool("git", &["-C", root.to_str().unwrap(), "status", "--porcelain", "-uall"]);
    assert_eq!(changed, "");
}

/// A folder with programs that write down what they are called with.
fn stand_ins(root: &Path, programs: &[(&str, &str)]) -> PathBuf {
    let folder = root.join("dist/bin");
    fs::create_dir_all(&folder).unwrap();
    for (name, script) in programs {
        let path = folder.join(name);
        let log = root.join("dist/calls");
        let text = format!("#!/bin/sh\necho \"{name} $*\" >> {}\n{script}\n", log.display());
        child::fake::executable(&path, &text);
    }
    folder
}

fn calls(root: &Path) -> String {
    let text = fs::read_to_string(root.join("dist/calls")).unwrap_or_default();
    text.replace(root.to_str().unwrap(), "$ROOT")
}

#[test]
fn a_machine_of_parallels_that_exists_is_started() {
    let root = eve("eve-parallels");
    build(&root);
    fs::create_dir_all(root.join("dist/amd64").join(VERSION).join("live.parallels")).unwrap();
    let list = "case $1 in list) echo '{00}  running  -  EVE_Live';; esac";
    let bin = stand_ins(&root, &[("prlctl", list), ("prlsrvctl", "")]);
    let path = format!("{}:/usr/bin:/bin", bin.display());
    Xtask::new(&root)
        .env("PATH", path)
        .env("ROOTFS_VERSION", VERSION)
        .env("ZARCH", "amd64")
        .args(["--engine", "linuxkit", "run-live-parallels"])
        .ok();
    let calls = calls(&root);
    let first: Vec<String> = calls.lines().map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(first, ["prlctl list -a", "prlctl stop EVE_Live", "prlctl set EVE_Live", "prlctl start EVE_Live"]);
}

#[test]
fn a_machine_of_virtualbox_is_off_before_it_is_deleted_and_its_disk_stays() {
    let root = eve("eve-vb");
    build(&root);
    fs::write(root.join("dist/amd64").join(VERSION).join("live.vdi"), "disk").unwrap();
    // It runs until its button was pressed and somebody has looked once.
    let script = format!(
        "off={}/dist/off\ncase \"$1 $2\" in\n'list vms') echo '\"EVE_Live\" {{0}}';;\n'list runningvms') [ -f $off ] || echo '\"EVE_Live\" {{0}}';;\nesac\n[ \"$3\" = acpipowerbutton ] && touch $off\nexit 0",
        root.display()
    );
    let bin = stand_ins(&root, &[("VBoxManage", &script)]);
    let path = format!("{}:/usr/bin:/bin", bin.display());
    Xtask::new(&root)
        .env("PATH", path)
        .env("ROOTFS_VERSION", VERSION)
        .env("ZARCH", "amd64")
        .args(["--engine", "linuxkit", "run-live-vb"])
        .ok();
    let calls = calls(&root);
    let start: Vec<&str> = calls.lines().take(7).collect();
    assert_eq!(
        start,
        [
            "VBoxManage list vms",
            "VBoxManage list runningvms",
            "VBoxManage controlvm EVE_Live acpipowerbutton",
            "VBoxManage list runningvms",
            "VBoxManage storageattach EVE_Live --storagectl SATA Controller --port 0 --device 0 --medium none",
            "VBoxManage unregistervm EVE_Live --delete",
            "VBoxManage list natnets",
        ]
    );
}

#[test]
fn the_token_of_a_build_machine_goes_nowhere_but_into_its_disk() {
    let root = eve("eve-build-vm");
    build(&root);
    let firmware = root.join("dist/amd64").join(VERSION).join("installer/firmware");
    fs::create_dir_all(&firmware).unwrap();
    for file in ["OVMF.fd", "OVMF_CODE.fd", "OVMF_VARS.fd"] {
        fs::write(firmware.join(file), "").unwrap();
    }
    let bin = stand_ins(
        &root,
        &[
            ("docker", "cat"),
            ("curl", "echo disk"),
            ("qemu-img", ""),
            ("qemu-system-x86_64", "cp ${PWD}/dist/amd64/build-vm-ci.qcow2 ${PWD}/dist/seen; env"),
        ],
    );
    let output = Xtask::new(&root)
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .env("ROOTFS_VERSION", VERSION)
        .env("ZARCH", "amd64")
        .env("BUILD_VM_GH_TOKEN", "hunter2")
        .args(["--engine", "linuxkit", "build-vm", "BUILD_VM_SSH_PUB_KEY=ssh-rsa x", "SSH_PORT=34567"])
        .output();
    let (out, err) = common::texts(&output);
    assert!(output.status.success(), "{out}{err}");
    assert!(fs::read_to_string(root.join("dist/seen")).unwrap().contains("key=ssh-rsa x token=hunter2"));
    assert!(!out.contains("hunter2") && !err.contains("hunter2") && !calls(&root).contains("hunter2"), "{out}{err}");
    assert!(root.join("dist/amd64/build-vm.qcow2").is_file() && !root.join("dist/amd64/build-vm-ci.qcow2").exists());
}

/// A tree like this one with something built, and a stand-in for QEMU that runs until it is killed.
fn built_small_tree(root: &Path) {
    let build = root.join("dist/amd64/1");
    fs::create_dir_all(build.join("installer/firmware")).unwrap();
    let profile = "[tree]\nname = \"small\"\nengine = \"native\"\n[packages]\nfolder = \"pkg\"\n[templates]\nrootfs = \"images/rootfs.yml.in\"\n[rootfs]\nlimit = 262144000\n[live]\nparts = [\"imga\"]\n[firmware]\npackage = \"base\"\nfiles = [\"OVMF.fd\"]\n";
    fs::write(root.join("xtask.toml"), profile).unwrap();
    fs::write(build.join("installer/firmware/OVMF.fd"), "").unwrap();
    fs::write(build.join("live.raw"), [0; 4096]).unwrap();
    std::os::unix::fs::symlink("1", root.join("dist/amd64/current")).unwrap();
    for (name, script) in [
        ("qemu-system-x86_64", "case $1 in --version) echo QEMU emulator version 7.2.0; exit;; esac; touch $HOME/started; exec sleep 100"),
        ("qemu-img", "case $1 in --version) echo qemu-img version 7.2.0;; *) eval last=\\${$#}; echo new > \"$last\";; esac"),
    ] {
        child::fake::executable(&root.join(name), format!("#!/bin/sh\n{script}\n"));
    }
}

#[test]
fn a_machine_that_runs_loses_nothing_to_another_one_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    built_small_tree(root);
    fs::create_dir(root.join("tmp")).unwrap();
    let run = |words: &[&str]| {
        let path = format!("{}:{}", root.display(), std::env::var("PATH").unwrap());
        let xtask = Xtask::new(root).env("PATH", path).env("HOME", root).env("TMPDIR", root.join("tmp")).env("ZARCH", "amd64");
        xtask.env("IMAGE_FORMAT", "raw").env("NOACCEL", "1").args(["run"]).args(words)
    };
    let mut first = run(&["SSH_PORT=23971"]).spawn();
    for _ in 0..600 {
        std::thread::sleep(std::time::Duration::from_millis(50));
        if root.join("started").exists() || first.try_wait().unwrap().is_some() {
            break;
        }
    }
    let overlay = root.join("dist/amd64/1/run/live-raw.qcow2");
    fs::write(&overlay, "what the guest wrote").unwrap();
    fs::create_dir(root.join("dist/amd64/1/swtpm")).unwrap();
    fs::write(root.join("dist/amd64/1/live.raw"), [1; 4096]).unwrap();
    for words in [&["--fresh", "SSH_PORT=23972"][..], &["SSH_PORT=23972"], &["--fresh", "SSH_PORT=23971"]] {
        let (code, error) = run(words).fails();
        assert!(code == 1 && error.contains(&format!("error: another machine (process {}) uses ", first.id())), "{words:?} {code} {error}");
        assert_eq!(fs::read_to_string(&overlay).unwrap(), "what the guest wrote");
        assert!(root.join("dist/amd64/1/swtpm").is_dir());
    }
    assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 1);
    tool("kill", &["-INT", &first.id().to_string()]);
    let output = first.wait_with_output().unwrap();
    // A shell shows 130.
    assert_eq!(output.status.signal(), Some(2), "{:?}", common::texts(&output));
    assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0);
    let (code, error) = run(&[]).fails();
    assert!(code == 1 && error.contains("live.raw has changed since the machine wrote to "), "{code} {error}");
    let (code, error) = run(&["--until", ""]).fails();
    assert!(code == 2 && error.contains("--until"), "{code} {error}");
    let (code, error) = run(&["two"]).fails();
    assert!(
        code == 2 && error.contains("error: run two: `run` boots the live image\nhint: cargo xtask ") && error.contains(" run --name two "),
        "{code} {error}"
    );
}

#[test]
fn machines_in_the_background_have_names_and_end_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    built_small_tree(root);
    fs::create_dir(root.join("tmp")).unwrap();
    let xtask = |words: &[&str]| {
        let path = format!("{}:{}", root.display(), std::env::var("PATH").unwrap());
        let xtask = Xtask::new(root).env("PATH", path).env("HOME", root).env("TMPDIR", root.join("tmp")).env("ZARCH", "amd64");
        xtask.env("IMAGE_FORMAT", "raw").env("NOACCEL", "1").args(words)
    };
    let named = |name| ["run", "--background", "--name", name, "--ssh-port", "23981"];
    let text = xtask(&named("one")).ok();
    assert!(text.starts_with("one runs in the background: process ") && text.contains(", ssh at port 23981\n"), "{text}");
    // The port is in use only once QEMU listens; the disk and the name tell the two apart.
    xtask(&named("two")).ok();
    let list = xtask(&["ps", "--json"]).ok();
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect::<Vec<_>>(), ["one", "two"]);
    for name in ["one", "two"] {
        assert!(root.join(format!("dist/amd64/1/run/{name}-raw.qcow2")).is_file(), "each has a disk of its own");
    }
    let (code, error) = xtask(&named("one")).fails();
    assert!(code == 2 && error.contains("error: a machine named one runs already\nhint: cargo xtask stop one"), "{code} {error}");
    let (code, error) = xtask(&["log"]).fails();
    assert!(
        code == 2 && error.contains("several machines run: one, two\nhint: --name one behind the verb, as in cargo xtask ssh --name one\n"),
        "{code} {error}"
    );
    assert_eq!(xtask(&["stop", "--now", "two"]).ok(), "two: ended as if its power were cut; its file systems have journals\n");
    let (code, error) = xtask(&["console", "--name", "two"]).fails();
    assert!(code == 2 && error.contains("no machine named two runs; these do: one\n"), "{code} {error}");
    let (code, error) = xtask(&["cp", "a", "b"]).fails();
    assert!(
        code == 2
            && error.contains(
                "one of both must be on the machine\nhint: a path on the machine starts with a colon: cargo xtask cp a :/persist\n"
            ),
        "{code} {error}"
    );
    xtask(&["stop", "--now", "one"]).ok();
    // The programs of another architecture never get there.
    xtask(&named("one")).ok();
    let wrong = |xtask: Xtask| xtask.env("ZARCH", "arm64").fails();
    let (code, error) = wrong(xtask(&["dev"]));
    let place = format!("cargo xtask --root {}", root.display());
    let wanted = format!(
        "error: the machine `one` is amd64, ZARCH is arm64 (environment)\nhint: {place} dev ZARCH=amd64, or {place} run ZARCH=arm64 --background\n"
    );
    assert!(code == 2 && error == wanted, "{code} {error}");
    xtask(&["stop", "--now"]).ok();
    assert_eq!(xtask(&["ps", "--json"]).ok(), "[]\n");
    assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_machine_that_cannot_start_in_the_background_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    built_small_tree(root);
    child::fake::executable(
        &root.join("qemu-system-x86_64"),
        "#!/bin/sh\ncase $1 in --version) echo QEMU emulator version 7.2.0; exit;; esac\necho 'no such bus' >&2; exit 1\n",
    );
    let path = format!("{}:{}", root.display(), std::env::var("PATH").unwrap());
    let xtask = Xtask::new(root).env("PATH", path).env("HOME", root).env("ZARCH", "amd64").env("IMAGE_FORMAT", "raw").env("NOACCEL", "1");
    let (_, error) = xtask.args(["run", "--background", "--until", "READY", "--ssh-port", "23985"]).fails();
    assert!(error.starts_with("error: `qemu-system-x86_64` failed while running ") && error.contains("no such bus"), "{error}");
}

#[test]
fn a_guest_that_gives_up_ends_the_wait_for_it_and_runs_on() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    built_small_tree(root);
    let xtask = |words: &[&str]| {
        let path = format!("{}:{}", root.display(), std::env::var("PATH").unwrap());
        let xtask = Xtask::new(root).env("PATH", path).env("HOME", root).env("ZARCH", "amd64");
        xtask.env("IMAGE_FORMAT", "raw").env("NOACCEL", "1").args(words)
    };
    let guest = |console: &str| {
        let script =
            format!("#!/bin/sh\ncase $1 in --version) echo QEMU emulator version 7.2.0; exit;; esac\nprintf '{console}'; exec sleep 100\n");
        child::fake::executable(&root.join("qemu-system-x86_64"), script);
    };
    let run = ["run", "--background", "--name", "bad", "--ssh-port", "23987", "--until", "EVE-READY"];
    guest("\\033[2J\\033[04;02H\\332\\304\\277Welcome to GRUB!          \\r\\neve login: EVE-FAILED network: no lease\\r\\n");
    let (code, error) = xtask(&run).fails();
    let place = format!("cargo xtask --root {}", root.display());
    let wanted = format!(
        "error: the machine is not ready: network: no lease\n  | Welcome to GRUB!\n  | eve login: EVE-FAILED network: no lease\nhint: it runs \
         on: {place} console --name bad opens its console, {place} stop bad ends it\n"
    );
    assert!(code == 1 && error == wanted, "{code} {error}");
    xtask(&["stop", "--now", "bad"]).ok();
    // Silence has its lines, and its end.
    guest("one\\n");
    let (_, error) = xtask(&run).args(["--timeout", "12"]).fails();
    let rest = "error: the machine did not print `EVE-READY` within 12 s\n  | one\nhint: it runs on: ";
    assert!(error.starts_with("bad: 10 s; last on its console: one\n") && error.contains(rest), "{error}");
    xtask(&["stop", "--now", "bad"]).ok();
}
