//! A command line as a value: the program, its arguments, its environment, and the destination of its output. Its `Display` can be
//! pasted into a shell. `process` starts it and waits for it; `known_tools` maps a tool to its program.
//!
//! The crate duct starts the child and connects its streams. This crate adds: a command line to paste, a process group that ends as a
//! whole, a death signal, live output with its last lines in the error, and hidden secrets.

use super::{
    failure::{Exit, exit_of},
    process::{self, Event, Pipes, Running},
    usage::Usage,
};
use anyhow::Result;
use common::display::{login, public_url};
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    io::{self, PipeReader, PipeWriter, Read},
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// The environment that children start with, unless a command changes it.
pub type Variables = Arc<BTreeMap<OsString, OsString>>;

/// Called with each line of a tool's output, without its end, as soon as the tool prints it; from another thread.
pub type LineSink = Arc<dyn Fn(&str) + Send + Sync>;

/// Told how many bytes of how many are done; from any thread.
pub type Meter = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// Whether a line of a tool's output is only news about its progress, which it passes on.
pub(super) type Sieve = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Where a tool's output lines go while it runs. An error shows the last lines in any case.
#[derive(Clone, Default)]
pub struct Output {
    pub(super) sink: Option<LineSink>,
    pub(super) log: Option<PathBuf>,
    /// The lines that go nowhere else, not even into an error.
    pub(super) sieve: Option<Sieve>,
}

impl Output {
    /// Passes each line to `sink`.
    #[must_use]
    pub fn to(sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { sink: Some(Arc::new(sink)), ..Self::default() }
    }

    /// Also appends the command and the lines to the file `log`, and creates its folder.
    #[must_use]
    pub fn with_log(mut self, log: impl Into<PathBuf>) -> Self {
        self.log = Some(log.into());
        self
    }

    /// Keeps the lines that `takes` from sink, log and errors.
    #[must_use]
    pub(super) fn without(mut self, takes: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.sieve = Some(Arc::new(takes));
        self
    }
}

#[derive(Clone)]
pub(super) enum Change {
    Set(OsString),
    Secret(OsString),
    Remove,
}

pub(super) enum Stdin {
    Null,
    File(PathBuf),
    Open(std::fs::File),
    Bytes(Vec<u8>),
}

/// A command line to run. Build it, then call [`run`](Cmd::run), [`status_ok`](Cmd::status_ok), [`stdout`](Cmd::stdout) or
/// [`spawn`](Cmd::spawn).
#[must_use = "a command does nothing until run, status_ok, stdout or spawn is called"]
pub struct Cmd {
    pub(super) name: String,
    pub(super) step: Option<String>,
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) base: Variables,
    pub(super) changes: BTreeMap<OsString, Change>,
    pub(super) dir: Option<PathBuf>,
    pub(super) stdin: Stdin,
    pub(super) output: Output,
    pub(super) timeout: Option<Duration>,
    pub(super) umask: Option<u32>,
    pub(super) fds: Vec<OwnedFd>,
    pub(super) foreground: bool,
}

impl Cmd {
    /// A command for `program` whose environment is `base` and nothing else.
    pub fn new(program: impl Into<PathBuf>, base: &Variables) -> Self {
        let program = program.into();
        Self {
            name: program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned(),
            step: None,
            program,
            args: Vec::new(),
            base: Arc::clone(base),
            changes: BTreeMap::new(),
            dir: None,
            stdin: Stdin::Null,
            output: Output::default(),
            timeout: None,
            umask: None,
            fds: Vec::new(),
            foreground: false,
        }
    }

    /// The program's name in errors: `git`, not the path of a replacement.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// What the command does; errors print it after "while": `making live.qcow2`.
    pub fn step(mut self, step: impl Into<String>) -> Self {
        self.step = Some(step.into());
        self
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the child.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.changes.insert(name.as_ref().to_owned(), Change::Set(value.as_ref().to_owned()));
        self
    }

    /// Sets a variable whose value is hidden in `Display` and in the tool's output.
    pub fn secret_env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.changes.insert(name.as_ref().to_owned(), Change::Secret(value.as_ref().to_owned()));
        self
    }

    /// Removes a variable of the base environment.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.changes.insert(name.as_ref().to_owned(), Change::Remove);
        self
    }

    /// Runs in the folder `dir`.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Standard input is the file `path`. The default is an empty input.
    pub fn stdin_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.stdin = Stdin::File(path.into());
        self
    }

    /// Standard input is this open file, from its position on.
    pub fn stdin_open(mut self, file: std::fs::File) -> Self {
        self.stdin = Stdin::Open(file);
        self
    }

    /// Standard input is `bytes`, which no output shows.
    pub fn stdin_bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Stdin::Bytes(bytes.into());
        self
    }

    /// Where its output lines go: those of both streams with [`run`](Cmd::run), only standard error if standard output is read.
    pub fn output(mut self, output: &Output) -> Self {
        self.output = output.clone();
        self
    }

    /// Ends it after `limit` and fails. [`spawn`](Cmd::spawn) ignores this.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Sets its file creation mask.
    pub fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(mask);
        self
    }

    /// Keeps `fd` open in the child, with the same number.
    pub fn keep_fd(mut self, fd: OwnedFd) -> Self {
        self.fds.push(fd);
        self
    }

    /// Runs it on our terminal: it shares our standard streams and our process group.
    pub fn foreground(mut self) -> Self {
        self.foreground = true;
        self
    }

    /// Runs it; false if it exits with a status other than 0. A signal or a timeout is an error.
    pub fn status_ok(self) -> Result<bool> {
        let Err(error) = self.run() else { return Ok(true) };
        if let Some(Exit::Status(_)) = exit_of(&error) { Ok(false) } else { Err(error) }
    }

    /// Runs it; returns the lines of both output streams, in order, and how it ended.
    pub fn lines(self) -> (Vec<String>, Result<()>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let output = Output::to(move |line| sink.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned()));
        let ended = self.output(&output).run();
        let lines = std::mem::take(&mut *lines.lock().unwrap_or_else(PoisonError::into_inner));
        (lines, ended)
    }

    /// Runs it; a status other than 0 is an error. Both output streams go, in order, to [`output`](Cmd::output).
    pub fn run(self) -> Result<()> {
        let limit = self.timeout;
        self.spawn()?.succeed(limit)
    }

    /// Runs it; returns its standard output, which must be UTF-8, without white space at the end.
    pub fn stdout(self) -> Result<String> {
        let name = self.name.clone();
        let mut text =
            String::from_utf8(self.stdout_bytes()?).map_err(|_| anyhow::anyhow!("`{name}` printed something that is not UTF-8"))?;
        text.truncate(text.trim_end().len());
        Ok(text)
    }

    /// Runs it; returns its standard output.
    pub fn stdout_bytes(self) -> Result<Vec<u8>> {
        self.read_with(read_all)
    }

    /// Runs it while `read` reads its standard output as a stream. If both the tool and `read` fail, returns the tool's error.
    pub fn read_with<T>(self, read: impl FnOnce(&mut dyn Read) -> Result<T>) -> Result<T> {
        Ok(self.read_and_measure(read)?.1)
    }

    /// Runs it; a status other than 0 is an error. Returns the time and memory that it used, and its standard output.
    pub fn measure(self) -> Result<(Usage, Vec<u8>)> {
        self.read_and_measure(read_all)
    }

    fn read_and_measure<T>(self, read: impl FnOnce(&mut dyn Read) -> Result<T>) -> Result<(Usage, T)> {
        let limit = self.timeout;
        let (output, stdout) = io::pipe()?;
        let mut running = process::start(self, None, Some(stdout))?;
        let events = running.events.0.clone();
        let mut output = EndReader { inner: output, ended: false };
        let (result, saw_end, given_up) = thread::scope(|scope| {
            let wait = scope.spawn(|| running.finish(limit));
            let result = read(&mut output);
            let saw_end = output.ended;
            // If `read` returned early, closing the pipe ends the tool with SIGPIPE at its next write.
            drop(output);
            if result.is_err() {
                let _ = events.send(Event::Unread);
            }
            (result, saw_end, wait.join())
        });
        let given_up = given_up.map_err(|_| anyhow::anyhow!("the thread that waits for a tool has panicked"))??;
        match running.ended {
            Some(Exit::Status(0)) => {}
            // SIGPIPE is expected if `read` stopped before the end of the output; otherwise it is a failure of the tool.
            Some(Exit::Signal(libc::SIGPIPE)) if !saw_end => {}
            _ if given_up => {}
            _ => return Err(running.failure().into()),
        }
        Ok((running.used, result?))
    }

    /// Starts it in the background. Dropping the value kills it, and so does the end of the thread that started it.
    pub fn spawn(self) -> Result<Running> {
        process::start(self, None, None)
    }

    /// Starts it in the background and returns pipes to its standard input and output; standard error goes to [`output`](Cmd::output).
    pub fn spawn_console(self) -> Result<(Running, Pipes)> {
        let (stdin, input) = io::pipe()?;
        let (output, stdout) = io::pipe()?;
        Ok((self.spawn_between(stdin, stdout)?, Pipes { input, output }))
    }

    /// Starts it in the background between two pipes of the caller's; standard error goes to [`output`](Cmd::output).
    pub fn spawn_between(self, stdin: PipeReader, stdout: PipeWriter) -> Result<Running> {
        process::start(self, Some(stdin), Some(stdout))
    }

    /// The values that must be hidden: secret variables, and logins of URLs in arguments.
    pub(super) fn secrets(&self) -> Vec<String> {
        let secrets = self.changes.values().filter_map(|change| match change {
            Change::Secret(value) if !value.is_empty() => Some(value.to_string_lossy().into_owned()),
            _ => None,
        });
        secrets.chain(self.args.iter().filter_map(|arg| login(arg.to_str()?)).map(|login| format!("{login}@"))).collect()
    }
}

impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(dir) = &self.dir {
            write!(f, "cd {} && ", quote(dir.as_os_str()))?;
        }
        if !self.changes.is_empty() {
            f.write_str("env ")?;
        }
        for (name, _) in self.changes.iter().filter(|(_, change)| matches!(change, Change::Remove)) {
            write!(f, "-u {} ", quote(name))?;
        }
        for (name, change) in &self.changes {
            match change {
                Change::Set(value) => write!(f, "{}={} ", quote(name), quote(value))?,
                // Whoever pastes the command must set a variable of the same name.
                Change::Secret(_) => write!(f, "{0}=\"${0}\" ", name.to_string_lossy())?,
                Change::Remove => {}
            }
        }
        f.write_str(&quote(self.program.as_os_str()))?;
        for arg in &self.args {
            let shown = arg.to_str().map_or_else(|| arg.clone(), |arg| public_url(arg).into());
            write!(f, " {}", quote(&shown))?;
        }
        match &self.stdin {
            Stdin::Null => Ok(()),
            Stdin::File(path) => write!(f, " < {}", quote(path.as_os_str())),
            Stdin::Open(_) => write!(f, "  # reads an open file from standard input"),
            Stdin::Bytes(bytes) => write!(f, "  # reads {} bytes from standard input", bytes.len()),
        }
    }
}

/// A reader that remembers whether it reached the end.
struct EndReader {
    inner: io::PipeReader,
    ended: bool,
}

impl Read for EndReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.ended |= count == 0 && !buffer.is_empty();
        Ok(count)
    }
}

fn read_all(reader: &mut dyn Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Quotes `word` for a shell if it needs quotes; `$'…'` for bytes that are not UTF-8.
#[must_use]
pub fn quote(word: &OsStr) -> String {
    let bytes = word.as_encoded_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(byte);
    match word.to_str() {
        Some(text) if !text.is_empty() && bytes.iter().all(plain) => text.to_owned(),
        Some(text) => format!("'{}'", text.replace('\'', r"'\''")),
        None => {
            let escaped: String =
                bytes.iter().map(|byte| if plain(byte) { char::from(*byte).to_string() } else { format!("\\x{byte:02x}") }).collect();
            format!("$'{escaped}'")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    fn base() -> Variables {
        Arc::new(BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into()), ("DROP".into(), "x".into())]))
    }

    #[test]
    fn what_is_displayed_can_be_pasted_into_a_shell() {
        let dir = tempfile::Builder::new().prefix("a dir's").tempdir().unwrap();
        std::fs::write(dir.path().join("in put"), "from the file\n").unwrap();
        let script = r#"printf '%s|' "$PWD" "$A" "${DROP-gone}" "$@"; cat"#;
        let make = || {
            Cmd::new("/bin/bash", &base())
                .args(["-c", script, "x", "", "it's", "a b", "$HOME", "*", "new\nline", "~", "#", "\\"])
                .arg(OsStr::from_bytes(b"\xff'\n"))
                .env("A", "one \"two\"")
                .env_remove("DROP")
                .dir(dir.path())
                .stdin_file("in put")
        };
        let direct = make().stdout_bytes().unwrap();
        let pasted = Cmd::new("/bin/bash", &base()).args(["-c", &make().to_string()]).stdout_bytes().unwrap();
        assert_eq!(String::from_utf8_lossy(&direct), String::from_utf8_lossy(&pasted));
        assert!(direct.ends_with(b"from the file\n") && direct.windows(3).any(|three| three == b"\xff'\n"));
    }

    #[test]
    fn secrets_stay_out_of_the_command_and_of_the_output() {
        let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = Arc::clone(&lines);
        let output = Output::to(move |line| seen.lock().unwrap().push(line.to_owned()));
        let cmd = Cmd::new("/bin/sh", &base()).args(["-c", "echo got $TOKEN; exit 3"]).secret_env("TOKEN", "hunter2").output(&output);
        assert_eq!(cmd.to_string(), r#"env TOKEN="$TOKEN" /bin/sh -c 'echo got $TOKEN; exit 3'"#);
        let error = format!("{:#}", cmd.run().unwrap_err());
        assert!(!error.contains("hunter2") && error.contains("got ***"), "{error}");
        assert_eq!(*lines.lock().unwrap(), ["got ***"]);
        let cmd = Cmd::new("/bin/sh", &base()).args(["-c", "echo $0; exit 3", "https://me:hunter2@h/a"]);
        let (shown, error) = (cmd.to_string(), format!("{:#}", cmd.run().unwrap_err()));
        assert!(shown.ends_with(" https://h/a") && error.contains("https://***h/a") && !error.contains("hunter2"), "{shown}\n{error}");
    }

    #[test]
    fn children_see_only_the_chosen_environment() {
        let text = Cmd::new("/usr/bin/env", &base()).env("B", "2").env_remove("DROP").stdout().unwrap();
        assert_eq!(text, "B=2\nPATH=/usr/bin:/bin");
    }
}
