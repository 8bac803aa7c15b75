//! The TPM of a running machine.

use anyhow::{Result, anyhow};
use child::{Exit, Output, Running, Tools, swtpm};
use std::{path::Path, time::Duration};

/// A TPM that lives as long as the machine.
pub(super) enum Tpm {
    /// The machine has none.
    None,
    /// Our child.
    Ours(Box<Running>),
    /// A daemon, as the Makefile of lf-edge/eve starts it.
    Daemon(swtpm::Daemon),
}

impl Tpm {
    /// A child with its state in the folder `state`, at `socket`.
    pub(super) fn start(tools: &Tools, state: &Path, socket: &Path, output: &Output) -> Result<Self> {
        Ok(Self::Ours(Box::new(swtpm::start(tools, state, socket, output)?)))
    }

    /// The Makefile's daemon; a child at the same socket if the name of the folder cannot be in swtpm's options.
    pub(super) fn start_as_make(tools: &Tools, state: &Path, output: &Output) -> Result<Self> {
        if swtpm::can_be_daemon(state) {
            return swtpm::start_daemon(tools, state, output).map(Self::Daemon);
        }
        Self::start(tools, state, &swtpm::daemon_socket(state), output)
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        match self {
            Self::None => false,
            Self::Ours(tpm) => matches!(tpm.try_wait(), Ok(Some(_))),
            Self::Daemon(daemon) => !daemon.is_alive(),
        }
    }

    /// Whether it has ended with an error.
    pub(super) fn has_failed(&mut self) -> bool {
        match self {
            Self::Ours(tpm) => matches!(tpm.try_wait(), Ok(Some(exit)) if exit != Exit::Status(0)),
            Self::None | Self::Daemon(_) => false,
        }
    }

    /// Waits until it has written its state, after QEMU's end. Its exit code does not matter.
    pub(super) fn wait_end(&mut self) {
        if let Self::Ours(tpm) = self {
            let _ = tpm.wait_at_most(Duration::from_secs(10));
        }
    }

    /// The error that it has ended before QEMU.
    pub(super) fn failure(&self) -> anyhow::Error {
        match self {
            Self::Ours(tpm) => swtpm::advise(tpm.failure()),
            Self::None | Self::Daemon(_) => anyhow!("swtpm, the machine's TPM, has ended"),
        }
    }
}
