//! Each target for a fixed number of damaged inputs, in a process of its own. Other inputs than these: `cargo xtask fuzz`.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::process::Command;

fn fuzz(args: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_fuzz")).args(args).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), text)
}

/// Runs a target with its own number of inputs. A killed process leaves its input, which is named here and kept.
fn run(target: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (good, text) = fuzz(&["run", target, "--findings", &folder.path().to_string_lossy()]);
    if good {
        return;
    }
    let kept = folder.keep();
    panic!("{text}\ninputs are in {}; `{target}-current` there killed the process", kept.display());
}

macro_rules! targets {
    ($($name:ident: $target:literal,)*) => {
        $(
            #[test]
            fn $name() {
                run($target);
            }
        )*

        #[test]
        fn every_target_has_a_test() {
            let (_, text) = fuzz(&["list"]);
            let listed: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once('\t')?.0)).collect();
            assert_eq!(listed, [$($target),*]);
        }
    };
}

targets! {
    tar: "tar",
    layer: "layer",
    image_archive: "image-archive",
    image_documents: "image-documents",
    oci_tar: "oci-tar",
    cpio: "cpio",
    iso_files: "iso-files",
    delta: "delta",
    deb: "deb",
    squashfs: "squashfs",
    ext: "ext",
    fat: "fat",
    gpt: "gpt",
    iso: "iso",
    qcow2: "qcow2",
    container: "container",
    efi: "efi",
    event_log: "event-log",
    firmware: "firmware",
    firmware_variables: "firmware-variables",
    grub_script: "grub-script",
    git_index: "git-index",
    git_names: "git-names",
    packages: "packages",
    lock: "lock",
    apt_sources: "apt-sources",
    debian_words: "debian-words",
    copyright: "copyright",
    dockerfile: "dockerfile",
    yml: "yml",
    build_yml: "build-yml",
    yq: "yq",
    install_words: "install-words",
}

/// The harness must see what it is there for: the hidden target `broken` breaks in the way that the first byte of its seed names.
#[test]
fn a_panic_a_full_stack_too_much_memory_and_an_endless_loop_are_findings() {
    for (way, said) in [("p", "it is a p"), ("s", "overflowed its stack"), ("m", "memory allocation"), ("l", "processor time")] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("corpus/broken")).unwrap();
        std::fs::write(folder.path().join("corpus/broken/seed"), way).unwrap();
        let (good, text) = fuzz(&["run", "broken", "--tries", "0", "--cpu", "1", "--findings", &folder.path().to_string_lossy()]);
        assert!(!good && text.contains(said), "{way}: {text}");
        let found = std::fs::read_dir(folder.path()).unwrap().flatten().filter(|entry| entry.path().is_file());
        assert!(found.into_iter().any(|entry| std::fs::read(entry.path()).unwrap() == way.as_bytes()), "{way}: the input is not kept");
    }
}
