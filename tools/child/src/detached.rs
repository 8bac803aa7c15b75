//! Starts this program again in the background, in a session of its own, so that it outlives us and our terminal.

use super::{environment::Environment, failure::Exit, process::close_on_exec};
use anyhow::{Context as _, Result};
use duct::Handle;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::Path,
};

/// This program with other arguments, in the background. Dropping the value leaves it running.
pub struct Detached(Handle);

impl Detached {
    /// Starts it with our arguments and then `more`. Its output goes to the file `log`.
    pub fn start(environment: &Environment, more: &[&str], log: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find our own program")?;
        let mut words: Vec<OsString> = std::env::args_os().skip(1).collect();
        words.extend(more.iter().map(OsString::from));
        let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let variables: BTreeMap<&str, &str> = environment.all().collect();
        let expression = duct::cmd(program, words).full_env(variables).stdin_null().stderr_to_stdout().stdout_file(output).unchecked();
        let handle = expression.before_spawn(|command| {
            new_session(command);
            Ok(())
        });
        Ok(Self(handle.start().context("cannot start our own program")?))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.0.pids().first().copied()
    }

    /// How it ended; none while it runs.
    pub fn try_wait(&self) -> Result<Option<Exit>> {
        let output = self.0.try_wait().context("cannot wait for our own program")?;
        Ok(output.map(|output| output.status.code().map_or_else(|| Exit::Signal(output.status.signal().unwrap_or(0)), Exit::Status)))
    }
}

/// Lets the child lead a session without a terminal, with none of our file descriptors but its standard streams.
#[allow(unsafe_code)]
fn new_session(command: &mut std::process::Command) {
    let hook = || {
        rustix::process::setsid()?;
        close_on_exec();
        Ok(())
    };
    // SAFETY: the hook makes only async-signal-safe system calls and does not allocate.
    unsafe {
        command.pre_exec(hook);
    }
}
