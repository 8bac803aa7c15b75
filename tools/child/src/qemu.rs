//! QEMU's system emulators: the program for each architecture, probes, and advice for known failures. `vm::argv` builds the arguments.

use super::{Cmd, Exit, Failure, Tool, Tools, failure::exit_of};
use anyhow::Result;
use common::Arch;

/// The emulator for guests of `arch`.
#[must_use]
pub const fn tool(arch: Arch) -> Tool {
    match arch {
        Arch::Amd64 => Tool::QemuAmd64,
        Arch::Arm64 => Tool::QemuArm64,
        Arch::Riscv64 => Tool::QemuRiscv64,
    }
}

/// A command that runs the emulator for `arch`.
pub fn command(tools: &Tools, arch: Arch) -> Result<Cmd> {
    tools.cmd(tool(arch))
}

/// [`command`] for printing, even if the emulator is missing.
pub fn command_unchecked(tools: &Tools, arch: Arch) -> Cmd {
    tools.cmd_unchecked(tool(arch))
}

/// Runs a guest that must end QEMU with the status `wanted`; the error is QEMU's message.
pub fn probe_outcome(cmd: Cmd, wanted: i32) -> Result<(), String> {
    let (mut lines, ended) = cmd.lines();
    let exit = match ended {
        Ok(()) => Exit::Status(0),
        Err(error) => exit_of(&error).ok_or_else(|| format!("{error:#}"))?,
    };
    if exit == Exit::Status(wanted) {
        return Ok(());
    }
    lines.retain(|line| ["error", "failed", "cannot", "could not"].iter().any(|word| line.to_lowercase().contains(word)));
    Err(lines.into_iter().next().unwrap_or_else(|| exit.to_string()))
}

/// Adds advice to a known failure.
#[must_use]
pub fn advise(failure: Failure) -> anyhow::Error {
    let said = |text: &str| failure.said(text);
    let advice = if said("Could not set up host forwarding rule") {
        Some("another program uses the port for ssh on this machine\nhint: --ssh-port N, or SSH_PORT=N")
    } else if said("\"write\" lock") {
        Some("the disk is in use\nhint: is another virtual machine running on it?")
    } else if said("Cannot allocate memory") || said("cannot set up guest memory") {
        Some("this machine does not have enough memory for the virtual machine\nhint: --memory N, or QEMU_MEMORY=N, in MiB")
    } else {
        None
    };
    let error = anyhow::Error::from(failure);
    match advice {
        Some(advice) => error.context(advice),
        None => error,
    }
}
