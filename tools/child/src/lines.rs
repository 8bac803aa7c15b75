//! Splits a tool's output into lines, hides secrets in them, and passes them to the sink and the log; keeps the last ones for an error.

use super::cmd::{LineSink, Output, Sieve};
use anyhow::{Context as _, Result};
use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{PipeReader, Read as _, Write as _},
    sync::{Arc, Mutex, PoisonError},
};

/// Lines that an error shows.
const TAIL: usize = 20;
/// A longer line is split, so that memory does not grow if a tool never ends its line.
const LONGEST: usize = 16 << 10;
/// How many bytes of a tool's output go to the sink and the log. A tool that prints more than that slows the build and fills the disk.
const MOST: usize = 32 << 20;

/// The last lines of a tool's output.
#[derive(Default)]
pub(super) struct Tail(VecDeque<String>);

impl Tail {
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }

    fn push(&mut self, line: String) {
        if self.0.len() == TAIL {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }
}

/// Where the lines of one command go.
pub(super) struct Lines {
    sink: Option<LineSink>,
    log: Option<File>,
    sieve: Option<Sieve>,
    secrets: Vec<String>,
    tail: Arc<Mutex<Tail>>,
    shown: usize,
}

impl Lines {
    /// Opens the log and writes the command `shown` into it.
    pub(super) fn new(output: &Output, secrets: Vec<String>, tail: Arc<Mutex<Tail>>, shown: &str) -> Result<Self> {
        let open = |path: &std::path::PathBuf| -> Result<File> {
            if let Some(dir) = path.parent() {
                fs::create_dir_all(dir)?;
            }
            let mut log = File::options().create(true).append(true).open(path)?;
            writeln!(log, "$ {shown}")?;
            Ok(log)
        };
        let log = output.log.as_ref().map(|path| open(path).with_context(|| format!("cannot write the log {}", path.display())));
        Ok(Self { sink: output.sink.clone(), log: log.transpose()?, sieve: output.sieve.clone(), secrets, tail, shown: 0 })
    }

    fn push(&mut self, bytes: &[u8]) {
        let mut line = String::from_utf8_lossy(bytes).into_owned();
        if self.sieve.as_ref().is_some_and(|takes| takes(&line)) {
            return;
        }
        for secret in &self.secrets {
            line = line.replace(secret.as_str(), "***");
        }
        if self.shown <= MOST {
            self.shown += bytes.len() + 1;
            self.show(&line);
            if self.shown > MOST {
                self.show(&format!("(the tool printed more than {} MiB: the rest is left out)", MOST >> 20));
            }
        }
        if !line.trim().is_empty() {
            self.tail.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }
}

impl Lines {
    fn show(&mut self, line: &str) {
        if let Some(log) = &mut self.log {
            // On a full disk the tool's own output fails with a better message than this log.
            let _ = writeln!(log, "{line}");
        }
        if let Some(sink) = &self.sink {
            sink(line);
        }
    }
}

/// Reads to the end. A carriage return ends a line too, because progress meters print one after each step.
pub(super) fn pump(mut reader: PipeReader, mut lines: Lines) {
    let mut buffer = [0; 8192];
    let mut line = Vec::new();
    let mut last = 0;
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        for byte in &buffer[..count] {
            let end = matches!(byte, b'\n' | b'\r');
            if (end && !(*byte == b'\n' && last == b'\r')) || line.len() >= LONGEST {
                lines.push(&line);
                line.clear();
            }
            if !end {
                line.push(*byte);
            }
            last = *byte;
        }
    }
    if !line.is_empty() {
        lines.push(&line);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Cmd, Output};

    #[test]
    fn a_flood_of_lines_is_cut_off_and_its_end_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("tool.log");
        let script = "yes 0123456789012345678901234567890123456789 | head -c 100000000; echo the end; exit 3";
        let base = Arc::new(std::collections::BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]));
        let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let sink = Arc::clone(&count);
        let output = Output::to(move |line| {
            sink.fetch_add(line.len() + 1, std::sync::atomic::Ordering::Relaxed);
        });
        let output = output.with_log(&log);
        let error = Cmd::new("/bin/sh", &base).args(["-c", script]).output(&output).run().unwrap_err().to_string();
        assert!(error.contains("the end"), "{error}");
        assert!(count.load(std::sync::atomic::Ordering::Relaxed) < MOST + 1000);
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.len() < MOST + 1000 && text.contains("printed more than 32 MiB"));
    }
}
