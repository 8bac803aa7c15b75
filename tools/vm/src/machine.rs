//! Starts, watches and ends a virtual machine: QEMU, its TPM, its serial port, and a folder with firmware variables and sockets.

use super::{
    Accel, MachineLock, Serial, VmSpec, accel, argv, as_make,
    console::{self, Console, Echo, Search},
    ending::Ending,
    qmp::Qmp,
    setup::Setup,
    share::Clients,
    stall::Stall,
    switch::{DTB, Switch, advise, choose},
    terminal::Terminal,
    tpm::Tpm,
    verdict::{self, NotReady},
    watch::Watch,
};
use anyhow::{Context as _, Result, anyhow, bail};
use child::{Cmd, Exit, Running, Tools, interrupt, qemu, swtpm};
use serde_json::json;
use std::{
    io::{self, PipeReader, PipeWriter},
    path::PathBuf,
    time::{Duration, Instant},
};

/// Texts after which the boot cannot succeed any more.
const HOPELESS: &[&str] = &["Kernel panic - not syncing", "UEFI Interactive Shell", "grub rescue>"];

/// The longest wait for the rest of a line.
const LINE_END: Duration = Duration::from_millis(500);
/// Time between two looks at QEMU's and the TPM's health.
const HEALTH: Duration = Duration::from_millis(500);
/// Time between two looks at whether QEMU has ended, on a terminal.
const TURN: Duration = Duration::from_millis(50);
/// The longest wait for QEMU's end after a signal.
const AFTER_SIGNAL: Duration = Duration::from_secs(5);
/// The longest wait for QEMU's answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest wait for QEMU's end after its last word.
const LAST_MOMENTS: Duration = Duration::from_secs(30);
const CONSOLE_SOCKET: &str = "console.sock";

/// A machine in the background. Killed when this is dropped, or when the thread that started it ends.
pub struct Vm<'s> {
    qemu: Running,
    tpm: Tpm,
    /// Keeps the serial port's output open from one QEMU to the next.
    ending: Option<Ending<PipeWriter>>,
    console: Console,
    watch: Watch,
    stall: Stall,
    say: &'s dyn Fn(&str),
    /// The serial port's input: QEMU's end, and ours, which keeps it connected.
    input: (PipeReader, PipeWriter),
    // Last, so that its folder is removed after the folder's users are dropped.
    switch: Switch<'s>,
}

impl<'s> Vm<'s> {
    /// Starts the machine; `echo` gets the output of its serial port, `say` shows a line to the user.
    pub fn start(tools: &'s Tools, setup: &Setup, locks: &'s [MachineLock], echo: Option<Echo>, say: &'s dyn Fn(&str)) -> Result<Self> {
        let log = setup.serial_log.as_deref().map(console::create).transpose()?;
        let switch = Switch::new(tools, setup, locks, Serial::Pipes)?;
        let (input, (output, to_console)) = (io::pipe()?, io::pipe()?);
        let (qemu, tpm, ending) = switch_on(&switch, &input.0, to_console)?;
        Ok(Self {
            qemu,
            tpm,
            ending,
            console: Console::read(output, log, echo),
            watch: Watch::start(&switch.qmp_socket),
            stall: Stall::new(),
            say,
            input,
            switch,
        })
    }

    /// Why it runs without acceleration.
    #[must_use]
    pub fn slow_because(&self) -> Option<&str> {
        self.switch.slow_because.as_deref()
    }

    /// Switches the machine on anew if QEMU has ended because the guest restarts the machine.
    fn go_on(&mut self) -> Result<()> {
        let Some(to_console) = self.ending.take_if(|ending| ending.is_over()).and_then(Ending::wait) else { return Ok(()) };
        self.qemu.wait_at_most(LAST_MOMENTS).map_err(|error| self.explain(error))?;
        self.tpm.wait_end();
        (self.qemu, self.tpm, self.ending) = switch_on(&self.switch, &self.input.0, to_console)?;
        Ok(())
    }

    /// Lets others see the serial port and type into it, at the socket whose path is returned. `clients` must be the echo of the start.
    pub fn share(&self, clients: &Clients) -> Result<PathBuf> {
        let socket = self.switch.folder.path().join(CONSOLE_SOCKET);
        clients.serve(&socket, self.input.1.try_clone().context("cannot copy the end of a pipe")?)?;
        Ok(socket)
    }

    /// [`Console::search`], but fails if the guest cannot go on.
    fn search(&mut self, texts: &[&str], within: Option<Duration>) -> Result<Search> {
        let deadline = within.map(|within| Instant::now() + within);
        loop {
            let left = deadline.map_or(HEALTH, |deadline| deadline.saturating_duration_since(Instant::now()));
            match self.console.search(texts, Some(left.min(HEALTH))) {
                Search::TimedOut if left > HEALTH || deadline.is_none() => self.check_health()?,
                found => return Ok(found),
            }
        }
    }

    fn check_health(&mut self) -> Result<()> {
        // The signal ends QEMU too, unless it came before QEMU's start.
        if interrupt::is_interrupted() && self.console.search(&[], Some(AFTER_SIGNAL)) == Search::TimedOut {
            bail!("interrupted");
        }
        if let Some(trouble) = self.watch.news(Duration::ZERO) {
            return Err(self.complain(&format!("{trouble}\nhint: make room on the disk, then start the machine again")));
        }
        if let Some(news) = self.stall.check(&self.console, &self.switch.qmp_socket)? {
            (self.say)(&news);
        }
        self.go_on()?;
        // A TPM ends with QEMU, so it has failed only if QEMU runs on.
        if self.tpm.has_ended() && self.console.search(&[], Some(HEALTH)) == Search::TimedOut {
            self.go_on()?;
            if self.tpm.has_ended() {
                return Err(self.tpm.failure());
            }
        }
        Ok(())
    }

    /// Waits until the serial port prints `text` after the text of the last search. Fails with the last lines of output after `within`, if
    /// the machine ends, or if the boot cannot succeed any more; with [`NotReady`] if the guest says that itself.
    pub fn wait_for(&mut self, text: &str, within: Option<Duration>) -> Result<()> {
        let deadline = within.map(|within| Instant::now() + within);
        let mut texts = vec![text];
        texts.extend(HOPELESS);
        let is_judged = verdict::ends_with_failure(text);
        texts.extend(is_judged.then_some(verdict::FAILED));
        // When the guest's last words count as its last.
        let mut gives_up: Option<Instant> = None;
        loop {
            let end = [deadline, gives_up].into_iter().flatten().min();
            match self.search(&texts, end.map(|end| end.saturating_duration_since(Instant::now())))? {
                Search::Found(index) if texts[index] == verdict::FAILED => self.read_line_end(),
                Search::TimedOut if is_judged && let Some(why) = self.console.last_words() => {
                    return Err(NotReady::new(self.complain(&verdict::describe(text, &why)).to_string()).into());
                }
                Search::TimedOut if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
                end => return self.end_of_wait(end, &texts, within),
            }
            gives_up = self.console.last_words().map(|why| Instant::now() + verdict::patience(&why));
        }
    }

    /// What the end of the search for `texts` means; the first of them was waited for.
    fn end_of_wait(&mut self, end: Search, texts: &[&str], within: Option<Duration>) -> Result<()> {
        let text = texts[0];
        match end {
            Search::Found(0) => Ok(()),
            // Wait for the following lines, which contain the reason.
            Search::Found(index) => {
                self.console.search(&[], Some(LINE_END));
                Err(self.complain(&format!("the machine printed `{}` instead of `{text}`", texts[index])))
            }
            Search::TimedOut => {
                let seconds = within.unwrap_or_default().as_secs();
                Err(self.complain(&format!("the machine did not print `{text}` within {seconds} s")))
            }
            Search::Closed => match self.wait_end(None) {
                Ok(()) => Err(self.complain(&format!("the machine was switched off before it printed `{text}`"))),
                Err(error) => Err(error),
            },
        }
    }

    /// Waits for the rest of the line in which a text was found, so that the log contains it.
    pub fn read_line_end(&mut self) {
        self.console.search(&["\n"], Some(LINE_END));
    }

    /// Switches the machine off without a shutdown of the guest. QEMU still writes completed writes to the disk.
    pub fn quit(mut self) -> Result<()> {
        // A machine that restarts at this moment stays off.
        self.ending = None;
        // Ignore errors: QEMU may end before it answers, or may have ended already.
        let _ = Qmp::connect(&self.switch.qmp_socket, PATIENCE).and_then(|mut qmp| qmp.execute("quit", &json!({})));
        self.wait_end(Some(Duration::from_secs(30)))
    }

    /// Waits until the guest switches itself off. Fails after `within`, or if QEMU fails.
    pub fn wait_end(&mut self, within: Option<Duration>) -> Result<()> {
        if self.search(&[], within)? == Search::TimedOut {
            let seconds = within.unwrap_or_default().as_secs();
            return Err(self.complain(&format!("the machine did not end within {seconds} s")));
        }
        self.qemu.wait_at_most(LAST_MOMENTS).map_err(|error| self.explain(error))?;
        self.tpm.wait_end();
        // QEMU exits with 0 when a signal ends it.
        if interrupt::is_interrupted() { Err(anyhow!("interrupted")) } else { Ok(()) }
    }

    /// The error `what`, with the last lines of the serial port.
    fn complain(&self, what: &str) -> anyhow::Error {
        let mut text = what.to_owned();
        let tail = self.console.tail();
        if tail.is_empty() {
            text.push_str("; its serial port printed nothing");
        }
        for line in tail {
            text.push_str("\n| ");
            text.push_str(&line);
        }
        anyhow!(text)
    }

    /// The error for a failure of QEMU: if the TPM has failed, that is the reason.
    fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        if self.tpm.has_failed() { self.tpm.failure() } else { advise(error) }
    }
}

/// Switches a machine on whose serial port is between the pipes `input` and `to_console`.
fn switch_on(switch: &Switch<'_>, input: &PipeReader, to_console: PipeWriter) -> Result<(Running, Tpm, Option<Ending<PipeWriter>>)> {
    let mut on = switch.on()?;
    let ending = on.ending(to_console.try_clone().context("cannot copy the end of a pipe")?);
    Ok((on.qemu.spawn_between(input.try_clone().context("cannot copy the end of a pipe")?, to_console)?, on.tpm, ending))
}

/// Runs the machine on the user's terminal until it ends.
pub fn run_on_terminal(tools: &Tools, setup: &Setup, locks: &[MachineLock], say: &dyn Fn(&str)) -> Result<()> {
    // Keep the log open: its reader, if it is a FIFO, must not see an end before QEMU opens it.
    let _log = setup.serial_log.as_deref().map(console::create).transpose()?;
    let switch = Switch::new(tools, setup, locks, Serial::Terminal(setup.serial_log.clone()))?;
    if let Some(why) = &switch.slow_because {
        say(&format!("running without acceleration: {why}"));
    }
    say("the serial console is on this terminal; Ctrl-A X ends the machine, Ctrl-A H shows help");
    if setup.as_make.is_some() && accel::guess(setup.arch, setup.no_accel).0 != Accel::Tcg {
        say("if QEMU reports an internal error of KVM, use NOACCEL=1");
    }
    let _terminal = Terminal::save();
    while run_once_on_terminal(&switch, say)? {}
    Ok(())
}

/// Runs the machine on the user's terminal until QEMU ends; whether the machine starts again.
fn run_once_on_terminal(switch: &Switch<'_>, say: &dyn Fn(&str)) -> Result<bool> {
    let mut on = switch.on()?;
    let ending = on.ending(());
    let (mut qemu, mut tpm) = (on.qemu.foreground().spawn()?, on.tpm);
    let watch = Watch::start(&switch.qmp_socket);
    let mut tpm_ended: Option<Instant> = None;
    let exit = loop {
        if let Some(exit) = qemu.try_wait()? {
            break exit;
        }
        if let Some(trouble) = watch.news(TURN) {
            say(&format!("\n{trouble}\nhint: make room on the disk, then type Ctrl-A C, `cont`, Ctrl-A C"));
        }
        // A TPM ends with QEMU, so it has failed only if QEMU runs on.
        match tpm_ended {
            None if tpm.has_ended() => tpm_ended = Some(Instant::now()),
            Some(since) if since.elapsed() > HEALTH => {
                say(&format!("\nthe guest's TPM does not answer any more\n{:#}", tpm.failure()));
                tpm = Tpm::None;
                tpm_ended = None;
            }
            _ => {}
        }
    };
    tpm.wait_end();
    match exit {
        // QEMU exits with 0 when a signal ends it.
        _ if interrupt::is_interrupted() => Err(anyhow!("interrupted")),
        Exit::Status(0) => Ok(ending.is_some_and(|ending| ending.wait().is_some())),
        _ => Err(advise(qemu.failure().into())),
    }
}

/// The commands that a start would run, for `--dry-run`.
#[must_use]
pub fn show_commands(tools: &Tools, setup: &Setup) -> Vec<Cmd> {
    let mut commands = Vec::new();
    let accel = if setup.as_make.is_some() {
        accel::guess(setup.arch, setup.no_accel).0
    } else {
        choose(tools, setup).map_or(Accel::Tcg, |choice| choice.0)
    };
    let socket = |state: &PathBuf| if setup.as_make.is_some() { swtpm::daemon_socket(state) } else { state.join("sock") };
    let tpm_socket = setup.tpm.as_ref().map(socket);
    let spec = VmSpec { setup: setup.clone(), accel, tpm_socket, serial: Serial::Terminal(None), qmp: None, events: None };
    let Some(make) = &setup.as_make else {
        return vec![qemu::command_unchecked(tools, setup.arch).args(argv::render(&spec))];
    };
    let qemu = || qemu::command_unchecked(tools, setup.arch).dir(&make.root);
    let tpm = || setup.tpm.iter().map(|state| swtpm::daemon_command(tools, state));
    if let Some(dtb) = &make.dtb {
        commands.extend(tpm());
        commands.push(qemu().args(as_make::render_dump(&spec, make, &dtb.join(DTB))));
    }
    commands.extend(tpm());
    commands.push(qemu().args(as_make::render(&spec, make)));
    commands
}
