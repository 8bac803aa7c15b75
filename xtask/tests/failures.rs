//! What a person sees when something is wrong: one clear error, a code, and nothing half-made. The trees are small and made
//! for the test; no network, no whole image.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, repository, shell, small_tree::SmallTree as Tree, texts, wants};
use std::{
    fs,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use xshell::cmd;

#[test]
fn a_bell_rings_on_a_terminal_after_a_long_build() {
    if !wants("script", "bsdutils") {
        return;
    }
    let tree = Tree::new();
    let on_terminal = |words: &str| {
        let line = format!("'{}' --root '{}' {words}", env!("CARGO_BIN_EXE_xtask"), tree.root().display());
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).env("XTASK_LOCAL", "n").env("HOME", tree.root().join("home"));
        script.env("LINUXKIT_CACHE", tree.root().join("home/images")).env("XDG_CACHE_HOME", tree.root().join("home/cache"));
        let (out, err) = texts(&script.output().unwrap());
        assert_eq!(err, "");
        out.contains('\u{7}')
    };
    assert!(on_terminal("config ZARCH=amd64 BELL=0"));
    assert!(on_terminal("pkg nothing ZARCH=amd64 BELL=0"), "a build that fails has ended too");
    for quiet in ["config ZARCH=amd64", "config ZARCH=amd64 BELL=3600", "config ZARCH=amd64 BELL=0 -n"] {
        assert!(!on_terminal(quiet), "{quiet}");
    }
    let output = tree.xtask().args(["config", "BELL=0"]).output();
    assert!(output.status.success() && !output.stderr.contains(&7), "no terminal");
}

#[test]
fn a_small_tree_becomes_a_disk_and_then_nothing_is_due() {
    let tree = Tree::new();
    let out = tree.xtask().args(["live-raw"]).ok();
    assert!(out.starts_with("made: dist/amd64/0.0.0-main-") && out.contains("live.raw, 350.0 MiB"), "{out}");
    let plan = tree.xtask().args(["-n", "live-raw"]).ok();
    assert!(!plan.contains("to do"), "{plan}");
    let again = tree.xtask().args(["live-raw"]).ok();
    assert!(again.starts_with("up to date: "), "{again}");
    let sh = shell(tree.root());
    assert_eq!(cmd!(sh, "git status --porcelain").read().unwrap(), "", "a build changes nothing that git sees");
}

#[test]
fn another_hypervisor_or_configuration_is_another_build() {
    let tree = Tree::new();
    tree.xtask().args(["live-raw", "HV=kvm"]).ok();
    let why = tree.xtask().args(["why", "live", "HV=xen", "IMG_FORMAT=raw"]).ok();
    assert!(why.contains("version: due, version was 0.0.0-main-"), "{why}");
    tree.xtask().args(["live-raw", "HV=xen"]).ok();
    assert!(tree.xtask().args(["currentversion"]).ok().ends_with("-xen-amd64\n"));
    tree.write("home/other/server", "other.example.org\n");
    let why = tree.xtask().args(["why", "live", "HV=xen", "IMG_FORMAT=raw", "CONF_DIR=home/other"]).ok();
    assert!(why.contains("config.img: due, CONF_DIR was"), "{why}");
}

#[test]
fn a_hypervisor_that_the_image_cannot_have_is_refused() {
    for (words, why) in [
        (
            &["live", "HV=acrn", "--zarch", "arm64", "-n"][..],
            "error: HV=acrn ZARCH=arm64: eve has acrn for amd64 only\nhint: HV=kvm, or --zarch amd64",
        ),
        (&["live", "ACRN_BIN=Makefile", "-n"], "error: ACRN_BIN=Makefile: an image of eve for HV=kvm takes no hypervisor from a file"),
        (&["live", "HV=acrn", "ACRN_BIN=nowhere", "-n"], "error: ACRN_BIN: cannot read `"),
    ] {
        let output = Xtask::new(&repository()).args(words).output();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && error.contains(why), "{words:?}: {error}");
    }
}

#[test]
fn wrong_words_are_refused_with_what_was_meant() {
    let tree = Tree::new();
    let cases: [(&[&str], i32, &str); 9] = [
        (&["live", "HV=bogus"], 2, "error: HV=bogus (command line): small takes kvm, xen, acrn\nhint: --hv kvm or HV=kvm"),
        (&["lvie"], 2, "error: there is no target or command `lvie`\nhint: did you mean `live`?"),
        (&["make", "rotfs"], 2, "error: there is no target or command `rotfs`\nhint: did you mean `rootfs`?"),
        (
            &["live-gcp", "MEDIA_SIZE=1500"],
            2,
            "error: MEDIA_SIZE=1500: Google's cloud takes disks of whole GiB only\nhint: MEDIA_SIZE=2048",
        ),
        (&["live", "MEDIA_SIZES=1"], 2, "error: there is no knob MEDIA_SIZES\nhint: did you mean MEDIA_SIZE?"),
        (
            &["live", "MEDIA_SIZE=big"],
            2,
            "error: MEDIA_SIZE=big (command line): takes a whole number from 1 to 16777216\nhint: --media-size 32768 or MEDIA_SIZE=32768",
        ),
        (&["pkg", "bas"], 2, "error: there is no package `bas` in ROOT/pkg\nhint: did you mean base?"),
        (&["live", "CONF_DIR=nowhere"], 2, "error: the configuration folder `ROOT/nowhere` does not exist\nhint: CONF_DIR names another"),
        (
            &["currentversion"],
            1,
            "error: nothing has been built for amd64: `ROOT/dist/amd64/current/installer/eve_version` is missing\n  cause: No such file or directory (os error 2)\nhint: cargo xtask live",
        ),
    ];
    for (words, code, expected) in cases {
        assert_eq!(tree.error(words), (code, expected.to_owned()), "{words:?}");
    }
    assert!(tree.artifacts().is_empty());
}

#[test]
fn a_broken_tree_is_named_by_file_and_line() {
    let tree = Tree::new();
    tree.write("images/rootfs.yml.in", "kernel:\n  image: BASE_TAG\ninit:\n  - BSE_TAG\n");
    assert_eq!(
        tree.error(&["rootfs"]),
        (1, "error: images/rootfs.yml.in:4: BSE_TAG: there is no package `bse` in ROOT/pkg\nhint: did you mean base?".to_owned())
    );
    tree.write("images/rootfs.yml.in", "kernel:\n  image: BASE_TAG\n  cmdline: x\ninits:\n  - BASE_TAG\n");
    let (code, error) = tree.error(&["rootfs"]);
    assert!(
        code == 1 && error.starts_with("error: `images/rootfs.yml.in` is not a valid linuxkit yml:\n    images/rootfs.yml.in:4: "),
        "{error}"
    );
    assert!(error.contains("inits"), "{error}");
    tree.write("images/rootfs.yml.in", "kernel:\n  image: BASE_TAG\n  cmdline: x\n");
    tree.write("pkg/base/Dockerfile", "FROM scratch\nCOPY files/ /\nFRMO x\n");
    let (code, error) = tree.error(&["rootfs"]);
    assert!(code == 1 && error.contains("pkg/base/Dockerfile:3"), "{error}");
    // Before the first step, not after all lines above it have run.
    tree.write("pkg/base/Dockerfile", "FROM scratch\nCOPY files/ /\nHEALTHCHECK NONE\n");
    let (code, error) = tree.error(&["rootfs"]);
    assert!(code == 1 && error.starts_with("error: ROOT/pkg/base/Dockerfile:3\n  cause: HEALTHCHECK is not supported"), "{error}");
    fs::remove_file(tree.root().join("pkg/base/build.yml")).unwrap();
    let (code, error) = tree.error(&["rootfs"]);
    assert_eq!(
        (code, error.lines().next().unwrap()),
        (1, "error: images/rootfs.yml.in:2: BASE_TAG: `ROOT/pkg/base` is not a package: it has no build.yml")
    );
    assert!(tree.artifacts().iter().all(|name| !name.contains("rootfs.tar") && !name.contains("rootfs.img")), "{:?}", tree.artifacts());
}

#[test]
fn partitions_are_checked_before_the_first_step() {
    let tree = Tree::new();
    let (code, error) = tree.error(&["live-raw", "LIVE_PART_SPEC=efi imgx"]);
    assert!(
        code == 1
            && error.starts_with(
                "error: LIVE_PART_SPEC=efi imgx: the partitions of live.raw are wrong\n  cause: unknown partition kind `imgx`"
            ),
        "{error}"
    );
    assert!(tree.artifacts().is_empty(), "{:?}", tree.artifacts());
}

#[test]
fn what_does_not_fit_is_said_with_numbers_and_leaves_nothing() {
    let tree = Tree::new();
    fs::write(tree.root().join("conf/big"), vec![7; 2 << 20]).unwrap();
    let (code, error) = tree.error(&["config"]);
    assert!(code == 1 && error.contains("config.img failed") && error.contains("bytes"), "{error}");
    assert!(tree.artifacts().is_empty(), "{:?}", tree.artifacts());
    fs::remove_file(tree.root().join("conf/big")).unwrap();
    let profile = fs::read_to_string(tree.root().join("xtask.toml")).unwrap();
    tree.write("xtask.toml", &profile.replace("262144000", "100"));
    let (code, error) = tree.error(&["rootfs"]);
    assert!(code == 1 && error.contains("too large for its partition") && error.contains("limit of 100"), "{error}");
    assert!(
        tree.artifacts().iter().all(|name| !name.contains("rootfs.img") && !name.ends_with(".squash") && !name.ends_with(".part")),
        "{:?}",
        tree.artifacts()
    );
}

#[test]
fn a_step_that_fails_leaves_what_was_made_before_and_it_still_counts() {
    let tree = Tree::new();
    let config = || tree.xtask().env("STORE", "off").args(["config", "ROOTFS_VERSION=dev"]);
    config().ok();
    fs::write(tree.root().join("conf/big"), vec![7; 2 << 20]).unwrap();
    config().fails();
    let why = |tree: &Tree| texts(&tree.xtask().env("STORE", "off").args(["why", "config", "ROOTFS_VERSION=dev"]).output());
    let (out, err) = why(&tree);
    assert!(!format!("{out}{err}").contains("it has not been made yet"), "{out}{err}");
    fs::remove_file(tree.root().join("conf/big")).unwrap();
    let (out, err) = why(&tree);
    assert!(format!("{out}{err}").contains("config.img: up to date"), "{out}{err}");
}

#[test]
fn a_damaged_image_in_the_cache_is_built_again() {
    let tree = Tree::new();
    tree.xtask().args(["live-raw"]).ok();
    let first = fs::read(tree.root().join("dist/amd64/current/live.raw")).unwrap();
    let blobs = tree.root().join("home/images/blobs/sha256");
    for name in fs::read_dir(&blobs).unwrap().map(|entry| entry.unwrap().path()) {
        // The last byte: the length stays.
        let whole = fs::read(&name).unwrap();
        let mut bytes = whole.clone();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&name, bytes).unwrap();
        fs::remove_dir_all(tree.root().join("dist")).unwrap();
        let output = tree.xtask().args(["live-raw"]).output();
        let (out, err) = common::texts(&output);
        assert!(output.status.success(), "{name:?}: {out}{err}");
        assert!(fs::read(tree.root().join("dist/amd64/current/live.raw")).unwrap() == first, "{name:?}");
        // A blob of an image that this build does not read stays damaged.
        if err.contains("is damaged") {
            assert!(err.contains("; it is removed, and its image is built again"), "{err}");
            assert!(fs::read(&name).unwrap() == whole, "{name:?}");
        } else {
            fs::write(&name, whole).unwrap();
        }
    }
}

#[test]
fn an_editor_at_work_a_long_branch_and_no_commit() {
    let tree = Tree::new();
    std::os::unix::fs::symlink("me@host.1:2", tree.root().join("conf/.#server")).unwrap();
    tree.xtask().args(["config"]).ok();
    std::os::unix::fs::symlink("nowhere", tree.root().join("conf/lost")).unwrap();
    let (code, error) = tree.error(&["config"]);
    assert!(code == 1 && error.contains("ROOT/conf/lost"), "{code} {error}");
    fs::remove_file(tree.root().join("conf/lost")).unwrap();
    let sh = shell(tree.root());
    cmd!(sh, "mkfifo pipe").run().unwrap();
    let (code, error) = tree.error(&["makeconfig", "dist/config.img", "1", "pipe"]);
    assert!(code == 1 && error.contains("ROOT/pipe` is neither a file nor a folder"), "{code} {error}");
    fs::remove_file(tree.root().join("pipe")).unwrap();
    let long = "b".repeat(240);
    cmd!(sh, "git checkout -q -b {long}").run().unwrap();
    let (code, error) = tree.error(&["config"]);
    assert!(code == 2 && error.contains("error: the version has 255 bytes, too many for file names"), "{code} {error}");
    tree.xtask().args(["config", "ROOTFS_VERSION=short"]).ok();
    cmd!(sh, "git symbolic-ref refs/heads/alias refs/heads/main").run().unwrap();
    cmd!(sh, "git symbolic-ref HEAD refs/heads/alias").run().unwrap();
    let said = cmd!(sh, "git rev-parse --abbrev-ref HEAD").read().unwrap();
    assert!(tree.xtask().args(["version"]).ok().contains(&format!("0.0.0-{said}-")));
    cmd!(sh, "git symbolic-ref HEAD refs/heads/unborn").run().unwrap();
    let (code, error) = tree.error(&["version"]);
    assert!(code == 1 && error.ends_with("hint: its branch has no commit yet: git add --all && git commit"), "{code} {error}");
}

#[test]
fn a_missing_or_failing_tool_is_named() {
    let tree = Tree::new();
    let (code, error) = tree.xtask().env("XTASK_TOOL_QEMU_IMG", "/nowhere/qemu-img").args(["live-vdi", "INSTALL_TOOLS=never"]).fails();
    assert!(code == 3 && error.contains("qemu-img"), "{code} {error}");
    tree.write("home/qemu-img", "#!/bin/sh\n[ \"$1\" = --version ] && { echo 'qemu-img version 7.2.0'; exit; }\necho 'the disk of the tool is broken' >&2\nexit 5\n");
    let fake = tree.root().join("home/qemu-img");
    common::tool("chmod", &["+x", fake.to_str().unwrap()]);
    let (code, error) = tree.xtask().env("XTASK_TOOL_QEMU_IMG", &fake).args(["live-vdi"]).fails();
    assert!(code == 1 && error.contains("live.vdi failed") && error.contains("the disk of the tool is broken"), "{code} {error}");
    let line = "] live.vdi: the disk of the tool is broken\n";
    assert!(!error.contains(line), "{error}");
    let (_, error) = tree.xtask().env("XTASK_TOOL_QEMU_IMG", &fake).args(["--verbose", "live-vdi"]).fails();
    assert!(error.contains(line), "{error}");
    assert!(tree.artifacts().iter().all(|name| !name.ends_with("live.vdi")), "{:?}", tree.artifacts());
}

#[test]
fn killed_in_the_middle_and_run_again_gives_the_same_bytes() {
    let tree = Tree::new();
    tree.xtask().args(["live-raw"]).ok();
    let raw = || common::tool("sha256sum", &[tree.root().join("dist/amd64/current/live.raw").to_str().unwrap()])[..64].to_owned();
    let whole = raw();
    for delay in [5, 15, 30, 60, 120] {
        fs::remove_dir_all(tree.root().join("dist")).unwrap();
        let home = tree.root().join("home");
        // The store has what the killed build put there, and nothing else.
        let store = home.join("store");
        let _ = fs::remove_dir_all(&store);
        let mut child = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .arg("--root")
            .arg(tree.root())
            .args(["live-raw", "ZARCH=amd64"])
            .env("HOME", &home)
            .env("LINUXKIT_CACHE", home.join("images"))
            .env("STORE", &store)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        tree.xtask().env("STORE", &store).args(["live-raw"]).ok();
        assert_eq!(raw(), whole, "killed after {delay} ms");
        assert!(tree.artifacts().iter().all(|name| !name.ends_with(".part")), "{:?}", tree.artifacts());
    }
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing_broken() {
    let tree = Tree::new();
    let dist = tree.root().join("dist");
    fs::create_dir(&dist).unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=300k", "tmpfs"]).arg(&dist).status().is_ok_and(|status| status.success());
    if !mounted {
        return skips::refused("mount refuses a tmpfs of 300 KiB");
    }
    let result = std::panic::catch_unwind(|| {
        let (code, error) = tree.error(&["live-raw"]);
        assert!(code == 1 && error.contains("No space left on device"), "{code} {error}");
        assert!(error.starts_with("error: a disk is full: dist (file system of ROOT/dist (tmpfs)) has "), "{error}");
        assert!(error.ends_with("\nhint: make room; cargo xtask clean --old removes versions before the last"), "{error}");
        assert!(tree.artifacts().iter().all(|name| !name.ends_with(".part") && !name.ends_with("live.raw")), "{:?}", tree.artifacts());
    });
    common::tool("umount", &[dist.to_str().unwrap()]);
    result.unwrap();
}

#[test]
fn room_is_checked_before_the_first_step_of_a_first_build() {
    let tree = Tree::new();
    // What gzip cannot make smaller.
    let mut noise = vec![0; 3 << 20];
    noise.iter_mut().fold(1_u64, |state, byte| {
        let next = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = (next >> 56) as u8;
        next
    });
    fs::write(tree.root().join("pkg/base/files/noise"), noise).unwrap();
    tree.xtask().env("STORE", "off").args(["pkg", "base"]).ok();
    let dist = tree.root().join("dist");
    fs::remove_dir_all(&dist).unwrap();
    fs::create_dir(&dist).unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&dist).status().is_ok_and(|status| status.success());
    if !mounted {
        return skips::refused("mount refuses a tmpfs of 1 MiB");
    }
    let result = std::panic::catch_unwind(|| {
        let (code, said) = tree.xtask().env("STORE", "off").args(["live-raw"]).fails();
        let error = tree.error_in(&said);
        assert!(code == 1 && !said.contains("[0/"), "a step ran: {said}");
        let start = "error: no room in dist (file system of ROOT/dist (tmpfs)): this build needs at least ";
        assert!(error.starts_with(start) && error.contains(" MiB there (") && error.contains("rootfs.img "), "{error}");
        assert!(error.contains("), and 1.0 MiB are free\nhint: make room; cargo xtask clean --old "), "{error}");
    });
    common::tool("umount", &[dist.to_str().unwrap()]);
    result.unwrap();
}

#[test]
fn two_at_once_wait_for_each_other() {
    let tree = Tree::new();
    let children: Vec<_> = (0..2)
        .map(|_| {
            let home = tree.root().join("home");
            Command::new(env!("CARGO_BIN_EXE_xtask"))
                .arg("--root")
                .arg(tree.root())
                .args(["live-raw", "ZARCH=amd64"])
                .env("HOME", &home)
                .env("LINUXKIT_CACHE", home.join("images"))
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
}

/// A folder with a shell and some programs, for steps of the sandbox; `user` may write to it.
fn stage(user: u32) -> TempDir {
    let stage = tempfile::tempdir().unwrap();
    let root = stage.path().join("root");
    common::copy_programs(&["/bin/sh", "/bin/chmod", "/bin/ls", "/bin/cat"], &root);
    // Another user cannot look into the folder of this repository.
    fs::copy(env!("CARGO_BIN_EXE_xtask"), stage.path().join("xtask")).unwrap();
    for entry in walkdir::WalkDir::new(stage.path()) {
        std::os::unix::fs::lchown(entry.unwrap().path(), Some(user), Some(user)).unwrap();
    }
    stage
}

/// Runs a shell script as a step, as `user`, with the descriptor 9 left open.
fn step(stage: &TempDir, user: u32, script: &str) -> (String, String) {
    let order = serde_json::json!({
        "root": stage.path().join("root"), "workdir": "/", "network": false, "argv": ["/bin/sh", "-c", script], "env": { "SECRET": "of-a-step" }
    });
    fs::write(stage.path().join("order"), order.to_string()).unwrap();
    let start = "exec 3<order 9</; exec ./xtask __sandbox 3";
    let output = Command::new("/bin/sh").args(["-c", start]).current_dir(stage.path()).uid(user).gid(user).output().unwrap();
    common::texts(&output)
}

/// Root in a step is root of this machine where root builds, so what is the machine's must be out of its reach.
#[test]
fn a_step_cannot_reach_this_machine() {
    let own = fs::metadata("/proc/self").unwrap().uid();
    let users = if own == 0 { vec![0, 65534] } else { vec![own] };
    for user in users {
        let stage = stage(user);
        let run = |script: &str| step(&stage, user, script);
        // What it writes is what is there already.
        let pattern = "read -r value < /proc/sys/kernel/core_pattern; echo \"$value\"";
        let (out, err) = run(&format!("{pattern}; ({pattern} > /proc/sys/kernel/core_pattern) && echo reached"));
        assert!(!out.is_empty() && !out.contains("reached") && !err.is_empty(), "{user}: {out}{err}");
        let (out, err) = run("(echo h > /proc/sysrq-trigger) || read -r bytes < /proc/kcore || echo shut; echo fine > /new");
        assert_eq!(out, "shut\n", "{user}: {err}");
        assert_eq!(fs::read_to_string(stage.path().join("root/new")).unwrap(), "fine\n");
        // Every mode is the one that is there already.
        let nodes = "for file in /dev/null /dev/zero /dev/full /dev/random /dev/urandom /proc/version /proc/kcore; do\n\
                     chmod --reference=$file $file && echo reached $file; done; echo x > /dev/null; cat < /dev/null; echo done";
        assert_eq!(run(nodes).0, "done\n", "{user}");
        // The streams of the test are pipes of its own user.
        assert!(user != own || run("echo x > /dev/stdout").0 == "x\n");
        let (out, err) = run("echo $SECRET; ls /proc/self/fd; cat /proc/self/status");
        // 3 is the folder that ls reads.
        assert!(out.starts_with("of-a-step\n0\n1\n2\n3\n"), "{user}: {out}{err}");
        assert!(out.contains("NoNewPrivs:\t1\n") && out.contains("Seccomp:\t2\n"), "{user}: {out}{err}");
    }
}

#[test]
fn nobody_needs_to_read_what_is_said() {
    let tree = Tree::new();
    let line = format!(
        "(sleep 0.3; '{}' --root '{}' config > out; echo $? > code) 2>&1 | true",
        env!("CARGO_BIN_EXE_xtask"),
        tree.root().display()
    );
    let done = Command::new("bash").args(["-c", &line]).current_dir(tree.root()).status().unwrap();
    assert!(done.success());
    assert_eq!(fs::read_to_string(tree.root().join("code")).unwrap(), "0\n");
}

#[test]
fn another_time_is_another_image() {
    let tree = Tree::new();
    let config = |time: &str| tree.xtask().env("SOURCE_DATE_EPOCH", time).args(["--dry-run", "config"]);
    tree.xtask().env("SOURCE_DATE_EPOCH", "1700000000").args(["config"]).ok();
    assert!(config("1700000000").ok().contains("up to date"));
    assert!(config("1700001000").ok().contains("time was 1700000000, is 1700001000"));
    let plan = tree.xtask().env("SOURCE_DATE_EPOCH", "1700001000").args(["--json", "--dry-run", "config"]).ok();
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let image = plan.as_array().unwrap().iter().find(|node| node["id"] == "config.img").unwrap();
    assert!(image["due"] == "time was 1700000000, is 1700001000" && image["inputs"]["time"] == "1700001000", "{image}");
    for wrong in ["abc", "-5", "99999999999999999"] {
        let (code, error) = config(wrong).fails();
        assert!(code == 2 && error.contains(&format!("SOURCE_DATE_EPOCH={wrong}: ")), "{error}");
    }
}

#[test]
fn the_pages_of_docs_reference_are_fresh() {
    Xtask::new(&repository()).args(["reference", "--check"]).ok();
}
