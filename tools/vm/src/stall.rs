//! Resets a machine once whose firmware or boot loader hangs after the guest has restarted the machine. Both were seen in a QEMU that
//! emulates and restarts its machine itself (see `switch`): the firmware prints its first line within seconds, on a busy computer within two
//! minutes, and then never; or GRUB greets and prints nothing more. A machine that hangs so for the second time is an error.

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
    reset: Option<Instant>,
}

impl Stall {
    pub(super) const fn new() -> Self {
        Self { reset: None }
    }

    /// Resets the machine through QEMU's `socket` if its firmware or boot loader hangs; returns what to say then.
    pub(super) fn check(&mut self, console: &Console, socket: &Path) -> Result<Option<String>> {
        let Some((line, silence)) = console.last_line() else { return Ok(None) };
        self.check_after(console, &line, silence, self.reset.map(|reset| reset.elapsed()), socket)
    }

    /// The same after a `line` that is `silence` old, and a reset that is `since_reset` ago.
    fn check_after(
        &mut self,
        console: &Console,
        line: &str,
        silence: Duration,
        since_reset: Option<Duration>,
        socket: &Path,
    ) -> Result<Option<String>> {
        // A reset begins a new silence after the same line.
        let silence = since_reset.map_or(silence, |since| silence.min(since));
        let Some(who) = hanging(console, line, silence) else { return Ok(None) };
        let seconds = silence.as_secs();
        if self.reset.is_some() {
            bail!(
                "the {who} hangs again: it has printed nothing for {seconds} s since the reset\n\
                 hint: the same again: a new start of QEMU boots the disk as it is"
            );
        }
        let place = reset(socket).with_context(|| format!("cannot reset the machine, whose {who} hangs"))?;
        self.reset = Some(Instant::now());
        Ok(Some(format!("\nthe {who} printed nothing for {seconds} s after the guest restarted the machine; it is reset once ({place})")))
    }
}

/// What hangs, if the console printed nothing for `silence` after its last `line`.
fn hanging(console: &Console, line: &str, silence: Duration) -> Option<&'static str> {
    let after_restart = pause_after(line);
    if silence < SILENCE + after_restart.unwrap_or_default() {
        return None;
    }
    // Before Linux has restarted the machine, nobody knows whether the guest prints anything on this console.
    let loads =
        || BEFORE_LINUX.iter().any(|start| line.starts_with(start)) && console.tail().iter().any(|line| pause_after(line).is_some());
    match after_restart {
        Some(_) => Some("firmware"),
        None if !loads() => None,
        None if line.starts_with("BdsDxe") => Some("firmware"),
        None => Some("boot loader"),
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

    /// What hangs by the console's last line, a moment before the longest silence and after it; `pause` is added to both.
    fn found(console: &Console, pause: u64) -> [Option<&'static str>; 2] {
        let (line, _) = console.last_line().unwrap();
        let pause = Duration::from_secs(pause);
        [SILENCE + pause - Duration::from_secs(1), SILENCE + pause].map(|silence| hanging(console, &line, silence))
    }

    #[test]
    fn a_machine_is_reset_once() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("qmp.sock");
        let commands = qemu(&socket);
        let (reader, mut guest) = io::pipe().unwrap();
        let mut console = Console::read(reader, None, None);
        let mut stall = Stall::new();
        guest.write_all(b"[ 9.1] reboot: Restarting system\r\n").unwrap();
        console.search(&["system"], None);
        let (line, _) = console.last_line().unwrap();
        let mut check = |silence, since_reset| stall.check_after(&console, &line, silence, since_reset, &socket);
        let short = SILENCE - Duration::from_secs(1);
        assert_eq!(check(short, None).unwrap(), None);
        let said = check(SILENCE, None).unwrap().unwrap();
        assert!(said.starts_with("\nthe firmware printed nothing for 240 s after the guest restarted the machine"), "{said}");
        assert!(said.ends_with("it is reset once (RIP=00ab)"), "{said}");
        assert_eq!(*commands.lock().unwrap(), RESET);
        assert_eq!(check(SILENCE * 2, Some(short)).unwrap(), None, "the new silence is short");
        let error = check(SILENCE * 2, Some(SILENCE)).unwrap_err().to_string();
        assert!(error.starts_with("the firmware hangs again: it has printed nothing for 240 s since the reset\nhint: "), "{error}");
        assert!(stall.reset.is_some() && stall.check(&console, &socket).unwrap().is_none(), "by the clock");
    }

    #[test]
    fn firmware_hangs_after_a_restart_and_a_boot_loader_only_before_its_prompt() {
        let (reader, mut guest) = io::pipe().unwrap();
        let mut console = Console::read(reader, None, None);
        let mut print = |bytes: &[u8], text: &str| {
            guest.write_all(bytes).unwrap();
            console.search(&[text], None);
            found(&console, 0)
        };
        let greeting: &[u8] = b"\x1b[0m\x1b[30m\x1b[47mWelcome to GRUB!\r\n\r\n\x1b[2J\x1b[01;01H\x1b[0m";
        assert_eq!(print(greeting, "GRUB!"), [None; 2], "a guest that may print nothing here");
        assert_eq!(print(b"EVE-READY 1\r\n", "READY 1"), [None; 2], "a guest that is idle");
        assert_eq!(print(b"[ 9.1] reboot: Restarting system\r\n\r\n", "system"), [None, Some("firmware")]);
        assert_eq!(print(&[greeting, b"grub> "].concat(), "grub>"), [None; 2], "somebody looks");
        assert_eq!(print(b"reboot\r\nBdsDxe: starting Boot0001 \"UEFI\"\r\n", "UEFI"), [None, Some("firmware")]);
        assert_eq!(print(greeting, "GRUB!"), [None, Some("boot loader")]);
        assert_eq!(print(b"[   39.9] Rebooting in 10 seconds..\r\n", "seconds"), [None; 2], "a panic waits before it restarts");
        assert_eq!(found(&console, 10), [None, Some("firmware")]);
    }

    #[test]
    fn a_panic_waits_before_it_restarts() {
        assert_eq!(pause_after("[   39.9] Rebooting in 10 seconds.."), Some(Duration::from_secs(10)));
        assert_eq!(pause_after("[ 1] reboot: Restarting system"), Some(Duration::ZERO));
        assert_eq!(pause_after("reboot: Power down"), None);
    }
}
