//! Resets a machine once whose firmware or boot loader hangs after the guest has restarted the machine. Under emulation both were seen:
//! the firmware prints its first line within seconds, on a busy computer within two minutes, and then never; or GRUB greets and prints
//! nothing more. A machine that hangs so for the second time is an error.

use super::{console::Console, qmp::Qmp};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Linux' last line before it restarts the machine.
const RESTART: &str = "reboot: Restarting system";
/// Linux' last line when it has panicked, before a number of seconds.
const AFTER_PANIC: &str = "Rebooting in ";
/// Lines of the firmware and of GRUB behind which more follows at once. At a menu or a prompt another line is the last one.
const BEFORE_LINUX: [&str; 3] = ["BdsDxe: loading ", "BdsDxe: starting ", "Welcome to GRUB!"];
/// The longest silence of firmware and of a boot loader that work.
const SILENCE: Duration = Duration::from_secs(240);
/// The longest wait for QEMU's answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is known of a machine's restarts.
pub(super) struct Stall {
    silence: Duration,
    reset: Option<Instant>,
}

impl Stall {
    pub(super) const fn new() -> Self {
        Self { silence: SILENCE, reset: None }
    }

    /// Resets the machine through QEMU's `socket` if its firmware or boot loader hangs; returns what to say then.
    pub(super) fn check(&mut self, console: &Console, socket: &Path) -> Result<Option<String>> {
        let Some((line, silence)) = console.last_line() else { return Ok(None) };
        let (who, pause) = match pause_after(&line) {
            Some(pause) => ("firmware", pause),
            None if !BEFORE_LINUX.iter().any(|start| line.starts_with(start)) => return Ok(None),
            // Before Linux has restarted the machine, nobody knows whether the guest prints anything on this console.
            None if !console.tail().iter().any(|line| pause_after(line).is_some()) => return Ok(None),
            None => (if line.starts_with("BdsDxe") { "firmware" } else { "boot loader" }, Duration::ZERO),
        };
        // A reset begins a new silence after the same line.
        let silence = self.reset.map_or(silence, |reset| silence.min(reset.elapsed()));
        if silence < self.silence + pause {
            return Ok(None);
        }
        let seconds = silence.as_secs();
        if self.reset.is_some() {
            bail!("the {who} hangs again: it has printed nothing for {seconds} s since the reset");
        }
        let place = reset(socket).with_context(|| format!("cannot reset the machine, whose {who} hangs"))?;
        self.reset = Some(Instant::now());
        Ok(Some(format!("\nthe {who} printed nothing for {seconds} s after the guest restarted the machine; it is reset once ({place})")))
    }
}

/// If Linux has restarted the machine with this line: how long it waits before that.
fn pause_after(line: &str) -> Option<Duration> {
    if line.contains(RESTART) {
        return Some(Duration::ZERO);
    }
    let (_, rest) = line.split_once(AFTER_PANIC)?;
    Some(Duration::from_secs(rest.split(' ').next()?.parse().ok()?))
}

/// Resets the machine; returns where its processor was.
fn reset(socket: &Path) -> Result<String> {
    let mut qmp = Qmp::connect(socket, PATIENCE)?;
    let registers = qmp.execute("human-monitor-command", &json!({"command-line": "info registers"})).unwrap_or(Value::Null);
    let place = registers.as_str().unwrap_or_default().split_whitespace().find(|word| word.contains("IP=") || word.starts_with("PC="));
    let place = place.unwrap_or("place unknown").to_owned();
    qmp.execute("system_reset", &json!({}))?;
    Ok(place)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::{
        io::{self, BufRead as _, BufReader, Write as _},
        os::unix::net::UnixListener,
        sync::{Arc, Mutex},
        thread,
    };

    /// A QEMU that answers on the socket; the commands that it gets.
    fn qemu(socket: &Path) -> Arc<Mutex<Vec<String>>> {
        let listener = UnixListener::bind(socket).unwrap();
        let commands = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&commands);
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"{\"QMP\": {}}\n").unwrap();
            for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).unwrap();
                seen.lock().unwrap().push(line["execute"].as_str().unwrap().to_owned());
                stream.write_all(b"{\"return\": \"RAX=0 RBX=0\\nRIP=00ab RFL=2\"}\n").unwrap();
            }
        });
        commands
    }

    const RESET: [&str; 3] = ["qmp_capabilities", "human-monitor-command", "system_reset"];

    fn short() -> Stall {
        Stall { silence: Duration::from_millis(30), ..Stall::new() }
    }

    fn pause() {
        thread::sleep(Duration::from_millis(60));
    }

    #[test]
    fn firmware_that_hangs_after_a_restart_is_reset_once() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("qmp.sock");
        let commands = qemu(&socket);
        let (reader, mut guest) = io::pipe().unwrap();
        let mut console = Console::read(reader, None, None);
        let mut stall = short();
        guest.write_all(b"EVE-READY 1\r\n").unwrap();
        console.search(&["READY"], None);
        pause();
        assert_eq!(stall.check(&console, &socket).unwrap(), None, "a guest that is idle");
        guest.write_all(b"[ 9.1] reboot: Restarting system\r\n\r\n").unwrap();
        console.search(&["system"], None);
        pause();
        let said = stall.check(&console, &socket).unwrap().unwrap();
        assert!(said.starts_with("\nthe firmware printed nothing for 0 s after the guest restarted the machine"), "{said}");
        assert!(said.ends_with("it is reset once (RIP=00ab)"), "{said}");
        assert_eq!(*commands.lock().unwrap(), RESET);
        assert_eq!(stall.check(&console, &socket).unwrap(), None, "the new silence is short");
        pause();
        let error = stall.check(&console, &socket).unwrap_err().to_string();
        assert!(error.starts_with("the firmware hangs again: it has printed nothing for 0 s"), "{error}");
    }

    #[test]
    fn a_boot_loader_that_hangs_after_a_restart_is_reset_and_a_prompt_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("qmp.sock");
        let commands = qemu(&socket);
        let (reader, mut guest) = io::pipe().unwrap();
        let mut console = Console::read(reader, None, None);
        let mut stall = short();
        let greeting: &[u8] = b"\x1b[0m\x1b[30m\x1b[47mWelcome to GRUB!\r\n\r\n\x1b[2J\x1b[01;01H\x1b[0m";
        guest.write_all(greeting).unwrap();
        console.search(&["GRUB!"], None);
        pause();
        assert_eq!(stall.check(&console, &socket).unwrap(), None, "a guest that may print nothing here");
        guest.write_all(b"[ 9.1] reboot: Restarting system\r\n").unwrap();
        console.search(&["system"], None);
        assert_eq!(stall.check(&console, &socket).unwrap(), None, "it restarts");
        guest.write_all(greeting).unwrap();
        guest.write_all(b"grub> ").unwrap();
        console.search(&["grub>"], None);
        pause();
        assert_eq!(stall.check(&console, &socket).unwrap(), None, "somebody looks");
        guest.write_all(b"reboot\r\nBdsDxe: starting Boot0001 \"UEFI\"\r\n").unwrap();
        guest.write_all(greeting).unwrap();
        console.search(&["Welcome"], None);
        pause();
        let said = stall.check(&console, &socket).unwrap().unwrap();
        assert!(said.starts_with("\nthe boot loader printed nothing for 0 s after"), "{said}");
        assert_eq!(*commands.lock().unwrap(), RESET);
    }

    #[test]
    fn a_panic_waits_before_it_restarts() {
        assert_eq!(pause_after("[   39.9] Rebooting in 10 seconds.."), Some(Duration::from_secs(10)));
        assert_eq!(pause_after("[ 1] reboot: Restarting system"), Some(Duration::ZERO));
        assert_eq!(pause_after("reboot: Power down"), None);
    }
}
