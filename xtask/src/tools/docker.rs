//! docker: whether a daemon answers. The builds themselves are the engine's.

use super::{Tool, Tools};
use anyhow::{Context as _, Result};
use std::time::Duration;

/// The version of the daemon that the client talks to. An error when none answers within 10 s.
#[allow(dead_code, reason = "the engine linuxkit asks before it starts")]
pub fn daemon_version(tools: &Tools) -> Result<String> {
    let cmd = tools.cmd(Tool::Docker)?.args(["version", "--format", "{{.Server.Version}}"]).timeout(Duration::from_secs(10));
    cmd.step("asking for its daemon")
        .stdout()
        .context("docker is installed, and no daemon answers it\nhint: start the docker service, or use --engine native")
}
