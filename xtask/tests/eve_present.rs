//! A small tree that is laid out as lf-edge/eve is now, found by the profile that ships with us: platforms, the kernel's name out of
//! kernel-version.mk, modifiers, an installer of its own, packages in order. docker and linuxkit are stand-ins that write down their calls.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, git, init};
use std::{
    fs,
    path::{Path, PathBuf},
};

const KERNEL: &str = "\
BOARDS_amd64=generic rt
BOARDS_arm64=generic nvidia-jp6
ifeq (, $(filter $(PLATFORM), $(BOARDS_$(ZARCH))))
  $(error \"no $(PLATFORM) for $(ZARCH)\")
endif
include kernel-commits.mk
KERNEL_TAG ?= docker.io/lfedge/eve-kernel:eve-kernel-$(ZARCH)-$(PLATFORM)-$(COMMIT_$(ZARCH))
";

const ROOTFS: &str = "\
kernel:
  image: KERNEL_TAG
init:
  - GRUB_TAG
services:
  - name: pillar
    image: PILLAR_TAG
files:
  - path: /etc/eve-release
    source: eve_version
  - path: /etc/eve-hv-type
    contents: 'EVE_HV'
  - path: /etc/eve-platform
    contents: 'EVE_PLATFORM'
";

const LINUXKIT: &str = r#"
case "$*" in
    version*) echo 'linuxkit version v1.8.1'; exit ;;
    'cache ls'*) cat "$STATE/listed" 2> /dev/null || true ;;
    'pkg build'*)
        echo "$LINUXKIT_MIRROR $LINUXKIT_BUILDER_NAME $LINUXKIT_BUILDER_IMAGE $LINUXKIT_BUILDER_CONFIG" > "$STATE/variables"
        [ -L "$LINUXKIT_CACHE/blobs" ] && echo "+ $LINUXKIT_CACHE" >> "$STATE/building"
        sleep "${SLEEP:-0}"
        echo - >> "$STATE/building" ;;
    build*) for word; do [ "$last" = --o ] && out=$word; last=$word; done
        mkdir -p "$STATE/t/boot"; echo kernel > "$STATE/t/boot/kernel"; echo '{"spdxVersion": 1}' > "$STATE/t/sbom.spdx.json"
        tar -cf "$out" -C "$STATE/t" boot sbom.spdx.json ;;
    'cache export'*)
        STATE=$(mktemp -d); trap 'rm -rf "$STATE"' EXIT
        mkdir -p "$STATE/x/boot" "$STATE/x/bsp-imx" "$STATE/x/EFI/BOOT"
        for name in boot/u-boot.bin bsp-imx/LICENSE EFI/BOOT/BOOTX64.EFI initrd.img ipxe.efi OVMF.fd OVMF_CODE.fd OVMF_VARS.fd; do
            echo "$name" > "$STATE/x/$name"
        done
        tar -cf - -C "$STATE/x" . ;;
esac
"#;

const DOCKER: &str = r#"
[ "$1" = run ] || { echo 24.0.0; exit; }
for word; do
    case $word in *:/rootfs.img|*:/config.img|*:/output.img|*:/output.iso) out=${word%%:*} ;; esac
done
head -c 4096 /dev/zero > "$out"
case " $* " in *' -i '*) cat > /dev/null ;; esac
"#;

struct Checkout {
    folder: tempfile::TempDir,
}

impl Checkout {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let it = Self { folder };
        it.write("kernel-version.mk", KERNEL);
        it.write("kernel-commits.mk", "COMMIT_amd64 = aaa\nCOMMIT_arm64 = bbb\n");
        it.write("images/rootfs.yml.in", ROOTFS);
        it.write("images/installer.yml.in", "kernel:\n  image: KERNEL_TAG\nonboot:\n  - name: installer\n    image: INSTALLER_TAG\n");
        it.write("images/modifiers/hv/k.yq", ".services += [{\"name\": \"kube\", \"image\": \"KUBE_TAG\"}]");
        it.write("images/modifiers/platform/nvidia-jp6/nvidia-jp6.yq", ".init += [\"FW_TAG\"]");
        it.write("pkg/eve/installer/ipxe.efi.cfg", "#!ipxe\n");
        it.write("pkg/eve/installer/etc_issue", "EVE\n");
        it.write("conf/server", "example.org\n");
        it.write(".gitignore", "/dist\n/state\n/new-kernel\n");
        for name in "u-boot grub mkimage-raw-efi mkimage-iso-efi mkconf mkrootfs-squash mkrootfs-ext4 uefi bsp-imx ipxe installer kube fw pillar alpine"
            .split(' ')
        {
            it.write(&format!("pkg/{name}/build.yml"), &format!("org: lfedge\nimage: eve-{name}\n"));
            it.write(&format!("pkg/{name}/Dockerfile"), "FROM scratch\n");
        }
        it.write("pkg/pillar/build-k.yml", "org: lfedge\nimage: eve-pillar\ntag: \"{{.Hash}}-kube\"\n");
        it.write("pkg/pillar/build-k-dev.yml", "org: lfedge\nimage: eve-pillar\ntag: \"{{.Hash}}-kube-dev\"\n");
        it.write("pkg/fw/build-nvidia-jp6.yml", "org: lfedge\nimage: eve-fw\ntag: \"{{.Hash}}-nvidia-jp6\"\n");
        it.write("pkg/alpine/Dockerfile", "FROM lfedge/eve-pillar:old AS old\nFROM scratch\nCOPY --from=old /a /a\n");
        it.write("pkg/pillar/Dockerfile", "ARG A=lfedge/eve-alpine:1234\nFROM lfedge/eve-fw:abcd AS fw\nFROM ${A}\nCOPY --from=fw / /\n");
        init(it.folder.path(), "main", "tree");
        for (name, text) in [("linuxkit", LINUXKIT), ("docker", DOCKER)] {
            let state = it.path("state");
            let log = format!("echo \"$(basename \"$PWD\")> {name} $*\" >> '{}'", it.path("state/calls").display());
            fs::create_dir_all(&state).unwrap();
            child::fake::executable(
                &state.join(name),
                format!("#!/bin/bash\nSTATE='{}'; [ -f $STATE/slow ] && SLEEP=0.3\n{log}\n{text}", state.display()),
            );
        }
        it
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn xtask(&self, line: &str) -> Xtask {
        let start = Xtask::new(self.folder.path()).env("LINUXKIT_CACHE", self.path("state/cache")).args(line.split_whitespace());
        start.env("XTASK_TOOL_LINUXKIT", self.path("state/linuxkit")).env("XTASK_TOOL_DOCKER", self.path("state/docker"))
    }

    /// What `line` calls, each with the name of the folder that it is called in.
    fn calls(&self, line: &str) -> Vec<String> {
        let _ = fs::remove_file(self.path("state/calls"));
        self.xtask(line).ok();
        let text = fs::read_to_string(self.path("state/calls")).unwrap();
        let here = format!("{}/", self.folder.path().display());
        text.lines()
            .filter(|line| !line.ends_with("> linuxkit version") && !line.contains("docker version"))
            .map(|line| line.replace(&here, ""))
            .collect()
    }

    fn dist(&self, arch: &str) -> PathBuf {
        let version = self.xtask("version").ok();
        self.path("dist").join(arch).join(version.trim())
    }
}

fn yml(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn kernels_platforms_and_versions_come_out_of_the_tree() {
    let tree = Checkout::new();
    for (line, kernel) in [
        ("--zarch amd64", "docker.io/lfedge/eve-kernel:eve-kernel-amd64-generic-aaa"),
        ("--zarch amd64 --platform rt", "docker.io/lfedge/eve-kernel:eve-kernel-amd64-rt-aaa"),
        ("--zarch arm64 --platform nvidia-jp6", "docker.io/lfedge/eve-kernel:eve-kernel-arm64-nvidia-jp6-bbb"),
        ("--zarch amd64 --kernel-tag mine:1", "mine:1"),
    ] {
        assert_eq!(tree.xtask(&format!("kernel-tag {line}")).ok().trim(), kernel);
    }
    let error = tree.xtask("live-raw --zarch amd64 --platform nvidia-jp6").fails().1;
    assert!(error.contains("kernel-version.mk:4: no nvidia-jp6 for amd64"), "{error}");
    let plain = tree.xtask("version").ok();
    for (line, more) in [("--platform rt", "-rt"), ("--kernel-tag docker.io/lfedge/eve-kernel:eve-kernel-amd64-x", "-k-amd64-x")] {
        assert_eq!(tree.xtask(&format!("version {line}")).ok(), format!("{}{more}\n", plain.trim()));
    }
    // A commit after a release is none.
    git(tree.folder.path(), &["tag", "1.2.3"]);
    assert_eq!(tree.xtask("version").ok(), "1.2.3\n");
    tree.write("new", "");
    for words in [&["add", "new"][..], &["commit", "-q", "-m", "after"]] {
        git(tree.folder.path(), words);
    }
    assert!(tree.xtask("version").ok().starts_with("0.0.0-main-"));
}

#[test]
fn modifiers_and_variants_follow_hypervisor_and_platform() {
    let tree = Checkout::new();
    tree.xtask("rootfstar --hv k --dev --zarch amd64").ok();
    let dist = tree.dist("amd64");
    let text = yml(&dist.with_file_name(format!("{}-dev", dist.file_name().unwrap().display())).join("images/rootfs-k-generic.yml"));
    assert!(text.contains("-kube-dev\n") && text.contains("image: lfedge/eve-kube:") && text.contains("contents: k\n"), "{text}");
    tree.xtask("rootfstar --zarch arm64 --platform nvidia-jp6").ok();
    let dist = tree.dist("arm64");
    let text =
        yml(&dist.with_file_name(format!("{}-nvidia-jp6", dist.file_name().unwrap().display())).join("images/rootfs-kvm-nvidia-jp6.yml"));
    assert!(
        text.contains("-nvidia-jp6\n") && text.contains("eve-kernel-arm64-nvidia-jp6-bbb") && text.contains("contents: nvidia-jp6"),
        "{text}"
    );
    assert!(!text.contains("-arm64\n"), "images have no architecture here: {text}");
}

#[test]
fn a_live_disk_grows_in_its_container_and_takes_the_partitions_that_one_names() {
    let tree = Checkout::new();
    let calls = tree.calls("live-raw --zarch amd64");
    let disk = calls.iter().find(|call| call.contains("/output.img ")).unwrap();
    assert!(disk.contains("docker run --rm -e PLATFORM=generic -v ") && disk.ends_with(" -C /output.img efi efi_b conf imga"), "{disk}");
    let compose = calls.iter().find(|call| call.contains("linuxkit build")).unwrap();
    assert!(compose.starts_with("installer> linuxkit build --docker --arch amd64 --o dist/"), "{compose}");
    assert!(tree.dist("amd64").join("installer/eve_platform").is_file());
    let calls = tree.calls("live-raw --zarch amd64 --platform rt --live-part-spec efi,imga");
    assert!(calls.iter().any(|call| call.contains("PLATFORM=rt") && call.ends_with(" efi,imga")), "{calls:?}");
}

#[test]
fn the_installer_is_composed_with_eve_in_it() {
    let tree = Checkout::new();
    let calls = tree.calls("installer-net --zarch amd64");
    let dist = tree.dist("amd64");
    let short = dist.strip_prefix(tree.folder.path()).unwrap().display().to_string();
    let iso = calls.iter().find(|call| call.contains(":/output.iso")).unwrap();
    assert!(
        iso.contains(&format!(
            "docker run -i --rm -e VOLUME_LABEL=EVEISO -v {short}/installer.iso:/output.iso lfedge/eve-mkimage-iso-efi:"
        )),
        "{iso}"
    );
    assert!(iso.ends_with(" installer"), "{iso}");
    assert!(
        calls.iter().any(|call| call.starts_with("installer> linuxkit build") && call.ends_with("images/installer-kvm-generic.yml")),
        "{calls:?}"
    );
    let tar = std::process::Command::new("tar").arg("-tf").arg(dist.join("installer.net")).output().unwrap();
    let names = String::from_utf8(tar.stdout).unwrap();
    assert_eq!(names, "ipxe.efi\nipxe.efi.cfg\ninstaller.iso\nEFI/BOOT/BOOTX64.EFI\nEFI/BOOT/grub.cfg\n");
    let calls = tree.calls("installer --zarch amd64");
    assert!(calls.iter().any(|call| call.ends_with(" -C /output.img efi conf_win installer inventory_win")), "{calls:?}");
    assert_eq!(tree.xtask("sbom_info --zarch amd64").ok().trim(), dist.join("installer/rootfs-generic.spdx.json").display().to_string());
    tree.xtask("sbom --zarch amd64").ok();
    assert_eq!(fs::read_to_string(dist.join("installer/rootfs-generic.spdx.json")).unwrap(), "{\"spdxVersion\": 1}\n");
}

#[test]
fn a_kernel_of_ones_own_and_quick_rounds() {
    let tree = Checkout::new();
    tree.write("new-kernel", "mine");
    tree.xtask("rootfstar --zarch amd64 --kernel-image new-kernel").ok();
    let tar = tree.dist("amd64").join("rootfs-generic.tar");
    let inside =
        || String::from_utf8(std::process::Command::new("tar").arg("-xOf").arg(&tar).arg("boot/kernel").output().unwrap().stdout).unwrap();
    assert_eq!(inside(), "mine");
    // It is another tar when the file is another, and the tree's own without it.
    tree.write("new-kernel", "other");
    tree.xtask("rootfstar --zarch amd64 --kernel-image new-kernel").ok();
    assert_eq!(inside(), "other");
    tree.xtask("rootfstar --zarch amd64").ok();
    assert_eq!(inside(), "kernel\n");
    let error = tree.xtask("rootfstar --zarch amd64 --kernel-image none").fails().1;
    assert!(error.contains("KERNEL_IMAGE") && error.contains("none"), "{error}");
    // The older tar is handed over, and the file system can be written.
    tree.write("images/rootfs.yml.in", &ROOTFS.replace("GRUB_TAG", "FW_TAG"));
    let calls = tree.calls("rootfs --zarch amd64 --live-update --rootfs-version same");
    assert!(calls.iter().any(|call| call.contains("lfedge/eve-mkrootfs-ext4:")), "{calls:?}");
    tree.write("images/rootfs.yml.in", ROOTFS);
    let calls = tree.calls("rootfs --zarch amd64 --live-update --rootfs-version same");
    assert!(calls.iter().any(|call| call.contains(" --input-tar dist/amd64/same/rootfs-generic.tar ")), "{calls:?}");
}

#[test]
fn packages_are_built_after_those_that_they_start_from() {
    let tree = Checkout::new();
    let calls = tree.calls("pkg pillar --zarch amd64");
    let mut built: Vec<&str> = calls.iter().filter_map(|call| call.rsplit_once("pkg/").map(|(_, name)| name)).collect();
    // alpine's own Dockerfile starts from an old pillar, which is no reason to build that first.
    assert_eq!(built.pop(), Some("pillar"));
    built.sort_unstable();
    assert_eq!(built, ["alpine", "fw"]);
    let calls = tree.calls("pkg grub --zarch arm64 --builders linux/arm64=far,linux/amd64=near");
    let build = calls.iter().find(|call| call.ends_with("pkg/grub")).unwrap();
    assert!(build.contains(" --platforms linux/arm64 --builders linux/arm64=far,linux/amd64=near "), "{build}");
    let all = tree.xtask("--dry-run pkgs --zarch amd64").ok();
    assert!(!all.contains("pkg/kube ") && tree.xtask("--dry-run pkgs --zarch amd64 --hv k").ok().contains("pkg/kube "), "{all}");
}

#[test]
fn packages_have_the_organization_and_linuxkit_the_mirror_of_the_knobs() {
    let tree = Checkout::new();
    let own = tree.xtask("show-tag grub").ok();
    let other = tree.xtask("show-tag grub LINUXKIT_PKG_ORG=localhost:5001/lfedge").ok();
    assert_eq!(other, own.replacen("lfedge/", "localhost:5001/lfedge/", 1));
    let calls = tree.calls("make LINUXKIT_PKG_ORG=localhost:5001/lfedge LINUXKIT_PKG_TARGET=push pkg/grub ZARCH=amd64");
    let push = calls.iter().find(|call| call.ends_with("pkg/grub")).unwrap();
    assert!(push.contains("linuxkit pkg push --org localhost:5001/lfedge "), "{push}");
    let knobs = "LINUXKIT_MIRROR=http://localhost:5001 LINUXKIT_BUILDER_NAME=b LINUXKIT_BUILDER_IMAGE=i LINUXKIT_BUILDER_CONFIG=/c.toml";
    tree.calls(&format!("pkg grub --zarch amd64 {knobs}"));
    let variables = fs::read_to_string(tree.path("state/variables")).unwrap();
    assert_eq!(variables.split_whitespace().collect::<Vec<_>>(), ["http://localhost:5001", "b", "i", "/c.toml"]);
    let (code, error) = tree.xtask("show-tag grub LINUXKIT_PKG_ORG=/x").fails();
    assert!(code == 2 && error.contains("takes the start of an image's name"), "{error}");
}

#[test]
fn independent_packages_are_built_at_once_each_with_a_cache_of_its_own() {
    let tree = Checkout::new();
    tree.write("state/slow", "");
    tree.xtask("-j 4 pkg grub uefi ipxe mkconf kube --zarch amd64").ok();
    let text = fs::read_to_string(tree.path("state/building")).unwrap();
    let (mut now, mut most, mut caches) = (0_i32, Vec::new(), std::collections::BTreeSet::new());
    for line in text.lines() {
        now += if line == "-" { -1 } else { 1 };
        most.push(now);
        caches.extend(line.strip_prefix("+ "));
    }
    // The first one is alone: it starts the builder.
    assert_eq!(most[..2], [1, 0], "{text}");
    assert!(most.iter().max() >= Some(&2) && most.iter().max() <= Some(&4), "{text}");
    assert_eq!(caches.len(), 5, "{text}");
    assert!(caches.iter().all(|cache| !Path::new(cache).exists()), "{text}");
}

#[test]
fn a_push_pushes_what_a_package_starts_from_first() {
    let tree = Checkout::new();
    let calls = tree.calls("pkg pillar --zarch amd64 LINUXKIT_PKG_TARGET=push EVE_REL=1.2.3");
    let mut pushed: Vec<&str> = calls.iter().filter(|call| call.contains("pkg push")).filter_map(|call| call.rsplit('/').next()).collect();
    // The two that pillar starts from may be pushed at the same time.
    pushed[..2].sort_unstable();
    assert_eq!(pushed, ["alpine", "fw", "pillar"], "{calls:?}");
    assert!(calls.iter().all(|call| call.contains("--release 1.2.3")), "{calls:?}");
    let alone = tree.calls("make eve-pillar ZARCH=amd64 LINUXKIT_PKG_TARGET=push");
    assert!(alone.len() == 1 && alone[0].ends_with(" pkg/pillar"), "{alone:?}");
}

#[test]
fn packages_whose_tags_do_not_show_their_content_are_always_built() {
    let tree = Checkout::new();
    tree.write("pkg/external-boot-image/build.yml", "org: lfedge\nimage: eve-external-boot-image\n");
    tree.write("pkg/external-boot-image/Dockerfile.in", "FROM FW_TAG AS fw\nFROM scratch\nCOPY --from=fw / /\n");
    tree.write(".gitignore", "/dist\n/state\n/new-kernel\n/pkg/kube/external-boot-image.tar\n");
    for words in [&["add", "-A"][..], &["commit", "-q", "-m", "an archive"]] {
        git(tree.folder.path(), words);
    }
    let calls = tree.calls("pkg kube --zarch amd64");
    let [fw, inner, export, kube] = calls.as_slice() else { panic!("{calls:?}") };
    for (call, package) in [(fw, "fw"), (inner, "external-boot-image"), (kube, "kube")] {
        assert!(call.contains("pkg build --force ") && call.ends_with(&format!(" pkg/{package}")), "{call}");
    }
    let wanted_out = "pkg/kube/external-boot-image.tar docker.io/lfedge/eve-external-boot-image:";
    let wanted = &format!("linuxkit cache export --format docker --platform linux/amd64 --outfile {wanted_out}");
    assert!(export.contains(wanted), "{export}");
    assert!(!tree.path("pkg/external-boot-image/Dockerfile").exists(), "nothing generated stays");
    let manifest = tree.calls("make pkg/kube LINUXKIT_PKG_TARGET=manifest ZARCH=amd64");
    assert!(manifest.iter().all(|call| call.contains("pkg manifest ") || call.contains("pkg index ")), "nothing is exported: {manifest:?}");
    // The archive alone, as make's target of that name.
    let archive = tree.calls("make pkg/kube/external-boot-image.tar ZARCH=amd64");
    assert!(archive.len() == 3 && archive[1].ends_with(" pkg/external-boot-image") && archive[2].contains(wanted_out), "{archive:?}");
    let error = tree.xtask("pkg-archive kube other.tar").fails().1;
    assert!(error.contains("pkg/kube contains no archive other.tar of an image\nhint: it has external-boot-image.tar"), "{error}");
    // On their own, packages below are not built again.
    assert!(!tree.calls("pkg fw --zarch amd64")[0].contains("--force"));
}

#[test]
fn words_of_the_makefile_that_do_nothing_or_only_call_something() {
    let tree = Checkout::new();
    let note = common::texts(&tree.xtask("make pkg/kernel").output());
    assert!(note.1.contains("note: pkg/kernel is built in lf-edge/eve-kernel"), "{note:?}");
    assert!(!tree.path("state/calls").exists(), "nothing was called");
    let verbose = tree.calls("pkg fw --zarch amd64 V=1");
    assert!(verbose[0].contains("> linuxkit -v 2 pkg build "), "{verbose:?}");
    let semgrep = tree.xtask("-n make semgrep SEMGREP_BASELINE=abc SEMGREP_IMAGE=mine:1").ok();
    assert!(semgrep.contains(" mine:1 semgrep --metrics=off --error --severity=ERROR --baseline-commit=abc --config "), "{semgrep}");
    let evetest = tree.xtask("-n make evetest-list-tests EVETEST_ORG=me").ok();
    assert!(evetest.contains("EVETEST_ORG=me") && evetest.contains("make -C evetest list-tests"), "{evetest}");
    let error = tree.xtask("make live SEMGREP_BASELINE=abc").fails().1;
    assert!(error.contains("there is no variable SEMGREP_BASELINE"), "{error}");
    let error = tree.xtask("target semgrepp").fails().1;
    assert!(error.contains("did you mean semgrep?"), "{error}");
    let tests = tree.xtask("-n make test-all ZARCH=amd64").ok();
    assert!(tests.contains("make -C pkg/vtpm test") && tests.contains("eve-tools/bpftrace-compiler test"), "{tests}");
}

#[test]
fn an_image_is_built_before_docker_gets_it() {
    let tree = Checkout::new();
    let error = tree.xtask("make grub-cache-export-docker-load ZARCH=amd64").fails().1;
    assert!(error.contains("is not in the cache, although pkg/grub was built"), "{error}");
    let calls = fs::read_to_string(tree.path("state/calls")).unwrap();
    assert!(calls.contains("pkg build") && calls.contains("pkg/grub"), "{calls}");
}

#[test]
fn a_base_that_is_not_in_the_cache_is_a_note() {
    let tree = Checkout::new();
    let load = || tree.xtask("make pillar-cache-export-docker-load ZARCH=amd64");
    let error = load().fails().1;
    let pillar = error.split_whitespace().find(|word| word.starts_with("docker.io/lfedge/eve-pillar:")).unwrap();
    fs::write(tree.path("state/listed"), format!("{pillar}\n")).unwrap();
    let _ = fs::remove_file(tree.path("state/calls"));
    let output = load().output();
    let noted = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && noted.contains("/eve-alpine:") && noted.contains("so docker does not get it"), "{noted}");
    let calls = fs::read_to_string(tree.path("state/calls")).unwrap();
    let exported: Vec<&str> = calls.lines().filter(|call| call.contains("cache export")).collect();
    assert!(exported.len() == 1 && exported[0].ends_with(pillar), "{calls}");
    assert!(calls.contains("> docker load"), "{calls}");
}

#[test]
fn build_arguments_of_pillar_are_in_its_tag_and_change_no_file_of_the_tree() {
    let tree = Checkout::new();
    let error = tree.xtask("pkg pillar COVER=y --zarch amd64").fails().1;
    assert!(error.contains("COVER=y: pkg/pillar/Dockerfile has no `ARG COVER`"), "{error}");
    tree.write("pkg/pillar/Dockerfile", "FROM lfedge/eve-fw:abcd\nARG COVER=n\nARG FAULT_INJECTION\nRUN echo $COVER\n");
    for words in [&["add", "-A"][..], &["commit", "-q", "-m", "arguments"]] {
        git(tree.folder.path(), words);
    }
    let tag = |line: &str| tree.xtask(line).ok().trim().to_owned();
    let plain = tag("show-tag pillar");
    assert_eq!(tag("show-tag pillar COVER=y FAULT_INJECTION=y"), format!("{plain}-cover-fault-injection"));
    assert_eq!(tag("show-tag pillar COVER=n"), plain);
    assert_eq!(tag("show-tag pillar COVER=y HV=k"), format!("{plain}-cover-kube"));
    let calls = tree.calls("make eve-pillar COVER=y ZARCH=amd64");
    let call = calls.iter().find(|call| call.ends_with(" pkg/pillar")).unwrap();
    let (hash, file) = (format!("pkg build --hash {}-cover --build-arg-file ", plain.rsplit_once(':').unwrap().1), "dist/");
    let (_, given) = call.split_once(&hash).unwrap_or_else(|| panic!("{call}"));
    let given = given.split(' ').next().unwrap();
    assert!(given.starts_with(file), "{call}");
    assert_eq!(fs::read_to_string(tree.path(given)).unwrap(), "COVER=y\n");
    assert!(tree.xtask("pkg fw grub --zarch amd64 --cover --dry-run").ok().lines().all(|line| !line.contains("COVER")));
    git(tree.folder.path(), &["diff", "--quiet", "HEAD"]);
    assert!(!tree.path("pkg/pillar/lk-build-arg-COVER").exists());
    // It is built before the image that it is in, which would not find it in a registry.
    let plan = tree.xtask("rootfs COVER=y --zarch amd64 --dry-run").ok();
    assert!(plan.contains(&format!("build pkg/pillar as {plain}-cover-amd64 with COVER=y")) || plan.contains("with COVER=y"), "{plan}");
    assert!(!tree.xtask("rootfs --zarch amd64 --dry-run").ok().contains("pkg/pillar"));
    let yml = tree.xtask("make images/out/rootfs-kvm-generic.yml COVER=y ZARCH=amd64").ok();
    assert!(yml.contains("images/rootfs-kvm-generic.yml"), "{yml}");
    let written = fs::read_to_string(tree.dist("amd64").join("images/rootfs-kvm-generic.yml")).unwrap();
    assert!(written.contains(&format!("{plain}-cover\n")), "{written}");
}

#[test]
fn files_that_make_makes_for_itself_are_made_when_they_are_named() {
    let tree = Checkout::new();
    tree.write("pkg/external-boot-image/build.yml", "org: lfedge\nimage: eve-external-boot-image\n");
    tree.write("pkg/external-boot-image/Dockerfile.in", "FROM FW_TAG AS fw\nFROM scratch\nCOPY --from=fw / /\n");
    // An image of docker's own has the name of a package.
    tree.write("pkg/ipxe/Dockerfile", "FROM alpine:3.22 AS b\nFROM scratch\nCOPY --from=b / /\n");
    git(tree.folder.path(), &["add", "-A"]);
    git(tree.folder.path(), &["commit", "-q", "-m", "a template"]);
    assert_eq!(tree.calls("pkg ipxe --zarch amd64").len(), 1);
    let refused = tree.xtask("make pkg/external-boot-image/Dockerfile").fails().1;
    assert!(
        refused.contains("git does not ignore `") && refused.contains("hint: parse-pkgs pkg/external-boot-image/Dockerfile.in"),
        "{refused}"
    );
    tree.write(".gitignore", "/dist\n/state\n/new-kernel\n/pkg/external-boot-image/Dockerfile\n/pkg-deps.mk\n");
    assert_eq!(tree.xtask("make pkg/external-boot-image/Dockerfile").ok(), "made: pkg/external-boot-image/Dockerfile\n");
    let text = fs::read_to_string(tree.path("pkg/external-boot-image/Dockerfile")).unwrap();
    assert!(text.starts_with(&format!("FROM {} AS fw\n", tree.xtask("show-tag fw").ok().trim())), "{text}");
    assert_eq!(tree.xtask("make pkg/grub/Dockerfile").ok(), "up to date: pkg/grub/Dockerfile, a file of the tree\n");
    assert_eq!(tree.xtask("make pkg-deps.mk").ok(), "made: pkg-deps.mk\n");
    let rules = fs::read_to_string(tree.path("pkg-deps.mk")).unwrap();
    assert_eq!(tree.xtask("pkg-deps").ok(), rules);
    for rule in
        ["pkg/external-boot-image: pkg/fw\n", "pkg/pillar: pkg/fw\n", "pillar-cache-export-docker-load: alpine-cache-export-docker-load\n"]
    {
        assert!(rules.contains(rule), "{rules}");
    }
    assert!(
        !rules.contains("images/out/")
            && tree.xtask("pkg-deps --rootfs-deps").ok().contains("\nimages/out/rootfs-kvm-generic.yml: pkg/pillar\n")
    );
}
