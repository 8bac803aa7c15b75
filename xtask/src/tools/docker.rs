//! docker: whether a daemon answers, and containers that do one step and go. podman takes the same words.

use super::{Cmd, Output, Tool, Tools};
use anyhow::{Context as _, Result};
use std::{path::Path, time::Duration};

/// The version of the daemon that the client talks to. An error when none answers within 10 s.
pub fn daemon_version(tools: &Tools) -> Result<String> {
    let cmd = tools.cmd(Tool::Docker)?.args(["version", "--format", "{{.Server.Version}}"]).timeout(Duration::from_secs(10));
    cmd.step("asking for its daemon")
        .stdout()
        .context("docker is installed, and no daemon answers it\nhint: start the docker service, or use --engine native")
}

/// A container that does one step and is removed.
#[must_use = "a container does nothing until its command is run"]
pub struct Step<'s> {
    /// What it does, to stand after "while" in an error.
    pub step: String,
    /// Options of `docker run` before the volumes.
    pub options: &'s [&'s str],
    /// Folders and files of this machine, and where the container sees them.
    pub volumes: &'s [(&'s Path, &'s str)],
    /// The image.
    pub image: &'s str,
    /// The words for its program.
    pub arguments: &'s [&'s str],
}

impl Step<'_> {
    /// The command.
    pub fn command(&self, tools: &Tools, output: &Output) -> Result<Cmd> {
        let mut cmd = tools.cmd(Tool::Docker)?.step(&self.step).arg("run").args(self.options);
        for (outside, inside) in self.volumes {
            let mut volume = outside.as_os_str().to_owned();
            volume.push(":");
            volume.push(inside);
            cmd = cmd.arg("-v").arg(volume);
        }
        Ok(cmd.arg(self.image).args(self.arguments).output(output))
    }
}

/// Removes images without a name.
pub fn prune(tools: &Tools, output: &Output) -> Result<()> {
    tools.cmd(Tool::Docker)?.step("removing dangling images").args(["image", "prune", "-f"]).output(output).run()
}
