//! Starts, watches and ends a virtual machine: QEMU, its TPM, its serial port, and a folder with firmware variables and sockets.

use super::{
    Accel, AsMake, Firmware, MachineLock, Serial, VmSpec, accel, argv, as_make,
    console::{self, Console, Echo, Search},
    qmp::Qmp,
    setup::{self, Setup},
    share::Clients,
    stall::Stall,
    terminal::Terminal,
    tpm::Tpm,
    verdict::{self, NotReady},
    watch::Watch,
};
use anyhow::{Context as _, Result, anyhow, bail};
use child::{Cmd, Exit, Failure, Output, Running, Tools, interrupt, qemu, swtpm};
use common::owned_folder::OwnedFolder;
use serde_json::json;
use std::{
    fs,
    io::PipeWriter,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
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

/// A machine in the background. Killed when this is dropped, or when the thread that started it ends.
pub struct Vm<'s> {
    qemu: Running,
    tpm: Tpm,
    console: Console,
    watch: Watch,
    stall: Stall,
    say: &'s dyn Fn(&str),
    // Keeps the serial port's input connected.
    input: PipeWriter,
    qmp_socket: PathBuf,
    /// Why it runs without acceleration.
    pub slow_because: Option<String>,
    // Last, so that the folder is removed after its users are dropped.
    folder: OwnedFolder,
}

impl<'s> Vm<'s> {
    /// Starts the machine; `echo` gets the output of its serial port, `say` shows a line to the user.
    pub fn start(tools: &Tools, setup: &Setup, locks: &[MachineLock], echo: Option<Echo>, say: &'s dyn Fn(&str)) -> Result<Self> {
        let log = setup.serial_log.as_deref().map(console::create).transpose()?;
        let prepared = prepare(tools, setup, locks, Serial::Pipes)?;
        let (qemu, pipes) = prepared.qemu.spawn_console()?;
        Ok(Self {
            qemu,
            tpm: prepared.tpm,
            console: Console::read(pipes.output, log, echo),
            watch: Watch::start(&prepared.qmp_socket),
            stall: Stall::new(),
            say,
            input: pipes.input,
            qmp_socket: prepared.qmp_socket,
            slow_because: prepared.slow_because,
            folder: prepared.folder,
        })
    }

    /// Lets others see the serial port and type into it, at the socket whose path is returned. `clients` must be the echo of the start.
    pub fn share(&self, clients: &Clients) -> Result<PathBuf> {
        let socket = self.folder.path().join(CONSOLE_SOCKET);
        clients.serve(&socket, self.input.try_clone().context("cannot copy the end of a pipe")?)?;
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
        if let Some(news) = self.stall.check(&self.console, &self.qmp_socket)? {
            (self.say)(&news);
        }
        // A TPM ends with QEMU, so it has failed only if QEMU runs on.
        if self.tpm.has_ended() && self.console.search(&[], Some(HEALTH)) == Search::TimedOut {
            return Err(self.tpm.failure());
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
        // Ignore errors: QEMU may end before it answers, or may have ended already.
        let _ = Qmp::connect(&self.qmp_socket, PATIENCE).and_then(|mut qmp| qmp.execute("quit", &json!({})));
        self.wait_end(Some(Duration::from_secs(30)))
    }

    /// Waits until the guest switches itself off. Fails after `within`, or if QEMU fails.
    pub fn wait_end(&mut self, within: Option<Duration>) -> Result<()> {
        if self.search(&[], within)? == Search::TimedOut {
            let seconds = within.unwrap_or_default().as_secs();
            return Err(self.complain(&format!("the machine did not end within {seconds} s")));
        }
        self.qemu.wait_at_most(Duration::from_secs(30)).map_err(|error| self.explain(error))?;
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

/// Adds QEMU's advice to a failure of QEMU.
fn advise(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Failure>() {
        Ok(failure) => qemu::advise(failure),
        Err(error) => error,
    }
}

/// Runs the machine on the user's terminal until it ends.
pub fn run_on_terminal(tools: &Tools, setup: &Setup, locks: &[MachineLock], say: &dyn Fn(&str)) -> Result<()> {
    // Keep the log open: its reader, if it is a FIFO, must not see an end before QEMU opens it.
    let _log = setup.serial_log.as_deref().map(console::create).transpose()?;
    let mut prepared = prepare(tools, setup, locks, Serial::Terminal(setup.serial_log.clone()))?;
    if let Some(why) = &prepared.slow_because {
        say(&format!("running without acceleration: {why}"));
    }
    say("the serial console is on this terminal; Ctrl-A X ends the machine, Ctrl-A H shows help");
    if setup.as_make.is_some() && accel::guess(setup.arch, setup.no_accel).0 != Accel::Tcg {
        say("if QEMU reports an internal error of KVM, use NOACCEL=1");
    }
    let _terminal = Terminal::save();
    let mut qemu = prepared.qemu.foreground().spawn()?;
    let watch = Watch::start(&prepared.qmp_socket);
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
            None if prepared.tpm.has_ended() => tpm_ended = Some(Instant::now()),
            Some(since) if since.elapsed() > HEALTH => {
                say(&format!("\nthe guest's TPM does not answer any more\n{:#}", prepared.tpm.failure()));
                prepared.tpm = Tpm::None;
                tpm_ended = None;
            }
            _ => {}
        }
    };
    match exit {
        // QEMU exits with 0 when a signal ends it.
        _ if interrupt::is_interrupted() => Err(anyhow!("interrupted")),
        Exit::Status(0) => Ok(()),
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
    let spec = VmSpec { setup: setup.clone(), accel, tpm_socket, serial: Serial::Terminal(None), qmp: None };
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

const QMP_SOCKET: &str = "qmp.sock";
const TPM_SOCKET: &str = "tpm.sock";
const CONSOLE_SOCKET: &str = "console.sock";
const DTB: &str = "eve.dtb";

struct Prepared {
    qemu: Cmd,
    tpm: Tpm,
    slow_because: Option<String>,
    qmp_socket: PathBuf,
    folder: OwnedFolder,
}

/// The acceleration, and why nothing faster works. The Makefile's machine starts with the expected acceleration and falls back if that
/// fails (see `session`); ours runs a probe first.
fn choose(tools: &Tools, setup: &Setup) -> Result<(Accel, Option<String>)> {
    match (&setup.as_make, setup.no_accel) {
        (Some(_), off) => Ok(accel::guess(setup.arch, off)),
        (None, true) => Ok((Accel::Tcg, None)),
        (None, false) => accel::choose(tools, setup.arch),
    }
}

/// Prepares QEMU's start.
fn prepare(tools: &Tools, setup: &Setup, locks: &[MachineLock], serial: Serial) -> Result<Prepared> {
    setup::check(setup)?;
    let (accel, slow_because) = choose(tools, setup)?;
    let folder = OwnedFolder::new(&std::env::temp_dir(), "xtask-vm-")?;
    let output = setup.tool_log.as_ref().map_or_else(Output::default, |log| Output::default().with_log(log));
    let mut prepared = match &setup.as_make {
        Some(make) => prepare_as_make(tools, setup, make, accel, &output, folder)?,
        None => prepare_ours(tools, setup, serial, accel, &output, folder)?,
    };
    prepared.slow_because = slow_because;
    for lock in locks {
        prepared.qemu = prepared.qemu.keep_fd(lock.fd()?);
    }
    Ok(prepared)
}

/// Prepares the start of our machine, whose sockets are in `folder`.
fn prepare_ours(tools: &Tools, setup: &Setup, serial: Serial, accel: Accel, output: &Output, folder: OwnedFolder) -> Result<Prepared> {
    let firmware = match &setup.firmware {
        Firmware::Flash { code, vars } => {
            // Variables that store another bus or disk make the firmware start its shell.
            let own = folder.path().join("vars.fd");
            fs::copy(vars, &own).with_context(|| format!("cannot copy the firmware's variables {}", vars.display()))?;
            make_writable(&own)?;
            Firmware::Flash { code: code.clone(), vars: own }
        }
        whole @ (Firmware::Bios(_) | Firmware::UBoot { .. }) => whole.clone(),
    };
    let tpm_socket = setup.tpm.as_ref().map(|_| folder.path().join(TPM_SOCKET));
    let tpm = match (&setup.tpm, &tpm_socket) {
        (Some(state), Some(socket)) => Tpm::start(tools, state, socket, output)?,
        _ => Tpm::None,
    };
    let qmp_socket = folder.path().join(QMP_SOCKET);
    let qmp = OwnedFd::from(swtpm::listen(&qmp_socket)?);
    let setup = Setup { firmware, ..setup.clone() };
    let step = step(&setup);
    let spec = VmSpec { setup, accel, tpm_socket, serial, qmp: Some(qmp.as_raw_fd()) };
    let qemu = qemu::command(tools, spec.setup.arch)?.step(step).args(argv::render(&spec)).keep_fd(qmp).output(output);
    Ok(Prepared { qemu, tpm, slow_because: None, qmp_socket, folder })
}

/// Prepares the start of the Makefile's machine, whose sockets have fixed places.
fn prepare_as_make(tools: &Tools, setup: &Setup, make: &AsMake, accel: Accel, output: &Output, folder: OwnedFolder) -> Result<Prepared> {
    let tpm_socket = setup.tpm.as_deref().map(swtpm::daemon_socket);
    let spec = VmSpec { setup: setup.clone(), accel, tpm_socket, serial: Serial::Pipes, qmp: None };
    let start_tpm = || setup.tpm.as_ref().map_or(Ok(Tpm::None), |state| Tpm::start_as_make(tools, state, output));
    let qemu = |step: String| anyhow::Ok(qemu::command(tools, setup.arch)?.step(step).dir(&make.root).output(output));
    if let Some(folder) = &make.dtb {
        dump_device_tree(&spec, make, folder, &start_tpm, &qemu)?;
    }
    let tpm = start_tpm()?;
    let qmp_socket = make.qmp_socket();
    swtpm::check_length(&qmp_socket)?;
    let qemu = qemu(step(setup))?.args(as_make::render(&spec, make));
    Ok(Prepared { qemu, tpm, slow_because: None, qmp_socket, folder })
}

/// Runs QEMU to write the machine's device tree for the guest's GRUB, unless it was already written for the same machine.
fn dump_device_tree(
    spec: &VmSpec,
    make: &AsMake,
    folder: &Path,
    start_tpm: &dyn Fn() -> Result<Tpm>,
    qemu: &dyn Fn(String) -> Result<Cmd>,
) -> Result<()> {
    let dtb = folder.join(DTB);
    let words = as_make::render_dump(spec, make, &dtb);
    // Beside the folder: the guest sees the folder itself.
    let note = folder.with_extension("made-by");
    let text = words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join("\n");
    if dtb.is_file() && fs::read_to_string(&note).is_ok_and(|known| known == text) {
        return Ok(());
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let tpm = start_tpm()?;
    qemu("writing the machine's device tree".to_owned())?.args(words).run().map_err(advise)?;
    drop(tpm);
    if !dtb.is_file() {
        bail!("QEMU succeeded, but wrote no {}", dtb.display());
    }
    fs::write(&note, text).with_context(|| format!("cannot write {}", note.display()))
}

fn step(setup: &Setup) -> String {
    match setup.disks.first() {
        Some(disk) => format!("running {}", disk.path.display()),
        None => "running a machine without a disk".to_owned(),
    }
}

fn make_writable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).with_context(|| format!("cannot make {} writable", path.display()))
}
