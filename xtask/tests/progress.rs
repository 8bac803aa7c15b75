//! What a person sees of a long step: on a terminal one line that says how far it is and how long still, in a file a line now and then.
//! The step is a conversion by a qemu-img that reports a quarter and then waits until the test has looked.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use child::fake::executable;
use common::{
    Xtask,
    golden::Page,
    small_tree::small_tree,
    terminal::{LIMIT, Terminal},
    tool, wants,
};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    sync::mpsc,
    thread,
};

/// How far differs from machine to machine.
fn without_numbers(line: &str) -> String {
    regex::Regex::new(r"\b([0-9]+ min )?[0-9]+(\.[0-9]+)?\b").unwrap().replace_all(line, "N").replace("KiB", "MiB")
}

/// A small tree, and a qemu-img that waits.
struct Slow {
    folder: tempfile::TempDir,
}

impl Slow {
    fn new() -> Self {
        let slow = Self { folder: tempfile::tempdir().unwrap() };
        small_tree(&slow.path("tree"));
        let waiting = format!(
            "#!/bin/sh\nif [ \"$1\" = convert ]; then\n    printf '    (0.00/100%%)\\r    (25.00/100%%)\\r'\n    \
             until [ -e {} ]; do sleep 0.1; done\nfi\nexec qemu-img \"$@\"\n",
            slow.path("go").display()
        );
        executable(&slow.path("qemu-img"), waiting);
        slow
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn go_on(&self) {
        fs::write(self.path("go"), "").unwrap();
    }

    /// What the build gets from the environment.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let shown = |name: &str| self.path(name).display().to_string();
        let caches = [("HOME", "home"), ("LINUXKIT_CACHE", "images"), ("XDG_CACHE_HOME", "cache"), ("XTASK_TOOL_QEMU_IMG", "qemu-img")];
        let caches = caches.map(|(variable, name)| (variable, shown(name)));
        let words = [("STORE", "off"), ("ZARCH", "amd64"), ("ROOTFS_VERSION", "dev"), ("ROOTFS_COMPRESSION", "gzip"), ("XTASK_LOCAL", "n")];
        caches.into_iter().chain(words.map(|(variable, word)| (variable, word.to_owned()))).collect()
    }
}

#[test]
fn a_terminal_shows_how_far_a_conversion_is_and_how_long_still() {
    if !wants("qemu-img", "qemu-utils") || !wants("tmux", "tmux") {
        return;
    }
    let slow = Slow::new();
    let variables: Vec<String> = slow.variables().iter().map(|(name, value)| format!("{name}='{value}'")).collect();
    let (program, tree) = (env!("CARGO_BIN_EXE_xtask"), slow.path("tree"));
    let path = std::env::var("PATH").unwrap();
    let line = format!("env -i PATH='{path}' {} {program} --root {} live-vdi\necho ended: $?\n", variables.join(" "), tree.display());
    executable(&slow.path("build"), format!("#!/bin/sh\n{line}"));
    let terminal = Terminal::run(&slow.path("tmux"), &slow.path("build"));
    let screen = terminal.wait_for("remaining time", |screen| screen.contains(" left"));
    let live = screen.lines().find(|line| line.contains(" left")).unwrap();
    // [6/7] live.vdi 340.0 KiB of 1.3 MiB, 6 s left, 2.01 s
    let (before, far) = live.split_once(" live.vdi ").unwrap_or_else(|| panic!("{screen}"));
    assert!(before.starts_with('[') && before.ends_with(']') && far.contains(" of ") && live.chars().count() <= 78, "{screen}");
    let mut page = Page::of(slow.folder.path());
    page.note("a long step on a terminal, one line that is drawn anew");
    page.add("cargo xtask live", &format!("{}\n", without_numbers(live)));
    page.is("errors/12-terminal");
    slow.go_on();
    let screen = terminal.wait_for("end", |screen| screen.contains("ended: "));
    assert!(screen.contains("ended: 0") && screen.contains("live.vdi: made, "), "{screen}");
    assert!(!screen.contains(" left"), "the live line is gone: {screen}");
    let log = fs::read_to_string(tree.join("dist/amd64/dev/logs/live.vdi.log")).unwrap();
    assert!(!log.contains("100%"), "the log has no meter: {log}");
}

#[test]
fn a_file_gets_a_line_for_a_step_that_takes_long() {
    if !wants("qemu-img", "qemu-utils") {
        return;
    }
    let slow = Slow::new();
    let tree = slow.path("tree");
    let build = slow.variables().into_iter().fold(Xtask::new(&tree), |xtask, (name, value)| xtask.env(name, value));
    let mut child = build.args(["live-vdi"]).spawn();
    // A build that never says how long still waits for the test, which waits for the build.
    let (told, silent) = mpsc::channel::<()>();
    let go = slow.path("go");
    let watchdog = thread::spawn(move || {
        silent.recv_timeout(LIMIT).is_err_and(|why| why == mpsc::RecvTimeoutError::Timeout && fs::write(go, "").is_ok())
    });
    let (mut seen, mut lines) = (String::new(), BufReader::new(child.stderr.take().unwrap()).lines());
    let far = lines.by_ref().map(Result::unwrap).inspect(|line| seen += &format!("{line}\n")).find(|line| line.contains(" left"));
    drop(told);
    assert!(!watchdog.join().unwrap(), "in {} s no line says how long still:\n{seen}", LIMIT.as_secs());
    slow.go_on();
    let far = far.unwrap_or_else(|| panic!("no line says how long still:\n{seen}"));
    assert!(far.contains("] live.vdi: ") && far.contains(" of ") && far.ends_with(')'), "{far}");
    assert!(!seen.contains(['\r', '\u{1b}']), "{seen}");
    let mut page = Page::of(slow.folder.path());
    page.note("a long step without a terminal, a line every ten seconds");
    page.add("cargo xtask live", &format!("{}\n", without_numbers(&far)));
    page.is("errors/12-file");
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success() && rest.iter().any(|line| line.contains("live.vdi: made, ")), "{seen}{rest:?}");
    tool("qemu-img", &["check", "-q", tree.join("dist/amd64/dev/live.vdi").to_str().unwrap()]);
}
