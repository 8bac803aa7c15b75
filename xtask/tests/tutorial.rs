//! docs/TUTORIAL.md, word for word: every command in a block is typed into a shell in a clone, and prints what the page shows.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use child::fake::executable;
use common::{clone_tree, repository, scratch, skip_boots, texts};
use std::{path::Path, process::Command};

/// A block of commands, and the output that the page shows after it.
struct Block {
    commands: String,
    shown: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut parts = page.split("\n```");
    while let Some(part) = parts.next() {
        let _ = part;
        let Some((language, text)) = parts.next().and_then(|block| block.split_once('\n')) else { break };
        match (language, blocks.last_mut()) {
            ("shell", _) => blocks.push(Block { commands: text.to_owned(), shown: String::new() }),
            ("text", Some(last)) if last.shown.is_empty() => last.shown = text.to_owned(),
            _ => panic!("a block of `{language}` stands where no test reads it"),
        }
    }
    blocks
}

/// The first shown line that `output` does not have after the line before it. `…` is any text, in a line of its own any lines.
fn missing<'s>(shown: &'s str, output: &str) -> Option<&'s str> {
    let mut lines = output.lines();
    shown.lines().filter(|line| *line != "…").find(|wanted| {
        let is_it = |line: &str| {
            let mut rest = Some(line);
            let pieces: Vec<&str> = wanted.split('…').collect();
            for (at, piece) in pieces.iter().enumerate() {
                rest = rest.and_then(|text| {
                    if at == 0 { text.strip_prefix(piece) } else { text.find(piece).map(|found| &text[found + piece.len()..]) }
                });
            }
            rest.is_some_and(|rest| rest.is_empty() || wanted.ends_with('…'))
        };
        !lines.any(is_it)
    })
}

/// What a person's machine prints. Where this test has run before, the store has the files that such a machine has to make, and the image
/// cache the images. A file that is up to date stays what it is: after a change it would be stale.
fn as_first_run(printed: &str) -> String {
    let made = |line: &str| {
        let image = || line.strip_prefix("up to date: ").filter(|rest| rest.starts_with("lfedge/"));
        let rest = line.strip_prefix("taken from the store: ").or_else(image);
        rest.map_or(line.to_owned(), |rest| format!("made: {rest}")) + "\n"
    };
    printed.lines().map(made).collect()
}

#[test]
fn shown_lines_are_found_in_order() {
    let output = "made: a:1\n  x\nlast, 3 s\n";
    assert_eq!(missing("made: a:…\n…\nlast, … s\n", output), None);
    assert_eq!(missing("last, …\nmade: a:1\n", output), Some("made: a:1"), "the order counts");
    assert_eq!(missing("made: a\n", output), Some("made: a"));
    let again = "taken from the store: dist/a\nup to date: lfedge/eve-a:1\nup to date: dist/b\n";
    assert_eq!(as_first_run(again), "made: dist/a\nmade: lfedge/eve-a:1\nup to date: dist/b\n");
    let page = "x\n\n```shell\na\nb\n```\n\ny\n\n```text\nc\n```\n\n```shell\nd\n```\n";
    let found: Vec<String> = blocks(page).into_iter().map(|block| format!("{}|{}", block.commands, block.shown)).collect();
    assert_eq!(found, ["a\nb|c", "d|"]);
}

#[test]
fn every_command_of_the_tutorial_prints_what_it_shows() {
    if let Some(why) = skip_boots() {
        return skips::skipped(skips::Lack::Request, why);
    }
    let folder = tempfile::tempdir_in(scratch()).unwrap();
    let tree = folder.path().join("tree");
    clone_tree(&tree);
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    // `cargo xtask` without compiling: the program under test.
    executable(&bin.join("cargo"), format!("#!/bin/sh\nshift\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_xtask")));
    let page = std::fs::read_to_string(repository().join("docs/TUTORIAL.md")).unwrap();
    let page = if cfg!(target_arch = "aarch64") { page.replace("amd64", "arm64") } else { page };
    let blocks = blocks(&page);
    assert!(blocks.len() > 8, "{}", blocks.len());
    for block in &blocks {
        run(block, &tree, &bin);
    }
}

fn run(block: &Block, tree: &Path, bin: &Path) {
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command.args(["-ec", &format!("exec 2>&1\n{}", block.commands)]).current_dir(tree).env_clear().env("PATH", path);
    for name in ["HOME", "XDG_CACHE_HOME", "LINUXKIT_CACHE", "http_proxy", "no_proxy"] {
        if let Ok(value) = std::env::var(name) {
            command.env(name, value);
        }
    }
    let output = command.output().unwrap();
    let printed = as_first_run(&texts(&output).0);
    assert!(output.status.success(), "{}\nfailed:\n{printed}", block.commands);
    if let Some(line) = missing(&block.shown, &printed) {
        panic!("{}\ndid not print `{line}`, but:\n{printed}", block.commands);
    }
}
