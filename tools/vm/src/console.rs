//! Reads the guest's serial port: copies it to a log and to the user, keeps the last bytes in memory, and searches them for texts.

use super::{text, text::KEPT, verdict::last_words};
use anyhow::{Context as _, Result, bail};
use rustix::{fs::OFlags, io::Errno};
use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{PipeReader, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Number of bytes in which to look for the last line.
const LINE: usize = 1024;
/// Gets the guest's bytes at once, from another thread.
pub type Echo = Arc<dyn Fn(&[u8]) + Send + Sync>;

#[derive(Default)]
struct State {
    kept: VecDeque<u8>,
    /// Number of bytes before the first kept one.
    dropped: usize,
    /// When the last bytes came.
    last: Option<Instant>,
    closed: bool,
}

/// The output of the guest.
#[derive(Clone)]
pub struct Console {
    shared: Arc<(Mutex<State>, Condvar)>,
    /// The end of the text that the last search found.
    searched: usize,
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// Found the text with this index.
    Found(usize),
    /// The machine has ended.
    Closed,
    /// None of the texts was printed in time.
    TimedOut,
}

impl Console {
    /// Reads `output` to its end in a thread, and copies it to the file `log` and to `echo`.
    #[must_use]
    pub fn read(mut output: PipeReader, mut log: Option<File>, echo: Option<Echo>) -> Self {
        let console = Self { shared: Arc::default(), searched: 0 };
        let shared = Arc::clone(&console.shared);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // An error is an end, too.
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let bytes = &buffer[..count];
                if let Some(log) = &mut log {
                    // A full disk must not stop the machine.
                    let _ = log.write_all(bytes);
                }
                if let Some(echo) = &echo {
                    echo(bytes);
                }
                let mut state = lock(&shared.0);
                state.kept.extend(bytes);
                state.last = Some(Instant::now());
                let surplus = state.kept.len().saturating_sub(KEPT);
                state.kept.drain(..surplus);
                state.dropped += surplus;
                shared.1.notify_all();
            }
            lock(&shared.0).closed = true;
            shared.1.notify_all();
        });
        console
    }

    /// Waits until one of `texts` is printed after the text of the last search. Returns the one that was printed first.
    pub fn search(&mut self, texts: &[&str], within: Option<Duration>) -> Search {
        let deadline = within.map(|within| Instant::now() + within);
        let shared = Arc::clone(&self.shared);
        let mut state = lock(&shared.0);
        // The start of the search: a text may have begun before the last bytes.
        let mut from = self.searched;
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        loop {
            let start = from.saturating_sub(state.dropped);
            let bytes = state.kept.make_contiguous();
            let found = texts
                .iter()
                .enumerate()
                .filter_map(|(index, text)| Some((find(&bytes[start.min(bytes.len())..], text.as_bytes())?, index)));
            if let Some((at, index)) = found.min() {
                self.searched = state.dropped + start + at + texts[index].len();
                return Search::Found(index);
            }
            if state.closed {
                return Search::Closed;
            }
            from = from.max((state.dropped + state.kept.len()).saturating_sub(longest));
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => return Search::TimedOut,
                Some(left) => shared.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => shared.1.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// The last line that is not blank, like those of [`Self::tail`], and the time since the last byte; none before the first line.
    #[must_use]
    pub fn last_line(&self) -> Option<(String, Duration)> {
        let state = lock(&self.shared.0);
        let bytes: Vec<u8> = state.kept.iter().skip(state.kept.len().saturating_sub(LINE)).copied().collect();
        let line = text::readable(&bytes).pop()?;
        Some((line, state.last?.elapsed()))
    }

    /// The last lines that are not blank, without the terminal's control sequences.
    #[must_use]
    pub fn tail(&self) -> Vec<String> {
        text::tail(lock(&self.shared.0).kept.make_contiguous())
    }

    /// [`last_words`] of what is kept.
    pub(super) fn last_words(&self) -> Option<String> {
        last_words(lock(&self.shared.0).kept.make_contiguous())
    }
}

/// Creates the file `path` and its folder. Does not wait for the reader of a FIFO.
pub(super) fn create(path: &Path) -> Result<File> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    }
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = match File::options().write(true).create(true).truncate(true).custom_flags(flags).open(path) {
        Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
            bail!("nobody reads the FIFO {}, the serial log\nhint: start its reader first, or name a file", path.display())
        }
        file => file.with_context(|| format!("cannot write the serial log {}", path.display()))?,
    };
    rustix::fs::fcntl_setfl(&file, OFlags::empty()).with_context(|| format!("cannot write the serial log {}", path.display()))?;
    Ok(file)
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    if text.is_empty() {
        return Some(0);
    }
    bytes.windows(text.len()).position(|window| window == text)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io;

    const SHORT: Option<Duration> = Some(Duration::from_millis(50));
    const LONG: Option<Duration> = Some(Duration::from_secs(20));

    #[test]
    fn texts_are_found_across_pieces_without_a_line_end_and_only_once() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("logs/serial.log");
        let (reader, mut writer) = io::pipe().unwrap();
        let mut console = Console::read(reader, Some(create(&log).unwrap()), None);
        writer.write_all(b"booting\r\nhost log").unwrap();
        assert_eq!(console.search(&["login:"], SHORT), Search::TimedOut);
        writer.write_all(b"in: ").unwrap();
        assert_eq!(console.search(&["panic", "login:"], LONG), Search::Found(1));
        assert_eq!(console.search(&["login:"], SHORT), Search::TimedOut);
        writer.write_all(b"panic login:").unwrap();
        assert_eq!(console.search(&["login:", "panic"], LONG), Search::Found(1));
        drop(writer);
        assert_eq!(console.search(&["login:"], None), Search::Found(0));
        assert_eq!(console.search(&["login:"], None), Search::Closed);
        assert_eq!(fs::read(&log).unwrap(), b"booting\r\nhost login: panic login:");
    }

    #[test]
    fn memory_is_bounded_and_a_text_is_found_after_much_noise() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut console = Console::read(reader, None, None);
        let noise = thread::spawn(move || {
            let line = [b'.'; 1023];
            for _ in 0..1024 {
                writer.write_all(&line).unwrap();
                writer.write_all(b"\n").unwrap();
            }
            writer.write_all(b"READY").unwrap();
        });
        assert_eq!(console.search(&["READY"], LONG), Search::Found(0));
        noise.join().unwrap();
        assert!(lock(&console.shared.0).kept.len() <= KEPT);
    }
}
