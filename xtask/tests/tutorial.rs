//! docs/TUTORIAL.md, word for word: every command in a block is typed into a shell in a clone, and prints what the page shows. Then the commands
//! of README.md. The person who types is an ordinary user with an empty HOME.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, person::Person, repository, skip_boots, texts, wants};
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

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

/// What the person's shell says to a block of commands, standard error too.
fn typed(person: &Person, commands: &str) -> String {
    let output = person.shell(&format!("exec 2>&1\n{commands}")).output().unwrap();
    let printed = texts(&output).0;
    assert!(output.status.success(), "{commands}\nfailed:\n{printed}");
    printed
}

/// A person with the images that the packages of the root file system have now: a first build takes a quarter of an hour.
fn person() -> Person {
    let person = Person::new();
    Xtask::new(&person.tree()).args(["rootfstar"]).ok();
    fs::remove_dir_all(person.tree().join("dist")).unwrap();
    let home = std::env::var("HOME").unwrap_or_default();
    let of = |name: &str, usual: &str| std::env::var(name).map_or_else(|_| Path::new(&home).join(usual), PathBuf::from);
    person.take_caches(&of("LINUXKIT_CACHE", ".linuxkit/cache"), &of("XDG_CACHE_HOME", ".cache"));
    person
}

#[test]
fn every_command_of_the_tutorial_and_of_the_readme_works_for_an_ordinary_user() {
    if let Some(why) = skip_boots() {
        return skips::skipped(skips::Lack::Request, why);
    }
    if !wants("qemu-img", "qemu-utils") || !wants("setpriv", "util-linux") {
        return;
    }
    let person = person();
    assert!(typed(&person, "id -u; ls -A \"$HOME\"").lines().eq([user().as_str()]), "an ordinary user with an empty HOME");
    let page = fs::read_to_string(repository().join("docs/TUTORIAL.md")).unwrap();
    let page = if cfg!(target_arch = "aarch64") { page.replace("amd64", "arm64") } else { page };
    let blocks = blocks(&page);
    assert!(blocks.len() > 8, "{}", blocks.len());
    for block in &blocks {
        let printed = as_first_run(&typed(&person, &block.commands));
        if let Some(line) = missing(&block.shown, &printed) {
            panic!("{}\ndid not print `{line}`, but:\n{printed}", block.commands);
        }
    }
    readme(&person);
}

/// The user id of the person.
fn user() -> String {
    let own = fs::metadata("/proc/self").unwrap().uid();
    if own == 0 { "65534".to_owned() } else { own.to_string() }
}

/// Commands of the README that are planned here: they boot, test everything, build another image, or install.
const PLANNED: &[&str] = &["cargo xtask test", "cargo xtask doctor --install", "cargo xtask run --tpm", "cargo xtask live HV=xen"];

/// Types the commands of the README; those for a checkout of lf-edge/eve are for the tests that have one (eve_present.rs).
fn readme(person: &Person) {
    let page = fs::read_to_string(repository().join("README.md")).unwrap();
    let page = if cfg!(target_arch = "aarch64") { page.replace("amd64", "arm64") } else { page };
    let commands = commands(&page);
    assert!(commands.len() > 10, "{commands:?}");
    for planned in PLANNED {
        assert!(commands.iter().any(|command| command == planned), "README.md has no `{planned}`");
    }
    for command in commands.iter().filter(|command| !command.contains(" --root ~/src/eve ")) {
        let plan = if PLANNED.contains(&command.as_str()) { " -n" } else { "" };
        let printed = typed(person, &format!("{command}{plan}"));
        assert!(!printed.trim().is_empty(), "{command} prints nothing");
    }
}

/// The command lines of a page's `shell` blocks, without their comments.
fn commands(page: &str) -> Vec<String> {
    let shell = page.split("\n```shell\n").skip(1).filter_map(|block| block.split("\n```").next());
    let lines = shell.flat_map(str::lines).map(|line| line.split(" #").next().unwrap_or_default().trim().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}
