//! ssh into a virtual machine that runs EVE, and ssh-keygen.

use super::{Cmd, Tool, Tools};
use std::path::Path;

/// The command that forwards ports (`forwards`: options of ssh) through the machine behind `port` of this one, until it is stopped. `key`
/// may be relative to `root`.
pub fn proxy(tools: &Tools, forwards: &str, key: &Path, port: u16, root: &Path) -> Cmd {
    let cmd = tools.cmd_unchecked(Tool::Ssh).step("forwarding ports").args(forwards.split_whitespace());
    let cmd = cmd.arg("-N").arg("-i").arg(key).args(["-p", &port.to_string()]);
    // The machine's host key changes with every build.
    let no_host_check = ["-o", "StrictHostKeyChecking=no", "-o", "GlobalKnownHostsFile=/dev/null", "-o", "UserKnownHostsFile=/dev/null"];
    cmd.args(no_host_check).arg("root@localhost").dir(root)
}

/// The command that creates the private key `key` without a passphrase, and `key.pub` beside it.
pub fn keygen_command(tools: &Tools, key: &Path) -> anyhow::Result<Cmd> {
    Ok(tools.helper("ssh-keygen")?.named("ssh-keygen").step("making a key").args(["-P", "", "-f"]).arg(key))
}
