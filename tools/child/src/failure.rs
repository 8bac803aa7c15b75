//! How a command ended, and the error of a command that failed.

use std::{fmt, path::PathBuf, time::Duration};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this status.
    Status(i32),
    /// Killed by this signal.
    Signal(i32),
    /// Killed by us after this time.
    TimedOut(Duration),
    /// Killed because xtask got a signal.
    Interrupted,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exit status {status}"),
            Self::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "killed by signal {signal}, {name}"),
                None => write!(f, "killed by signal {signal}"),
            },
            Self::TimedOut(limit) => write!(f, "not done after {} s", limit.as_secs_f32()),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    let names = [
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGINT, "SIGINT"),
        (libc::SIGQUIT, "SIGQUIT"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGFPE, "SIGFPE"),
        (libc::SIGKILL, "SIGKILL (out of memory?)"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGPIPE, "SIGPIPE"),
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGSYS, "SIGSYS"),
    ];
    names.iter().find(|(number, _)| *number == signal).map(|(_, name)| *name)
}

/// A command that failed. [`said`] and [`exit_of`] find it in an error chain, to recognize known failures.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The tool's name.
    pub tool: String,
    /// What it was doing, if the caller said so.
    pub step: Option<String>,
    /// How it ended.
    pub exit: Exit,
    /// The last lines of its output, oldest first, without secrets.
    pub tail: Vec<String>,
    /// The command, quoted for a shell.
    pub command: String,
    /// The log file with all its lines.
    pub log: Option<PathBuf>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` failed", self.tool)?;
        if let Some(step) = &self.step {
            write!(f, " while {step}")?;
        }
        write!(f, ": {}", self.exit)?;
        for line in &self.tail {
            write!(f, "\n| {line}")?;
        }
        write!(f, "\ncommand: {}", self.command)?;
        self.log.as_ref().map_or(Ok(()), |log| write!(f, "\nlog: {}", log.display()))
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// Whether one of the last lines contains `text`.
    #[must_use]
    pub fn said(&self, text: &str) -> bool {
        self.tail.iter().any(|line| line.contains(text))
    }
}

/// Whether `error` is a command's failure, and one of its last lines contains `text`.
#[must_use]
pub fn said(error: &anyhow::Error, text: &str) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| failure.said(text))
}

/// How the command ended, if `error` is a command's failure.
#[must_use]
pub fn exit_of(error: &anyhow::Error) -> Option<Exit> {
    error.downcast_ref::<Failure>().map(|failure| failure.exit)
}
