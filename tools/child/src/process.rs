//! Starts a child from a `Cmd`, waits for it, and kills it. The crate duct starts it, connects its streams and takes its status; a comment
//! marks each function that duct lacks and this file adds.

use super::{
    cmd::{Change, Cmd, Stdin},
    failure::{Exit, Failure},
    interrupt::{self, Registered},
    lines::{Lines, Tail, pump},
    usage::{self, Usage},
};
use anyhow::{Context as _, Result};
use duct::{Expression, Handle};
use rustix::process::{Pid, Signal};
use std::{
    fs::File,
    io::{self, PipeReader, PipeWriter},
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// The two ends of a background child's standard streams.
pub struct Pipes {
    /// Its standard input; dropping this closes it.
    pub input: PipeWriter,
    /// Its standard output.
    pub output: PipeReader,
}

/// Time between SIGTERM and SIGKILL.
const AFTER_TERM: Duration = Duration::from_secs(5);

/// Time between the failure of the reader of a tool's output and SIGTERM.
const AFTER_READER: Duration = Duration::from_secs(1);

/// An event that [`Running::finish`] waits for.
pub(super) enum Event {
    /// The child has ended. Its status has not been taken yet, so its process id is still its own.
    Ended(io::Result<Usage>),
    /// The reader of its output has failed.
    Unread,
}

/// A child in the background. Dropping it kills its process group and waits for its end.
pub struct Running {
    handle: Handle,
    pid: Pid,
    own_group: bool,
    registered: Option<Registered>,
    threads: Vec<JoinHandle<()>>,
    pub(super) events: (Sender<Event>, Receiver<Event>),
    tail: Arc<Mutex<Tail>>,
    failure: Failure,
    pub(super) ended: Option<Exit>,
    pub(super) used: Usage,
}

impl Running {
    /// The last lines of its output.
    #[must_use]
    pub fn tail(&self) -> Vec<String> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).lines()
    }

    /// How it ended; none while it runs.
    pub fn try_wait(&mut self) -> Result<Option<Exit>> {
        if let Ok(Event::Ended(used)) = self.events.1.try_recv() {
            self.reap(used)?;
        }
        Ok(self.ended)
    }

    /// Waits for its end; an end other than status 0 is an error. After `limit` it gets SIGTERM, and then SIGKILL.
    pub fn wait_at_most(&mut self, limit: Duration) -> Result<()> {
        self.succeed(Some(limit))
    }

    /// Kills it and its process group, and waits for its end.
    pub fn kill(&mut self) {
        if self.ended.is_none() {
            self.signal(Signal::KILL);
            // There is no remedy if even waiting fails.
            let _ = self.finish(None);
        }
    }

    /// An error with its end and its last lines.
    #[must_use]
    pub fn failure(&self) -> Failure {
        Failure { exit: self.ended.unwrap_or(Exit::Interrupted), tail: self.tail(), ..self.failure.clone() }
    }

    /// [`wait_at_most`](Self::wait_at_most), or without a limit.
    pub(super) fn succeed(&mut self, limit: Option<Duration>) -> Result<()> {
        self.finish(limit)?;
        if self.ended == Some(Exit::Status(0)) { Ok(()) } else { Err(self.failure().into()) }
    }

    /// Signals the child. Its status must not have been taken, or its process id may belong to another process.
    fn signal(&self, signal: Signal) {
        // duct's kill() signals only the child, not its group. This fails only if no process is left.
        let _ = match self.own_group {
            true => rustix::process::kill_process_group(self.pid, signal),
            false => rustix::process::kill_process(self.pid, signal),
        };
    }

    /// Takes the status of the child after its end.
    fn reap(&mut self, used: io::Result<Usage>) -> Result<()> {
        if self.own_group {
            // duct leaves the child's own children running. Kill them, or they keep our pipes open and outlive the command.
            self.signal(Signal::KILL);
        }
        let taken = used.and_then(|used| Ok((used, self.handle.wait()?.status)));
        // Even if that failed: `Drop` must not wait for a second message about the end.
        self.ended = Some(Exit::Interrupted);
        let (used, status) = taken.with_context(|| format!("cannot wait for `{}`", self.failure.tool))?;
        self.used = used;
        self.registered = None;
        let exit = status.code().map_or_else(|| Exit::Signal(status.signal().unwrap_or(0)), Exit::Status);
        self.ended = Some(if exit != Exit::Status(0) && interrupt::is_interrupted() { Exit::Interrupted } else { exit });
        for thread in self.threads.drain(..) {
            // If a sink panics, only its lines are lost, not the command's result.
            let _ = thread.join();
        }
        Ok(())
    }

    /// Waits for the end. Signals the child after `limit`, or `AFTER_READER` after [`Event::Unread`] if that is earlier; returns whether it
    /// did the latter.
    pub(super) fn finish(&mut self, limit: Option<Duration>) -> Result<bool> {
        if self.ended.is_some() {
            return Ok(false);
        }
        // duct's wait_timeout() takes the status, after which the group must not be signalled: wait for a message instead.
        let mut wait = limit.unwrap_or(Duration::MAX);
        let mut signals = [(Signal::TERM, AFTER_TERM), (Signal::KILL, Duration::MAX)].into_iter();
        let (mut unread, mut signalled_unread) = (false, None);
        let used = loop {
            match self.events.1.recv_timeout(wait) {
                Ok(Event::Ended(used)) => break used,
                Ok(Event::Unread) => (unread, wait) = (true, wait.min(AFTER_READER)),
                Err(_) => {
                    let Some((signal, next)) = signals.next() else { continue };
                    signalled_unread.get_or_insert(unread);
                    self.signal(signal);
                    wait = next;
                }
            }
        };
        self.reap(used)?;
        if let (Some(false), Some(limit)) = (signalled_unread, limit)
            && self.ended != Some(Exit::Status(0))
        {
            self.ended = Some(Exit::TimedOut(limit));
        }
        Ok(signalled_unread == Some(true))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts `cmd`. Without `stdout`, both output streams share one pipe, which keeps the order of their lines.
pub(super) fn start(mut cmd: Cmd, stdin: Option<PipeReader>, stdout: Option<PipeWriter>) -> Result<Running> {
    let shown = cmd.to_string();
    let tail = Arc::new(Mutex::new(Tail::default()));
    let mut threads = Vec::new();
    let mut expression = prepare(&mut cmd);
    if !cmd.foreground {
        let lines = Lines::new(&cmd.output, cmd.secrets(), Arc::clone(&tail), &shown)?;
        let (reader, stderr) = io::pipe()?;
        expression = match stdout {
            Some(stdout) => expression.stdout_file(stdout).stderr_file(stderr),
            None => expression.stderr_to_stdout().stdout_file(stderr),
        };
        expression = match stdin {
            Some(stdin) => expression.stdin_file(stdin),
            None => connect_stdin(&expression, &mut cmd)?,
        };
        threads.push(thread::spawn(move || pump(reader, lines)));
    }
    let started = Instant::now();
    let handle = expression.start().with_context(|| format!("cannot start `{}`\ncommand: {shown}", cmd.name))?;
    let pid = handle.pids().first().and_then(|pid| Pid::from_raw(pid.cast_signed())).context("a child has no process id")?;
    let events = mpsc::channel();
    let ended = events.0.clone();
    threads.push(thread::spawn(move || {
        // The send fails if `Running` was dropped; then nobody needs the message.
        let _ = ended.send(Event::Ended(usage::wait_without_reaping(pid, started)));
    }));
    let own_group = !cmd.foreground;
    let registered = Some(if own_group { Registered::group(pid.as_raw_pid()) } else { Registered::process(pid.as_raw_pid()) });
    let failure =
        Failure { tool: cmd.name, step: cmd.step, exit: Exit::Interrupted, tail: Vec::new(), command: shown, log: cmd.output.log };
    Ok(Running { handle, pid, own_group, registered, threads, events, tail, failure, ended: None, used: Usage::default() })
}

/// duct's expression for the program, arguments, environment and folder of `cmd`, with a hook that runs before the start.
fn prepare(cmd: &mut Cmd) -> Expression {
    let mut variables = (*cmd.base).clone();
    for (name, change) in &cmd.changes {
        match change {
            Change::Set(value) | Change::Secret(value) => variables.insert(name.clone(), value.clone()),
            Change::Remove => variables.remove(name),
        };
    }
    let (own_group, umask, kept) = (!cmd.foreground, cmd.umask, Arc::new(std::mem::take(&mut cmd.fds)));
    let expression = duct::cmd(cmd.program.as_os_str(), &cmd.args).full_env(variables).unchecked().before_spawn(move |command| {
        hook_start(command, own_group, umask, Arc::clone(&kept));
        Ok(())
    });
    match &cmd.dir {
        Some(dir) => expression.dir(dir),
        None => expression,
    }
}

fn connect_stdin(expression: &Expression, cmd: &mut Cmd) -> Result<Expression> {
    Ok(match &mut cmd.stdin {
        Stdin::Null => expression.stdin_null(),
        Stdin::File(path) => {
            let path = cmd.dir.as_deref().unwrap_or(Path::new("")).join(path);
            let file = File::open(&path).with_context(|| format!("cannot open {} for the input of `{}`", path.display(), cmd.name))?;
            expression.stdin_file(file)
        }
        Stdin::Open(file) => expression.stdin_file(file.try_clone().context("cannot share an open file with a tool")?),
        Stdin::Bytes(bytes) => expression.stdin_bytes(std::mem::take(bytes)),
    })
}

/// Settings that duct has no methods for: a process group and, between fork and exec, a death signal, the file creation mask, and of our
/// file descriptors only the standard streams and `kept`.
#[allow(unsafe_code)]
fn hook_start(command: &mut Command, own_group: bool, umask: Option<u32>, kept: Arc<Vec<OwnedFd>>) {
    #[cfg(target_os = "linux")]
    let us = rustix::process::getpid();
    let hook = move || {
        #[cfg(target_os = "linux")]
        {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // If xtask died between fork and prctl, nobody would send the signal.
            if rustix::process::getppid() != Some(us) {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        close_on_exec();
        for fd in kept.iter() {
            rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
        }
        if let Some(mask) = umask {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask as rustix::fs::RawMode));
        }
        Ok(())
    };
    if own_group {
        command.process_group(0);
    }
    // SAFETY: the hook makes only async-signal-safe system calls and does not allocate.
    unsafe {
        command.pre_exec(hook);
    }
}

/// Marks every file descriptor after the standard streams to be closed at exec: a build step must not get descriptors that xtask
/// inherited.
#[allow(unsafe_code)]
pub(super) fn close_on_exec() {
    // SAFETY: system calls on plain numbers.
    unsafe {
        #[cfg(target_os = "linux")]
        if libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) == 0 {
            return;
        }
        // Linux before 5.11 and other systems have no such call. The limit can be 10^9, so mark only the first 65,536.
        for fd in 3..libc::sysconf(libc::_SC_OPEN_MAX).clamp(256, 1 << 16) {
            libc::fcntl(fd as i32, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cmd::{Output, Variables};
    use std::{
        collections::BTreeMap,
        fs,
        io::{BufRead as _, Read},
        os::fd::AsRawFd as _,
    };

    fn sh(script: &str) -> Cmd {
        let base: Variables = Arc::new(BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]));
        Cmd::new("/bin/sh", &base).named("tool").args(["-c", script])
    }

    fn failure(error: &anyhow::Error) -> &Failure {
        error.downcast_ref().unwrap()
    }

    /// Whether a process runs; a zombie does not.
    fn runs(pid: &str) -> bool {
        fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// Whether a killed process disappears within some seconds.
    fn is_gone(pid: &str) -> bool {
        (0..500).any(|_| {
            thread::sleep(Duration::from_millis(10));
            !runs(pid)
        })
    }

    #[test]
    fn the_error_tells_the_step_the_status_and_the_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("logs/node.log");
        let output = Output::default().with_log(&log);
        let script = "i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); done; printf '10%%\\r20%%\\r\\n'; printf last >&2; exit 4";
        let error = sh(script).step("making it").output(&output).run().unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("`tool` failed while making it: exit status 4\n| line 83\n"), "{text}");
        assert!(text.contains("\n| 10%\n| 20%\n| last\ncommand: /bin/sh -c "), "{text}");
        assert_eq!(failure(&error).tail.len(), 20);
        let logged = fs::read_to_string(&log).unwrap();
        assert!(logged.starts_with("$ /bin/sh -c ") && logged.contains("\nline 0\n") && logged.ends_with("\nlast\n"));
    }

    #[test]
    fn the_three_endings_tell_status_signal_and_time_apart() {
        assert!(sh("exit 0").status_ok().unwrap());
        assert!(!sh("exit 1").status_ok().unwrap());
        let killed = sh("kill -KILL $$").status_ok().unwrap_err();
        assert_eq!(failure(&killed).exit, Exit::Signal(9));
        assert!(killed.to_string().starts_with("`tool` failed: killed by signal 9, SIGKILL"));
        let limit = Duration::from_millis(100);
        let begin = Instant::now();
        let late = sh("sleep 60").timeout(limit).run().unwrap_err();
        assert_eq!(failure(&late).exit, Exit::TimedOut(limit));
        assert!(begin.elapsed() < Duration::from_secs(20));
        assert_eq!(sh("echo '  a '; echo noise >&2").stdout().unwrap(), "  a");
        let binary = format!("{:#}", sh("printf '\\377'").stdout().unwrap_err());
        assert!(binary.contains("UTF-8"), "{binary}");
        let cannot = Cmd::new("/nowhere/prog", &Variables::default()).run().unwrap_err();
        assert!(format!("{cannot:#}").starts_with("cannot start `prog`\ncommand: /nowhere/prog: No such file"), "{cannot:#}");
    }

    #[test]
    fn a_large_input_and_a_large_output_do_not_wait_for_each_other() {
        let bytes = vec![b'x'; 1 << 20];
        assert_eq!(sh("cat").stdin_bytes(bytes.clone()).stdout_bytes().unwrap().len(), bytes.len());
        assert!(sh("exec <&-; exit 0").stdin_bytes(bytes).status_ok().unwrap());
    }

    #[test]
    fn a_reader_may_leave_early_and_a_tools_failure_goes_before_the_readers() {
        let first = |reader: &mut dyn Read| -> Result<String> {
            let mut line = String::new();
            io::BufReader::with_capacity(16, reader).read_line(&mut line)?;
            Ok(line)
        };
        assert_eq!(sh("exec yes").read_with(first).unwrap(), "y\n");
        let refuse = |_: &mut dyn Read| -> Result<()> { anyhow::bail!("no such format") };
        assert_eq!(sh("exec yes").read_with(refuse).unwrap_err().to_string(), "no such format");
        assert_eq!(sh("sleep 60").read_with(refuse).unwrap_err().to_string(), "no such format");
        let cut_short = |reader: &mut dyn Read| -> Result<()> {
            io::copy(reader, &mut io::sink())?;
            anyhow::bail!("the archive ends in the middle")
        };
        let error = sh("echo half; exit 9").read_with(cut_short).unwrap_err();
        assert_eq!(failure(&error).exit, Exit::Status(9));
        let error = sh("echo half; kill -PIPE $$").stdout().unwrap_err();
        assert_eq!(failure(&error).exit, Exit::Signal(libc::SIGPIPE));
    }

    #[test]
    fn the_lines_of_both_streams_keep_their_order() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&lines);
        let output = Output::to(move |line| seen.lock().unwrap().push(line.to_owned()));
        sh("for i in 0 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; done").output(&output).run().unwrap();
        let expected: Vec<String> = (0..10).flat_map(|i| [format!("out {i}"), format!("err {i}")]).collect();
        assert_eq!(*lines.lock().unwrap(), expected);
    }

    #[test]
    fn a_timeout_ends_the_whole_group() {
        let begin = Instant::now();
        let error = sh("sleep 60 & echo $!; wait").timeout(Duration::from_secs(3)).run().unwrap_err();
        assert!(matches!(failure(&error).exit, Exit::TimedOut(_)) && begin.elapsed() < Duration::from_secs(20));
        assert!(is_gone(&failure(&error).tail[0]));
    }

    #[test]
    fn nothing_outlives_its_command() {
        // A child of the child would keep the pipe open for a minute.
        let begin = Instant::now();
        let pid = sh("sleep 60 & echo $!").stdout().unwrap();
        assert!(is_gone(&pid) && begin.elapsed() < Duration::from_secs(20));
        let (running, console) = sh("sleep 60 & echo $!; cat").spawn_console().unwrap();
        let mut pid = String::new();
        io::BufReader::new(&console.output).read_line(&mut pid).unwrap();
        assert!(runs(&pid));
        drop(running);
        assert!(is_gone(&pid));
    }

    #[test]
    fn children_die_with_the_thread_that_started_them() {
        let (running, pid) = thread::spawn(|| {
            let running = sh("exec sleep 60").spawn().unwrap();
            let pid = running.pid.to_string();
            (running, pid)
        })
        .join()
        .unwrap();
        if cfg!(target_os = "linux") {
            let mut running = running;
            let ended = running.wait_at_most(Duration::from_secs(20)).unwrap_err();
            assert_eq!(failure(&ended).exit, Exit::Signal(9));
            assert!(is_gone(&pid));
        }
    }

    #[test]
    fn the_time_and_memory_of_a_child_and_of_its_own_are_counted() {
        let script =
            "i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; x=$(head -c 20000000 /dev/zero | tr '\\0' x); sleep 0.1; echo out";
        let (used, text) = sh(script).measure().unwrap();
        assert_eq!(text, b"out\n");
        assert!(used.wall >= Duration::from_millis(100) && used.wall < Duration::from_secs(60), "{used:?}");
        assert!(used.cpu > Duration::ZERO && used.memory > 20_000_000, "{used:?}");
        let both = used.then(used);
        assert_eq!((both.cpu, both.memory), (used.cpu * 2, used.memory));
        assert!(sh("exit 3").measure().unwrap_err().to_string().contains("exit status 3"));
    }

    #[test]
    fn a_descriptor_and_a_mask_reach_the_child() {
        let (reader, writer) = io::pipe().unwrap();
        let number = writer.as_raw_fd();
        let script = format!("umask; echo through > /dev/fd/{number}");
        assert_eq!(sh(&script).umask(0o27).keep_fd(writer.into()).stdout().unwrap(), "0027");
        let mut line = String::new();
        io::BufReader::new(reader).read_line(&mut line).unwrap();
        assert_eq!(line, "through\n");
    }

    #[test]
    fn a_descriptor_that_was_left_open_does_not_reach_the_child() {
        let file = fs::File::open("/dev/null").unwrap();
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
        let script = format!("[ ! -e /dev/fd/{} ]", file.as_raw_fd());
        assert!(sh(&script).status_ok().unwrap());
        assert!(sh(&script).foreground().status_ok().unwrap());
    }
}
