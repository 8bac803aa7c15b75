//! A terminal in which a program runs while a test looks at it and types: tmux.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// Nothing that a test waits for takes as long, also on a loaded machine.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A terminal; it ends with the value.
pub struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// Starts `program` in a new terminal, which stays when the program ends. `socket` is a path for tmux.
    pub fn run(socket: &Path, program: &Path) -> Self {
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

    /// Types a line.
    pub fn enter(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.press("Enter");
    }

    /// Presses a key by tmux's name for it: `C-c`.
    pub fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// The screen as soon as `is_there` agrees with it.
    pub fn wait_for(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let since = Instant::now();
        loop {
            let screen = self.tmux(&["capture-pane", "-p", "-J"]);
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
