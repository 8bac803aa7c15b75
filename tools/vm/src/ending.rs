//! Tells whether the machine starts again after the end of its QEMU, by QEMU's last event.

use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    thread::{self, JoinHandle},
};

/// Leaves the protocol's negotiation mode and starts the guest.
const START: &str = "{\"execute\": \"qmp_capabilities\"}\n{\"execute\": \"cont\"}\n";

/// A QEMU that ends when its guest restarts the machine, and what must outlive it in that case alone.
pub(super) struct Ending<T>(JoinHandle<Option<T>>);

impl<T: Send + 'static> Ending<T> {
    /// Starts the guest, and reads QEMU's events from a connection to its machine protocol (QMP). Drops `kept` at QEMU's end unless the machine starts again.
    pub(super) fn watch(mut events: UnixStream, kept: T) -> Self {
        Self(thread::spawn(move || {
            // QEMU sends no events before the first command, so the guest waits for the second. An error is an end, too.
            events.write_all(START.as_bytes()).ok()?;
            let lines = BufReader::new(events).lines().map_while(Result::ok);
            lines.filter_map(|line| starts_again(&line)).last().unwrap_or_default().then_some(kept)
        }))
    }

    /// Whether QEMU has ended.
    pub(super) fn is_over(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits for QEMU's end; gives back what was kept if the machine starts again.
    pub(super) fn wait(self) -> Option<T> {
        self.0.join().ok().flatten()
    }
}

/// Whether the machine starts again after this event; none if the event is not that of QEMU's end. QEMU's reasons are in its
/// `qapi/run-state.json`: `guest-reset` and `host-qmp-system-reset` are restarts, `guest-shutdown` and `host-signal` are not.
fn starts_again(line: &str) -> Option<bool> {
    let event: Value = serde_json::from_str(line).ok()?;
    (event.get("event")?.as_str()? == "SHUTDOWN").then(|| {
        let reason = event.pointer("/data/reason").and_then(Value::as_str);
        reason.is_some_and(|reason| reason.ends_with("-reset"))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Read as _;

    /// What is kept after a QEMU that sent these lines.
    fn kept_after(lines: &[&str]) -> Option<&'static str> {
        let (ours, qemus) = UnixStream::pair().unwrap();
        let ending = Ending::watch(ours, "the console");
        let mut out = qemus.try_clone().unwrap();
        out.write_all(b"{\"QMP\": {\"version\": {}}}\n").unwrap();
        let mut commands = vec![0; START.len()];
        BufReader::new(qemus).read_exact(&mut commands).unwrap();
        assert_eq!(commands, START.as_bytes());
        for line in lines {
            out.write_all(format!("{line}\n").as_bytes()).unwrap();
        }
        drop(out);
        ending.wait()
    }

    #[test]
    fn the_last_event_tells_whether_the_machine_starts_again() {
        let end = |reason: &str| format!(r#"{{"event": "SHUTDOWN", "data": {{"guest": true, "reason": "{reason}"}}}}"#);
        assert_eq!(kept_after(&[r#"{"return": {}}"#, &end("guest-reset")]), Some("the console"));
        assert_eq!(kept_after(&[&end("host-qmp-system-reset"), r#"{"event": "STOP"}"#]), Some("the console"));
        for reason in ["guest-shutdown", "host-signal", "host-qmp-quit", "guest-panic"] {
            assert_eq!(kept_after(&[&end(reason)]), None, "{reason}");
        }
        assert_eq!(kept_after(&[&end("guest-reset"), &end("host-signal")]), None, "the user ended it meanwhile");
        assert_eq!(kept_after(&[r#"{"event": "RESET", "data": {"reason": "guest-reset"}}"#, "no JSON"]), None, "a crash of QEMU");
    }
}
