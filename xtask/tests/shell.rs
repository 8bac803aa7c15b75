//! Shells where RUN lines of a Dockerfile fail: `--shell-on-failure`, which needs a terminal, and `shell`, at any time.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use ::common::Arch;
use child::fake::executable;
use common::{Xtask, copy_programs, small_tree::SmallTree, terminal::Terminal, texts, wants};
use std::{fs, path::Path};

/// The second stage fails in line 8, after it has written a file.
const DOCKERFILE: &str = "FROM scratch AS tools\nCOPY files/ /\nRUN echo tools > /stage\n\nFROM tools AS broken\nENV WHO=me\nWORKDIR /work\n\
     RUN --mount=type=bind,source=files/etc,target=/mnt echo half > made; echo planted; exit 7\n";

/// A tree whose package has a shell and fails.
fn broken() -> SmallTree {
    let tree = SmallTree::new();
    copy_programs(&["/bin/sh", "/bin/cat", "/bin/ls"], &tree.root().join("pkg/base/files"));
    tree.write("pkg/base/Dockerfile", DOCKERFILE);
    tree
}

/// The program on that tree, for this machine, whose programs the package has.
fn xtask(tree: &SmallTree) -> Xtask {
    tree.xtask().env("STORE", "off").env("ZARCH", Arch::host_word())
}

/// The error without the time that the step took.
fn without_time(error: &str) -> String {
    let lines = error.lines().map(|line| line.split(" failed after ").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

fn stages(tree: &Path) -> usize {
    fs::read_dir(tree.join("dist/tmp")).unwrap().count()
}

#[test]
fn a_shell_opens_where_a_step_failed_and_the_build_fails_afterwards() {
    if !wants("tmux", "tmux") {
        return;
    }
    let tree = broken();
    let (home, path) = (tree.root().join("home"), std::env::var("PATH").unwrap());
    let variables = format!(
        "PATH='{path}' HOME={0} XDG_CACHE_HOME={0}/cache LINUXKIT_CACHE={0}/images STORE=off XTASK_LOCAL=n ZARCH={1}",
        home.display(),
        Arch::host_word()
    );
    let line = format!("{} --root {} pkg base --shell-on-failure", env!("CARGO_BIN_EXE_xtask"), tree.root().display());
    fs::create_dir_all(&home).unwrap();
    executable(&home.join("build"), format!("#!/bin/sh\nenv -i {variables} {line}\ncode=$?\nread -r word\necho ended: $code $word\n"));
    let terminal = Terminal::run(&home.join("tmux"), &home.join("build"));
    terminal.wait_for("shell", |screen| screen.contains("`exit` ends the shell, and the build"));
    assert_eq!(stages(tree.root()), 1, "the stage is kept");
    // Everything is as the step saw it, and what it wrote is there.
    terminal.enter("echo \"saw: $WHO $(pwd) $(cat made /mnt/base /stage) $(ls /mnt)\"");
    terminal.wait_for("answer", |screen| screen.contains("saw: me /work half\nbasetools base"));
    terminal.enter("read -r forever");
    terminal.press("C-c");
    // The terminal throws away what was typed before it shows this.
    terminal.wait_for("Ctrl-C", |screen| screen.contains("^C"));
    terminal.enter("echo \"$((40 + 2)) goes on\"");
    let screen = terminal.wait_for("shell after Ctrl-C", |screen| screen.contains("42 goes on"));
    assert!(!screen.contains("ended:"), "{screen}");
    terminal.enter("exit 0");
    // The terminal is the program's again, and then its caller's, which would be stopped if it read in the background.
    terminal.wait_for("error", |screen| screen.contains("error: pkg/base ["));
    terminal.enter("word");
    let screen = terminal.wait_for("end", |screen| screen.contains("ended: "));
    assert!(screen.contains("ended: 1 word"), "{screen}");
    assert_eq!(screen.matches("| planted").count(), 2, "the error is said before the shell, and last: {screen}");
    assert_eq!(stages(tree.root()), 0, "the stage is gone");
}

#[test]
fn without_a_terminal_one_line_says_so_and_the_build_fails_as_ever() {
    let tree = broken();
    let (code, plain) = xtask(&tree).args(["pkg", "base"]).fails();
    let (code_with, with) = xtask(&tree).args(["pkg", "base", "--shell-on-failure"]).fails();
    assert_eq!((code, code_with), (1, 1));
    assert_eq!(without_time(&tree.error_in(&with)), without_time(&tree.error_in(&plain)));
    let more: Vec<&str> = with.lines().filter(|line| line.contains("shell-on-failure")).collect();
    let note = "note: pkg/base/Dockerfile:8: --shell-on-failure opens no shell: standard input and output are not a terminal";
    assert_eq!(more, [note], "{with}");
    // What fails before a sandbox is there to look into is the same, too.
    tree.write("pkg/base/Dockerfile", "FROM scratch\nCOPY nowhere /\n");
    let (_, with) = xtask(&tree).args(["pkg", "base", "--shell-on-failure"]).fails();
    assert!(!with.contains("opens no shell") && with.contains("nowhere"), "{with}");
}

#[test]
fn only_verbs_that_build_packages_here_offer_it() {
    let tree = SmallTree::new();
    let help = |words: &[&str]| tree.xtask().args(words).args(["--help"]).ok();
    for verb in ["live", "pkg", "pkgs", "rootfs", "eve", "dev", "installer-iso"] {
        assert!(help(&[verb]).contains("--shell-on-failure"), "{verb}");
        assert!(!help(&["--engine", "linuxkit", verb]).contains("--shell-on-failure"), "{verb}");
    }
    for verb in ["config", "run", "shell", "kernel-yml"] {
        assert!(!help(&[verb]).contains("--shell-on-failure"), "{verb}");
        let (code, text) = tree.error(&[verb, "--shell-on-failure"]);
        assert_eq!((code, text.lines().next().unwrap()), (2, &*format!("error: `cargo xtask {verb}` has no option `--shell-on-failure`")));
    }
    assert_eq!(
        tree.error(&["--engine", "linuxkit", "pkg", "base", "--shell-on-failure"]),
        (
            2,
            "error: --shell-on-failure needs the native engine: docker runs the RUN lines here, and removes their files when one fails\nhint: \
             omit --shell-on-failure, or give --engine native for a tree that it builds"
                .to_owned()
        )
    );
}

/// What `shell` with these words says, when the person types `input`.
fn shell(tree: &SmallTree, words: &str, input: &str) -> (String, String) {
    fs::write(tree.root().join("home/input"), input).unwrap();
    texts(&xtask(tree).args(["shell", words]).input(&tree.root().join("home/input")).output())
}

#[test]
fn the_command_in_an_error_opens_a_shell_there() {
    let tree = broken();
    let (_, error) = xtask(&tree).args(["pkg", "base"]).fails();
    let command = format!("\n  command: cargo xtask --root {} shell base\n", tree.root().display());
    assert!(error.contains(&command), "{error}");
    let look = "echo \"saw: $WHO $(pwd)\"; ls made; cat /stage /mnt/base\n";
    let (out, said) = shell(&tree, "base", look);
    assert!(out == "saw: me /work\ntools\nbase" && said.contains("the shell is where it failed"), "{out}{said}");
    assert!(said.contains("exit status 7") && said.contains("cannot access 'made'"), "the files are those before the step: {said}");
    let (out, said) = shell(&tree, "pkg/base:broken:8", look);
    assert!(out == "saw: me /work\ntools\nbase" && said.contains(":8, before: echo half > made"), "{out}{said}");
    assert!(!said.contains("exit status 7"), "the step has not run: {said}");
    let (out, said) = shell(&tree, "base:tools", "cat /stage; echo \"$WHO\"\n");
    assert!(out == "tools\n\n" && said.contains(":3, after: echo tools > /stage"), "{out}{said}");
    let (out, said) = shell(&tree, "base:8", "pwd\n");
    assert!(out == "/work\n" && said.contains(":8, before: echo half > made"), "{out}{said}");
    let (out, said) = shell(&tree, "base::3", "ls /stage; echo \"$?\"\n");
    assert!(out == "2\n" && said.contains(":3, before: echo tools > /stage"), "{out}{said}");
    for (words, expected) in [
        ("base:tools:9", "error: pkg/base has no RUN in line 9\nhint: its stages: tools (RUN in line 3), "),
        ("base:tools:x", "error: `base:tools:x`: `x` is not the number of a line\nhint: cargo xtask shell base:STAGE:12\n"),
        ("base:tool", "error: pkg/base has no stage `tool`\nhint: its stages: tools (RUN in line 3), "),
        ("base:99", "error: pkg/base has no RUN in line 99\nhint: its stages: tools (RUN in line 3), "),
        ("base:tools:8", "error: pkg/base: line 8 is not in the stage tools\nhint: cargo xtask shell base:broken:8\n"),
    ] {
        let (out, said) = shell(&tree, words, look);
        assert!(out.is_empty() && said.contains(expected), "{words}: {out}{said}");
    }
    assert_eq!(stages(tree.root()), 0);
}
