//! One command line as a value: what to start, with which environment, where its output goes. Its `Display` can be pasted
//! into a shell. How it then lives and dies is in `process`; which program stands behind a tool's name is in `known_tools`.
//!
//! The crate duct starts the child and connects its streams. We add what duct does not have: a command line to paste, a
//! process group that ends as a whole, a death signal, live output with its last lines in the error, and hidden secrets.

use super::{
    failure::{Exit, Failure},
    process::{self, Event, Pipes, Running},
    usage::Usage,
};
use anyhow::Result;
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    io::{self, Read},
    os::fd::OwnedFd,
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

/// The environment that children start with, unless a command changes it.
pub type Variables = Arc<BTreeMap<OsString, OsString>>;

/// Takes one line of a tool's output, without its end, at the moment it is printed. Called from another thread.
pub type LineSink = Arc<dyn Fn(&str) + Send + Sync>;

/// Where a tool's lines go while it runs. The last lines are kept for the error in any case.
#[derive(Clone, Default)]
pub struct Output {
    pub(super) sink: Option<LineSink>,
    pub(super) log: Option<PathBuf>,
}

impl Output {
    /// Lines go to `sink`, which may put the node's name before them.
    #[must_use]
    pub fn to(sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { sink: Some(Arc::new(sink)), log: None }
    }

    /// Lines are appended to the file `log` too, after a line with the command itself. Its folder is made.
    #[must_use]
    pub fn with_log(mut self, log: impl Into<PathBuf>) -> Self {
        self.log = Some(log.into());
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
    Bytes(Vec<u8>),
}

/// A program about to be started. Build it, then end it with [`run`](Cmd::run), [`status_ok`](Cmd::status_ok),
/// [`stdout`](Cmd::stdout) or [`spawn`](Cmd::spawn).
#[must_use = "a command does nothing until it is ended by run, status_ok, stdout or spawn"]
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
    /// Starts `program` with the variables of `base` and no others.
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

    /// How errors call the program: `git` rather than the path of a stand-in.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// What the command is run for, to stand after "while" in errors: `making live.qcow2`.
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

    /// Sets a variable whose value is shown nowhere: not by `Display`, and not where the tool prints it.
    pub fn secret_env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.changes.insert(name.as_ref().to_owned(), Change::Secret(value.as_ref().to_owned()));
        self
    }

    /// Takes a variable out of the base environment.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.changes.insert(name.as_ref().to_owned(), Change::Remove);
        self
    }

    /// Runs in the folder `dir`.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Standard input is the file `path`; it is empty otherwise.
    pub fn stdin_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.stdin = Stdin::File(path.into());
        self
    }

    /// Standard input is `bytes`. They are shown nowhere.
    pub fn stdin_bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Stdin::Bytes(bytes.into());
        self
    }

    /// Where the lines of its output go: both streams for [`run`](Cmd::run), standard error alone where standard output is read.
    pub fn output(mut self, output: &Output) -> Self {
        self.output = output.clone();
        self
    }

    /// Ends it and fails after `limit`. Counts for the endings that wait.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Sets its file creation mask.
    pub fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(mask);
        self
    }

    /// Leaves `fd` open in the child, under the same number.
    pub fn keep_fd(mut self, fd: OwnedFd) -> Self {
        self.fds.push(fd);
        self
    }

    /// Gives the child our terminal: its three streams are ours and so is its process group.
    pub fn foreground(mut self) -> Self {
        self.foreground = true;
        self
    }

    /// Runs it; false when it ends with a status other than 0. Being killed by a signal or running out of time is an error.
    pub fn status_ok(self) -> Result<bool> {
        let Err(error) = self.run() else { return Ok(true) };
        match error.downcast_ref::<Failure>() {
            Some(Failure { exit: Exit::Status(_), .. }) => Ok(false),
            _ => Err(error),
        }
    }

    /// Runs it; it must end with status 0. Both output streams go, in order, to where [`output`](Cmd::output) says.
    pub fn run(self) -> Result<()> {
        let limit = self.timeout;
        self.spawn()?.succeed(limit)
    }

    /// Runs it; gives what it printed on standard output, without white space at the end. It must be UTF-8.
    pub fn stdout(self) -> Result<String> {
        let name = self.name.clone();
        let mut text =
            String::from_utf8(self.stdout_bytes()?).map_err(|_| anyhow::anyhow!("`{name}` printed something that is not UTF-8"))?;
        text.truncate(text.trim_end().len());
        Ok(text)
    }

    /// Runs it; gives what it printed on standard output.
    pub fn stdout_bytes(self) -> Result<Vec<u8>> {
        self.read_with(read_all)
    }

    /// Runs it while `read` reads its standard output, so that nothing large is held in memory. A failure of the tool goes
    /// before the error that it causes in `read`.
    pub fn read_with<T>(self, read: impl FnOnce(&mut dyn Read) -> Result<T>) -> Result<T> {
        Ok(self.read_and_measure(read)?.1)
    }

    /// Runs it, which must end with status 0; gives what it used, and what it printed on standard output, held in memory.
    pub fn measure(self) -> Result<(Usage, Vec<u8>)> {
        self.read_and_measure(read_all)
    }

    fn read_and_measure<T>(self, read: impl FnOnce(&mut dyn Read) -> Result<T>) -> Result<(Usage, T)> {
        let limit = self.timeout;
        let (output, stdout) = io::pipe()?;
        let mut running = process::start(self, None, Some(stdout))?;
        let events = running.events.0.clone();
        let mut output = Seen { inner: output, ended: false };
        let (result, saw_end, given_up) = thread::scope(|scope| {
            let wait = scope.spawn(|| running.finish(limit));
            let result = read(&mut output);
            let saw_end = output.ended;
            // A reader that leaves early closes the pipe, and the tool gets SIGPIPE at its next word.
            drop(output);
            if result.is_err() {
                let _ = events.send(Event::Unread);
            }
            (result, saw_end, wait.join())
        });
        let given_up = given_up.map_err(|_| anyhow::anyhow!("the thread that waits for a tool has panicked"))??;
        match running.ended {
            Some(Exit::Status(0)) => {}
            // A tool that gets SIGPIPE after the reader saw the end has broken in the middle.
            Some(Exit::Signal(libc::SIGPIPE)) if !saw_end => {}
            _ if given_up => {}
            _ => return Err(running.failure().into()),
        }
        Ok((running.used, result?))
    }

    /// Starts it in the background. It is killed when the value is dropped, or when the thread that started it ends.
    pub fn spawn(self) -> Result<Running> {
        process::start(self, None, None)
    }

    /// Starts it in the background with its standard input and output in our hands; standard error goes to the output.
    pub fn spawn_console(self) -> Result<(Running, Pipes)> {
        let (stdin, input) = io::pipe()?;
        let (output, stdout) = io::pipe()?;
        Ok((process::start(self, Some(stdin), Some(stdout))?, Pipes { input, output }))
    }

    /// The values that must not be shown.
    pub(super) fn secrets(&self) -> Vec<String> {
        let secrets = self.changes.values().filter_map(|change| match change {
            Change::Secret(value) if !value.is_empty() => Some(value.to_string_lossy().into_owned()),
            _ => None,
        });
        secrets.collect()
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
                // The person who pastes it has the secret in a variable of the same name.
                Change::Secret(_) => write!(f, "{0}=\"${0}\" ", name.to_string_lossy())?,
                Change::Remove => {}
            }
        }
        f.write_str(&quote(self.program.as_os_str()))?;
        for arg in &self.args {
            write!(f, " {}", quote(arg))?;
        }
        match &self.stdin {
            Stdin::Null => Ok(()),
            Stdin::File(path) => write!(f, " < {}", quote(path.as_os_str())),
            Stdin::Bytes(bytes) => write!(f, "  # reads {} bytes from standard input", bytes.len()),
        }
    }
}

/// A reader that remembers whether the end was reached.
struct Seen {
    inner: io::PipeReader,
    ended: bool,
}

impl Read for Seen {
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

/// `word` as a shell reads it back: bare where that is safe, in quotes otherwise, `$'…'` for bytes that are not UTF-8.
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
    }

    #[test]
    fn children_see_only_the_chosen_environment() {
        let text = Cmd::new("/usr/bin/env", &base()).env("B", "2").env_remove("DROP").stdout().unwrap();
        assert_eq!(text, "B=2\nPATH=/usr/bin:/bin");
    }
}
