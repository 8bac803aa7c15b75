//! Shows progress while nodes run: one live line on a terminal, plain lines elsewhere.

use common::display::seconds;
use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write as _},
    sync::{Condvar, Mutex},
    time::{Duration, Instant},
};

/// How often the live line is redrawn.
const TICK: Duration = Duration::from_millis(200);

/// The progress of one run. All methods may be called from any thread.
pub struct ProgressLine {
    state: Mutex<State>,
    woken: Condvar,
    terminal: bool,
}

struct State {
    total: usize,
    done: usize,
    running: BTreeMap<String, (Instant, String)>,
    closed: bool,
    drawn: bool,
}

impl ProgressLine {
    /// For `total` nodes.
    #[must_use]
    pub fn new(total: usize) -> Self {
        let state = State { total, done: 0, running: BTreeMap::new(), closed: false, drawn: false };
        Self { state: Mutex::new(state), woken: Condvar::new(), terminal: std::io::stderr().is_terminal() }
    }

    /// A node starts; `why` is the reason.
    pub fn start(&self, name: &str, why: &str) {
        let mut state = self.lock();
        state.running.insert(name.to_owned(), (Instant::now(), String::new()));
        if !self.terminal {
            eprintln!("[{}/{}] {name}: {why}", state.done, state.total);
        }
        self.draw(&mut state);
    }

    /// How far a running node is: `"34 of 120 MiB"`.
    pub fn step(&self, name: &str, detail: &str) {
        if let Some((_, old)) = self.lock().running.get_mut(name) {
            detail.clone_into(old);
        }
    }

    /// A node ended; `note` describes its result.
    pub fn finish(&self, name: &str, note: Option<&str>) {
        let mut state = self.lock();
        state.done += 1;
        let took = state.running.remove(name).map_or(Duration::ZERO, |(since, _)| since.elapsed());
        if let Some(note) = note {
            self.say(&mut state, &format!("{name}: {note} ({})", seconds(took)));
        }
        self.draw(&mut state);
    }

    /// Prints a permanent line.
    pub fn line(&self, text: &str) {
        let mut state = self.lock();
        self.say(&mut state, text);
        self.draw(&mut state);
    }

    /// Redraws until [`ProgressLine::close`]; returns at once without a terminal.
    pub fn animate(&self) {
        let mut state = self.lock();
        while self.terminal && !state.closed {
            self.draw(&mut state);
            state = match self.woken.wait_timeout(state, TICK) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Ends the redrawing and clears the live line.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.clear(&mut state);
        self.woken.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn say(&self, state: &mut State, text: &str) {
        self.clear(state);
        eprintln!("[{}/{}] {text}", state.done, state.total);
    }

    fn clear(&self, state: &mut State) {
        if self.terminal && state.drawn {
            eprint!("\r\x1b[K");
            state.drawn = false;
        }
    }

    fn draw(&self, state: &mut State) {
        if !self.terminal || state.closed || state.running.is_empty() {
            return;
        }
        let describe = |(name, (since, detail)): (&String, &(Instant, String))| {
            let detail = if detail.is_empty() { String::new() } else { format!(" {detail},") };
            format!("{name}{detail} {}", seconds(since.elapsed()))
        };
        let running: Vec<String> = state.running.iter().map(describe).collect();
        // Cut to 78 characters, because a line that the terminal wraps cannot be redrawn.
        let text: String = format!("[{}/{}] {}", state.done, state.total, running.join(" | ")).chars().take(78).collect();
        eprint!("\r\x1b[K{text}");
        let _ = std::io::stderr().flush();
        state.drawn = true;
    }
}
