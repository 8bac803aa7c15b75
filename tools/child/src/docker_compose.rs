//! docker-compose: the microservices of a tree as containers of this machine. It is a program of its own, or a plugin of docker.

use super::{Cmd, Tool, Tools};
use std::path::Path;

/// What `storage-init` is told to do first, instead of finding a disk: the configuration is the tree's.
const SETTLE: &str = "rm -rf /run/* /config/* ; cp -Lr /conf/* /config/ ; echo IMGA > /run/eve.id";

/// The two commands, one after the other: the configuration put into its volume, then all services.
pub fn commands(tools: &Tools, file: &Path, root: &Path) -> [Cmd; 2] {
    let command = |step: &str| {
        let cmd = match tools.find(Tool::DockerCompose) {
            Err(_) if tools.find(Tool::Docker).is_ok() => tools.cmd_unchecked(Tool::Docker).arg("compose"),
            _ => tools.cmd_unchecked(Tool::DockerCompose),
        };
        cmd.step(step).arg("-f").arg(file).arg("--project-directory").arg(root).dir(root)
    };
    [
        command("putting the configuration in place").args(["run", "storage-init", "sh", "-c", SETTLE]),
        command("running the microservices").arg("up"),
    ]
}

/// Which of the two programs must be here.
#[must_use]
pub fn tool(tools: &Tools) -> Tool {
    match tools.find(Tool::DockerCompose) {
        Err(_) if tools.find(Tool::Docker).is_ok() => Tool::Docker,
        _ => Tool::DockerCompose,
    }
}
