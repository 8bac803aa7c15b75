//! Asks QEMU from time to time whether it has paused the guest because a disk failed: the guest just stands still then.

use super::qmp::Qmp;
use anyhow::Result;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

/// Time between two questions.
const EVERY: Duration = Duration::from_secs(2);
/// The longest wait for an answer: another program may use the socket, which serves one at a time.
const PATIENCE: Duration = Duration::from_secs(2);

/// A thread that asks until this is dropped.
pub(super) struct Watch {
    _stop: Sender<()>,
    news: Receiver<String>,
}

impl Watch {
    /// Asks at QEMU's `socket`.
    pub(super) fn start(socket: &Path) -> Self {
        Self::start_with(socket.to_owned(), EVERY)
    }

    fn start_with(socket: PathBuf, every: Duration) -> Self {
        let ((stop, stopped), (send, news)) = (mpsc::channel(), mpsc::channel());
        thread::spawn(move || {
            let mut before = None;
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                // Without an answer, the state is what it was.
                let Ok(now) = Qmp::connect(&socket, PATIENCE).and_then(|mut qmp| trouble(&mut qmp)) else { continue };
                if let Some(text) = now.clone().filter(|_| now != before)
                    && send.send(text).is_err()
                {
                    return;
                }
                before = now;
            }
        });
        Self { _stop: stop, news }
    }

    /// Waits for a trouble that was not reported before.
    pub(super) fn news(&self, within: Duration) -> Option<String> {
        match self.news.recv_timeout(within) {
            Ok(text) => Some(text),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                // The thread has panicked; the caller counts on the pause.
                thread::sleep(within);
                None
            }
        }
    }
}

/// Why the guest is paused, if a disk is the reason.
fn trouble(qmp: &mut Qmp) -> Result<Option<String>> {
    if qmp.execute("query-status", &json!({}))?.get("status").and_then(Value::as_str) != Some("io-error") {
        return Ok(None);
    }
    Ok(Some(describe(&qmp.execute("query-block", &json!({}))?)))
}

/// The disks that failed, by the answer to `query-block`.
fn describe(blocks: &Value) -> String {
    let failed = |status: &str| -> Vec<&str> {
        let blocks = blocks.as_array().into_iter().flatten();
        let failed = blocks.filter(|block| block.get("io-status").and_then(Value::as_str) == Some(status));
        failed.filter_map(|block| block.get("inserted")?.get("file")?.as_str()).collect()
    };
    let (full, broken) = (failed("nospace"), failed("failed"));
    if full.is_empty() {
        return format!("QEMU cannot read or write {}, and has paused the guest", broken.join(" and "));
    }
    format!("the disk of this machine is full: QEMU cannot write to {}, and has paused the guest", full.join(" and "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        os::unix::net::UnixListener,
    };

    /// Answers of QEMU 7.2, shortened.
    const BLOCKS: &str = r#"[{"device": "disk0", "io-status": "nospace", "inserted": {"file": "/d/live.qcow2"}}, {"device": "disk1", "io-status": "ok", "inserted": {"file": "/d/other.raw"}}]"#;

    #[test]
    fn a_full_disk_is_reported_once() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("qmp.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        thread::spawn(move || {
            for status in ["running", "io-error", "io-error", "running", "io-error"] {
                let (stream, _) = listener.accept().unwrap();
                let mut out = stream.try_clone().unwrap();
                out.write_all(b"{\"QMP\": {\"version\": {}}}\n{\"event\": \"RESUME\"}\n").unwrap();
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let line: Value = serde_json::from_str(&line).unwrap();
                    let answer = match line["execute"].as_str().unwrap() {
                        "query-status" => format!("{{\"status\": \"{status}\", \"running\": false}}"),
                        "query-block" => BLOCKS.to_owned(),
                        _ => "{}".to_owned(),
                    };
                    out.write_all(format!("{{\"return\": {answer}}}\n").as_bytes()).unwrap();
                }
            }
        });
        let watch = Watch::start_with(socket, Duration::from_millis(10));
        let wanted = "the disk of this machine is full: QEMU cannot write to /d/live.qcow2, and has paused the guest";
        for _ in 0..2 {
            assert_eq!(watch.news(Duration::from_secs(20)).as_deref(), Some(wanted));
        }
        assert_eq!(watch.news(Duration::from_millis(200)), None);
    }

    #[test]
    fn a_broken_disk_is_no_full_one() {
        let blocks = json!([{"io-status": "failed", "inserted": {"file": "/d/a.raw"}}]);
        assert_eq!(describe(&blocks), "QEMU cannot read or write /d/a.raw, and has paused the guest");
    }
}
