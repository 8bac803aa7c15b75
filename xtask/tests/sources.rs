//! Rules of the house that a reader of the sources could check by hand.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{has, repository, skipped, tool};
use std::path::{Path, PathBuf};

/// Rust sources below a folder of the repository, without tests and benchmarks.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let root = repository().join(folder);
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(&root).sort_by_file_name().into_iter().filter_map(Result::ok) {
        let path = entry.path();
        let name = path.strip_prefix(repository()).unwrap().to_string_lossy().into_owned();
        let is_test = ["/tests/", "/benches/", "/examples/"].iter().any(|part| name.contains(part))
            || name.ends_with("/tests.rs")
            || name.ends_with("_tests.rs");
        if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            // What stands behind the test module is no part of the program.
            let text = std::fs::read_to_string(path).unwrap();
            let program = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            found.push((PathBuf::from(name), program));
        }
    }
    assert!(!found.is_empty(), "{folder}");
    found
}

fn lines_with(files: &[(PathBuf, String)], words: &[&str], allowed: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let mut hits = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| !allowed(path)) {
        for (number, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) && !line.trim_start().starts_with("//") {
                hits.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    hits
}

#[test]
fn processes_start_only_in_the_tools_room() {
    let words = ["process::Command", "Command::new(\"", "duct::", "xshell::", "fork()"];
    let mut files = sources("xtask/src");
    files.extend(sources("tools"));
    let hits = lines_with(&files, &words, &|path| path.starts_with("tools/child/src") || path.starts_with("tools/sandbox/src"));
    assert!(hits.is_empty(), "{hits:#?}");
}

#[test]
fn the_environment_is_read_in_one_place() {
    let words = ["env::var", "env::vars"];
    let hits = lines_with(&sources("tools"), &words, &|path| path == Path::new("tools/child/src/environment.rs"));
    assert!(hits.is_empty(), "{hits:#?}");
    for krate in ["filetree", "diskimage", "oci", "pkgbuild", "compose"] {
        let hits = lines_with(&sources(&format!("tools/{krate}/src")), &words, &|_| false);
        assert!(hits.is_empty(), "{hits:#?}");
    }
}

#[test]
fn the_plan_touches_nothing() {
    let hits = lines_with(&sources("tools/plan/src"), &["std::fs", "File::", "Command::", "Cmd::"], &|path| path.ends_with("tests.rs"));
    assert!(hits.is_empty(), "{hits:#?}");
}

#[test]
fn main_is_short() {
    let text = std::fs::read_to_string(repository().join("xtask/src/main.rs")).unwrap();
    assert!(text.lines().count() < 100);
}

#[test]
fn scripts_of_the_guest_pass_shellcheck() {
    if !has("shellcheck") {
        return skipped("scripts_of_the_guest_pass_shellcheck", "shellcheck is not on this machine (cargo xtask doctor --install)");
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
