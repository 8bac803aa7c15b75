//! adam, the small controller that runs beside EVE in tests: its commands that administer devices.

use super::{Cmd, Tool, Tools};
use anyhow::Result;
use std::path::Path;

/// Where adam listens when it runs on this machine.
const LOCAL: &str = "https://localhost:6000";

/// adam's commands about devices.
pub struct Adam {
    tools: Tools,
}

impl Adam {
    /// adam as `tools` finds it; starts no process.
    #[must_use]
    pub fn new(tools: &Tools) -> Self {
        Self { tools: tools.clone() }
    }

    fn device(&self, step: &str) -> Result<Cmd> {
        let cmd = self.tools.cmd(Tool::Adam)?.step(step).env("ADAM_SERVER", LOCAL);
        Ok(cmd.args(["admin", "--insecure", "--server-ca", "/dev/null", "device"]))
    }

    /// Prints the ids of all devices.
    pub fn list(&self) -> Result<Cmd> {
        Ok(self.device("listing adam's devices")?.arg("list"))
    }

    /// Prints a device's configuration.
    pub fn config(&self, uuid: &str) -> Result<Cmd> {
        Ok(self.device("reading a device's configuration")?.args(["config", "get", "--uuid", uuid]))
    }

    /// Gives a device the configuration in `path`.
    pub fn set_config(&self, uuid: &str, path: &Path) -> Result<Cmd> {
        Ok(self.device("setting a device's configuration")?.args(["config", "set", "--uuid", uuid, "--config-path"]).arg(path))
    }

    /// Prints messages that a device sent: `logs` or `info`.
    pub fn messages(&self, what: &str, uuid: &str) -> Result<Cmd> {
        Ok(self.device("reading a device's messages")?.args([what, "--uuid", uuid]))
    }
}

/// Parses the output of `list`: one id per line.
#[must_use]
pub fn parse_list(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}
