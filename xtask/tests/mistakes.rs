//! The mistakes of a contributor's day (docs/CONTRIBUTING.md), word for word as a person reads them: templates and their patches, images
//! that Dockerfiles start from, architectures.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, small_tree::SmallTree as Tree, texts};
use std::fs;

fn xtask(tree: &Tree, words: &[&str]) -> Xtask {
    tree.xtask().env("STORE", "off").args(words)
}

/// Runs words that must fail before the first step; the error without the tree's own path.
fn error_of(tree: &Tree, words: &[&str]) -> String {
    let (_, text) = xtask(tree, words).fails();
    assert!(!text.contains("[0/"), "a step ran: {text}");
    tree.error_in(&text)
}

#[test]
fn a_line_of_a_patched_template_is_named_where_it_was_written() {
    let tree = Tree::new();
    let profile = fs::read_to_string(tree.root().join("xtask.toml")).unwrap();
    let templates = "rootfs = \"images/rootfs.yml.in\"\n";
    assert!(profile.contains(templates));
    tree.write("xtask.toml", &profile.replace(templates, &format!("{templates}patches = [\"images/{{hv}}.yq\"]\n")));
    let template = "# The tree.\nkernel:\n  image: BASE_TAG\n  # What the kernel gets.\n  cmdline: x\ninit:\n  - BASE_TAG\n";
    tree.write("images/rootfs.yml.in", template);
    let patched = |patch: &str| {
        tree.write("images/xen.yq", patch);
        error_of(&tree, &["rootfs", "HV=xen"])
    };
    assert_eq!(
        patched("# For Xen.\n.init += [\"XEN_TAG\"]\n"),
        "error: images/xen.yq:2: XEN_TAG: there is no package `xen` in ROOT/pkg\nhint: packages are base"
    );
    assert_eq!(
        patched(".init += [\"BASE_TAG\"]\n| .services += [{\"nam\": \"tools\", \"image\": \"BASE_TAG\"}]\n"),
        "error: `images/rootfs.yml.in, with its patches for HV=xen,` is not a valid linuxkit yml:\n    \
         images/xen.yq:2: services.0: `name` is required\n    \
         images/xen.yq:2: services.0: additional property `nam` is not allowed; did you mean `name`?"
    );
    // The patch has removed the comments, but a person counts them.
    tree.write("images/rootfs.yml.in", &template.replace("cmdline", "cmdlin"));
    let error = patched(".init += [\"BASE_TAG\"]\n");
    assert!(error.contains("\n    images/rootfs.yml.in:5: kernel: additional property `cmdlin` is not allowed"), "{error}");
    tree.write("images/rootfs.yml.in", &template.replace("- BASE_TAG", "- BSE_TAG"));
    let error = patched(".init += [\"BASE_TAG\"]\n");
    assert_eq!(error, "error: images/rootfs.yml.in:7: BSE_TAG: there is no package `bse` in ROOT/pkg\nhint: did you mean base?");
}

#[test]
fn an_image_that_there_will_not_be_is_said_before_the_first_step() {
    let tree = Tree::new();
    let error = |dockerfile: &str| {
        tree.write("pkg/base/Dockerfile", dockerfile);
        error_of(&tree, &["rootfs"])
    };
    assert_eq!(
        error("FROM alpine:3.18\nRUN apk add gcc\n"),
        "error: pkg/base/Dockerfile:1: alpine:3.18 (amd64) is no image of this tree and not in the image cache; a build takes no images from \
         registries\nhint: `linuxkit cache pull alpine:3.18` puts it into the image cache"
    );
    assert_eq!(
        error("FROM scratch AS build\nCOPY files/ /\nFROM scratch\nCOPY --from=biuld / /\n"),
        "error: pkg/base/Dockerfile:4: biuld is no stage of this Dockerfile, which has build\nhint: did you mean build?"
    );
    assert_eq!(
        error("FROM scrach\nCOPY files/ /\n"),
        "error: pkg/base/Dockerfile:1: scrach (amd64) is no image of this tree\nhint: did you mean scratch?"
    );
    tree.write("pkg/grub/build.yml", "org: lfedge\nimage: eve-grub\n");
    tree.write("pkg/grub/Dockerfile", "FROM scratch\n");
    let grub = error("FROM lfedge/eve-grbu:1\nCOPY files/ /\n");
    let start = "error: pkg/base/Dockerfile:1: lfedge/eve-grbu:1: there is no package grbu\nhint: did you mean lfedge/eve-grub:";
    assert!(grub.starts_with(start), "{grub}");
    assert!(
        error("FROM alpine AS one\nFROM scratch\nCOPY --from=one / /\n")
            .starts_with("error: pkg/base/Dockerfile:1: alpine (amd64) is no image of")
    );
    let pairs = "FROM scratch AS target-arm64-build-arm64\nFROM scratch AS target-arm64-build-amd64\nFROM target-${TARGETARCH}-build-${BUILDARCH}\n";
    let pair = error(pairs);
    assert!(
        pair.starts_with("error: pkg/base/Dockerfile: target-amd64-build-") && pair.contains(" is no stage of this Dockerfile"),
        "{pair}"
    );
    assert!(pair.ends_with("\nhint: docs/BUILD.md, Cross-compilation: one stage for each pair of target and build machine"), "{pair}");
    tree.write("pkg/tool/build.yml", "org: lfedge\nimage: eve-tool\n");
    tree.write("pkg/tool/Dockerfile", "FROM scratch\nCOPY x /\n");
    tree.write("pkg/tool/x", "x");
    let old = error("FROM lfedge/eve-tool:0123\n");
    assert!(old.starts_with("error: pkg/base/Dockerfile:1: lfedge/eve-tool:0123: the image cache has no such image (amd64); pkg/tool is now lfedge/eve-tool:"), "{old}");
    assert!(
        old.ends_with("\nhint: cargo xtask bump tool writes the present tag, which exists once the package's changes are committed"),
        "{old}"
    );
    // Two at once, and the plan is shown all the same.
    tree.write("pkg/base/Dockerfile", "FROM alpine:3.18 AS a\nFROM debian:12\nCOPY --from=a / /\n");
    let both = error_of(&tree, &["rootfs"]);
    assert!(
        both.starts_with("error: 2 images are missing:\n    pkg/base/Dockerfile:1: alpine:3.18 (amd64)")
            && both.contains("\n    pkg/base/Dockerfile:2: debian:12 "),
        "{both}"
    );
    let (out, err) = texts(&xtask(&tree, &["rootfs", "--dry-run"]).output());
    assert!(err.contains("warning: 2 images are missing:") && out.contains("pkg/base [amd64]: build pkg/base"), "{out}{err}");
}

#[test]
fn a_file_and_a_debian_package_that_are_not_there_are_said_before_the_first_step() {
    let tree = Tree::new();
    tree.write("pkg/deb/build.yml", "org: lfedge\nimage: eve-deb\n");
    tree.write("pkg/deb/Dockerfile", "FROM scratch\nCOPY mirrors /mirrors\n");
    tree.write("pkg/deb/mirrors/bookworm/amd64.lock", "# pins\nbusybox-static 1 amd64 00 5 main pool/b\ngcc 12 amd64 00 5 main pool/g\n");
    tree.write("pkg/base/hellc.c", "int main(void) { return 0; }\n");
    let archive = xtask(&tree, &["show-tag", "deb"]).ok();
    let write = |lines: &str| tree.write("pkg/base/Dockerfile", &format!("FROM {} AS build\n{lines}\nFROM scratch\n", archive.trim()));
    let error = |lines: &str| {
        write(lines);
        error_of(&tree, &["pkg", "base"])
    };
    assert_eq!(
        error("RUN true\nCOPY hello.c /src/"),
        "error: pkg/base/Dockerfile:3: `hello.c` is not in the package's folder\nhint: did you mean hellc.c?"
    );
    assert_eq!(
        error("COPY src/hello.c /src/"),
        "error: pkg/base/Dockerfile:2: `src/hello.c` is not in the package's folder\nhint: there is no folder pkg/base/src"
    );
    assert_eq!(
        error("ENV PKGS busybox-statc"),
        "error: pkg/base/Dockerfile:2: PKGS: pkg/deb has no Debian package `busybox-statc`\nhint: did you mean busybox-static? Else cargo \
         xtask pins --add busybox-statc --archive deb"
    );
    // Of a stage that starts from another one; and both mistakes at once.
    assert_eq!(
        error("FROM build AS more\nENV A=1 BUILD_PKGS_amd64=\"gcc emacs\"\nADD x /"),
        "error: pkg/base/Dockerfile:3: BUILD_PKGS_amd64: pkg/deb has no Debian package `emacs`\n  pkg/base/Dockerfile:4: `x` is not in the \
         package's folder\nhint: if the name is right: cargo xtask pins --add emacs --archive deb\nhint: pkg/base has Dockerfile, build.yml, \
         files, hellc.c"
    );
    // What the build decides is left to it, and a list in brackets that is none is a warning.
    for lines in
        ["COPY hell*.c $X /a/", "ENV PKGS=$MORE", "COPY --from=build /nowhere /", "ENV PKGS=\"gcc busybox-static\"", "CMD [\"/bin/sh\""]
    {
        write(lines);
        let (_, text) = texts(&xtask(&tree, &["pkg", "base"]).output());
        assert!(text.contains("[0/"), "{lines}: {text}");
        let warning = "warning: pkg/base/Dockerfile:2: `[\"/bin/sh\"` is no JSON array, so /bin/sh runs it";
        assert_eq!(text.contains(warning), lines.starts_with("CMD"), "{text}");
    }
}

#[test]
fn an_architecture_that_a_package_is_not_for_is_said_before_the_first_step() {
    let tree = Tree::new();
    tree.write("pkg/base/build.yml", "org: lfedge\nimage: eve-base\narches:\n  - amd64\n  - arm64\n");
    assert_eq!(
        error_of(&tree, &["rootfs", "--zarch", "riscv64"]),
        "error: pkg/base is not for riscv64: `arches` in its build.yml has amd64, arm64\nhint: riscv64 would need a Dockerfile that builds for \
         riscv64, and riscv64 in `arches`; an architecture that there is: --zarch amd64"
    );
}

#[test]
fn an_image_that_a_build_argument_replaces_is_not_missed() {
    let tree = Tree::new();
    tree.write("pkg/base/file", "text");
    // The native engine's own argument, and one of the build.yml.
    let yml = fs::read_to_string(tree.root().join("pkg/base/build.yml")).unwrap();
    tree.write("pkg/base/build.yml", &format!("{yml}buildArgs:\n  - FROM_IMAGE=scratch\n"));
    tree.write(
        "pkg/base/Dockerfile",
        "ARG CACHE=debian:trixie-slim\nARG FROM_IMAGE=alpine:3.18\nFROM ${CACHE} AS cache\nCOPY file /\nFROM ${FROM_IMAGE}\nCOPY --from=cache /file /\n",
    );
    xtask(&tree, &["pkg", "base"]).ok();
}
