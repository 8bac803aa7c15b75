//! Machines in the background: their names, and their start by this program in a process of its own.

use super::{
    machine::{Options, name_option},
    waiting::Waiting,
};
use anyhow::{Context as _, Result, anyhow, bail};
use checkout::context::Ctx;
use child::{detached::Detached, interrupt};
use common::error::usage;
use std::{
    fmt, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    str::FromStr,
    thread,
    time::{Duration, Instant},
};
use vm::{Machines, Record, verdict};

/// Time between two looks at a machine that starts.
const PAUSE: Duration = Duration::from_millis(100);
/// Number of ports to try after the usual one.
const PORTS: u16 = 100;

/// The name of a machine: letters, digits, `-`, `_` and `.`, which makes it a file's name everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// `text` as a name, with `-` for every character that a name cannot have.
    pub fn plain(text: &str) -> String {
        let name: String = text.chars().take(40).map(|c| if is_plain(c) { c } else { '-' }).collect();
        if name.starts_with(['.', '-']) { format!("_{}", &name[1..]) } else { name }
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text != Self::plain(text) {
            return Err("a name has 1 to 40 letters, digits, `-`, `_` and `.`, and does not start with `.` or `-`".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `port`, or the next one of this machine that is free.
pub fn free_port(port: u16) -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (port..port.saturating_add(PORTS)).find(is_free).unwrap_or(port)
}

/// What the serial port of a machine in the background printed.
pub fn console_log(machines: &Machines, name: &str) -> PathBuf {
    machines.folder(name).join("console.log")
}

/// Starts a process that keeps the machine. Returns when the machine has started, or when it has printed the text of `--until`.
pub fn start(ctx: &Ctx, machines: &Machines, name: &str, options: &Options) -> Result<()> {
    // Before anything of a machine with this name is touched. The keeper claims the name for good.
    drop(machines.claim(name)?);
    let folder = machines.folder(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let console = options.serial_log.clone().unwrap_or_else(|| console_log(machines, name));
    // A text of an earlier run must not count.
    let _ = fs::remove_file(&console);
    let log = folder.join("keeper.log");
    let process = Detached::start(&ctx.environment, &["--keep"], &log)?;
    let keeper = Keeper { name, place: &ctx.globals.place, process, log, since: Instant::now() };
    let record = keeper.wait_for_start(machines)?;
    if let Some(text) = &options.until {
        keeper.wait_for_text(&console, text, options.timeout.map(Duration::from_secs))?;
        eprintln!("{name} printed `{text}` after {:.1} s", keeper.since.elapsed().as_secs_f32());
    }
    let ssh = record.ssh_port.map_or_else(String::new, |port| format!(", ssh at port {port}"));
    let option = name_option(name);
    println!("{name} runs in the background: process {}{ssh}", record.pid);
    println!("next: cargo xtask ssh{option}, console{option}, log{option}, stop {name}");
    Ok(())
}

/// The process that keeps a machine.
struct Keeper<'n> {
    /// The machine's name.
    name: &'n str,
    /// Options for a command in a hint.
    place: &'n str,
    process: Detached,
    /// What it prints.
    log: PathBuf,
    since: Instant,
}

impl Keeper<'_> {
    fn wait_for_start(&self, machines: &Machines) -> Result<Record> {
        loop {
            let record = machines.running()?.into_iter().find(|record| record.name == self.name);
            if let Some(record) = record.filter(|record| Some(record.pid) == self.process.pid()) {
                return Ok(record);
            }
            self.check()?;
            thread::sleep(PAUSE);
        }
    }

    /// Waits until the file `console` contains `text`; not longer than until the guest says that it has given up.
    fn wait_for_text(&self, console: &Path, text: &str, limit: Option<Duration>) -> Result<()> {
        let waiting = Waiting::start(self.name);
        let (mut length, mut words, mut gave_up) = (0, None, None);
        loop {
            let printed = fs::read(console).unwrap_or_default();
            if printed.windows(text.len()).any(|window| window == text.as_bytes()) {
                return Ok(());
            }
            if printed.len() != length {
                length = printed.len();
                waiting.tell(vm::text::tail(&printed).pop().map_or_else(String::new, |line| format!("last on its console: {line}")));
                // Other checks may fail too, or the machine may say that it starts again.
                words = verdict::ends_with_failure(text).then(|| verdict::last_words(&printed)).flatten();
            }
            gave_up = words.as_ref().and(gave_up).or_else(|| words.as_ref().map(|_| Instant::now()));
            let is_last = |why: &String| gave_up.is_some_and(|since| since.elapsed() > verdict::patience(why));
            if let Some(why) = words.as_ref().filter(|why| is_last(why)) {
                drop(waiting);
                return Err(self.complain(&verdict::describe(text, why), &printed));
            }
            self.check()?;
            if let Some(limit) = limit.filter(|limit| self.since.elapsed() > *limit) {
                drop(waiting);
                return Err(self.complain(&format!("the machine did not print `{text}` within {} s", limit.as_secs()), &printed));
            }
            thread::sleep(PAUSE);
        }
    }

    /// The error `what` of a machine that runs on, with the last lines that its console has `printed`.
    fn complain(&self, what: &str, printed: &[u8]) -> anyhow::Error {
        let tail: String = vm::text::tail(printed).iter().map(|line| format!("\n| {line}")).collect();
        let (name, place, option) = (self.name, self.place, name_option(self.name));
        anyhow!(
            "{what}{tail}\nhint: it runs on: cargo xtask{place} console{option} opens its console, cargo xtask{place} stop {name} ends it"
        )
    }

    /// Fails with what the process printed if it has ended, or if the user does not want to wait any more.
    fn check(&self) -> Result<()> {
        if interrupt::is_interrupted() {
            bail!("interrupted; the machine runs on\nhint: cargo xtask stop {} ends it", self.name);
        }
        if self.process.try_wait()?.is_none() {
            return Ok(());
        }
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let text = text.trim_end();
        let error = text.rfind("error: ").map_or(text, |at| text[at..].trim_start_matches("error: "));
        let seconds = self.since.elapsed().as_secs();
        Err(usage(if error.is_empty() { format!("{} ended after {seconds} s", self.name) } else { error.to_owned() }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_is_a_files_name() {
        assert_eq!("one-2_x.y".parse::<Name>().unwrap().to_string(), "one-2_x.y");
        for bad in ["", "-a", "a/b", "..", ".a", "a b", "ä", &"x".repeat(41)] {
            assert!(bad.parse::<Name>().unwrap_err().starts_with("a name has 1 to 40 letters"), "{bad}");
        }
        assert_eq!(Name::plain(".my stick/1"), "_my-stick-1");
    }

    #[test]
    fn a_port_in_use_is_passed_over() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(port == u16::MAX || free_port(port) > port);
    }
}
