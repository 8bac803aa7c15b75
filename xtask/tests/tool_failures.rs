//! The linuxkit engine when its tools fail, are killed, or talk nonsense: every call of `live-gcp` and `installer-iso` in turn. The error
//! names the tool, what it was doing and its last words; nothing half made stays under its name; the next run succeeds.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, init, texts};
use std::{fs, path::Path};

/// A tree that is built by containers, as small as one can be.
fn tree(root: &Path) {
    let write = |name: &str, text: &str| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        "xtask.toml",
        "[tree]\nname = \"small\"\nengine = \"linuxkit\"\n[packages]\nfolder = \"pkg\"\npublished = true\n[templates]\nrootfs = \"images/rootfs.yml.in\"\n\
         [rootfs]\nlimit = 262144000\n[live]\nparts = [\"efi\", \"conf\", \"imga\"]\nmebibytes = 1\n[installer]\nparts = [\"conf_win installer\"]\n\
         [parts]\nboot = \"u-boot\"\nEFI = \"grub\"\n\"initrd.img\" = \"mkimage-raw-efi\"\n\"installer.img\" = \"mkimage-raw-efi\"\n\
         [firmware]\npackage = \"uefi\"\nfiles = [\"OVMF.fd\"]\n",
    );
    write("images/rootfs.yml.in", "kernel:\n  image: GRUB_TAG\n");
    for name in ["u-boot", "grub", "mkimage-raw-efi", "mkimage-iso-efi", "mkconf", "mkrootfs-squash", "uefi"] {
        write(&format!("pkg/{name}/build.yml"), &format!("org: lfedge\nimage: eve-{name}\n"));
        write(&format!("pkg/{name}/Dockerfile"), "FROM scratch\n");
    }
    write("conf/server", "example.org\n");
    write(".gitignore", "/dist\n");
    init(root, "main", "small");
}

/// What both stand-ins begin with: they count their calls, and the one whose number is `FAIL_AT` does what `MODE` says.
const COUNT: &str = r#"#!/bin/bash
[ "$1" = version ] && { echo 'version v1.2.0'; exit; }
out=
for word; do
    case $word in
        *:/rootfs.img|*:/config.img|*:/output.img|*:/output.iso) out=${word%%:*} ;;
        "$STATE"*/rootfs.tar) out=$word ;;
    esac
done
n=$(($(cat "$STATE/count" 2>/dev/null || echo 0) + 1))
echo $n > "$STATE/count"
if [ "$n" = "$FAIL_AT" ]; then
    [ -n "$out" ] && printf HALF > "$out"
    case $MODE in
        fail) echo 'the tool is broken' >&2; exit 3 ;;
        kill) kill -9 $$ ;;
        garbage) head -c 3000 /dev/urandom; exit 0 ;;
    esac
fi
"#;

const LINUXKIT: &str = r#"
case "$1 $2" in
    'pkg build') ;;
    'build '*) mkdir -p "$STATE/t/boot"; echo kernel > "$STATE/t/boot/kernel"; tar -cf "$out" -C "$STATE/t" boot ;;
    'cache export')
        mkdir -p "$STATE/x/boot" "$STATE/x/EFI/BOOT"
        for name in boot/u-boot.bin EFI/BOOT/BOOTX64.EFI initrd.img installer.img OVMF.fd; do echo payload > "$STATE/x/$name"; done
        tar -cf - -C "$STATE/x" . ;;
esac
"#;

const DOCKER: &str = r#"
[ -n "$out" ] && head -c 4096 /dev/zero | tr '\0' x > "$out"
cat > /dev/null
"#;

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        tree(&folder.path().join("tree"));
        for (name, rest) in [("linuxkit", LINUXKIT), ("docker", DOCKER)] {
            let path = folder.path().join("bin").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            child::fake::executable(&path, format!("{COUNT}{rest}"));
        }
        Self { folder }
    }

    fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("tree")
    }

    /// Runs `goal` with the call number `fail_at` going wrong; exit code, standard error, and the number of calls.
    fn run(&self, goal: &str, mode: &str, fail_at: usize) -> (i32, String, usize) {
        let _ = fs::remove_file(self.folder.path().join("count"));
        let path = format!("{}:/usr/bin:/bin", self.folder.path().join("bin").display());
        let xtask = Xtask::new(&self.root()).env("PATH", path).env("HOME", self.folder.path()).env("STATE", self.folder.path());
        // A cache of the person's own would make calls unnecessary.
        let xtask = xtask.env("LINUXKIT_CACHE", self.folder.path().join("cache"));
        let xtask = xtask.env("MODE", mode).env("FAIL_AT", fail_at.to_string()).env("ZARCH", "amd64");
        let output = xtask.args(["-j1", goal, "ROOTFS_VERSION=1.0.0"]).output();
        let calls = fs::read_to_string(self.folder.path().join("count")).map_or(0, |text| text.trim().parse().unwrap());
        (output.status.code().unwrap_or(-1), texts(&output).1, calls)
    }

    /// Artifacts with half a content.
    fn half_made(&self) -> Vec<String> {
        let files = walkdir::WalkDir::new(self.root().join("dist")).into_iter().filter_map(Result::ok);
        let half = files.filter(|entry| entry.file_type().is_file() && entry.metadata().unwrap().len() == 4);
        half.filter(|entry| fs::read(entry.path()).unwrap() == b"HALF").map(|entry| entry.path().display().to_string()).collect()
    }
}

fn every_call_in_turn(goal: &str, artifact: &str) {
    let bench = Bench::new();
    let dist = bench.root().join("dist");
    let (code, error, calls) = bench.run(goal, "none", 0);
    assert!(code == 0 && calls >= 7, "{calls} calls\n{error}");
    for mode in ["fail", "kill", "garbage"] {
        for fail_at in 1..=calls {
            let case = format!("{goal}, call {fail_at}, {mode}");
            let _ = fs::remove_dir_all(&dist);
            let (code, error, _) = bench.run(goal, mode, fail_at);
            if mode == "garbage" && code == 0 {
                // What a tool prints matters only where it is read; an image of garbage is the tool's own affair.
                continue;
            }
            assert_eq!(code, 1, "{case}\n{error}");
            assert!(error.contains("`docker`") || error.contains("`linuxkit`"), "{case}: no tool is named\n{error}");
            let word = match mode {
                "fail" => "the tool is broken",
                "kill" => "signal",
                _ => "",
            };
            assert!(error.contains(word), "{case}: no `{word}`\n{error}");
            assert!(mode == "garbage" || error.contains(" while "), "{case}: no step is named\n{error}");
            assert!(bench.half_made().is_empty(), "{case}: {:?}", bench.half_made());
            assert!(!dist.join("amd64/1.0.0").join(artifact).exists(), "{case}: the artifact is there");
            let (code, error, _) = bench.run(goal, "none", 0);
            assert!(code == 0 && dist.join("amd64/1.0.0").join(artifact).is_file(), "{case}: the next run\n{error}");
        }
    }
}

#[test]
fn live_gcp_with_broken_tools() {
    every_call_in_turn("live-gcp", "live.img.tar.gz");
}

#[test]
fn installer_iso_with_broken_tools() {
    every_call_in_turn("installer-iso", "installer.iso");
}

#[test]
fn a_change_that_git_hides_is_refused_before_a_tool_starts() {
    let bench = Bench::new();
    let in_tree = |script: &str| {
        let sh = common::shell(&bench.root());
        xshell::cmd!(sh, "sh -ec {script}").run().unwrap();
    };
    in_tree("git update-index --assume-unchanged pkg/grub/Dockerfile; echo '# hidden' >> pkg/grub/Dockerfile");
    let (code, error, calls) = bench.run("pkg/grub", "none", 0);
    assert!(code == 2 && calls == 0, "{calls} calls\n{error}");
    let file = bench.root().canonicalize().unwrap().join("pkg/grub/Dockerfile");
    let said = format!("error: {} is not what the commit has, and git is told not to look at it: ", file.display());
    assert!(error.starts_with(&said), "{error}");
    // The hint's words make it a change that everyone sees.
    let hint = error.lines().find_map(|line| line.strip_prefix("hint: ")).unwrap();
    assert!(hint.contains(" update-index --no-assume-unchanged --no-skip-worktree "), "{hint}");
    common::tool("sh", &["-ec", hint]);
    let (code, error, calls) = bench.run("pkg/grub", "none", 0);
    assert!(code == 0 && calls > 0, "{error}");
}
