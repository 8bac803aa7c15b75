//! How a command ended, and the error that tells of it.

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
    /// Killed because a person stopped us.
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

/// A tool that did not succeed. Find it in a chain with `downcast_ref` to turn a known failure into advice.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The tool's name.
    pub tool: String,
    /// What it was run for, if that was said.
    pub step: Option<String>,
    /// How it ended.
    pub exit: Exit,
    /// Its last lines, oldest first, secrets taken out.
    pub tail: Vec<String>,
    /// The command, to be pasted into a shell.
    pub command: String,
    /// The file with all its lines.
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
