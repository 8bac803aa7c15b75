//! Shows progress while nodes run: one live line on a terminal; elsewhere plain lines, also now and then how far a long step is.

use common::display::{seconds, size};
use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write as _},
    sync::{Condvar, Mutex},
    time::{Duration, Instant},
};

/// How often the live line is redrawn.
const TICK: Duration = Duration::from_millis(200);
/// How often a plain line says how far a step is.
const PLAIN_TICK: Duration = Duration::from_secs(10);
/// A rate that was measured for less says nothing about how long still.
const LEAST_MEASURED: Duration = Duration::from_secs(1);

/// The progress of one run. All methods may be called from any thread.
pub struct ProgressLine {
    state: Mutex<State>,
    woken: Condvar,
    terminal: bool,
}

struct State {
    total: usize,
    done: usize,
    running: BTreeMap<String, Running>,
    closed: bool,
    drawn: bool,
}

/// A node that runs.
struct Running {
    since: Instant,
    detail: String,
    measure: Option<Measure>,
}

/// How far a node is, in bytes.
#[derive(Clone, Copy)]
struct Measure {
    since: Instant,
    /// What was done when the measuring began.
    start: u64,
    done: u64,
    total: u64,
}

impl Running {
    /// How far it is and how long still; empty if nobody knows.
    fn far(&self) -> String {
        let measured = self.measure.map(|measure| measure.describe(measure.since.elapsed()));
        [Some(self.detail.clone()), measured].into_iter().flatten().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ")
    }
}

impl Measure {
    /// `120.0 MiB of 215.9 MiB, 12 s left`.
    fn describe(self, elapsed: Duration) -> String {
        let far = format!("{} of {}", size(self.done), size(self.total));
        let moved = self.done.saturating_sub(self.start);
        if elapsed < LEAST_MEASURED || moved == 0 || self.done >= self.total {
            return far;
        }
        let left = elapsed.as_secs_f64() * (self.total - self.done) as f64 / moved as f64;
        Duration::try_from_secs_f64(left).map_or(far.clone(), |left| format!("{far}, {} left", seconds(left)))
    }
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
        self.begin(name);
        let mut state = self.lock();
        if !self.terminal {
            eprintln!("[{}/{}] {name}: {why}", state.done, state.total);
        }
        self.draw(&mut state);
    }

    /// A node starts that is shown only on a terminal, or if it takes long.
    pub fn begin(&self, name: &str) {
        self.lock().running.insert(name.to_owned(), Running { since: Instant::now(), detail: String::new(), measure: None });
    }

    /// How far a running node is: `"34 of 120 MiB"`.
    pub fn step(&self, name: &str, detail: &str) {
        if let Some(running) = self.lock().running.get_mut(name) {
            detail.clone_into(&mut running.detail);
        }
    }

    /// How far a running node is: `done` of `total` bytes. From the second call on, the display says how long still. With all of them done,
    /// what was shown of this part of the node's work goes away, also its detail.
    pub fn measure(&self, name: &str, done: u64, total: u64) {
        if let Some(running) = self.lock().running.get_mut(name) {
            if done == total {
                running.measure = None;
                running.detail.clear();
                return;
            }
            let measure = running.measure.get_or_insert(Measure { since: Instant::now(), start: done, done, total });
            (measure.done, measure.total) = (done, total);
        }
    }

    /// A node ended; `note` describes its result.
    pub fn finish(&self, name: &str, note: Option<&str>) {
        let mut state = self.lock();
        state.done += 1;
        let took = state.running.remove(name).map_or(Duration::ZERO, |running| running.since.elapsed());
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

    /// Does `work` while nothing is printed here: the live line is gone, and whoever has a line to print waits.
    pub fn silence<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut state = self.lock();
        self.clear(&mut state);
        work()
    }

    /// Redraws until [`ProgressLine::close`]; without a terminal prints a line for each long step now and then.
    pub fn animate(&self) {
        let tick = if self.terminal { TICK } else { PLAIN_TICK };
        let mut state = self.lock();
        while !state.closed {
            self.draw(&mut state);
            let (next, waited) = self.woken.wait_timeout(state, tick).unwrap_or_else(std::sync::PoisonError::into_inner);
            state = next;
            if !self.terminal && waited.timed_out() && !state.closed {
                far_lines(&state, tick).iter().for_each(|line| eprintln!("{line}"));
            }
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
        let describe = |(name, running): (&String, &Running)| {
            let far = running.far();
            let far = if far.is_empty() { far } else { format!(" {far},") };
            format!("{name}{far} {}", seconds(running.since.elapsed()))
        };
        let running: Vec<String> = state.running.iter().map(describe).collect();
        // Cut to 78 characters, because a line that the terminal wraps cannot be redrawn.
        let text: String = format!("[{}/{}] {}", state.done, state.total, running.join(" | ")).chars().take(78).collect();
        eprint!("\r\x1b[K{text}");
        let _ = std::io::stderr().flush();
        state.drawn = true;
    }
}

/// A line for each node that has run for at least `least` and knows how far it is.
fn far_lines(state: &State, least: Duration) -> Vec<String> {
    let long = state.running.iter().filter(|(_, running)| running.since.elapsed() >= least);
    let lines = long.map(|(name, running)| (name, running.far(), running.since.elapsed())).filter(|(_, far, _)| !far.is_empty());
    lines.map(|(name, far, took)| format!("[{}/{}] {name}: {far} ({})", state.done, state.total, seconds(took))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_tells_how_long_still() {
        let measure = |start, done, total| Measure { since: Instant::now(), start, done, total };
        let after = |measure: Measure, seconds| measure.describe(Duration::from_secs(seconds));
        assert_eq!(after(measure(0, 25 << 20, 100 << 20), 5), "25.0 MiB of 100.0 MiB, 15 s left");
        assert_eq!(after(measure(50 << 20, 75 << 20, 100 << 20), 5), "75.0 MiB of 100.0 MiB, 5.00 s left");
        assert_eq!(after(measure(0, 25, 100), 0), "25 B of 100 B", "too early for a rate");
        assert_eq!(after(measure(7, 7, 100), 60), "7 B of 100 B", "it stands still");
        assert_eq!(after(measure(0, 100, 100), 5), "100 B of 100 B", "0 s left is no news");
        assert_eq!(after(measure(0, 120, 100), 5), "120 B of 100 B", "more than was expected");
    }

    #[test]
    fn a_plain_line_is_for_long_steps_that_know_how_far_they_are() {
        let progress = ProgressLine::new(3);
        for name in ["a", "b", "c"] {
            progress.start(name, "it is new");
        }
        progress.step("a", "3/9 packages");
        progress.measure("a", 1 << 20, 4 << 20);
        progress.measure("b", 0, 10);
        progress.measure("nobody", 0, 10);
        assert_eq!(far_lines(&progress.lock(), PLAIN_TICK), Vec::<String>::new());
        let lines = far_lines(&progress.lock(), Duration::ZERO);
        assert!(lines.len() == 2 && lines[0].starts_with("[0/3] a: 3/9 packages, 1.0 MiB of 4.0 MiB ("), "{lines:?}");
        progress.measure("b", 10, 10);
        assert_eq!(far_lines(&progress.lock(), Duration::ZERO).len(), 1, "all of b is there: it does something else now");
        progress.finish("b", None);
        assert!(far_lines(&progress.lock(), Duration::ZERO)[0].starts_with("[1/3] a: "));
        progress.measure("a", 4 << 20, 4 << 20);
        assert_eq!(far_lines(&progress.lock(), Duration::ZERO), Vec::<String>::new());
    }
}
