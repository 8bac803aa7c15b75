//! What the tests of the whole program share: the program itself in a chosen environment, and copies of the tree.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, missing_docs)]

pub mod daemon;
pub mod golden;
pub mod machine;
pub mod person;
pub mod python;
pub mod small_tree;
pub mod terminal;

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};
use xshell::{Shell, cmd};

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A folder for this test binary that survives from run to run.
pub fn scratch() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).to_owned();
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Why a slow test does not run now; none when it does.
pub fn skip_boots() -> Option<&'static str> {
    match std::env::var("XTASK_TEST_BOOTS").as_deref() {
        Ok("y") => None,
        _ => Some("it builds or boots whole images: `cargo xtask test` runs it"),
    }
}

/// Whether a program is on the PATH or among the system's tools.
pub fn has(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin", "/sbin"]).any(|folder| Path::new(folder).join(program).is_file())
}

/// The same; when it is not there, writes down that the test is skipped. Debian's `packages` have it.
#[track_caller]
pub fn wants(program: &str, packages: &str) -> bool {
    let there = has(program);
    if !there {
        skips::missing(program, packages);
    }
    there
}

/// The program with a cleared environment: PATH, HOME and what a test adds.
pub struct Xtask {
    command: Command,
}

impl Xtask {
    pub fn new(root: &Path) -> Self {
        let mut xtask = Self::anywhere(root);
        xtask.command.arg("--root").arg(root);
        xtask
    }

    /// In a folder that may be in no tree.
    pub fn anywhere(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.env_clear().current_dir(folder);
        // The toolchain may be anywhere, as in container images of Rust.
        let toolchain = ["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"];
        for name in ["PATH", "HOME", "XDG_CACHE_HOME", "LINUXKIT_CACHE", "http_proxy", "no_proxy"].into_iter().chain(toolchain) {
            if let Ok(value) = std::env::var(name) {
                command.env(name, value);
            }
        }
        // The knobs of the person whose tree this is.
        command.env("XTASK_LOCAL", "n");
        Self { command }
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs in another folder.
    pub fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Reads its standard input from a file.
    pub fn input(mut self, file: &Path) -> Self {
        self.command.stdin(std::fs::File::open(file).unwrap());
        self
    }

    /// Starts it without input, its output in pipes.
    pub fn spawn(mut self) -> Child {
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub fn output(mut self) -> Output {
        self.command.output().unwrap()
    }

    /// Runs it; standard output when it succeeds, a failed test with all that it said when it does not.
    pub fn ok(mut self) -> String {
        let output = self.command.output().unwrap();
        let (out, err) = texts(&output);
        assert!(output.status.success(), "{:?} failed: {}\n{out}{err}", self.command, output.status);
        out
    }

    /// Runs it and wants it to fail; exit code and standard error.
    pub fn fails(mut self) -> (i32, String) {
        let output = self.command.output().unwrap();
        let (out, err) = texts(&output);
        assert!(!output.status.success(), "{:?} should fail, and said:\n{out}{err}", self.command);
        (output.status.code().unwrap_or(-1), err)
    }
}

pub fn texts(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Runs a foreign program and wants it to succeed; its standard output.
pub fn tool(program: &str, args: &[&str]) -> String {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output =
        Command::new(program).args(args).env("PATH", path).env("LC_ALL", "C").output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{program} {args:?}: {}\n{out}{err}", output.status);
    out
}

/// Copies programs of this machine, with their libraries, to where they are below `root`.
pub fn copy_programs(programs: &[&str], root: &Path) {
    let copy = |from: &str| {
        let to = root.join(&from[1..]);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    };
    for program in programs {
        copy(program);
        tool("ldd", &[program]).split_whitespace().filter(|word| word.starts_with('/')).for_each(copy);
    }
}

/// A copy of the repository's files as git would commit them now, committed at a fixed time: the same commit in every folder.
pub fn clone_tree(to: &Path) {
    let root = repository();
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).unwrap();
    let list = Command::new("git").args(["ls-files", "-z", "-co", "--exclude-standard"]).current_dir(&root).output().unwrap();
    for name in String::from_utf8(list.stdout).unwrap().split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (root.join(name), to.join(name));
        if !from.exists() {
            continue;
        }
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(&from, &to).unwrap();
    }
    init(to, "main", "tree");
}

/// A shell in `folder`, in which git has a fixed identity and clock, no hooks, and no configuration of the person who runs the test.
pub fn shell(folder: &Path) -> Shell {
    let sh = Shell::new().unwrap();
    sh.change_dir(folder);
    for (name, value) in [
        ("GIT_AUTHOR_NAME", "test"),
        ("GIT_AUTHOR_EMAIL", "test@example.org"),
        ("GIT_AUTHOR_DATE", "2026-01-02T03:04:05Z"),
        ("GIT_COMMITTER_NAME", "test"),
        ("GIT_COMMITTER_EMAIL", "test@example.org"),
        ("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "core.hooksPath"),
        ("GIT_CONFIG_VALUE_0", "/dev/null"),
    ] {
        sh.set_var(name, value);
    }
    sh
}

/// Runs git in `folder`; see [`shell`].
pub fn git(folder: &Path, words: &[&str]) {
    let sh = shell(folder);
    cmd!(sh, "git {words...}").run().unwrap();
}

/// Makes `folder` a repository whose branch `branch` has one commit, of all files that are there.
pub fn init(folder: &Path, branch: &str, message: &str) {
    git(folder, &["init", "-q", "-b", branch]);
    git(folder, &["add", "-A"]);
    git(folder, &["commit", "-q", "-m", message]);
}
