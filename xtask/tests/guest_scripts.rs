//! Scripts and Dockerfiles of pkg/: what runs in the guest, checked on the machine that builds it.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{repository, tool, wants};

#[test]
fn scripts_of_the_guest_pass_shellcheck() {
    if !wants("shellcheck", "shellcheck") {
        return;
    }
    let mut scripts = Vec::new();
    for entry in walkdir::WalkDir::new(repository().join("pkg")).into_iter().filter_map(Result::ok) {
        let is_script = entry.file_type().is_file()
            && std::fs::read(entry.path()).is_ok_and(|bytes| bytes.starts_with(b"#!/bin/sh") || bytes.starts_with(b"#!/bin/busybox sh"));
        if is_script {
            scripts.push(entry.path().to_string_lossy().into_owned());
        }
    }
    assert!(scripts.len() > 10, "{scripts:?}");
    let mut words = vec!["--shell=busybox", "--external-sources"];
    if !tool("shellcheck", &["--help"]).contains("busybox") {
        words[0] = "--shell=dash";
    }
    words.extend(scripts.iter().map(String::as_str));
    tool("shellcheck", &words);
}

#[test]
fn dockerfiles_start_from_the_archive_as_it_is_committed() {
    common::Xtask::new(&repository()).args(["bump", "--check"]).ok();
}

/// Whether an image has the records of the Debian packages that its Dockerfile unpacks: all of `/out`, or the records by name.
fn keeps_records(dockerfile: &str) -> bool {
    let unpacks = dockerfile.lines().any(|line| line.starts_with("ENV PKGS"));
    let keeps = |line: &str| line.starts_with("COPY --from=") && (line.contains(" /out/ ") || line.contains(" /out/var/lib/dpkg/ "));
    !unpacks || dockerfile.lines().any(keeps)
}

#[test]
fn images_keep_the_records_and_licences_of_debian_packages() {
    assert!(keeps_records("FROM a AS b\nENV PKGS x\nFROM scratch\nCOPY --from=b /out/ /\n"));
    assert!(!keeps_records("FROM a AS b\nENV PKGS x\nFROM scratch\nCOPY --from=b /out/bin/x /bin/x\n"));
    let mut seen = 0;
    for entry in std::fs::read_dir(repository().join("pkg")).unwrap() {
        let path = entry.unwrap().path().join("Dockerfile");
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        seen += 1;
        assert!(
            keeps_records(&text),
            "{}: COPY /out/var/lib/dpkg/ and /out/usr/share/doc/ too, or sbom does not know its packages",
            path.display()
        );
    }
    assert!(seen > 10, "{seen}");
}
