//! Completions, asked for as the shells do it, and the manual pages. The shells themselves run the scripts where they are installed.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, repository, wants};
use std::process::Command;

/// The candidates of an unfinished command line behind `cargo xtask`; `|` separates words.
fn candidates(shell: &str, line: &str) -> Vec<String> {
    let words = ["completions", shell, "--"].into_iter().chain(line.split('|'));
    let said = Xtask::new(&repository()).args(words).ok();
    said.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn each_word_gets_what_may_stand_there() {
    for (line, some) in [
        ("li", &["live", "live-raw"][..]),
        ("--en", &["--engine"]),
        ("--engine|", &["native", "linuxkit"]),
        ("help|ru", &["run", "run-target"]),
        ("pkg|sto", &["storage-init"]),
        ("pkg|grub|ker", &["kernel"]),
        ("bump|gr", &["grub"]),
        ("verify|gr", &["grub"]),
        ("dev|de", &["debian", "debug"]),
        ("shell|gr", &["grub"]),
        ("shell|grub:m", &["grub:modules"]),
        ("attest|li", &["live"]),
        ("lock|pkg/g", &["pkg/grub"]),
        ("fuzz|ta", &["tar"]),
        ("live|CONF_DIR=con", &["CONF_DIR=conf/"]),
        ("live|CONF_DIR=conf/s", &["CONF_DIR=conf/server"]),
        ("live|--conf-dir=con", &["--conf-dir=conf/"]),
        ("why|live", &["live", "live-gcp"]),
        ("graph|pkg/g", &["pkg/gpt-tools", "pkg/grub"]),
        ("live|H", &["HV="]),
        ("live|HV=", &["HV=kvm", "HV=xen", "HV=acrn"]),
        ("live|IMAGE_FORMAT=v", &["IMAGE_FORMAT=vdi", "IMAGE_FORMAT=vhd"]),
        ("live|LIVE_UPDATE=", &["LIVE_UPDATE=y", "LIVE_UPDATE=n"]),
        ("live|--hv|", &["kvm", "xen", "acrn"]),
        ("live|--zarch=", &["--zarch=amd64", "--zarch=arm64", "--zarch=riscv64"]),
        ("live|--rootfs-c", &["--rootfs-compression"]),
        ("run|--disk-b", &["--disk-bus"]),
        ("run|--disk-bus|", &["nvme", "usb"]),
        ("make|pkg/gr", &["pkg/grub"]),
        ("make|grub-", &["grub-show-tag"]),
        ("make|roo", &["rootfs.img", "rootfs-acrn"]),
        ("make|HV=x", &["HV=xen"]),
        ("rootfs.img|HV=k", &["HV=kvm"]),
        ("bench|lo", &["loop"]),
        ("completions|f", &["fish"]),
    ] {
        let found = candidates("fish", line);
        for word in some {
            assert!(found.iter().any(|known| known == word), "{line}: {found:?}");
        }
        let last = line.rsplit('|').next().unwrap();
        assert!(found.iter().all(|word| word.starts_with(last)), "{line}: {found:?}");
    }
    // Files, which the shell knows; a verb that nobody has; a knob that nothing reads here; a name that no machine has.
    for line in ["inspect|", "nonsense|", "live|PRU", "ssh|--name|", "live|--debian-mirror|"] {
        assert_eq!(candidates("fish", line), [""; 0], "{line}");
    }
    assert!(!candidates("fish", "live|--").contains(&"--prune".to_owned()));
}

#[test]
fn bash_completes_words_of_the_tree() {
    let script = "source <(\"$0\" completions bash); cd \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _cargo_xtask; \
                  printf '%s\\n' \"${COMPREPLY[@]}\"";
    for (line, wanted) in [
        ("cargo xtask pkg stor", "storage-init"),
        // bash splits at the equals sign, and wants what stands behind it.
        ("cargo xtask live HV = x", "xen"),
        ("cargo xtask live HV =", "acrn\nkvm\nxen"),
        ("cargo xtask make pkg/gru", "pkg/grub"),
        ("cargo xtask live CONF_DIR = con", "conf/"),
        ("cargo xtask shell grub : mod", "modules"),
        // Where bash does not split at a colon.
        ("cargo xtask shell grub:mod", "grub:modules"),
        ("cargo build --rel", ""),
    ] {
        let mut bash = Command::new("bash");
        bash.args(["-c", script, env!("CARGO_BIN_EXE_xtask")]).arg(repository()).args(line.split(' '));
        let output = bash.output().unwrap();
        let mut words: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        words.sort();
        assert_eq!(words.join("\n"), wanted, "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn fish_completes_words_of_the_tree() {
    if !wants("fish", "fish") {
        return;
    }
    for (line, wanted) in [("cargo xtask pkg stor", "storage-init"), ("cargo xtask live HV=x", "HV=xen")] {
        let fish = format!("{} completions fish | source; complete -C '{line}'", env!("CARGO_BIN_EXE_xtask"));
        let output = Command::new("fish").args(["--no-config", "-c", &fish]).current_dir(repository()).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            said.lines().any(|word| word.split('\t').next() == Some(wanted)),
            "{line}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn zsh_completes_words_of_the_tree() {
    if !wants("zsh", "zsh") {
        return;
    }
    // `compadd` works only inside a completion, so the test has one that prints.
    let script = "compdef() { :; }; compadd() { print -l -- \"${texts[@]}\"; }; source <(\"$1\" completions zsh); cd \"$2\"; \
                  words=(cargo xtask pkg stor); CURRENT=4; _cargo_xtask";
    let output = Command::new("zsh").args(["-f", "-c", script, "zsh", env!("CARGO_BIN_EXE_xtask")]).arg(repository()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "storage-init\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn manual_pages_show_the_help_of_verbs() {
    let page = Xtask::new(&repository()).args(["man", "live"]).ok();
    for part in
        [".TH cargo-xtask-live 1", "cargo xtask live [OPTIONS]", "build a disk image that boots", "\\fB\\-\\-rootfs\\-compression\\fR"]
    {
        assert!(page.contains(part), "{part}:\n{page}");
    }
    let folder = tempfile::tempdir().unwrap();
    Xtask::new(&repository()).args(["man".as_ref(), "--dir".as_ref(), folder.path().as_os_str()]).ok();
    for name in ["cargo-xtask.1", "cargo-xtask-live.1", "cargo-xtask-run.1"] {
        assert!(folder.path().join(name).is_file(), "{name}");
    }
    let (code, text) = Xtask::new(&repository()).args(["man", "lvie"]).fails();
    assert!(code == 2 && text.contains("there is no verb `lvie`\nhint: cargo xtask man live"), "{text}");
    if wants("man", "man-db") {
        let path = folder.path().join("cargo-xtask-live.1");
        let output = Command::new("man").args(["--warnings", "-l"]).arg(path).env("MANWIDTH", "80").output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && shown.contains("cargo xtask live"), "{shown}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
}
