//! docs/BUILD.md: each command in it can be planned on this tree, and each file that it promises is made by a step of the plan.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, clone_tree, repository};
use std::path::Path;

/// The command lines of the page's `shell` blocks, without their comments.
fn commands(page: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut in_block = false;
    for line in page.lines() {
        match line.strip_prefix("```") {
            Some(language) => in_block = language == "shell",
            None if in_block => {
                // Without its comment, and without the file into which a shell writes its output.
                let command = line.split(['#', '>']).next().unwrap_or_default().trim();
                if !command.is_empty() {
                    commands.push(command.to_owned());
                }
            }
            None => {}
        }
    }
    commands
}

/// Runs a command of the page in `tree` as a dry run; panics if it fails.
fn plan(tree: &Path, command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    let words = match words.as_slice() {
        ["cargo", "xtask", rest @ ..] => rest.to_vec(),
        ["make", rest @ ..] => [&["make"], rest].concat(),
        _ => panic!("docs/BUILD.md: `{command}` is neither cargo xtask nor make"),
    };
    let output = Xtask::new(tree).args(words.iter().copied().chain(["-n"])).output();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docs/BUILD.md: {command}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn each_command_of_the_build_page_can_be_planned() {
    let folder = tempfile::tempdir().unwrap();
    clone_tree(folder.path());
    let page = std::fs::read_to_string(repository().join("docs/BUILD.md")).unwrap();
    let commands = commands(&page);
    assert!(commands.len() > 30, "{commands:?}");
    for command in &commands {
        plan(folder.path(), command);
    }
    assert!(!folder.path().join("dist").exists(), "a dry run has built something");
}

#[test]
fn each_file_of_the_build_page_is_the_output_of_a_step() {
    let folder = tempfile::tempdir().unwrap();
    clone_tree(folder.path());
    let page = std::fs::read_to_string(repository().join("docs/BUILD.md")).unwrap();
    let table = page.split("## What a build leaves").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut checked = 0;
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let verb = cells[3].split('`').nth(1).unwrap_or("live-raw");
        let planned = plan(folder.path(), &format!("cargo xtask {verb}"));
        let file = cells[1].split('`').nth(1).unwrap();
        let name = file.split('<').next().unwrap();
        assert!(planned.contains(&format!("/{name}")), "{verb} does not make {file}:\n{planned}");
        checked += 1;
    }
    assert!(checked > 12, "{checked}");
}
