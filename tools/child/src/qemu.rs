//! QEMU's system emulators: which one runs a guest, and what their known failures mean. What words they get is `vm::argv`'s.

use super::{Cmd, Exit, Failure, Output, Tool, Tools};
use anyhow::Result;
use common::Arch;
use std::sync::{Arc, Mutex, PoisonError};

/// The emulator for guests of `arch`.
#[must_use]
pub const fn tool(arch: Arch) -> Tool {
    match arch {
        Arch::Amd64 => Tool::QemuAmd64,
        Arch::Arm64 => Tool::QemuArm64,
        Arch::Riscv64 => Tool::QemuRiscv64,
    }
}

/// A command that runs it.
pub fn command(tools: &Tools, arch: Arch) -> Result<Cmd> {
    tools.cmd(tool(arch))
}

/// The same on a machine that may not have it, to be shown.
pub fn command_unchecked(tools: &Tools, arch: Arch) -> Cmd {
    tools.cmd_unchecked(tool(arch))
}

/// Runs a guest that ends QEMU with `wanted`; what QEMU said where it did not.
pub fn probe_outcome(cmd: Cmd, wanted: i32) -> Result<(), String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lines);
    let output = Output::to(move |line| seen.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned()));
    let exit = match cmd.output(&output).run() {
        Ok(()) => Exit::Status(0),
        Err(error) => match error.downcast_ref::<Failure>() {
            Some(failure) => failure.exit,
            None => return Err(format!("{error:#}")),
        },
    };
    if exit == Exit::Status(wanted) {
        return Ok(());
    }
    let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    let telling = |line: &&String| ["error", "failed", "cannot", "could not"].iter().any(|word| line.to_lowercase().contains(word));
    Err(lines.iter().find(telling).cloned().unwrap_or_else(|| exit.to_string()))
}

/// What to do about a failure, where that is known.
#[must_use]
pub fn advise(failure: Failure) -> anyhow::Error {
    let said = |what: &str| failure.tail.iter().any(|line| line.contains(what));
    let advice = if said("Could not set up host forwarding rule") {
        Some("the port for ssh is taken on this machine\nhint: --ssh-port N, or SSH_PORT=N")
    } else if said("\"write\" lock") {
        Some("the disk is in use\nhint: is another virtual machine running on it?")
    } else if said("Cannot allocate memory") || said("cannot set up guest memory") {
        Some("this machine has not that much memory to give\nhint: --memory N, or QEMU_MEMORY=N, in MiB")
    } else {
        None
    };
    let error = anyhow::Error::from(failure);
    match advice {
        Some(advice) => error.context(advice),
        None => error,
    }
}
