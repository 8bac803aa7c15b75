//! From start to end of one machine, the way `run` and the boot tests want it.

use super::{
    Echo,
    machine::{self, Setup, Vm},
};
use crate::tools::Tools;
use anyhow::Result;
use std::time::Duration;

/// What is to happen with a machine.
pub struct VmRequest<'r> {
    /// The machine.
    pub setup: Setup,
    /// The text on the serial port that means success; the machine is switched off then. Without it, the machine runs until
    /// it ends itself.
    pub until: Option<String>,
    /// How long all of it may take.
    pub timeout: Option<Duration>,
    /// The serial port is the person's terminal, where neither a text nor an end is waited for.
    pub on_terminal: bool,
    /// What the serial port prints, when it is not on the terminal.
    pub echo: Option<Echo>,
    /// Takes lines about what goes on.
    pub say: &'r dyn Fn(&str),
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The text came.
    Found,
    /// The guest switched itself off, or a person did.
    Ended,
}

/// Runs a machine to the end that `request` asks for.
pub fn run_vm(tools: &Tools, request: VmRequest<'_>) -> Result<Outcome> {
    if request.on_terminal && request.until.is_none() && request.timeout.is_none() {
        machine::run_on_terminal(tools, &request.setup, request.say)?;
        return Ok(Outcome::Ended);
    }
    let mut vm = Vm::start(tools, &request.setup, request.echo)?;
    if let Some(why) = &vm.slow_because {
        (request.say)(&format!("running without acceleration: {why}"));
    }
    match &request.until {
        Some(text) => {
            vm.wait_for(text, request.timeout)?;
            vm.quit()?;
            Ok(Outcome::Found)
        }
        None => {
            vm.wait_end(request.timeout)?;
            Ok(Outcome::Ended)
        }
    }
}
