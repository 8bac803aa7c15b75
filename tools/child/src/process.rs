//! The life of a child: its start in a group of its own, its lines while it runs, and its end.
//! What to start is said by `Cmd`; this is the only file that calls `std::process::Command`.

use super::{
    cmd::{Change, Cmd, Stdin},
    failure::{Exit, Failure},
    interrupt::{self, Registered},
    lines::{Lines, Tail, pump},
    usage::{self, Usage},
};
use anyhow::{Context as _, Result};
use std::{
    fs::File,
    io::{self, PipeReader, PipeWriter, Read, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// The two ends of a background child's standard streams.
pub struct Console {
    /// What it reads; closed when dropped.
    pub input: PipeWriter,
    /// What it prints.
    pub output: PipeReader,
}

/// How long a child may take to end after it was asked to.
const AFTER_TERM: Duration = Duration::from_secs(5);

/// The process group of a child, for as long as its number is the child's.
struct Group {
    pid: i32,
    own: bool,
    alive: Mutex<bool>,
    ended: Condvar,
}

impl Group {
    /// Signals it, if the child has not been waited for: afterwards the number may be somebody else's.
    fn signal(&self, signal: i32) {
        if *lock(&self.alive) {
            self.kill(signal);
        }
    }

    #[allow(unsafe_code)]
    fn kill(&self, signal: i32) {
        // SAFETY: plain system call on a child that has not been waited for.
        unsafe {
            libc::kill(if self.own { -self.pid } else { self.pid }, signal);
        }
    }

    /// Ends it when it has not ended within `limit`, first by asking; whether that was needed.
    fn end_after(&self, limit: Duration) -> bool {
        let still_alive = |limit| {
            let alive = lock(&self.alive);
            let (alive, _) = self.ended.wait_timeout_while(alive, limit, |alive| *alive).unwrap_or_else(PoisonError::into_inner);
            alive
        };
        for (wait, signal) in [(limit, libc::SIGTERM), (AFTER_TERM, libc::SIGKILL)] {
            let alive = still_alive(wait);
            if !*alive {
                return signal == libc::SIGKILL;
            }
            self.kill(signal);
        }
        true
    }
}

/// A child in the background. Dropping it kills its whole group and waits.
pub struct Running {
    child: Child,
    group: Arc<Group>,
    registered: Option<Registered>,
    threads: Vec<JoinHandle<()>>,
    tail: Arc<Mutex<Tail>>,
    failure: Failure,
    ended: Option<Exit>,
    started: Instant,
    used: Usage,
}

impl Running {
    /// Its process id, which is also its group's.
    #[cfg(test)]
    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The lines that it printed last.
    #[must_use]
    pub fn tail(&self) -> Vec<String> {
        lock(&self.tail).lines()
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Result<Option<Exit>> {
        if self.ended.is_none() && self.peek(libc::WNOHANG)? {
            self.reap()?;
        }
        Ok(self.ended)
    }

    /// Waits for its end; one other than status 0 is an error. After `limit` it is asked to end, and killed when it does not.
    pub fn wait_at_most(&mut self, limit: Duration) -> Result<()> {
        self.finish(Some(limit))?;
        self.success()
    }

    /// Kills it and whatever it started, and waits for that.
    pub fn kill(&mut self) {
        self.group.signal(libc::SIGKILL);
        // Nothing more can be done about a child that does not even let itself be waited for.
        let _ = self.finish(None);
    }

    /// The error that tells how it ended and what it said last.
    #[must_use]
    pub fn failure(&self) -> Failure {
        Failure { exit: self.ended.unwrap_or(Exit::Interrupted), tail: self.tail(), ..self.failure.clone() }
    }

    fn success(&self) -> Result<()> {
        if self.ended == Some(Exit::Status(0)) { Ok(()) } else { Err(self.failure().into()) }
    }

    /// Whether it has ended, without taking its status; waits for that unless `flags` has WNOHANG.
    #[allow(unsafe_code)]
    fn peek(&self, flags: i32) -> Result<bool> {
        loop {
            // SAFETY: the info is a plain structure that the call fills.
            let (result, info) = unsafe {
                let mut info: libc::siginfo_t = std::mem::zeroed();
                (libc::waitid(libc::P_PID, self.child.id(), &raw mut info, libc::WEXITED | libc::WNOWAIT | flags), info)
            };
            match result {
                0 => return Ok(info.si_signo != 0),
                _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                _ => return Err(io::Error::last_os_error()).with_context(|| format!("cannot wait for `{}`", self.failure.tool)),
            }
        }
    }

    /// Takes the status of the child, which has ended, and first ends what it left behind in its group: that would keep our
    /// pipes open, and nothing that we start may outlive its command.
    fn reap(&mut self) -> Result<()> {
        let mut alive = lock(&self.group.alive);
        if self.group.own {
            self.group.kill(libc::SIGKILL);
        }
        let (status, used) = usage::wait(self.child.id()).with_context(|| format!("cannot wait for `{}`", self.failure.tool))?;
        self.used = Usage { wall: self.started.elapsed(), ..used };
        *alive = false;
        self.group.ended.notify_all();
        drop(alive);
        self.registered = None;
        let exit = status.code().map_or_else(|| Exit::Signal(status.signal().unwrap_or(0)), Exit::Status);
        self.ended = Some(if exit != Exit::Status(0) && interrupt::is_interrupted() { Exit::Interrupted } else { exit });
        for thread in self.threads.drain(..) {
            // A sink that panics loses lines, not the command's result.
            let _ = thread.join();
        }
        Ok(())
    }

    /// Waits for the end, at most for `limit`.
    fn finish(&mut self, limit: Option<Duration>) -> Result<()> {
        if self.ended.is_some() {
            return Ok(());
        }
        let watch = limit.map(|limit| {
            let group = Arc::clone(&self.group);
            (limit, thread::spawn(move || group.end_after(limit)))
        });
        self.peek(0)?;
        self.reap()?;
        if let Some((limit, watch)) = watch
            && watch.join().unwrap_or(false)
            && self.ended != Some(Exit::Status(0))
        {
            self.ended = Some(Exit::TimedOut(limit));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.kill();
        }
    }
}

/// See [`Cmd::run`].
pub(super) fn run(cmd: Cmd) -> Result<()> {
    let limit = cmd.timeout;
    let mut running = spawn(cmd)?;
    running.finish(limit)?;
    running.success()
}

/// See [`Cmd::status_ok`].
pub(super) fn status_ok(cmd: Cmd) -> Result<bool> {
    let limit = cmd.timeout;
    let mut running = spawn(cmd)?;
    running.finish(limit)?;
    match running.ended {
        Some(Exit::Status(status)) => Ok(status == 0),
        _ => Err(running.failure().into()),
    }
}

/// How long a tool may go on after the one who reads its output has failed.
const AFTER_READER: Duration = Duration::from_secs(1);

/// See [`Cmd::read_with`].
pub(super) fn read_with<T>(cmd: Cmd, read: impl FnOnce(&mut dyn Read) -> Result<T>) -> Result<T> {
    let limit = cmd.timeout;
    let (mut output, stdout) = io::pipe()?;
    let mut running = start(cmd, None, Some(stdout))?;
    let group = Arc::clone(&running.group);
    let (result, given_up, saw_end, ended) = thread::scope(|scope| {
        let wait = scope.spawn(|| running.finish(limit));
        let mut seen = Seen { inner: &mut output, ended: false };
        let result = read(&mut seen);
        let saw_end = seen.ended;
        // A reader that leaves early closes the pipe, and the tool gets SIGPIPE at its next word.
        drop(output);
        let given_up = result.is_err() && group.end_after(AFTER_READER);
        (result, given_up, saw_end, wait.join())
    });
    ended.unwrap_or_else(|_| Err(anyhow::anyhow!("the thread that waits for a tool has panicked")))?;
    match running.ended {
        Some(Exit::Status(0)) => result,
        // To one who has read it to its end, this is a tool that broke in the middle.
        Some(Exit::Signal(libc::SIGPIPE)) if !saw_end => result,
        _ if given_up => result,
        _ => Err(running.failure().into()),
    }
}

/// A reader that remembers whether the end was reached.
struct Seen<'r> {
    inner: &'r mut PipeReader,
    ended: bool,
}

impl Read for Seen<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.ended |= count == 0 && !buffer.is_empty();
        Ok(count)
    }
}

/// See [`Cmd::measure`].
pub(super) fn measure(cmd: Cmd) -> Result<(Usage, Vec<u8>)> {
    let limit = cmd.timeout;
    let (mut output, stdout) = io::pipe()?;
    let mut running = start(cmd, None, Some(stdout))?;
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes).map(|_| bytes)
    });
    running.finish(limit)?;
    running.success()?;
    let bytes = reader.join().map_err(|_| anyhow::anyhow!("the thread that reads a tool's output has panicked"))?;
    Ok((running.used, bytes.with_context(|| format!("cannot read what `{}` prints", running.failure.tool))?))
}

/// See [`Cmd::spawn`].
pub(super) fn spawn(cmd: Cmd) -> Result<Running> {
    start(cmd, None, None)
}

/// See [`Cmd::spawn_console`].
pub(super) fn spawn_console(cmd: Cmd) -> Result<(Running, Console)> {
    let (stdin, input) = io::pipe()?;
    let (output, stdout) = io::pipe()?;
    Ok((start(cmd, Some(stdin), Some(stdout))?, Console { input, output }))
}

/// Starts `cmd`. Without `stdout`, both streams go into one pipe, so that their lines keep their order.
fn start(mut cmd: Cmd, stdin: Option<PipeReader>, stdout: Option<PipeWriter>) -> Result<Running> {
    let shown = cmd.to_string();
    let tail = Arc::new(Mutex::new(Tail::default()));
    let mut threads = Vec::new();
    let mut command = prepare(&cmd);
    if !cmd.foreground {
        let lines = Lines::new(&cmd.output, cmd.secrets(), Arc::clone(&tail), &shown)?;
        let (reader, stderr) = io::pipe()?;
        command.stdout(match stdout {
            Some(stdout) => stdout,
            None => stderr.try_clone()?,
        });
        command.stderr(stderr).process_group(0);
        threads.push(thread::spawn(move || pump(reader, lines)));
        match stdin {
            Some(stdin) => drop(command.stdin(stdin)),
            None => threads.extend(feed(&mut command, &mut cmd)?),
        }
    }
    let started = Instant::now();
    let child = command.spawn().with_context(|| format!("cannot start `{}`\ncommand: {shown}", cmd.name))?;
    let group = Group { pid: child.id().cast_signed(), own: !cmd.foreground, alive: Mutex::new(true), ended: Condvar::new() };
    let registered = group.own.then(|| Registered::new(group.pid));
    let failure =
        Failure { tool: cmd.name, step: cmd.step, exit: Exit::Interrupted, tail: Vec::new(), command: shown, log: cmd.output.log };
    Ok(Running { child, group: Arc::new(group), registered, threads, tail, failure, ended: None, started, used: Usage::default() })
}

/// The program, its words, its environment and its folder.
fn prepare(cmd: &Cmd) -> Command {
    let mut command = Command::new(&cmd.program);
    command.args(&cmd.args).env_clear().envs(cmd.base.iter());
    for (name, change) in &cmd.changes {
        match change {
            Change::Set(value) | Change::Secret(value) => command.env(name, value),
            Change::Remove => command.env_remove(name),
        };
    }
    if let Some(dir) = &cmd.dir {
        command.current_dir(dir);
    }
    hook_birth(&mut command, cmd);
    command
}

/// Connects standard input; a thread writes what does not come from a file.
fn feed(command: &mut Command, cmd: &mut Cmd) -> Result<Option<JoinHandle<()>>> {
    match &mut cmd.stdin {
        Stdin::Null => drop(command.stdin(Stdio::null())),
        Stdin::File(path) => {
            let path = cmd.dir.as_deref().unwrap_or(Path::new("")).join(path);
            let file = File::open(&path).with_context(|| format!("cannot open {} for the input of `{}`", path.display(), cmd.name))?;
            command.stdin(file);
        }
        Stdin::Bytes(bytes) => {
            let (stdin, mut input) = io::pipe()?;
            command.stdin(stdin);
            let bytes = std::mem::take(bytes);
            // A tool may well end before it has read everything; its status tells whether that was right.
            return Ok(Some(thread::spawn(move || drop(input.write_all(&bytes)))));
        }
    }
    Ok(None)
}

/// What happens in the child between fork and exec: it is to die with us, and gets its file descriptors and its mask.
#[allow(unsafe_code)]
fn hook_birth(command: &mut Command, cmd: &Cmd) {
    let keep: Vec<i32> = cmd.fds.iter().map(|fd| fd.as_raw_fd()).collect();
    let umask = cmd.umask;
    #[cfg(target_os = "linux")]
    let us = std::process::id().cast_signed();
    let hook = move || {
        // SAFETY: system calls on plain values, all async-signal-safe; nothing is allocated.
        unsafe {
            #[cfg(target_os = "linux")]
            {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(io::Error::last_os_error());
                }
                // We may have died between fork and prctl: nobody would send the signal then.
                if libc::getppid() != us {
                    return Err(io::ErrorKind::Interrupted.into());
                }
            }
            for fd in &keep {
                if libc::fcntl(*fd, libc::F_SETFD, 0) != 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            if let Some(mask) = umask {
                libc::umask(mask as libc::mode_t);
            }
        }
        Ok(())
    };
    // SAFETY: the hook does only what may be done after fork, see there.
    unsafe {
        command.pre_exec(hook);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{cmd::Environment, cmd::Output};
    use std::{collections::BTreeMap, fs, io::BufRead as _};

    fn sh(script: &str) -> Cmd {
        let base: Environment = Arc::new(BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]));
        Cmd::new("/bin/sh", &base).named("tool").args(["-c", script])
    }

    fn failure(error: &anyhow::Error) -> &Failure {
        error.downcast_ref().unwrap()
    }

    /// Whether a process runs; a zombie that nobody has waited for yet does not.
    fn runs(pid: &str) -> bool {
        fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// Whether a process that was killed is gone; the kernel takes a moment for it.
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
        assert!(sh("printf '\\377'").stdout().is_err());
        let cannot = Cmd::new("/nowhere/prog", &Environment::default()).run().unwrap_err();
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
            let pid = running.pid().to_string();
            (running, pid)
        })
        .join()
        .unwrap();
        if cfg!(target_os = "linux") {
            let mut running = running;
            running.wait_at_most(Duration::from_secs(20)).unwrap_err();
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
}
