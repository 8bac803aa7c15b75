//! Words of the old Makefile in this repository: what each does or says.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, clone_tree, repository, skip_boots, wants};
use std::{
    io::Write as _,
    process::{Command, Stdio},
};

#[test]
fn a_word_with_nothing_to_work_on_says_so_in_one_line_and_is_not_in_the_help() {
    let help = Xtask::new(&repository()).args(["help", "--all"]).ok();
    let (code, said) = Xtask::new(&repository()).args(["help", "--xyz"]).fails();
    assert_eq!((code, said.as_str()), (2, "error: `cargo xtask` has no option `--xyz`\nhint: cargo xtask --help\n"));
    assert!(help.contains("\n  lint "), "{help}");
    for (word, what) in [
        ("proto", "api/proto"),
        ("proto-vendor", "api/proto"),
        ("proto-diagram", "api/proto"),
        ("run-compose", "docker-compose.yml"),
        ("build-vm", "cloud-init.in"),
        ("run-build-vm", "cloud-init.in"),
    ] {
        for engine in ["native", "linuxkit"] {
            let (code, text) = Xtask::new(&repository()).args(["--engine", engine, word]).fails();
            let start = format!("error: `{word}` has nothing to do in eve: it has no ");
            assert!(code == 2 && text.starts_with(&start) && text.contains(what), "{text}");
            assert_eq!(text.lines().count(), 2, "an error and a hint: {text}");
        }
        assert!(!help.contains(&format!("\n  {word} ")), "{word}:\n{help}");
    }
}

#[test]
fn a_word_that_was_meant_otherwise_gets_a_hint_that_can_be_typed() {
    for (line, said) in [
        ("xyzzy", "error: there is no target or command `xyzzy`\nhint: `cargo xtask help --all` lists all commands\n"),
        ("lve", "error: there is no target or command `lve`\nhint: did you mean `live`?\n"),
        (
            "live installer",
            "error: `cargo xtask live` takes no argument `installer`\nhint: `cargo xtask make live installer` makes both; or one command for each\n",
        ),
        ("live hv=xen", "error: `cargo xtask live` takes no argument `hv=xen`\nhint: did you mean HV=xen?\n"),
        ("live nosuch=1", "error: `cargo xtask live` takes no argument `nosuch=1`\nhint: cargo xtask live --help\n"),
        ("new pakage x", "error: WHAT `pakage`: takes package\nhint: package\n"),
        ("new package x --c --go", "error: the argument '--c' cannot be used with '--go'\nhint: leave one of them away\n"),
        (
            "makerootfs tar -y images/rootfs.yml.in -t my.tar",
            "error: `ROOT/images/rootfs.yml.in` is a template: it names packages, not images\nhint: cargo xtask parse-pkgs \
             ROOT/images/rootfs.yml.in > rootfs.yml fills it in; then makerootfs -y rootfs.yml\n",
        ),
    ] {
        let (code, text) = Xtask::new(&repository()).args(line.split_whitespace()).fails();
        assert_eq!((code, text.replace(repository().to_str().unwrap(), "ROOT").as_str()), (2, said), "{line}");
    }
    // A comment of the template that explains NAME_TAG needs no image.
    let output = Xtask::new(&repository()).args(["parse-pkgs", "images/rootfs.yml.in"]).output();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_knob_that_nothing_reads_here_gets_a_note_and_is_not_in_the_help() {
    let said = |words: &[&str], environment: &[(&str, &str)]| {
        let xtask = environment.iter().fold(Xtask::new(&repository()), |xtask, (name, value)| xtask.env(name, *value));
        String::from_utf8(xtask.args(words.iter().copied()).output().stderr).unwrap()
    };
    for words in [["version", "PRUNE=y"], ["version", "--prune"]] {
        assert_eq!(said(&words, &[]), "note: PRUNE has no effect here: only the linuxkit engine reads it\n");
    }
    assert!(said(&["make", "version", "KERNEL_TAG=x"], &[]).contains("note: KERNEL_TAG has no effect here: eve builds its kernel"));
    let ext4 = ["rootfs", "-n", "ROOTFS_FORMAT=ext4", "--rootfs-compression", "gzip"];
    assert!(said(&ext4, &[]).contains("note: ROOTFS_COMPRESSION has no effect here: ROOTFS_FORMAT is ext4, which is not compressed"));
    assert!(said(&["config", "-n"], &[("RSTATS", "y")]).contains("note: RSTATS has no effect here: no package of eve"));
    assert_eq!(said(&["version"], &[("RSTATS", "y")]), "", "a word of the environment counts for builds");
    assert_eq!(said(&["version", "PRUNE=n", "HV=xen"], &[]), "");
    let help = |verb: &str| Xtask::new(&repository()).args([verb, "--help"]).ok();
    assert!(!help("sbom").contains("--syft-version") && help("sbom").contains("--sbom-file"));
    assert!(!help("collected_sources").contains("--gover"));
}

#[test]
fn a_cloud_is_shown_without_its_programs_which_are_asked_for_by_their_purpose() {
    let xtask = |dry: &[&str]| {
        let xtask = Xtask::new(&repository()).env("XTASK_TOOL_LINUXKIT", "/nowhere").env("XTASK_TOOL_GCLOUD", "/nowhere");
        xtask.env("INSTALL_TOOLS", "never").args(["run-live-gcp"].iter().chain(dry).copied())
    };
    let shown = xtask(&["-n"]).ok();
    assert!(shown.contains("linuxkit push gcp") && shown.contains("linuxkit run gcp"), "{shown}");
    let (_, text) = xtask(&[]).fails();
    assert!(text.contains("`linuxkit` is needed to upload the image to Google's cloud and to start it there"), "{text}");
}

#[test]
fn lint_finds_what_is_planted_and_nothing_else() {
    if !wants("shellcheck", "shellcheck") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    clone_tree(folder.path());
    let lint = || Xtask::new(folder.path()).args(["yetus"]);
    let said = lint().output();
    assert!(said.status.success() && said.stdout.is_empty(), "{}", String::from_utf8_lossy(&said.stdout));
    let plant = |name: &str, text: &str| {
        let path = folder.path().join(name);
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(path, old + text).unwrap();
    };
    plant("pkg/sysctl/sysctl.sh", "\nrm -rf $NOWHERE/x\n");
    plant("pkg/sysctl/Dockerfile", "CPOY a b\n");
    plant("pkg/sysctl/build.yml", "orgg: lfedge\n");
    plant("images/rootfs.yml.in", "servces: []\n");
    plant("xtask/src/main.rs", "fn  planted() {}\n");
    let output = lint().output();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for file in ["images/rootfs.yml.in", "pkg/sysctl/Dockerfile", "pkg/sysctl/build.yml", "pkg/sysctl/sysctl.sh", "xtask/src/main.rs"] {
        let line = text.lines().find(|line| line.starts_with(&format!("{file}:"))).unwrap_or_else(|| panic!("{file}:\n{text}"));
        let number: usize = line[file.len() + 1..].split(':').next().unwrap().parse().unwrap();
        assert!(number > 2, "{line}");
    }
    assert!(String::from_utf8_lossy(&output.stderr).contains("findings"));
}

#[test]
fn an_architecture_that_no_package_has_is_refused_before_anything_is_built() {
    let folder = tempfile::tempdir().unwrap();
    clone_tree(folder.path());
    let yml = folder.path().join("pkg/debian/build.yml");
    let text = std::fs::read_to_string(&yml).unwrap();
    let without: Vec<&str> = text.lines().filter(|line| line.trim() != "- arm64").collect();
    std::fs::write(&yml, without.join("\n") + "\n").unwrap();
    common::git(folder.path(), &["commit", "-qam", "no arm64"]);
    Xtask::new(folder.path()).args(["bump", "debian"]).ok();
    common::git(folder.path(), &["commit", "-qam", "bump"]);
    let (code, text) = Xtask::new(folder.path()).args(["live", "--zarch", "arm64"]).fails();
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("error: pkg/debian is not for arm64: `arches` in its build.yml has amd64"), "{text}");
    assert!(!folder.path().join("dist").exists());
}

#[test]
fn a_shell_opens_where_a_run_line_failed_and_after_the_last() {
    if let Some(why) = skip_boots() {
        skips::skipped(skips::Lack::Request, why);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    clone_tree(folder.path());
    let shell = |input: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_xtask"));
        child.arg("--root").arg(folder.path()).args(["shell", "sysctl"]).env("ZARCH", "amd64");
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        common::texts(&child.wait_with_output().unwrap())
    };
    let (out, err) = shell("echo \"here: $(pwd) $PKGS\"; ls /out/bin/busybox\n");
    assert!(out.contains("here: / busybox") && out.contains("/out/bin/busybox"), "{out}{err}");
    let path = folder.path().join("pkg/sysctl/Dockerfile");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replacen("RUN eve-debian-deploy.sh", "RUN eve-debian-deploy.sh\nRUN touch /made && echo planted && false", 1),
    )
    .unwrap();
    let (out, err) = shell("echo \"in: $(ls -d /out)\"; [ -e /made ] || echo not made\n");
    assert!(err.contains("planted") && err.contains("the shell is where it failed"), "{err}");
    assert!(out.contains("in: /out") && out.contains("not made"), "{out}{err}");
    // What the shell did is gone, and no image was written.
    assert!(std::fs::read_dir(folder.path().join("dist/tmp")).unwrap().next().is_none());
}

#[test]
fn ones_own_knobs_are_weaker_than_the_environment_and_stronger_than_the_tree() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    clone_tree(&tree);
    let profile = std::fs::read_to_string(tree.join("xtask.toml")).unwrap();
    std::fs::write(tree.join("xtask.toml"), format!("{profile}MEDIA_SIZE = 1111\nHV = \"kvm\"\n")).unwrap();
    std::fs::write(tree.join("xtask.local.toml"), "[knobs]\nHV = \"xen\"\nMEDIA_SIZE = { xen = 2222, kvm = 3333 }\nDEV = true\n").unwrap();
    let xtask = || Xtask::new(&tree).env("XTASK_LOCAL", "y");
    let summary = xtask().env("DEV", "n").args(["summary"]).ok();
    let line = |name: &str| {
        summary.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap().split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("HV"), "xen (xtask.local.toml, line 2)");
    assert_eq!(line("MEDIA_SIZE"), "2222 (xtask.local.toml, line 3)");
    assert_eq!(line("DEV"), "n (environment)");
    assert!(xtask().args(["summary", "--json", "HV=kvm"]).ok().contains("\"value\": \"3333\""));
    let ignored = Command::new("git").args(["check-ignore", "xtask.local.toml"]).current_dir(&tree).output().unwrap();
    assert!(ignored.status.success(), "git ignores the file");
    std::fs::write(tree.join("xtask.local.toml"), "[knobs]\nHV = \"kvn\"\n").unwrap();
    let (code, text) = xtask().args(["live", "-n"]).fails();
    assert_eq!(
        (code, text.lines().next().unwrap()),
        (2, "error: HV=kvn (xtask.local.toml, line 2): eve takes kvm, xen, acrn; did you mean kvm?")
    );
    std::fs::write(tree.join("xtask.local.toml"), "[knobs]\nMEDIA_SIZE = \"big\"\n").unwrap();
    let (_, text) = xtask().args(["live", "-n"]).fails();
    assert!(text.starts_with("error: MEDIA_SIZE=big (xtask.local.toml, line 2): takes a whole number"), "{text}");
}
