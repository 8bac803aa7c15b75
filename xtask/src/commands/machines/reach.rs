//! The verbs that reach a machine that runs: `ssh`, `cp`, `log`, `console`, `ps`, `stop`.

use super::{super::release::key_for_login, ensure, show};
use anyhow::{Result, anyhow, bail};
use checkout::context::Ctx;
use child::{Cmd, Exit, Failure, Output, Tool, interrupt, ssh::Login};
use clap::value_parser;
use common::error::{Ended, usage};
use knobs::KeyKnobs;
use std::{
    io::{IsTerminal as _, Read as _, stdin, stdout},
    net::TcpStream,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use vm::{Machines, Record, share};

/// Time between two looks at a machine that ends.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest wait for the greeting of an ssh server that runs.
const GREETING: Duration = Duration::from_secs(2);
/// The longest wait for the answer to a short command.
const PATIENCE: Duration = Duration::from_secs(20);

/// A machine that runs.
#[derive(clap::Args)]
pub struct Which {
    /// name of the machine [default: the only one that runs]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// A machine that ssh reaches.
pub struct Reached {
    name: String,
    port: u16,
    key: PathBuf,
    /// Its architecture, if its record has that.
    arch: Option<String>,
    /// Options for a command in a hint.
    place: String,
}

impl Reached {
    /// Finds the machine.
    pub fn find(ctx: &Ctx, name: Option<&str>, key: &KeyKnobs) -> Result<Self> {
        let record = Machines::at(ctx.dist().machines()).find(name)?;
        let (port, place) = (port_of(&record)?, ctx.globals.place.clone());
        Ok(Self { port, key: key_for_login(ctx, key), name: record.name, arch: record.arch, place })
    }

    /// Fails if the programs that ZARCH makes do not run on the machine. `verb` would send them there.
    pub fn check_arch(&self, ctx: &Ctx, verb: &str) -> Result<()> {
        let (wanted, place) = (ctx.knobs.image.arch, &self.place);
        let Some(arch) = self.arch.as_deref().filter(|arch| *arch != wanted.as_str()) else { return Ok(()) };
        let origin = ctx.knobs.origins.iter().find(|origin| origin.name == "ZARCH");
        let source = origin.map_or_else(String::new, |origin| format!(" ({})", origin.source));
        Err(usage(format!(
            "the machine `{}` is {arch}, ZARCH is {wanted}{source}\nhint: cargo xtask{place} {verb} ZARCH={arch}, or cargo xtask{place} run \
             ZARCH={wanted} --background",
            self.name
        )))
    }

    /// The command lines that bring a new image to the machine.
    pub fn next_image(&self) -> String {
        let place = &self.place;
        format!("cargo xtask{place} rootfs --rootfs-compression gzip && cargo xtask{place} update --name {}", self.name)
    }

    /// The error of a service that cannot be replaced or does not run with its new files, as the machine says it. The command line of ssh
    /// helps nobody: its files are gone.
    pub fn no_service(&self, service: &str, failure: &Failure) -> anyhow::Error {
        let said = failure.tail.iter().find_map(|line| line.strip_prefix("eve dev: "));
        let why = said.map_or_else(|| without_command(failure), ToOwned::to_owned);
        let (place, option) = (&self.place, super::machine::name_option(&self.name));
        anyhow!("{why}\nhint: cargo xtask{place} log{option} {service} shows what it printed")
            .context(format!("cannot replace the service {service}"))
    }

    /// How to log in.
    pub fn login<'r>(&'r self, ctx: &'r Ctx) -> Login<'r> {
        Login { host: "localhost", port: self.port, key: &self.key, root: &ctx.root }
    }
}

/// The port of this machine that leads to the ssh server of `record`.
pub fn port_of(record: &Record) -> Result<u16> {
    let error = || usage(format!("{} is on a network of yours (TAP): no port of this machine leads to it", record.name));
    record.ssh_port.ok_or_else(error)
}

/// A failure of ssh through a shared connection: how it ended, and what it said.
fn without_command(failure: &Failure) -> String {
    let said: String = failure.tail.iter().map(|line| format!("\n| {line}")).collect();
    format!("`{}` failed: {}{said}", failure.tool, failure.exit)
}

/// [`advise`] for a login whose connection others share, and whose command line nobody can paste.
pub fn advise_shared(error: anyhow::Error) -> anyhow::Error {
    advise(match error.downcast::<Failure>() {
        Ok(failure) => anyhow!(without_command(&failure)),
        Err(error) => error,
    })
}

/// Adds advice to a login that failed.
pub fn advise(error: anyhow::Error) -> anyhow::Error {
    let text = format!("{error:#}");
    if text.contains("Permission denied") {
        return error.context("the machine does not accept the key\nhint: a disk that was first run without the key keeps its configuration: `run --fresh`, with the machine's name, begins with a new disk");
    }
    if text.contains("Connection refused") || text.contains("Connection reset") || text.contains("timed out") {
        return error.context("the machine's ssh server does not answer (yet)\nhint: it starts shortly before EVE-READY; cargo xtask console shows how far the machine is");
    }
    error
}

/// Whether an ssh server answers at this port of ours. QEMU takes the connection before the guest has one, and ssh then waits without a
/// word.
fn greets(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok_and(|mut stream| {
        let _ = stream.set_read_timeout(Some(GREETING));
        stream.read(&mut [0]).is_ok_and(|length| length == 1)
    })
}

/// `ssh`.
#[derive(clap::Args)]
pub struct Ssh {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    key: KeyKnobs,
    /// command to run there instead of a shell, with its own options; its exit status is ours
    #[arg(value_name = "COMMAND", num_args = 0.., last = true)]
    command: Vec<String>,
}

/// `ssh`: opens a shell of root in the debug container, whose host is at /hostfs, or runs a command there.
pub fn ssh(ctx: &Ctx, Ssh { which, key, command }: Ssh) -> Result<()> {
    let reached = Reached::find(ctx, which.name.as_deref(), &key)?;
    let is_terminal = stdin().is_terminal() && stdout().is_terminal();
    let cmd = reached.login(ctx).open(&ctx.tools, &command, is_terminal && !command.is_empty());
    if ctx.globals.dry_run {
        show(&[cmd]);
        return Ok(());
    }
    ensure(ctx, &[Tool::Ssh])?;
    if !greets(reached.port) {
        eprintln!("waiting for the ssh server of {}, which starts shortly before EVE-READY", reached.name);
    }
    cmd.run().map_err(|error| match error.downcast_ref::<Failure>().map(|failure| failure.exit) {
        // 255 is ssh's own failure.
        Some(Exit::Status(status)) if status != 255 => Ended(u8::try_from(status).unwrap_or(1)).into(),
        _ => advise(error),
    })
}

/// `cp`.
#[derive(clap::Args)]
pub struct Cp {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    key: KeyKnobs,
    /// file or folder; a path on the machine starts with `:`, as :/persist/log
    #[arg(value_name = "FROM")]
    from: String,
    /// where to; one of both is on the machine
    #[arg(value_name = "TO")]
    to: String,
}

/// `cp`.
pub fn cp(ctx: &Ctx, Cp { which, key, from, to }: Cp) -> Result<()> {
    if from.starts_with(':') == to.starts_with(':') {
        return Err(usage(format!(
            "cp {from} {to}: one of both must be on the machine\nhint: a path on the machine starts with a colon: cargo xtask cp {from} :/persist"
        )));
    }
    let reached = Reached::find(ctx, which.name.as_deref(), &key)?;
    let absolute = |path: String| -> Result<String> {
        if path.starts_with(':') { Ok(path) } else { Ok(std::path::absolute(&path)?.to_string_lossy().into_owned()) }
    };
    let cmd = reached.login(ctx).copy(&ctx.tools, &absolute(from)?, &absolute(to)?)?;
    if ctx.globals.dry_run {
        show(&[cmd]);
        return Ok(());
    }
    cmd.run().map_err(advise)
}

/// `log`.
#[derive(clap::Args)]
pub struct Log {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    key: KeyKnobs,
    /// container whose lines to show [default: all lines of the system's log]
    #[arg(value_name = "SERVICE")]
    service: Option<String>,
    /// show new lines until Ctrl-C
    #[arg(long, short)]
    follow: bool,
}

/// `log`: the machine's system log since its boot.
pub fn log(ctx: &Ctx, Log { which, key, service, follow }: Log) -> Result<()> {
    let reached = Reached::find(ctx, which.name.as_deref(), &key)?;
    let login = reached.login(ctx);
    let command = if follow { "nsenter -t 1 -m -- logread -F" } else { "nsenter -t 1 -m -- logread" };
    if ctx.globals.dry_run {
        show(&[login.run(&ctx.tools, command)]);
        return Ok(());
    }
    ensure(ctx, &[Tool::Ssh])?;
    let any = Arc::new(AtomicBool::new(false));
    let (seen, wanted) = (Arc::clone(&any), service.clone());
    let output = Output::to(move |line| {
        if wanted.as_deref().is_none_or(|service| is_of(line, service)) {
            seen.store(true, Ordering::Relaxed);
            println!("{line}");
        }
    });
    let ended = login.run(&ctx.tools, command).output(&output).run();
    if follow && interrupt::is_interrupted() {
        return Ok(());
    }
    ended.map_err(advise)?;
    if let Some(service) = service.filter(|_| !any.load(Ordering::Relaxed)) {
        let names = login.run(&ctx.tools, "ls /hostfs/containers/services /hostfs/containers/onboot").timeout(PATIENCE).stdout()?;
        let names: Vec<&str> = names.lines().filter(|line| !line.is_empty() && !line.starts_with('/')).map(plain_name).collect();
        if names.contains(&service.as_str()) {
            eprintln!("{service} has printed nothing since the boot");
        } else {
            return Err(usage(format!("the machine has no container `{service}`\nhint: these are there: {}", names.join(", "))));
        }
    }
    Ok(())
}

/// The name of a container by its folder: onboot containers have a number in front.
fn plain_name(folder: &str) -> &str {
    folder
        .split_once('-')
        .filter(|(number, _)| number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(folder, |two| two.1)
}

/// Whether a line of the log, `DATE HOST FACILITY NAME: TEXT`, is of the container.
fn is_of(line: &str, service: &str) -> bool {
    let Some((head, _)) = line.split_once(": ") else { return false };
    head.rsplit(' ').next().is_some_and(|name| plain_name(name.split('[').next().unwrap_or(name)) == service)
}

/// `console`.
#[derive(clap::Args)]
pub struct Console {
    #[command(flatten)]
    which: Which,
}

/// `console`: the serial console of a machine in the background.
pub fn console(ctx: &Ctx, Console { which }: Console) -> Result<()> {
    let machines = Machines::at(ctx.dist().machines());
    let record = machines.find(which.name.as_deref())?;
    let Some(socket) = &record.console else {
        return Err(usage(format!("the console of {} is on the terminal where `run` started it", record.name)));
    };
    if stdin().is_terminal() {
        let log = record.console_log.as_ref().map_or_else(String::new, |log| format!(". Earlier lines: {}", log.display()));
        eprintln!("console of {}; Ctrl-] leaves it, and the machine runs on{log}", record.name);
    }
    match share::visit(socket)? {
        share::Visit::Left => eprintln!("\nthe machine `{}` keeps running", record.name),
        share::Visit::Ended => eprintln!("\nthe machine `{}` has ended", record.name),
    }
    Ok(())
}

/// `ps`.
pub fn ps(ctx: &Ctx) -> Result<()> {
    let running = Machines::at(ctx.dist().machines()).running()?;
    if ctx.globals.json {
        println!("{}", serde_json::to_string_pretty(&running)?);
        return Ok(());
    }
    if running.is_empty() {
        eprintln!("no machine runs");
        return Ok(());
    }
    println!("{:<12} {:>8} {:>5}  {:<10}  disk", "name", "process", "ssh", "console");
    for record in running {
        let port = record.ssh_port.map_or_else(|| "-".to_owned(), |port| port.to_string());
        let console = if record.console.is_some() { "background" } else { "terminal" };
        println!("{:<12} {:>8} {port:>5}  {console:<10}  {}", record.name, record.pid, common::display::short(&record.disk, &ctx.root));
    }
    Ok(())
}

/// `stop`.
#[derive(clap::Args)]
pub struct Stop {
    /// the machine [default: the only one that runs]
    #[arg(value_name = "NAME")]
    machine: Option<String>,
    /// the machine, in the words of `ssh` and others
    #[arg(long, value_name = "NAME", conflicts_with = "machine", hide = true)]
    name: Option<String>,
    /// end it at once, as if its power were cut
    #[arg(long)]
    now: bool,
    /// end it so if it has not switched itself off after this many seconds
    #[arg(long, value_name = "SECS", default_value_t = 90, value_parser = value_parser!(u64).range(1..=86400))]
    timeout: u64,
    #[command(flatten)]
    key: KeyKnobs,
}

/// `stop`.
pub fn stop(ctx: &Ctx, Stop { machine, name, now, timeout, key }: Stop) -> Result<()> {
    let machines = Machines::at(ctx.dist().machines());
    let record = machines.find(machine.or(name).as_deref())?;
    let name = &record.name;
    if !now && let Some(why) = switch_off(ctx, &record, &key) {
        eprintln!("{name} cannot be asked to switch itself off: {why}");
    } else if !now && wait_end(&machines, name, Duration::from_secs(timeout))? {
        println!("{name}: switched off");
        return Ok(());
    }
    record.kill()?;
    if !wait_end(&machines, name, Duration::from_secs(20))? {
        bail!("{name} does not end: process {}", record.pid);
    }
    println!("{name}: ended as if its power were cut; its file systems have journals");
    Ok(())
}

/// Asks the machine to switch itself off; why that failed.
fn switch_off(ctx: &Ctx, record: &Record, key: &KeyKnobs) -> Option<String> {
    let asked = Reached::find(ctx, Some(&record.name), key).and_then(|reached| {
        let poweroff: Cmd = reached.login(ctx).run(&ctx.tools, "poweroff").timeout(PATIENCE);
        poweroff.run()
    });
    asked
        .err()
        .map(|error| common::error::render(&advise(error)).lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned())
}

/// Waits for the machine's end; false if it still runs after `limit`.
fn wait_end(machines: &Machines, name: &str, limit: Duration) -> Result<bool> {
    let since = Instant::now();
    while machines.is_running(name) {
        if interrupt::is_interrupted() {
            bail!("interrupted");
        }
        if since.elapsed() > limit {
            return Ok(false);
        }
        thread::sleep(PAUSE);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::{io::Write as _, net::TcpListener};

    #[test]
    fn a_server_that_greets_differs_from_a_port_that_only_takes_connections() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        // The kernel takes the connection; nobody writes, as with QEMU before the guest's server runs.
        assert!(!greets(port));
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let _ = stream.write_all(b"SSH-2.0-dropbear\r\n");
            }
        });
        assert!(greets(port));
    }

    #[test]
    fn a_line_of_the_log_has_the_name_of_its_container() {
        let line = "Nov 27 18:00:01 eve user.notice dhcpcd: eth0: lease of 10.0.2.15";
        assert!(is_of(line, "dhcpcd") && !is_of(line, "eth0") && !is_of(line, "eve"));
        assert!(is_of("Nov 27 18:00:01 eve user.notice 003-storage-init: made /persist", "storage-init"));
        assert!(is_of("Nov 27 18:00:01 eve auth.info dropbear[12]: Child connection", "dropbear"));
        assert!(!is_of("garbage", "garbage"));
    }
}
