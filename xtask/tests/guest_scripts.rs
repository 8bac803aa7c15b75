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
