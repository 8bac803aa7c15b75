//! Referees that are written in Python.

use super::scratch;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A Python with the packages of `requirements`, which pip installs beside the test's files; none, loudly, where it cannot.
pub fn python(module: &str, requirements: &[&str]) -> Option<PathBuf> {
    let folder = scratch().join(module);
    let (program, pip, import) = (folder.join("bin/python"), folder.join("bin/pip"), format!("import {module}"));
    let run = |program: &Path, words: &[&str]| Command::new(program).args(words).output().is_ok_and(|output| output.status.success());
    let is_there = || run(&program, &["-c", &import]);
    if is_there() {
        return Some(program);
    }
    if !run(Path::new("python3"), &["-m", "venv", folder.to_str().unwrap()]) {
        skips::missing("python3 -m venv", "python3-venv");
        return None;
    }
    if run(&pip, &[&["install", "--quiet"], requirements].concat()) && is_there() {
        return Some(program);
    }
    skips::skipped(skips::Lack::Unpackaged, &format!("pip cannot install {module}, whose judgement a test asks for"));
    None
}
