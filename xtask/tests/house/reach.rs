//! What each crate can reach: processes, the environment, the file system, the command line.

use super::{
    source::{Kind, Source, Token},
    tree,
};

/// Files that start processes: the one crate for them, and the sandbox's inner half, which becomes the package's own command.
fn starts_processes(name: &str) -> bool {
    name.starts_with("tools/child/src/") || name == "tools/sandbox/src/inside.rs"
}

/// Calls of the C library that start a process or turn this one into another.
const STARTS: &[&str] = &[
    "fork",
    "vfork",
    "execv",
    "execve",
    "execvp",
    "execvpe",
    "execl",
    "execlp",
    "fexecve",
    "posix_spawn",
    "posix_spawnp",
    "system",
    "popen",
];

/// Rule: processes start only where [`starts_processes`] says.
pub fn processes(source: &Source) -> Vec<String> {
    if starts_processes(&source.name) {
        return Vec::new();
    }
    let mut hits = Vec::new();
    for path in source.paths() {
        let system = ["libc", "nix", "rustix"].contains(&path.first())
            && (path.words.last().is_some_and(|last| STARTS.contains(&last.as_str()))
                || path.first() == "libc" && path.words[1..] == ["*"]);
        let std = path.has("process", "Command") || path.has("process", "CommandExt");
        if system || std || ["duct", "xshell"].contains(&path.first()) {
            hits.push(source.hit(path.line, &format!("`{}` starts processes", path.words.join("::"))));
        }
    }
    // `fork()` that came in by a `use`: no method, no function of that name being made.
    for (index, token) in source.program().filter(|(_, token)| token.is_ident("fork")) {
        let empty = source.at(index + 1).is_some_and(|next| next.kind == Kind::Open('(', index + 2));
        let before = index.checked_sub(1).and_then(|before| source.at(before));
        if empty && !before.is_some_and(|before| before.is('.') || before.is(':') || before.is_ident("fn")) {
            hits.push(source.hit(token.line, "`fork()` starts processes"));
        }
    }
    hits
}

/// Where the environment is read: once for the program, at a container's entry point, where a test learns what its run asks of it, and where
/// cargo tells a build script its folder.
const READS_ENVIRONMENT: &[&str] =
    &["tools/child/src/environment.rs", "tools/eve-tools/src/main.rs", "tools/native/build.rs", "tools/skips/src/lib.rs"];

/// Rule: the environment is read only in [`READS_ENVIRONMENT`], and changed nowhere, not even by tests, which share it.
pub fn environment(source: &Source) -> Vec<String> {
    let mut hits = Vec::new();
    if !READS_ENVIRONMENT.contains(&source.name.as_str()) {
        for path in source.paths() {
            if ["var", "vars", "var_os", "vars_os"].iter().any(|call| path.has("env", call)) {
                hits.push(source.hit(path.line, &format!("`{}` reads the environment", path.words.join("::"))));
            }
        }
    }
    for (index, token) in source.tokens.iter().enumerate() {
        let changes = ["set_var", "remove_var"].iter().any(|word| token.is_ident(word));
        // A method of that name sets a child's variable.
        let is_method = index > 0 && source.tokens[index - 1].is('.');
        if changes && !is_method {
            hits.push(source.hit(token.line, "the environment is changed"));
        }
    }
    hits
}

/// Rule: nothing in the plan and the knobs looks at a file or starts anything.
pub fn purity(source: &Source) -> Vec<String> {
    if !["tools/plan/", "tools/knobs/"].iter().any(|pure| source.name.starts_with(pure)) {
        return Vec::new();
    }
    let mut hits = Vec::new();
    for path in source.paths() {
        let std = ["fs", "net", "process", "env", "thread", "time"].iter().any(|module| path.has("std", module))
            && !path.words.starts_with(&["std", "env", "consts"].map(str::to_owned))
            && !path.words.ends_with(&["time", "Duration"].map(str::to_owned));
        let first = ["fs", "File", "OpenOptions", "child", "rustix", "libc", "walkdir", "tempfile"].contains(&path.first());
        if std || first {
            hits.push(source.hit(path.line, &format!("`{}` in a pure crate", path.words.join("::"))));
        }
    }
    let methods = [
        "exists",
        "try_exists",
        "is_file",
        "is_dir",
        "is_symlink",
        "metadata",
        "symlink_metadata",
        "read_dir",
        "read_link",
        "canonicalize",
    ];
    for (index, token) in source.program() {
        let Some(word) = token.ident() else { continue };
        let called = source.at(index + 1).is_some_and(|next| next.is_open('('));
        let method = called && index > 0 && source.tokens[index - 1].is('.') && methods.contains(&word);
        if method || word == "Cmd" || called && word == "read_to_string" {
            hits.push(source.hit(token.line, &format!("`{word}` in a pure crate")));
        }
    }
    hits
}

/// Rule: libraries know no command line. The knobs declare their flags themselves.
pub fn command_line(source: &Source) -> Vec<String> {
    let may = ["xtask", "knobs"].contains(&tree::crate_of(&source.name));
    let is_clap = |token: &Token| token.ident().is_some_and(|word| word == "clap" || word.starts_with("clap_"));
    let hits = source.tokens.iter().filter(|token| !may && is_clap(token)).map(|token| source.hit(token.line, "a library that knows clap"));
    hits.collect()
}

/// The same rule for a manifest.
fn depends_on_clap(name: &str, manifest: &toml::Table) -> bool {
    let has = |section: &str| manifest.get(section).is_some_and(|table| table.get("clap").is_some());
    !["xtask", "knobs"].contains(&name) && ["dependencies", "build-dependencies", "dev-dependencies"].into_iter().any(has)
}

#[test]
fn processes_start_only_in_child() {
    super::none(tree::sources().iter().flat_map(processes));
    assert!(
        tree::sources()
            .iter()
            .any(|source| starts_processes(&source.name) && source.paths().iter().any(|path| path.has("process", "Command")))
    );
}

#[test]
fn a_process_that_starts_elsewhere_is_caught() {
    let caught = |text: &str| !processes(&Source::new("tools/vm/src/x.rs", text)).is_empty();
    for text in [
        "use std::process::Command;",
        "use std::{fs, process::{Command, Stdio}};",
        "use std::process::Command as Start;",
        "use std::process as p; fn f() { p::Command::new(\"ls\"); }",
        "use std::process::*;",
        "use std::process; fn f() { process::Command::new(\"ls\"); }",
        "fn f() { ::std::process::Command::new(\"ls\").spawn(); }",
        "use std::os::unix::process::CommandExt as _;",
        "fn f() { duct::cmd!(\"ls\"); }",
        "use duct::cmd;",
        "fn f() { unsafe { libc::fork() }; }",
        "use libc::{fork as split};",
        "use libc::*; fn f() { unsafe { vfork() }; }",
        "use somewhere::*; fn f() { unsafe { fork() }; }",
        "#[cfg(test)] mod tests { fn f() {} } use std::process::Command;",
        "#[cfg(test)]\nuse std::process::Command;\nfn f() { std::process::Command::new(\"ls\"); }",
    ] {
        assert!(caught(text), "{text}");
    }
    for text in [
        "use clap::{Arg, Command}; fn f() { Command::new(\"ls\"); }",
        "use std::process::{ExitCode, Stdio}; fn f() { std::process::id(); }",
        "use child::{Cmd, process::Running};",
        "fn f() { cache.fork(&a)?; self.fork(); } fn fork() {}",
        "// std::process::Command::new(\"ls\")\nconst A: &str = \"std::process::Command\"; /* fork() */",
        "/// `std::process::Command`\nfn f() {}",
        "#[cfg(test)] mod tests { use std::process::Command; }",
    ] {
        assert!(!caught(text), "{text}");
    }
    let text = "use std::process::Command;";
    assert!(processes(&Source::new("tools/child/src/process.rs", text)).is_empty());
    assert!(processes(&Source::new("tools/vm/tests/real.rs", text)).is_empty());
    assert!(!processes(&Source::new("tools/sandbox/src/lib.rs", text)).is_empty());
}

#[test]
fn the_environment_is_read_in_one_place() {
    super::none(tree::sources().iter().flat_map(environment));
}

#[test]
fn an_environment_that_is_read_elsewhere_is_caught() {
    let caught = |text: &str| !environment(&Source::new("tools/vm/src/x.rs", text)).is_empty();
    for text in [
        "fn f() { std::env::var(\"A\"); }",
        "use std::env; fn f() { env::vars_os(); }",
        "use std::env::{self, var_os}; fn f() { var_os(\"A\"); }",
        "use std::env as e; fn f() { e::var(\"A\"); }",
        "use std::env::*;",
        "#[cfg(test)] mod tests { fn f() { unsafe { std::env::set_var(\"A\", \"b\") } } }",
        "#[cfg(test)] mod tests {} fn f() { std::env::vars(); }",
    ] {
        assert!(caught(text), "{text}");
    }
    for text in [
        "fn f() { env!(\"CARGO_PKG_NAME\"); option_env!(\"A\"); std::env::current_dir(); std::env::args(); }",
        "fn f(shell: &Shell) { command.env(\"A\", \"b\"); shell.set_var(\"A\", \"b\"); environment.var(\"A\"); }",
        "#[cfg(test)] mod tests { fn f() { std::env::var(\"A\"); } }",
        "const A: &str = \"env::var(\";",
    ] {
        assert!(!caught(text), "{text}");
    }
    let text = "fn f() { std::env::vars_os(); }";
    assert!(environment(&Source::new("tools/child/src/environment.rs", text)).is_empty());
    assert!(!environment(&Source::new("tools/child/src/lib.rs", text)).is_empty());
}

#[test]
fn the_plan_and_the_knobs_touch_nothing() {
    super::none(tree::sources().iter().flat_map(purity));
}

#[test]
fn a_plan_that_looks_at_a_file_is_caught() {
    let caught = |text: &str| !purity(&Source::new("tools/plan/src/x.rs", text)).is_empty();
    for text in [
        "use std::fs;",
        "fn f() { std::fs::read(\"a\"); }",
        "use std::{fs::File, path::Path};",
        "use std::*;",
        "fn f(a: &Path) -> bool { a.exists() || a.is_file() }",
        "fn f(a: &Path) -> bool { a\n.is_dir() }",
        "fn f() { read_to_string(\"a\"); }",
        "use child::Tools;",
        "fn f(cmd: Cmd) {}",
        "#[cfg(test)] mod tests {} use std::fs;",
    ] {
        assert!(caught(text), "{text}");
    }
    for text in [
        "use std::{fmt, path::PathBuf}; use diskimage::fat;",
        "fn f() { let exists = a.is_file; b.filesystem(); Self::File }",
        "// a.exists()\nconst A: &str = \"std::fs\";",
        "#[cfg(test)] mod tests { use std::fs; }",
    ] {
        assert!(!caught(text), "{text}");
    }
    assert!(purity(&Source::new("tools/checkout/src/x.rs", "use std::fs;")).is_empty());
}

#[test]
fn libraries_know_no_command_line() {
    super::none(tree::sources().iter().flat_map(command_line));
    let (_, members) = tree::workspace();
    super::none(members.iter().filter(|member| depends_on_clap(&member.name, &member.manifest)).map(|member| member.folder.clone()));
}

#[test]
fn a_library_with_a_command_line_is_caught() {
    let caught = |name: &str, text: &str| !command_line(&Source::new(name, text)).is_empty();
    assert!(caught("tools/plan/src/x.rs", "#[derive(clap::Args)] struct A;"));
    assert!(caught("tools/plan/src/x.rs", "#[cfg(test)] mod tests {} use clap::Parser;"));
    assert!(!caught("tools/knobs/src/x.rs", "use clap::Arg;"));
    let manifest = toml::toml! { dependencies.clap.workspace = true };
    assert!(depends_on_clap("plan", &manifest) && !depends_on_clap("knobs", &manifest) && !depends_on_clap("plan", &toml::Table::new()));
    assert!(!caught("xtask/src/cli.rs", "use clap::Arg;"));
    assert!(!caught("tools/plan/src/x.rs", "// clap\nconst A: &str = \"clap\"; fn clapped() {}"));
}
