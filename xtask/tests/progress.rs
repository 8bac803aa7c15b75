//! What a person sees of a long step: on a terminal one line that says how far it is and how long still, in a file a line now and then.
//! The step is a conversion by a qemu-img that reports a quarter and then waits until the test has looked.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use child::fake::executable;
use common::{Xtask, small_tree::small_tree, tool, wants};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// Nothing here takes as long, also on a loaded machine.
const LIMIT: Duration = Duration::from_secs(120);

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

/// A terminal that the test looks at.
struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    fn run(socket: &Path, program: &Path) -> Self {
        let terminal = Self { socket: socket.to_owned() };
        let keep = ["set-option", "-g", "remain-on-exit", "on", ";"];
        let new = ["new-session", "-d", "-x", "120", "-y", "40"];
        terminal.tmux(["-f", "/dev/null", "start-server", ";"].iter().chain(&keep).chain(&new).chain(&[program.to_str().unwrap()]));
        terminal
    }

    fn tmux<'w>(&self, words: impl IntoIterator<Item = &'w &'w str>) -> String {
        let output = Command::new("tmux").arg("-S").arg(&self.socket).args(words).env("TERM", "xterm").output().unwrap();
        assert!(output.status.success(), "tmux: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The screen as soon as `is_there` agrees with it.
    fn wait_for(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let since = Instant::now();
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]);
            if is_there(&screen) {
                return screen;
            }
            assert!(since.elapsed() < LIMIT, "no {what} on the screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
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
    let line = format!("env -i PATH='{path}' {} {program} --root {} live\necho ended: $?\n", variables.join(" "), tree.display());
    executable(&slow.path("build"), format!("#!/bin/sh\n{line}"));
    let terminal = Terminal::run(&slow.path("tmux"), &slow.path("build"));
    let screen = terminal.wait_for("remaining time", |screen| screen.contains(" left"));
    let live = screen.lines().find(|line| line.contains(" left")).unwrap();
    // [6/7] live.qcow2 340.0 KiB of 1.3 MiB, 6 s left, 2.01 s
    let (before, far) = live.split_once(" live.qcow2 ").unwrap_or_else(|| panic!("{screen}"));
    assert!(before.starts_with('[') && before.ends_with(']') && far.contains(" of ") && live.chars().count() <= 78, "{screen}");
    slow.go_on();
    let screen = terminal.wait_for("end", |screen| screen.contains("ended: "));
    assert!(screen.contains("ended: 0") && screen.contains("live.qcow2: made, "), "{screen}");
    assert!(!screen.contains(" left"), "the live line is gone: {screen}");
    let log = fs::read_to_string(tree.join("dist/amd64/dev/logs/live.qcow2.log")).unwrap();
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
    let mut child = build.args(["live"]).spawn();
    let (mut seen, mut lines) = (String::new(), BufReader::new(child.stderr.take().unwrap()).lines());
    let far = lines.by_ref().map(Result::unwrap).inspect(|line| seen += &format!("{line}\n")).find(|line| line.contains(" left"));
    slow.go_on();
    let far = far.unwrap_or_else(|| panic!("no line says how long still:\n{seen}"));
    assert!(far.contains("] live.qcow2: ") && far.contains(" of ") && far.ends_with(')'), "{far}");
    assert!(!seen.contains(['\r', '\u{1b}']), "{seen}");
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success() && rest.iter().any(|line| line.contains("live.qcow2: made, ")), "{seen}{rest:?}");
    tool("qemu-img", &["check", "-q", tree.join("dist/amd64/dev/live.qcow2").to_str().unwrap()]);
}
