//! Shows a person who waits that something goes on: a line that is redrawn on a terminal, and elsewhere a line every ten seconds.

use common::display::seconds;
use std::{
    io::{IsTerminal as _, Write, stderr},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Time between two drawings of the line on a terminal.
const TICK: Duration = Duration::from_secs(1);
/// Time between two lines elsewhere.
const PLAIN_TICK: Duration = Duration::from_secs(10);
/// A line that the terminal wraps cannot be redrawn.
const WIDTH: usize = 78;

/// Shows how long it takes, until this is dropped.
pub struct Waiting {
    detail: Arc<Mutex<String>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Waiting {
    /// For `what` in the words of a line: `sending rootfs.img`.
    pub fn start(what: impl Into<String>) -> Self {
        let is_terminal = stderr().is_terminal();
        Self::start_with(what.into(), is_terminal, if is_terminal { TICK } else { PLAIN_TICK }, stderr())
    }

    fn start_with(what: String, is_terminal: bool, tick: Duration, mut out: impl Write + Send + 'static) -> Self {
        let (stop, stopped) = mpsc::channel();
        let detail = Arc::new(Mutex::new(String::new()));
        let shown = Arc::clone(&detail);
        let thread = thread::spawn(move || {
            let since = Instant::now();
            // A closed stream must not stop what goes on. Written at once, so that no other line gets between.
            let mut write = |text: String| drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
            while stopped.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
                let detail = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let detail = if detail.is_empty() { detail } else { format!("; {detail}") };
                let line = format!("{what}: {}{detail}", seconds(since.elapsed()));
                if is_terminal {
                    write(format!("\r\x1b[K{}", line.chars().take(WIDTH).collect::<String>()));
                } else {
                    write(format!("{line}\n"));
                }
            }
            if is_terminal {
                write("\r\x1b[K".to_owned());
            }
        });
        Self { detail, stop: Some(stop), thread: Some(thread) }
    }

    /// What the next line says besides the time.
    pub fn tell(&self, detail: String) {
        *self.detail.lock().unwrap_or_else(PoisonError::into_inner) = detail;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Without its sender the thread ends, and clears its line before anything else is printed.
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io;

    /// What was written, for two ticks and more.
    fn lines(is_terminal: bool) -> String {
        let (mut reader, writer) = io::pipe().unwrap();
        let waiting = Waiting::start_with("the machine boots".into(), is_terminal, Duration::from_millis(20), writer);
        waiting.tell("Welcome to GRUB!".to_owned());
        thread::sleep(Duration::from_millis(200));
        drop(waiting);
        io::read_to_string(&mut reader).unwrap()
    }

    #[test]
    fn a_plain_line_ends_and_a_line_of_a_terminal_is_cleared() {
        let plain = lines(false);
        assert!(plain.lines().count() >= 2 && plain.ends_with(" s; Welcome to GRUB!\n"), "{plain}");
        assert!(plain.starts_with("the machine boots: 0.0"), "{plain}");
        let drawn = lines(true);
        assert!(drawn.starts_with("\r\x1b[Kthe machine boots: ") && drawn.ends_with("\r\x1b[K") && !drawn.contains('\n'), "{drawn:?}");
    }
}
