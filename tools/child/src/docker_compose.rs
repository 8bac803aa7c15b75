//! docker-compose, a program of its own or a plugin of docker: runs the microservices of a tree as containers of this machine.

use super::{Cmd, Tool, Tools};
use std::path::Path;

/// The script that `storage-init` runs instead of looking for a disk: it copies the tree's configuration.
const SETTLE: &str = "rm -rf /run/* /config/* ; cp -Lr /conf/* /config/ ; echo IMGA > /run/eve.id";

/// The two commands to run in order: copy the configuration into its volume, then start all services.
pub fn commands(tools: &Tools, file: &Path, root: &Path) -> [Cmd; 2] {
    let command = |step: &str| {
        let cmd = match tool(tools) {
            Tool::Docker => tools.cmd_unchecked(Tool::Docker).arg("compose"),
            own => tools.cmd_unchecked(own),
        };
        cmd.step(step).arg("-f").arg(file).arg("--project-directory").arg(root).dir(root)
    };
    [
        command("putting the configuration in place").args(["run", "storage-init", "sh", "-c", SETTLE]),
        command("running the microservices").arg("up"),
    ]
}

/// The program that is needed: docker if it is here and docker-compose is not.
#[must_use]
pub fn tool(tools: &Tools) -> Tool {
    match tools.find(Tool::DockerCompose) {
        Err(_) if tools.find(Tool::Docker).is_ok() => Tool::Docker,
        _ => Tool::DockerCompose,
    }
}
